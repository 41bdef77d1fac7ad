//! The check in a fresh shell: what `env.sh` exports there is what the bundle brought, byte for byte.

use super::model::VarName;
use crate::base::secret::Secret;
use crate::component::CheckResult;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use zeroize::Zeroizing;

/// Shells to ask, with the options that keep them from reading anything else.
const SHELLS: [(&str, &[&str]); 2] = [("bash", &["--norc", "--noprofile"]), ("sh", &[])];
/// Bytes that a shell may say besides the values.
const REST: u64 = 64 * 1024;

/// Asks each shell. Values reach it only through the file.
pub(super) fn check(home: &Path, env_sh: &Path, values: &[(VarName, Secret)]) -> Vec<CheckResult> {
    let acted_on = values.iter().any(|(name, _)| name.executes());
    SHELLS
        .iter()
        .map(|(shell, options)| {
            let name = format!("a fresh {shell} reads the same values");
            if acted_on {
                return CheckResult::new(format!("{name} (skipped: one is acted on by programs)"), None);
            }
            match exported(shell, options, home, env_sh, values) {
                Ok(output) => CheckResult::new(name, difference(&output, values)),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    CheckResult::new(format!("{name} (skipped: it is not installed)"), None)
                }
                Err(e) => CheckResult::new(name, Some(e.to_string())),
            }
        })
        .collect()
}

/// What the shell exports after it read the file: `NAME=value` and a NUL, again and again.
fn exported(
    shell: &str,
    options: &[&str],
    home: &Path,
    env_sh: &Path,
    values: &[(VarName, Secret)],
) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut child = Command::new(shell)
        .args(options)
        .args(["-c", ". \"$1\" && exec /usr/bin/env -0", shell])
        .arg(env_sh)
        .env_clear()
        .env("HOME", home)
        .env("PATH", "/usr/bin:/bin")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let expected: u64 =
        values.iter().map(|(name, value)| (name.as_str().len() + value.len() + 2) as u64).sum();
    // With room for all from the start, the buffer leaves no copy behind.
    let mut output = Zeroizing::new(Vec::with_capacity((expected + REST) as usize));
    let read = match child.stdout.take() {
        Some(stdout) => stdout.take(expected + REST - 1).read_to_end(&mut output),
        None => Ok(0),
    };
    let status = child.wait()?;
    read?;
    match status.success() {
        true => Ok(output),
        false => Err(io::Error::other(format!("{shell} ended with {status}"))),
    }
}

fn difference(output: &[u8], values: &[(VarName, Secret)]) -> Option<String> {
    let value = |name: &VarName| {
        output
            .split(|&c| c == 0)
            .find_map(|line| line.strip_prefix(name.as_str().as_bytes())?.strip_prefix(b"="))
    };
    let wrong = values.iter().find(|(name, secret)| value(name) != Some(secret.expose()))?;
    Some(format!("{} differs", wrong.0))
}
