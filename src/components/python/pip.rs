//! Runs Python and pip.

use crate::base::fault::Fault;
use crate::base::interrupt;
use crate::base::process::{Command, Output, PLAIN_ENV};
use crate::component::{Error, Host, Result};
use std::path::Path;
use std::time::Duration;

/// How long pip may take: it fetches, and builds.
pub const PIP: Duration = Duration::from_secs(3600);
/// How long anything else may take.
pub const OTHER: Duration = Duration::from_secs(600);
/// Bytes of what is written to stdout.
const MAX_SAID: usize = 16 << 20;

/// What a person's own pip goes by: which index, through which proxy, with which certificates. It is handed on where the
/// index is to be asked, so that pip does what it does in their shell.
const INDEX_ENV: &[&str] = &[
    "PIP_CONFIG_FILE",
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_FIND_LINKS",
    "PIP_NO_INDEX",
    "PIP_TRUSTED_HOST",
    "PIP_CERT",
    "PIP_CLIENT_CERT",
    "PIP_PROXY",
    "PIP_DEFAULT_TIMEOUT",
    "PIP_CACHE_DIR",
    "XDG_CONFIG_HOME",
    "XDG_CACHE_HOME",
    "NETRC",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "all_proxy",
    "ALL_PROXY",
];

/// Where pip takes distributions from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From<'a> {
    /// This folder, and nothing else.
    Folder(&'a Path),
    /// The index that the user's own pip asks.
    Index,
}

/// A Python that runs for `host`'s user, with its files in `temp`.
pub fn python(program: &Path, host: &Host, temp: &Path, limit: Duration) -> Command {
    let command = Command::new(program, limit).pass_env(PLAIN_ENV).until_interrupted();
    command.env("HOME", &host.home).env("TMPDIR", temp).args(["-I", "-B"])
}

/// pip, which is run by `python` as `pip`: `-m pip`, or its wheel.
pub fn pip(python: Command, pip: &[&Path], from: From<'_>, command: &str) -> Command {
    let python = python.args(pip).args([command, "--no-input", "--disable-pip-version-check", "-q"]);
    match from {
        // The tests in this crate have a home of their own, and ask no index of the developer's.
        From::Index if cfg!(test) => python,
        From::Index => python.pass_env(INDEX_ENV),
        From::Folder(folder) => {
            let python = python.env("PIP_CONFIG_FILE", "/dev/null");
            python.args(["--isolated", "--no-index", "--no-cache-dir", "--find-links"]).args([folder])
        }
    }
}

/// Runs it to its end, which a signal to us is, too.
pub fn run(command: Command, max_said: usize) -> Result<Output> {
    let outcome = command.run(b"", max_said);
    interrupt::check().map_err(Error::of)?;
    outcome.map_err(Error::of)
}

/// Runs it to its end. It must succeed; if not, `what` was not done, for the reason that it gives.
pub fn succeed(command: Command, what: &str) -> Result<Output> {
    let output = run(command, MAX_SAID)?;
    match output.status.success() {
        true => Ok(output),
        false => Err(Error::new(Fault::NotReady, format_args!("{what}: {}", reason(&output.stderr)))),
    }
}

/// Why a program failed, out of the pages that it wrote: what it calls an error, else its last line. One line, to be escaped
/// before it is shown.
pub fn reason(stderr: &str) -> String {
    const LINES: usize = 3;
    const CHARS: usize = 500;
    let lines = || stderr.lines().map(str::trim).filter(|line| !line.is_empty());
    let errors: Vec<&str> = lines().filter_map(|line| line.strip_prefix("ERROR: ")).take(LINES).collect();
    let text = match errors.is_empty() {
        true => lines().next_back().unwrap_or("it says no more").to_owned(),
        false => errors.join("; "),
    };
    text.chars().take(CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_picked_out() {
        let pages = "WARNING: Retrying\n  noise\nERROR: Could not find x\nERROR: No matching distribution found for x\n\n";
        assert_eq!(reason(pages), "Could not find x; No matching distribution found for x");
        assert_eq!(reason("Traceback\n  File\nOSError: full\n"), "OSError: full");
        assert_eq!(reason(""), "it says no more");
    }
}
