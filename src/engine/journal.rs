//! What an import intends, on disk before it is done.
//!
//! One file an import: `journals/<run>.jsonl` in the state directory, append-only, a JSON object a line:
//! `{"sum":"<16 hex digits>","entry":{...}}`. `sum` is the beginning of the SHA-256 over the line before's sum
//! and this line's entry as it stands, so a line that is missing, changed or torn shows. A torn last line is no
//! line: what it would have named was not done. What goes to the disk at once is one line, for a power cut may
//! leave the end of a write and not its beginning. When the import is over, its first and last entry move to
//! `history/<run>.jsonl`.

use crate::base::digest::Digest;
use crate::base::fault::{io_fault, Fault, Faulty};
use crate::base::fsx;
use crate::base::name::ComponentName;
use crate::base::path::{BundlePath, ShownPath};
use crate::component::{Act, Rewrite};
use crate::engine::backup::{Backup, Made};
use crate::engine::hooks::OwnedHook;
use crate::format::BundleId;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The journal cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Reading or writing it.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Writing failed, and whether the line is on disk or not cannot be told.
    #[error("{}: {error}, and what was written could not be taken away", path.display())]
    Doubtful {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A line before the last is not what was written.
    #[error("{}, line {line}: the journal is damaged", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
}

impl Faulty for JournalError {
    fn fault(&self) -> Fault {
        match self {
            JournalError::Io { error, .. } => io_fault(error),
            JournalError::Doubtful { .. } | JournalError::Damaged { .. } => Fault::RecoveryNeeded,
        }
    }
    fn remedy(&self) -> Option<String> {
        let text = match self {
            JournalError::Io { .. } => "check the permissions and the space of the state directory",
            JournalError::Doubtful { .. } => {
                "put the state directory's file system right, then run `kbpack recover`"
            }
            JournalError::Damaged { .. } => {
                "what was replaced stands in folders named .kbpack-stage-* with the journal's name in theirs; put back what is missing (docs/RECOVERY.md says how), then move the journal away"
            }
        };
        Some(text.to_owned())
    }
}

type Result<T> = std::result::Result<T, JournalError>;

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Entry {
    /// The first: all that recovery needs to know.
    Begin(Box<Begin>),
    /// Acts that come next, or were done.
    Acts {
        /// Whose.
        component: ComponentName,
        /// In its kind's words.
        acts: Vec<Act>,
    },
    /// What was moved aside is in the late part of the backup.
    BackedUp(Made),
    /// Everything is in place, checked and remembered: from here on there is only forwards.
    Kept,
    /// The last.
    End(End),
}

/// What an import is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Begin {
    /// Names the run: 16 hex digits.
    pub run: String,
    /// Unix time in milliseconds.
    pub started: u64,
    /// The bundle.
    pub bundle: BundleId,
    /// Its path, or `standard input`.
    pub place: String,
    /// Who signed it.
    pub signer: String,
    /// Its profile's name.
    pub profile: String,
    /// Its sequence.
    pub sequence: u64,
    /// `user@host` that it came from.
    pub origin: String,
    /// The home directory it goes to.
    pub home: ShownPath,
    /// `--map`, each.
    pub maps: Vec<(ShownPath, ShownPath)>,
    /// The backup of what it replaces.
    #[serde(default)]
    pub backup: Backup,
    /// The part of the backup that came after the checks, as soon as it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late: Option<Made>,
    /// The run that it takes back, if it is a rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolls_back: Option<String>,
    /// The hooks that may run around it, and around a rollback of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<OwnedHook>,
    /// The components that take part, in the order of their commits.
    pub components: Vec<Begun>,
}

/// One component of a [`Begin`]: what it takes to make it again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Begun {
    /// Its name.
    pub name: ComponentName,
    /// Its kind.
    pub kind: String,
    /// The manifest's facts.
    pub facts: Value,
    /// What this machine's own profile said.
    pub overrides: Option<Value>,
    /// What belonged to others.
    pub carved: Vec<ShownPath>,
    /// `--only`.
    pub only: Vec<BundlePath>,
    /// Files that are written otherwise than they were packed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rewrites: Vec<Rewrite>,
}

/// How an import ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// The target is wholly the new state.
    Imported,
    /// The target is wholly the old state.
    Undone,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    sum: String,
    #[serde(borrow)]
    entry: &'a RawValue,
}

/// The sum of a line: 16 hex digits.
fn sum(before: &str, entry: &str) -> String {
    Digest::of(format!("{before}{entry}").as_bytes()).to_string()[..16].to_owned()
}

/// A journal open for writing.
pub struct JournalFile {
    path: PathBuf,
    file: File,
    /// Bytes up to the end of the last whole line.
    whole: u64,
    last: String,
}

impl JournalFile {
    /// Begins the journal of a run in `dir`, which exists. On disk, with its name, when this returns.
    pub fn create(dir: &Path, begin: Begin) -> Result<Self> {
        let path = dir.join(format!("{}.jsonl", begin.run));
        let io = |error| JournalError::Io { path: path.clone(), error };
        let file = File::options().append(true).create_new(true).mode(0o600).open(&path).map_err(io)?;
        let mut journal = JournalFile { path: path.clone(), file, whole: 0, last: String::new() };
        journal.append(&Entry::Begin(Box::new(begin)))?;
        fsx::sync_dir(dir).map_err(io)?;
        Ok(journal)
    }

    /// Opens the journal that `record` was read from, to go on behind its last whole line.
    pub fn reopen(record: &Record) -> Result<Self> {
        let path = record.path.clone();
        let io = |error| JournalError::Io { path: path.clone(), error };
        let file = File::options().append(true).open(&path).map_err(io)?;
        file.set_len(record.whole).map_err(io)?;
        Ok(JournalFile { path: path.clone(), file, whole: record.whole, last: record.last.clone() })
    }

    /// Returns when `entry` is on disk; after an error it is not, so that nobody reads later what did not come
    /// to be ([`JournalError::Doubtful`] is the exception).
    pub fn append(&mut self, entry: &Entry) -> Result<()> {
        let mut last = self.last.clone();
        let text =
            line(&mut last, entry).map_err(|error| JournalError::Io { path: self.path.clone(), error })?;
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            let path = self.path.clone();
            return Err(match self.file.set_len(self.whole).and_then(|()| self.file.sync_data()) {
                Ok(()) => JournalError::Io { path, error },
                Err(_) => JournalError::Doubtful { path, error },
            });
        }
        self.whole += text.len() as u64;
        self.last = last;
        Ok(())
    }

    /// Ends the journal: notes the outcome, and moves what is worth remembering to `history`, which exists.
    pub fn end(mut self, begin: &Begin, outcome: End, history: &Path) -> Result<()> {
        self.append(&Entry::End(outcome))?;
        let io = |error| JournalError::Io { path: self.path.clone(), error };
        let mut last = String::new();
        let mut kept = line(&mut last, &Entry::Begin(Box::new(begin.clone()))).map_err(io)?;
        kept.push_str(&line(&mut last, &Entry::End(outcome)).map_err(io)?);
        let path = history.join(self.path.file_name().unwrap_or_default());
        fsx::write_atomic(&path, 0o600, kept.as_bytes()).map_err(|error| JournalError::Io { path, error })?;
        std::fs::remove_file(&self.path).map_err(io)
    }
}

/// `entry` as a line that follows on one with the sum `last`, which becomes its own.
fn line(last: &mut String, entry: &Entry) -> io::Result<String> {
    let entry = serde_json::value::to_raw_value(entry)?;
    *last = sum(last, entry.get());
    Ok(serde_json::to_string(&Line { sum: last.clone(), entry: &entry })? + "\n")
}

/// A journal that was read.
#[derive(Debug)]
pub struct Record {
    /// Where it stands.
    pub path: PathBuf,
    /// What it is about; `None` if not even that got to the disk: nothing was done.
    pub begin: Option<Begin>,
    /// What was intended, in order.
    pub acts: Vec<(ComponentName, Act)>,
    /// Whether there is only forwards.
    pub kept: bool,
    /// How it ended, if it did.
    pub end: Option<End>,
    /// Bytes up to the end of the last whole line.
    whole: u64,
    last: String,
}

impl Record {
    /// Reads the journal at `path`. A last line that is torn is left out; another one that is wrong is an error.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|error| JournalError::Io { path: path.to_owned(), error })?;
        let mut record = Record {
            path: path.to_owned(),
            begin: None,
            acts: Vec::new(),
            kept: false,
            end: None,
            whole: 0,
            last: String::new(),
        };
        let mut lines = bytes.split_inclusive(|&b| b == b'\n').enumerate().peekable();
        while let Some((number, line)) = lines.next() {
            match record.entry(line) {
                Some(entry) => record.take(entry),
                None if lines.peek().is_none() => break,
                None => return Err(JournalError::Damaged { path: path.to_owned(), line: number + 1 }),
            }
            record.whole += line.len() as u64;
        }
        Ok(record)
    }

    /// The entry of a line, if it is whole and follows on the line before.
    fn entry(&mut self, line: &[u8]) -> Option<Entry> {
        let text = std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
        let line: Line<'_> = serde_json::from_str(text).ok()?;
        let entry = serde_json::from_str(line.entry.get()).ok()?;
        (sum(&self.last, line.entry.get()) == line.sum).then(|| {
            self.last = line.sum;
            entry
        })
    }

    fn take(&mut self, entry: Entry) {
        match entry {
            Entry::Begin(begin) => self.begin = Some(*begin),
            Entry::Acts { component, acts } => {
                self.acts.extend(acts.into_iter().map(|act| (component.clone(), act)));
            }
            Entry::BackedUp(made) => {
                if let Some(begin) = &mut self.begin {
                    begin.late = Some(made);
                }
            }
            Entry::Kept => self.kept = true,
            Entry::End(end) => self.end = Some(end),
        }
    }

    /// What was intended for one component.
    pub fn acts_of(&self, name: &ComponentName) -> Vec<Act> {
        self.acts.iter().filter(|(component, _)| component == name).map(|(_, act)| act.clone()).collect()
    }
}

/// The journals in `dir`, sorted by name; none if there is no such directory.
pub fn list(dir: &Path) -> Result<Vec<PathBuf>> {
    let io = |error| JournalError::Io { path: dir.to_owned(), error };
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(io)?,
    };
    let mut paths = BTreeSet::new();
    for entry in entries {
        let path = entry.map_err(io)?.path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            paths.insert(path);
        }
    }
    Ok(paths.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    fn begin() -> Begin {
        Begin {
            run: "0123456789abcdef".into(),
            started: 1,
            bundle: BundleId([7; 32]),
            place: "b.kbp".into(),
            signer: "SHA256:x".into(),
            profile: "p".into(),
            sequence: 3,
            origin: "a@b".into(),
            home: ShownPath(OsString::from_vec(b"/home/\xff".to_vec()).into()),
            maps: vec![],
            backup: Backup::Made(Made { sums: Digest::of(b""), size: 1 }),
            late: None,
            rolls_back: None,
            hooks: vec![],
            components: vec![],
        }
    }

    fn written(dir: &Path) -> PathBuf {
        let mut journal = JournalFile::create(dir, begin()).unwrap();
        let component = ComponentName::new("a").unwrap();
        let acts = |numbers: &[u32]| {
            let acts = numbers.iter().map(|n| Act(json!({ "n": n }))).collect();
            Entry::Acts { component: component.clone(), acts }
        };
        journal.append(&acts(&[1, 2])).unwrap();
        journal.append(&acts(&[3])).unwrap();
        journal.path
    }

    #[test]
    fn a_torn_last_line_is_no_line_and_a_damaged_one_before_it_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = written(dir.path());
        let bytes = std::fs::read(&path).unwrap();
        let starts: Vec<usize> =
            bytes.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(at, _)| at + 1).collect();
        assert_eq!(Record::read(&path).unwrap().begin, Some(begin()));
        for cut in 0..=bytes.len() {
            std::fs::write(&path, &bytes[..cut]).unwrap();
            let record = Record::read(&path).unwrap();
            let lines = starts.iter().filter(|start| **start <= cut).count();
            assert_eq!(record.acts.len(), [0, 0, 2, 3][lines], "{cut}");
            // It goes on behind the last whole line.
            if record.begin.is_some() {
                JournalFile::reopen(&record).unwrap().append(&Entry::Kept).unwrap();
                let again = Record::read(&path).unwrap();
                assert!(again.kept && again.acts.len() == record.acts.len(), "{cut}");
            }
        }
        for at in (0..starts[1]).step_by(7) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            std::fs::write(&path, damaged).unwrap();
            assert!(matches!(Record::read(&path), Err(JournalError::Damaged { .. })), "{at}");
        }
    }

    #[test]
    fn what_a_power_cut_left_of_the_last_write_is_no_line_whichever_part_of_it_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = JournalFile::create(dir.path(), begin()).unwrap();
        let begun = std::fs::read(&journal.path).unwrap().len();
        let component = ComponentName::new("a").unwrap();
        let acts = (0..100).map(|n| Act(json!({ "n": n }))).collect();
        journal.append(&Entry::Acts { component, acts }).unwrap();
        let bytes = std::fs::read(&journal.path).unwrap();
        for at in (begun..bytes.len()).step_by(64) {
            let mut damaged = bytes.clone();
            damaged[at..(at + 64).min(bytes.len())].fill(0);
            std::fs::write(&journal.path, damaged).unwrap();
            let record = Record::read(&journal.path).unwrap();
            assert!(record.begin.is_some() && record.acts.is_empty(), "{at}");
        }
    }

    #[test]
    fn a_late_backup_is_of_the_beginning() {
        let dir = tempfile::tempdir().unwrap();
        let path = written(dir.path());
        let made = Made { sums: Digest::of(b"late"), size: 2 };
        let mut journal = JournalFile::reopen(&Record::read(&path).unwrap()).unwrap();
        journal.append(&Entry::BackedUp(made)).unwrap();
        let record = Record::read(&path).unwrap();
        assert_eq!(record.begin, Some(Begin { late: Some(made), ..begin() }));
        assert!(!record.kept);
    }

    #[test]
    fn the_end_moves_it_to_the_history() {
        let dir = tempfile::tempdir().unwrap();
        let path = written(dir.path());
        let history = dir.path().join("history");
        std::fs::create_dir(&history).unwrap();
        JournalFile::reopen(&Record::read(&path).unwrap())
            .unwrap()
            .end(&begin(), End::Undone, &history)
            .unwrap();
        assert_eq!(list(dir.path()).unwrap(), Vec::<PathBuf>::new());
        let record = Record::read(&list(&history).unwrap()[0]).unwrap();
        assert_eq!((record.begin, record.end), (Some(begin()), Some(End::Undone)));
    }
}
