//! A terminal with a person at it, by way of script(1), which gives a command a terminal of its own.

use crate::support::{Home, Run};
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

/// A line of bash that runs at a terminal. Killed when dropped.
pub struct Terminal {
    child: Child,
    keys: Option<ChildStdin>,
    screen: ChildStdout,
    /// All that it has shown.
    pub shown: Vec<u8>,
    /// How much of that was waited for.
    seen: usize,
}

impl Terminal {
    /// Starts `line` in `home`, after `adjust` has had a look at the command.
    pub fn start(home: &Home, line: &str, adjust: impl FnOnce(&mut Command)) -> Self {
        let mut script = Command::new("script");
        script.args(["-qec", line, "/dev/null"]).current_dir(&home.path).env_clear();
        script.env("HOME", &home.path).env("PATH", std::env::var_os("PATH").unwrap());
        script.env("KBPACK", crate::support::KBPACK);
        script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        adjust(&mut script);
        let mut child = script.spawn().unwrap();
        let (keys, screen) = (child.stdin.take(), child.stdout.take().unwrap());
        Terminal { child, keys, screen, shown: Vec::new(), seen: 0 }
    }

    /// Waits until `text` is shown, after what was waited for before.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) {
        let mut byte = [0];
        while !self.shown[self.seen..].ends_with(text.as_bytes()) {
            assert_eq!(self.screen.read(&mut byte).unwrap(), 1, "'{text}' never came: {}", self.text());
            self.shown.push(byte[0]);
        }
        self.seen = self.shown.len();
        // It is shown a moment before the echo is off.
        std::thread::sleep(Duration::from_millis(100));
    }

    /// Types a line.
    pub fn type_line(&mut self, line: &str) {
        writeln!(self.keys.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Waits for each text, types what belongs to it, and sees it through to the end.
    #[track_caller]
    pub fn talk(mut self, dialogue: &[(&str, &str)]) -> Run {
        for (text, line) in dialogue {
            self.wait_for(text);
            self.type_line(line);
        }
        self.screen.read_to_end(&mut self.shown).unwrap();
        let status = self.child.wait().unwrap();
        Run {
            code: status.code().or(status.signal()).unwrap_or(-1),
            stderr: String::new(),
            stdout: std::mem::take(&mut self.shown),
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.shown).into_owned()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Its end hangs up the terminal, and with it what runs there.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
