//! `command`: how a program ends, and what it says.

use super::{child, Site, Trial, Tried};
use crate::format::CommandProbe;
use regex::bytes::{Regex, RegexBuilder};

/// Bytes that a compiled pattern may take.
const MAX_PATTERN: usize = 1024 * 1024;

/// A program with what is expected of it.
pub(super) struct Command {
    probe: CommandProbe,
    stdout: Option<Regex>,
}

impl Command {
    pub(super) fn new(probe: &CommandProbe) -> Result<Self, String> {
        // Bytes, for a program may say anything; so classes like \d are those of ASCII.
        let compile = |pattern: &String| {
            RegexBuilder::new(pattern).unicode(false).size_limit(MAX_PATTERN).build().map_err(|error| {
                let last = error.to_string();
                let last = last.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
                format!("stdout-matches is not a regular expression: {last}")
            })
        };
        let stdout = probe.stdout_matches.as_ref().map(compile).transpose()?;
        Ok(Command { probe: probe.clone(), stdout })
    }
}

impl Trial for Command {
    fn what(&self) -> String {
        format!("runs {}", child::shown(&self.probe.run))
    }

    fn needs_trust(&self) -> Option<String> {
        Some("it runs a command".to_owned())
    }

    fn attempt(&self, site: &Site) -> Tried {
        let ran = match child::run(&self.probe.run, self.probe.directory.as_deref(), site) {
            Ok(ran) => ran,
            Err(why) => return Tried::failed(why),
        };
        let exit = self.probe.exit.unwrap_or(0);
        let tried = if ran.status.code() != Some(i32::from(exit)) {
            Tried::failed(format!("{}, not {exit}", ran.ending()))
        } else if let Some(pattern) = self.stdout.as_ref().filter(|pattern| !pattern.is_match(&ran.stdout)) {
            Tried::failed(format!("its output does not match '{pattern}'"))
        } else {
            Tried::passed()
        };
        tried.with(ran.details())
    }
}

#[cfg(test)]
mod tests {
    use super::super::child::tests::site;
    use super::super::Verdict;
    use super::*;
    use serde_json::json;

    fn attempt(probe: serde_json::Value) -> (Verdict, Option<String>) {
        let (_dir, site) = site(true);
        let tried = Command::new(&serde_json::from_value(probe).unwrap()).unwrap().attempt(&site);
        (tried.verdict, tried.why)
    }

    #[test]
    fn exit_status_and_output() {
        let passed = (Verdict::Passed, None);
        let failed = |why: &str| (Verdict::Failed, Some(why.to_owned()));
        assert_eq!(attempt(json!({"run": ["true"]})), passed);
        assert_eq!(attempt(json!({"run": ["false"]})), failed("exit status 1, not 0"));
        assert_eq!(attempt(json!({"run": ["sh", "-c", "exit 3"], "exit": 3})), passed);
        assert_eq!(attempt(json!({"run": ["echo", "v 12"], "stdout-matches": "^v \\d+\\n$"})), passed);
        let unlike = attempt(json!({"run": ["echo", "no"], "stdout-matches": "^yes"}));
        assert_eq!(unlike, failed("its output does not match '^yes'"));
        let killed = attempt(json!({"run": ["sh", "-c", "kill -9 $$"]}));
        assert_eq!(killed, failed("ended by signal 9, not 0"));
    }
}
