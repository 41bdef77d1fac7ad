//! One hook, run: no shell unless it asks for one, a clean environment, an end in time, and its last words.

use crate::base::interrupt;
use crate::base::process::{Command, PLAIN_ENV};
use crate::component::Host;
use crate::engine::checks::Redactor;
use crate::engine::events::Events;
use crate::format::Hook;
use std::io::{self, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

/// Where a user's own services are reached: `systemctl --user` needs them. No secret is in them.
const SESSION_ENV: &[&str] = &["XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"];
/// Bytes of a hook's output that are looked at, the last.
const KEPT: usize = 8 * 1024;
/// Lines of its output that a log has, and characters of each.
const TOLD: (usize, usize) = (20, 200);
/// Lines of it that an error has.
const IN_ERROR: usize = 3;

/// Why a hook did not end well.
pub(super) enum Failure {
    /// A signal came to us; it was ended.
    Interrupted,
    /// Anything else, in a line.
    Why(String),
}

/// Runs `hook`. With `interruptible`, a signal to us ends it; without, nothing but its time does.
pub(super) fn run(hook: &Hook, host: &Host, interruptible: bool, events: &dyn Events) -> Result<(), Failure> {
    let ran = start(hook, host, interruptible);
    if interruptible && ran.is_err() && interrupt::check().is_err() {
        return Err(Failure::Interrupted);
    }
    let (status, stdout, stderr) = ran.map_err(Failure::Why)?;
    // What a program says may hold a secret, wherever it has it from.
    let redactor = Redactor::new(host);
    let lines = |text: &str| -> Vec<String> {
        let text = redactor.redact(text);
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let last = &lines[lines.len().saturating_sub(TOLD.0)..];
        last.iter().map(|line| line.chars().take(TOLD.1).collect()).collect()
    };
    let (stdout, stderr) = (lines(&stdout), lines(&stderr));
    stdout.iter().chain(&stderr).for_each(|line| events.said("hook", line));
    if status.success() {
        return Ok(());
    }
    let words = if stderr.is_empty() { stdout } else { stderr };
    let words = words[words.len().saturating_sub(IN_ERROR)..].join(" / ");
    let colon = if words.is_empty() { "" } else { ": " };
    Err(Failure::Why(format!("{}{colon}{words}", ending(status))))
}

/// How it ended, and the ends of what it wrote to stdout and stderr.
fn start(hook: &Hook, host: &Host, interruptible: bool) -> Result<(ExitStatus, String, String), String> {
    let [program, args @ ..] = &hook.run[..] else { return Err("it names no program".to_owned()) };
    let directory = match &hook.directory {
        Some(text) => host.expand(text).ok_or_else(|| format!("{text} is not a path"))?,
        None => host.home.clone(),
    };
    if !directory.is_dir() {
        return Err(format!("there is no directory {}", directory.display()));
    }
    let limit = Duration::from_secs(hook.timeout);
    let child = match hook.shell {
        true => Command::new("/bin/sh", limit).args(["-c", program.as_str()]),
        false => Command::new(program, limit).args(args),
    };
    let mut child = child.pass_env(PLAIN_ENV).pass_env(SESSION_ENV).env("HOME", &host.home).dir(&directory);
    for (name, value) in &hook.env {
        child = child.env(name, value);
    }
    let child = if interruptible { child.until_interrupted() } else { child };
    let talked = child
        .talk(|stdin, stdout| {
            drop(stdin);
            tail(stdout)
        })
        .map_err(|error| error.to_string())?;
    let stdout = talked.said.map_err(|error| format!("{program}: {error}"))?;
    Ok((talked.status, stdout, talked.stderr))
}

/// Reads to the end and keeps the last bytes.
fn tail(mut from: impl Read) -> io::Result<String> {
    let mut tail = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(String::from_utf8_lossy(&tail).into_owned()),
            n => tail.extend_from_slice(&buffer[..n]),
        }
        tail.drain(..tail.len().saturating_sub(KEPT));
    }
}

fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("ended by signal {signal}"),
        (None, None) => "an unknown end".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::{Finding, Progress};
    use serde_json::{json, Value};
    use std::sync::Mutex;
    use std::time::Instant;

    /// Hears what a hook says.
    #[derive(Default)]
    struct Told(Mutex<Vec<String>>);

    impl Progress for Told {
        fn expect(&self, _bytes: u64) {}
        fn advance(&self, _bytes: u64) {}
    }

    impl Events for Told {
        fn step(&self, _text: &str) {}
        fn finding(&self, _component: &str, _finding: &Finding) {}
        fn said(&self, _who: &str, line: &str) {
            self.0.lock().unwrap().push(line.to_owned());
        }
    }

    /// How it ended, and what it said.
    fn ran(more: Value) -> (Result<(), String>, Vec<String>) {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().canonicalize().unwrap();
        std::fs::create_dir(home.join("app")).unwrap();
        let host = Host { home, uid: 0, own: vec![], maps: vec![] };
        let mut table = json!({"stage": "quiesce"});
        table.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let told = Told::default();
        let result = run(&serde_json::from_value(table).unwrap(), &host, false, &told);
        let result = result.map_err(|failure| match failure {
            Failure::Why(why) => why,
            Failure::Interrupted => "interrupted".to_owned(),
        });
        (result, told.0.into_inner().unwrap())
    }

    #[test]
    fn its_surroundings_are_clean() {
        let (result, said) = ran(json!({"run": ["/usr/bin/env"], "env": {"A": "b c", "LANG": "C"}}));
        assert_eq!(result, Ok(()));
        let known = |name: &str| name == "A" || PLAIN_ENV.contains(&name) || SESSION_ENV.contains(&name);
        assert!(said.iter().all(|line| known(line.split('=').next().unwrap())), "{said:?}");
        assert!(said.contains(&"A=b c".to_owned()) && said.contains(&"LANG=C".to_owned()), "{said:?}");
        let (_, said) = ran(json!({"run": ["pwd"], "directory": "~/app"}));
        assert!(said[0].ends_with("/app"), "{said:?}");
        let (result, _) = ran(json!({"run": ["pwd"], "directory": "~/none"}));
        assert!(result.unwrap_err().starts_with("there is no directory /"));
    }

    #[test]
    fn a_shell_is_one_only_where_it_is_asked_for() {
        let (_, said) = ran(json!({"run": ["echo", "$HOME; echo x"]}));
        assert_eq!(said, ["$HOME; echo x"]);
        let (_, said) = ran(json!({"run": ["echo a; echo b"], "shell": true}));
        assert_eq!(said, ["a", "b"]);
    }

    #[test]
    fn how_it_failed_is_said_in_a_line() {
        let failed = |script: &str| ran(json!({"run": [script], "shell": true})).0.unwrap_err();
        assert_eq!(failed("exit 3"), "exit status 3");
        assert_eq!(failed("echo no >&2; echo way >&2; echo out; exit 1"), "exit status 1: no / way");
        assert_eq!(failed("echo out; exit 1"), "exit status 1: out");
        assert_eq!(failed("seq 100000; exit 1"), "exit status 1: 99998 / 99999 / 100000");
        assert_eq!(failed("kill -9 $$"), "ended by signal 9");
        let (missing, _) = ran(json!({"run": ["kbpack-no-such"]}));
        assert!(missing.unwrap_err().contains("was not found"));
    }

    #[test]
    fn it_ends_in_time_and_what_it_leaves_running_holds_nobody_up() {
        let start = Instant::now();
        let (result, _) = ran(json!({"run": ["sleep", "60"], "timeout": 1}));
        assert!(result.unwrap_err().contains("within 1 s"));
        let (result, said) = ran(json!({"run": ["sleep 60 & echo started"], "shell": true}));
        assert_eq!((result, &said[..]), (Ok(()), &["started".to_owned()][..]));
        assert!(start.elapsed() < Duration::from_secs(20));
    }
}
