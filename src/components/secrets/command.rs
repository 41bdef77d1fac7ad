//! The policy `command`: what a program prints on the target is the value. No shell, a chosen environment, a time limit;
//! it runs in a process group of its own, so it cannot ask at the terminal.

use super::model::MAX_FILE;
use super::policy::Argv;
use crate::base::fault::Fault;
use crate::base::process::{Command, ProcessError};
use crate::base::secret::Secret;
use crate::component::{Error, Host, Result};
use std::time::Duration;

/// Variables that the program gets, besides `HOME`.
const ENVIRONMENT: &[&str] = &["PATH", "USER", "LANG"];
/// How long it may take.
const LIMIT: Duration = Duration::from_secs(60);
/// Characters of its stderr that are shown.
const MAX_WORDS: usize = 300;

/// What `argv` prints, for `what`: all of it.
pub(super) fn output(argv: &Argv, what: &str, host: &Host) -> Result<Secret> {
    output_within(argv, what, host, LIMIT)
}

fn output_within(argv: &Argv, what: &str, host: &Host, limit: Duration) -> Result<Secret> {
    let failed = |fault, why: &dyn std::fmt::Display| {
        Error::new(fault, format_args!("{what} cannot be fetched: {why}")).todo(format_args!(
            "nothing was changed; try it here ({argv}), or give the secret another policy in this machine's profile"
        ))
    };
    let command = Command::new(argv.program(), limit).args(argv.arguments());
    let command = command.pass_env(ENVIRONMENT).env("HOME", &host.home).dir(&host.home);
    let run = command.run(b"", MAX_FILE as usize).map_err(|error| match error {
        ProcessError::TooMuchOutput { .. } => failed(Fault::Limit, &error),
        _ => failed(Fault::NotReady, &error),
    })?;
    if !run.status.success() {
        let why =
            format!("{} ended with {}{}", argv.program(), run.status, last_words(&run.stderr, &run.stdout));
        return Err(failed(Fault::NotReady, &why));
    }
    if run.stdout.expose().trim_ascii().is_empty() {
        return Err(failed(Fault::NotReady, &format_args!("{} printed nothing", argv.program())));
    }
    Ok(run.stdout)
}

/// The last line of what the program said, where one looks for the reason; not if it repeats what it printed.
fn last_words(stderr: &str, stdout: &Secret) -> String {
    let Some(line) = stderr.lines().rev().map(str::trim).find(|line| !line.is_empty()) else {
        return String::new();
    };
    let printed = String::from_utf8_lossy(stdout.expose());
    let printed = printed.trim();
    if !printed.is_empty() && line.contains(printed) {
        return String::new();
    }
    let start: String = line.chars().take(MAX_WORDS).collect();
    format!(", its last line: {start}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::fault::Faulty;

    fn run(script: &str, limit: u64) -> Result<Secret> {
        let home = tempfile::tempdir().unwrap();
        let host = Host { home: home.path().to_owned(), uid: 0, own: vec![], maps: vec![] };
        let words = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        output_within(&Argv::try_from(words).unwrap(), "$T in ~/.x", &host, Duration::from_secs(limit))
    }

    #[test]
    fn what_it_prints_is_the_value() {
        assert_eq!(run("printf 'a\\n\\n'", 20).unwrap().expose(), b"a\n\n");
        let seen = run("env | sort | cut -d= -f1 | tr '\\n' ' '; test \"$PWD\" = \"$HOME\"", 20).unwrap();
        let seen = String::from_utf8(seen.expose().to_vec()).unwrap();
        let allowed = ["HOME", "LANG", "PATH", "PWD", "USER", "SHLVL", "_", "OLDPWD"];
        assert!(seen.split_whitespace().all(|name| allowed.contains(&name)), "{seen}");
    }

    #[test]
    fn it_fails_with_its_last_words() {
        let error = run("echo half; echo first >&2; echo the vault is sealed >&2; exit 3", 20).unwrap_err();
        assert_eq!(error.fault(), Fault::NotReady);
        let text = error.to_string();
        assert_eq!(
            text,
            "$T in ~/.x cannot be fetched: /bin/sh ended with exit status: 3, its last line: the vault is sealed"
        );
        assert!(error.remedy().unwrap().contains("nothing was changed"));
        let text = run("echo value; echo failed after value >&2; exit 1", 20).unwrap_err().to_string();
        assert!(text.ends_with("exit status: 1"), "{text}");
    }

    #[test]
    fn it_has_its_limits() {
        let start = std::time::Instant::now();
        let error = run("sleep 60", 1).unwrap_err();
        assert!(error.to_string().contains("did not finish within 1 s") && error.fault() == Fault::NotReady);
        assert!(start.elapsed() < Duration::from_secs(20));
        let error = run("head -c 1048577 /dev/zero", 20).unwrap_err();
        assert!(error.to_string().contains("more than 1048576 bytes") && error.fault() == Fault::Limit);
        assert!(run("true", 20).unwrap_err().to_string().contains("printed nothing"));
        let none = Argv::try_from(vec!["kbpack-no-such".to_owned()]).unwrap();
        let host = Host { home: "/".into(), uid: 0, own: vec![], maps: vec![] };
        assert!(output(&none, "x", &host).unwrap_err().to_string().contains("was not found"));
    }
}
