//! What tests of this layer share: the stock tools, run in a scratch directory.

use crate::base::secret::Secret;
use crate::crypto::passphrase::{PassphraseError, Prompt};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

/// Runs a stock tool in `dir` with `stdin`.
pub(super) fn tool(dir: &Path, program: &str, args: &[&str], stdin: &[u8]) -> Output {
    let mut child = Command::new(program)
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let mut to = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        // A tool may end without having read it all.
        scope.spawn(move || drop(to.write_all(stdin)));
        child.wait_with_output().unwrap()
    })
}

/// The same, and it must succeed. Its stdout.
pub(super) fn must(dir: &Path, program: &str, args: &[&str], stdin: &[u8]) -> Vec<u8> {
    let out = tool(dir, program, args, stdin);
    assert!(out.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

/// Makes `dir/name` and `dir/name.pub` with `ssh-keygen`.
pub(super) fn ssh_keygen(dir: &Path, name: &str, kind: &str, passphrase: &str) {
    let args = ["-q", "-t", kind, "-N", passphrase, "-C", "tester", "-a", "4", "-f", name];
    must(dir, "ssh-keygen", &args, b"");
}

/// Answers with one passphrase, and remembers what it was asked for.
pub(super) struct Counting {
    answer: &'static str,
    asked: Mutex<Vec<String>>,
}

impl Counting {
    pub(super) fn new(answer: &'static str) -> Arc<Self> {
        Arc::new(Counting { answer, asked: Mutex::default() })
    }

    pub(super) fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl Prompt for Counting {
    fn passphrase(&self, what: &str, _confirm: bool) -> Result<Secret, PassphraseError> {
        self.asked.lock().unwrap().push(what.to_owned());
        Ok(Secret::from(self.answer.as_bytes().to_vec()))
    }
}
