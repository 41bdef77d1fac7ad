//! `env`: a variable that a fresh login shell has.
//!
//! Such a shell runs files of the home, and a bundle may have brought these. So for a bundle that may not have commands
//! run, only what an import itself has put on this machine is looked at.

use super::{values, Site, Trial, Tried};
use crate::base::process::Command;
use crate::base::secret::Secret;
use crate::format::EnvProbe;
use std::path::PathBuf;

/// Bytes that a shell may say.
const MAX_OUTPUT: usize = 4 * 1024 * 1024;
/// What is said first, so that a greeting is told apart: what follows are `NAME=value` and a NUL, again and again.
const SCRIPT: &str = "printf '\\0'; exec /usr/bin/env -0";

/// A variable, and what it must be.
pub(super) struct Env {
    probe: EnvProbe,
}

impl Env {
    pub(super) fn new(probe: &EnvProbe) -> Self {
        Env { probe: probe.clone() }
    }

    fn judge(&self, value: Option<&[u8]>) -> Tried {
        // What it is is nobody's business.
        match (value, &self.probe.equals) {
            (None, _) => Tried::failed("it is not set"),
            (Some(value), Some(equals)) if value != equals.as_bytes() => {
                Tried::failed("it has another value")
            }
            (Some([]), None) => Tried::failed("it is empty"),
            _ => Tried::passed(),
        }
    }
}

impl Trial for Env {
    fn what(&self) -> String {
        match &self.probe.equals {
            Some(value) => format!("looks that a fresh login shell has {}={value}", self.probe.name),
            None => format!("looks that a fresh login shell has {}", self.probe.name),
        }
    }

    fn needs_trust(&self) -> Option<String> {
        None
    }

    fn attempt(&self, site: &Site) -> Tried {
        if !site.trusted {
            return match values::deployed(&site.host, &self.probe.name) {
                Ok(Some(value)) => {
                    self.judge(Some(value.expose())).with(["looked at what imports have put here".to_owned()])
                }
                Ok(None) => Tried::skipped(
                    "no import has put it here, and a login shell, which runs files that a bundle may have brought, is not asked for its signer",
                ),
                Err(why) => Tried::failed(why),
            };
        }
        let shell = login_shell();
        let asked = [format!("asked {} -l", shell.display())];
        match environment(&shell, site) {
            Ok(said) => {
                let prefix = format!("{}=", self.probe.name);
                let mut entries = said.expose().split(|&c| c == 0).skip(1);
                let value = entries.find_map(|entry| entry.strip_prefix(prefix.as_bytes()));
                self.judge(value).with(asked)
            }
            Err(why) => Tried::failed(why).with(asked),
        }
    }
}

/// The user's shell by the user database; a plain one for a user who cannot log in.
fn login_shell() -> PathBuf {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten();
    let shell = user.map(|user| user.shell).filter(|shell| {
        let name = shell.file_name().unwrap_or_default();
        name != "nologin" && name != "false" && shell.is_file()
    });
    shell.unwrap_or_else(|| PathBuf::from("/bin/sh"))
}

fn environment(shell: &std::path::Path, site: &Site) -> Result<Secret, String> {
    let child = Command::new(shell, site.limit)
        .args(["-l", "-c", SCRIPT])
        .pass_env(&["USER", "LOGNAME", "LANG", "LC_ALL"])
        .env("HOME", &site.host.home)
        .env("SHELL", shell)
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .dir(&site.host.home);
    let output = child.until_interrupted().run(b"", MAX_OUTPUT).map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(format!("{} -l ended with {}", shell.display(), output.status)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::child::tests::site;
    use super::super::Verdict;
    use super::*;
    use serde_json::json;
    use std::fs;

    fn env(probe: serde_json::Value) -> Env {
        Env::new(&serde_json::from_value(probe).unwrap())
    }

    #[test]
    fn a_login_shell_is_asked_for_those_who_may() {
        let (_dir, site) = site(true);
        fs::write(site.host.home.join(".profile"), "echo welcome\nexport KB_A='x y'\nexport KB_E=\n")
            .unwrap();
        assert_eq!(env(json!({"name": "KB_A"})).attempt(&site).verdict, Verdict::Passed);
        assert_eq!(env(json!({"name": "KB_A", "equals": "x y"})).attempt(&site).verdict, Verdict::Passed);
        let other = env(json!({"name": "KB_A", "equals": "z"})).attempt(&site);
        assert_eq!(other.why.as_deref(), Some("it has another value"));
        assert_eq!(env(json!({"name": "KB_E"})).attempt(&site).why.as_deref(), Some("it is empty"));
        assert_eq!(env(json!({"name": "KB_E", "equals": ""})).attempt(&site).verdict, Verdict::Passed);
        assert_eq!(env(json!({"name": "KB_N"})).attempt(&site).why.as_deref(), Some("it is not set"));
    }

    #[test]
    fn no_shell_is_asked_for_others() {
        let (_dir, site) = site(false);
        let mark = site.host.home.join("ran");
        let profile = format!("touch {}\nexport KB_A=x\n", mark.display());
        fs::write(site.host.home.join(".profile"), profile).unwrap();
        assert_eq!(env(json!({"name": "KB_A"})).attempt(&site).verdict, Verdict::Skipped);
        let deployed = site.host.home.join(".config/kbpack-env/keys");
        fs::create_dir_all(&deployed).unwrap();
        fs::write(deployed.join("env.sh"), "export KB_A='x'\nexport KB_E=''\n").unwrap();
        assert_eq!(env(json!({"name": "KB_A"})).attempt(&site).verdict, Verdict::Passed);
        assert_eq!(env(json!({"name": "KB_E"})).attempt(&site).verdict, Verdict::Failed);
        assert!(!mark.exists());
    }
}
