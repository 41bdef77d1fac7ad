//! A command, run to its end.

use std::io::Write;
use std::process::{Command, Stdio};

/// What a finished command was.
#[derive(Debug)]
pub struct Run {
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Run {
    pub fn of(command: &mut Command) -> Self {
        Self::with_input(command, b"")
    }

    pub fn with_input(command: &mut Command, input: &[u8]) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?}: {e}: is it installed? (tests/run does that)"));
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let feed = std::thread::spawn(move || {
            let _ = stdin.write_all(&input);
        });
        let output = child.wait_with_output().unwrap();
        feed.join().unwrap();
        Run {
            code: output.status.code().unwrap_or(-1),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// It must have worked.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "stderr: {}\nstdout: {}", self.stderr, self.text());
        self
    }

    /// It must have failed with `code` and two lines, the first with `what` in it.
    #[track_caller]
    pub fn fails(self, code: i32, what: &str) -> Self {
        assert_eq!(self.code, code, "expected '{what}'; stderr: {}", self.stderr);
        let error = self.stderr.lines().find(|line| line.starts_with("error: "));
        let error = error.unwrap_or_else(|| panic!("no error line in: {}", self.stderr));
        assert!(error.contains(what), "'{what}' is not in: {error}");
        assert!(
            self.stderr.lines().any(|line| line.starts_with(" todo: ")),
            "no todo line in: {}",
            self.stderr
        );
        self
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }
}
