//! What kbpack says, held against `fixtures/messages/NAME.txt`. `KBPACK_BLESS=1` writes them anew.

use crate::support::Run;
use regex::Regex;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Snapshots of one test; their names begin with its prefix.
pub struct Snapshots {
    prefix: &'static str,
    placeholders: Vec<(Regex, String)>,
    taken: BTreeSet<String>,
    differences: Vec<String>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/messages")
}

fn bless() -> bool {
    std::env::var_os("KBPACK_BLESS").is_some_and(|value| value == "1")
}

impl Snapshots {
    /// Those whose names begin with `prefix`; `scratch` is shown as `/SCRATCH`.
    pub fn new(prefix: &'static str, scratch: &Path) -> Self {
        let mut snapshots =
            Snapshots { prefix, placeholders: Vec::new(), taken: BTreeSet::new(), differences: Vec::new() };
        snapshots.hide(&regex::escape(scratch.to_str().unwrap()), "/SCRATCH");
        for (what, placeholder) in [
            (r"SHA256:[A-Za-z0-9+/]{43}", "SHA256:FINGERPRINT"),
            (r"age1[02-9ac-hj-np-z]{58}\b", "age1RECIPIENT"),
            (r"\bof [!-~]+ \(SHA256:FINGERPRINT\)", "of HOST (SHA256:FINGERPRINT)"),
            (r"\bonly [!-~]+ \(SHA256:FINGERPRINT\)", "only HOST (SHA256:FINGERPRINT)"),
            (r"AAAAC3NzaC1lZDI1NTE5[A-Za-z0-9+/=]+", "AAAAKEY"),
            (r"\b[0-9a-f]{64}\b", "ID"),
            (r"\b[0-9a-f]{16}\b", "RUN"),
            (r"\b[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z", "TIME"),
            (r"\b[0-9]{8}T[0-9]{6}Z", "STAMP"),
            (r"\b1[0-9]{9}\b", "SECONDS"),
            (r" +[0-9.]+ (B|[KMG]iB)\b", " SIZE"),
            (r"\b[0-9.]+ (B|[KMG]iB)\b", "SIZE"),
            (r"\([ -~]*, kbpack [0-9.]+\)", "(OS, ARCH, kbpack VERSION)"),
            // Only root has owners to check.
            (r" *✓ (app: )?in place: owners \([0-9]+\)\n", ""),
            // A key file is a few bytes longer where age greases it.
            (r"\bbyte [0-9]+", "byte N"),
            (r"/\.kbpack-[A-Za-z0-9]{6}", "/.kbpack-RANDOM"),
            (r"\bkbpack [0-9]+\.[0-9]+\.[0-9]+\b", "kbpack VERSION"),
            (r"chown [0-9]+", "chown UID"),
        ] {
            snapshots.hide(what, placeholder);
        }
        snapshots
    }

    /// Shows whatever matches the pattern `what` as `placeholder`.
    pub fn hide(&mut self, what: &str, placeholder: &str) {
        self.placeholders.push((Regex::new(&format!("(?-u){what}")).unwrap(), placeholder.to_owned()));
    }

    /// Runs the command, and holds what it says against the snapshot called `name`.
    pub fn take(&mut self, name: &str, command: &mut Command) {
        let args: Vec<String> = command.get_args().map(|arg| arg.to_string_lossy().into_owned()).collect();
        // What starts kbpack is not part of it.
        let own = args.iter().position(|arg| arg == crate::support::KBPACK).map_or(0, |at| at + 1);
        let shown =
            args[own..].iter().map(|arg| if arg.contains(' ') { format!("'{arg}'") } else { arg.clone() });
        let line = shown.fold("kbpack".to_owned(), |line, arg| line + " " + &arg);
        let run = Run::of(command);
        self.hold(
            name,
            &format!(
                "$ {line}\nexit code {}\n{}{}",
                run.code,
                part("stdout", &run.text()),
                part("stderr", &run.stderr)
            ),
        );
    }

    /// Holds `text` against the snapshot called `name`.
    fn hold(&mut self, name: &str, text: &str) {
        assert!(name.starts_with(self.prefix), "{name}");
        assert!(self.taken.insert(name.to_owned()), "two snapshots are called {name}");
        let hidden = |text: String, (what, placeholder): &(Regex, String)| {
            what.replace_all(&text, regex::NoExpand(placeholder)).into_owned()
        };
        let text = self.placeholders.iter().fold(text.to_owned(), hidden);
        let path = folder().join(format!("{name}.txt"));
        let known = fs::read_to_string(&path).unwrap_or_default();
        if bless() {
            fs::create_dir_all(folder()).unwrap();
            fs::write(path, text).unwrap();
        } else if known != text {
            self.differences.push(format!("=== {name}: it was\n{known}\n=== {name}: it is\n{text}"));
        }
    }

    /// Fails if anything differed, or if a file of this prefix belongs to no snapshot.
    #[track_caller]
    pub fn finish(mut self) {
        for entry in fs::read_dir(folder()).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            if !name.starts_with(self.prefix) || self.taken.contains(&name) {
                continue;
            }
            if bless() {
                fs::remove_file(path).unwrap();
            } else {
                self.differences.push(format!("=== {name}: nothing takes this snapshot any more"));
            }
        }
        let how =
            "if that is as it should be: KBPACK_BLESS=1 cargo test --test e2e messages, then read the diff";
        assert!(self.differences.is_empty(), "{}\n{how}", self.differences.join("\n"));
    }
}

/// A part of a snapshot, left out if empty.
fn part(name: &str, text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    let end = if text.ends_with('\n') { "" } else { "\n(no newline at the end)\n" };
    format!("--- {name}\n{text}{end}")
}
