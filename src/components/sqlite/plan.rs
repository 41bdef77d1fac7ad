//! What an import would change: table by table.

use super::content::{self, Table};
use super::facts::{Database, Encoding, JournalMode};
use super::left::{said, Left};
use super::open::{self, SIDE_FILES};
use super::site::resolve;
use super::snapshot::Snapshot;
use super::{require_streams, Sqlite, TABLES};
use crate::base::change::{beside, kept_name};
use crate::base::digest::Digest;
use crate::base::executes::why_run;
use crate::base::fault::{Fault, Faulty};
use crate::base::path::{path_text, shown};
use crate::base::side::{nearest_dir, side_of};
use crate::component::{
    stream_name, Change, ChangeKind, Error, Finding, Host, Plan, Result, Scope, Severity, StreamSource,
};
use rustix::fs::{accessat, Access, AtFlags, CWD};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What the bundle has.
pub struct Wanted {
    /// Of the database as a whole.
    pub database: Database,
    /// Of each table.
    pub tables: Vec<Table>,
}

/// What a commit does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Todo {
    /// All is as it should be.
    Nothing,
    /// A file goes where none is.
    Place,
    /// Another content goes into the file that is there.
    Write {
        /// What it said when it was planned.
        old: Digest,
        /// Its journal mode, which it keeps.
        mode: JournalMode,
    },
    /// The file goes.
    Remove {
        /// What it said when it was planned.
        old: Digest,
    },
}

impl Todo {
    /// Whether a new content is put in place.
    pub fn writes(self) -> bool {
        matches!(self, Todo::Place | Todo::Write { .. })
    }
}

/// The kind's own part of a plan.
pub struct Planned {
    /// Where the database lies or will lie, symlinks resolved.
    pub path: PathBuf,
    /// The staging area.
    pub side: PathBuf,
    /// What is to be done.
    pub todo: Todo,
    /// Whether what is replaced is kept beside it in the end: a rollback, and it was written to since the import.
    pub keep: bool,
    /// What is to be there in the end; `None`: nothing.
    pub wanted: Option<Wanted>,
    /// Folders to be made, parents first.
    pub dirs: Vec<PathBuf>,
    /// Folders that go with the database if nothing else is in them, the deepest first.
    pub empties: Vec<PathBuf>,
    /// Owner and group of a new file, where they can be set.
    pub owner: Option<(u32, u32)>,
}

/// What is on the target.
struct Live {
    digest: Digest,
    page_size: u32,
    size: u64,
    encoding: Encoding,
    mode: JournalMode,
    versions: (i64, i64),
    /// `None` if it is damaged.
    tables: Option<Vec<Table>>,
}

impl Live {
    fn look(component: &Sqlite, path: &Path) -> Result<Live> {
        let connection = open::to_read(path, component.timeout)?;
        let snapshot = Snapshot::begin(&connection, path)?;
        let (page_size, pages) = snapshot.size()?;
        Ok(Live {
            digest: snapshot.digest()?,
            page_size,
            size: u64::from(page_size) * pages,
            encoding: snapshot.encoding()?,
            mode: snapshot.journal_mode()?,
            versions: (snapshot.number("user_version")?, snapshot.number("application_id")?),
            tables: match content::tables(&snapshot) {
                Err(e) if e.fault() == Fault::NotReady => None,
                tables => Some(tables?),
            },
        })
    }

    fn is(&self, wanted: &Wanted) -> bool {
        let database = &wanted.database;
        self.tables.as_ref() == Some(&wanted.tables)
            && self.encoding == database.encoding
            && self.versions == (database.user_version.into(), database.application_id.into())
    }

    /// Whether it is what an import left. A damaged one is not.
    fn is_left(&self, left: Left) -> Result<bool> {
        match (left, &self.tables) {
            (Left::Content(digest), Some(tables)) => {
                Ok(said(self.encoding, self.versions, tables)? == digest)
            }
            _ => Ok(false),
        }
    }
}

/// Compares what is there with what the bundle has. Writes nothing.
pub fn plan(component: &Sqlite, scope: &Scope<'_>, streams: &dyn StreamSource) -> Result<Plan> {
    let facts = component.facts()?;
    require_streams(facts, streams)?;
    let wanted = match &facts.database {
        None => None,
        Some(database) => {
            let tables = content::read(streams.open(&stream_name(TABLES)?)?, database.tables)?;
            Some(Wanted { database: database.clone(), tables })
        }
    };
    let place = resolve(&component.path)?;
    let path = place.real;
    let name = scope.host.contract(&path).unwrap_or_else(|| shown(&path));
    let home = nearest_dir(&path);
    let mut draft = Draft { name, findings: Vec::new(), changes: Vec::new(), unchanged: 0, space: 0 };
    let live = match place.exists.then(|| Live::look(component, &path)) {
        None => None,
        Some(Ok(live)) => Some(live),
        // What is no database, or locked, is for a person to move away or to end.
        Some(Err(e)) if e.fault() == Fault::NotReady => {
            let remedy = e.remedy().unwrap_or_else(|| "move it out of the way".to_owned());
            draft.refuse(&e, &remedy);
            None
        }
        Some(Err(e)) => return Err(e),
    };
    draft.require_access(&path, home, place.exists);
    let todo = draft.decide(&path, place.exists, live.as_ref(), wanted.as_ref());
    let keep = match (&live, facts.left) {
        (Some(live), Some(left)) if todo != Todo::Nothing => !live.is_left(left)?,
        _ => false,
    };
    if keep {
        draft.keep(&path, scope.run);
    }
    let owner =
        wanted.as_ref().filter(|_| todo == Todo::Place).and_then(|w| draft.owner(&w.database, scope.host));
    let dirs = path.ancestors().skip(1).take_while(|dir| fs::symlink_metadata(dir).is_err());
    let mut dirs: Vec<_> = dirs.map(Path::to_owned).collect();
    dirs.reverse();
    let empties = path.ancestors().skip(1).take(facts.above as usize).map(Path::to_owned).collect();
    let side = side_of(home, scope.run, component.name.as_str());
    if todo.writes() {
        draft.space += wanted.as_ref().map_or(0, |w| w.database.size);
    }
    let runs = why_run(&path).filter(|_| todo.writes()).map(|why| format!("{} ({why})", draft.name));
    let mut plan = Plan::new(Planned { side, todo, keep, wanted, dirs, empties, owner, path });
    plan.destinations = vec![draft.name];
    plan.executes.extend(runs);
    (plan.changes, plan.unchanged) = (draft.changes, draft.unchanged);
    (plan.findings, plan.space) = (draft.findings, draft.space);
    Ok(plan)
}

struct Draft {
    name: String,
    findings: Vec<Finding>,
    changes: Vec<Change>,
    unchanged: u64,
    space: u64,
}

impl Draft {
    fn refuse(&mut self, what: impl std::fmt::Display, remedy: impl std::fmt::Display) {
        self.findings.push(Finding::new(Severity::Refusal, what).todo(remedy));
    }

    fn change(&mut self, kind: ChangeKind, of: Option<&str>) {
        let what = of.map_or_else(|| self.name.clone(), |table| format!("{}: table {table}", self.name));
        self.changes.push(Change { kind, what });
    }

    /// Whether files can be made beside the database, and it can be written to.
    fn require_access(&mut self, path: &Path, home: &Path, exists: bool) {
        let may = |path: &Path, access| accessat(CWD, path, access, AtFlags::EACCESS).is_ok();
        if !may(home, Access::WRITE_OK | Access::EXEC_OK) {
            self.refuse(
                format_args!("{} may not be written to", shown(home)),
                "run kbpack as a user who may",
            );
        }
        if exists && !may(path, Access::READ_OK | Access::WRITE_OK) {
            self.refuse(
                format_args!("{} may not be written to", shown(path)),
                "run kbpack as a user who may",
            );
        }
    }

    fn decide(&mut self, path: &Path, exists: bool, live: Option<&Live>, wanted: Option<&Wanted>) -> Todo {
        match (live, wanted) {
            (None, None) => {
                self.unchanged = 1;
                Todo::Nothing
            }
            (None, Some(_)) => {
                self.change(ChangeKind::Added, None);
                let left =
                    SIDE_FILES.map(|suffix| beside(path, suffix)).into_iter().find(|file| file.exists());
                if let Some(file) = left.filter(|_| !exists) {
                    // SQLite would take it for the new database's own.
                    let what = format!("{} is there without its database", shown(&file));
                    self.refuse(what, "move it away");
                }
                Todo::Place
            }
            (Some(live), None) => {
                self.change(ChangeKind::Removed, None);
                Todo::Remove { old: live.digest }
            }
            (Some(live), Some(wanted)) if live.is(wanted) => {
                self.unchanged = wanted.tables.len() as u64;
                Todo::Nothing
            }
            (Some(live), Some(wanted)) => {
                self.rewrite(live, wanted);
                self.space += live.size;
                Todo::Write { old: live.digest, mode: live.mode }
            }
        }
    }

    fn rewrite(&mut self, live: &Live, wanted: &Wanted) {
        self.change(ChangeKind::Changed, None);
        let fixed_size = live.mode == JournalMode::Wal && live.page_size != wanted.database.page_size;
        if fixed_size && wanted.database.size > 0 {
            let what = format!("{}: it has another page size, which cannot change in WAL mode", self.name);
            self.refuse(
                what,
                "stop its programs and run PRAGMA journal_mode = DELETE on it; they may turn it back later",
            );
        }
        if live.encoding != wanted.database.encoding {
            let what = format!("{}: it has another text encoding", self.name);
            let finding = Finding::new(Severity::Warning, what);
            self.findings.push(finding.todo("restart the programs that have it open"));
        }
        let Some(tables) = &live.tables else {
            let what = format!("{}: what is there is damaged; it is replaced as a whole", self.name);
            return self.findings.push(Finding::new(Severity::Warning, what));
        };
        let old: BTreeMap<&str, &Table> = tables.iter().map(|table| (table.name.as_str(), table)).collect();
        let new: BTreeMap<&str, &Table> =
            wanted.tables.iter().map(|table| (table.name.as_str(), table)).collect();
        for (name, table) in &new {
            match old.get(name) {
                None => self.change(ChangeKind::Added, Some(name)),
                Some(before) if before == table => self.unchanged += 1,
                Some(_) => self.change(ChangeKind::Changed, Some(name)),
            }
        }
        for name in old.keys().filter(|name| !new.contains_key(*name)) {
            self.change(ChangeKind::Removed, Some(name));
        }
    }

    /// Says that what is replaced will be kept.
    fn keep(&mut self, path: &Path, run: &str) {
        let kept = kept_name(path, run);
        let kept = path_text(kept.file_name().unwrap_or_default().as_bytes());
        let what = format!("{}: it was written to after the import; it will be kept as {kept}", self.name);
        self.findings.push(Finding::new(Severity::Warning, what));
    }

    /// Who is to own a new file, where that is not the one who imports.
    fn owner(&mut self, wanted: &Database, host: &Host) -> Option<(u32, u32)> {
        if !host.is_root() {
            return None;
        }
        let user = wanted.user.as_ref().and_then(|name| nix::unistd::User::from_name(name).ok().flatten());
        let group = wanted.group.as_ref().and_then(|name| nix::unistd::Group::from_name(name).ok().flatten());
        if let (None, Some(name)) = (&user, &wanted.user) {
            let what = format!("{}: there is no user {name} here; it will be root's", self.name);
            self.findings
                .push(Finding::new(Severity::Warning, what).todo("make that user first, or chown it after"));
        }
        Some((user.map_or(0, |user| user.uid.as_raw()), group.map_or(0, |group| group.gid.as_raw())))
    }
}

/// The kind's part of `plan`.
pub fn of(plan: &Plan) -> Result<&Planned> {
    plan.detail().ok_or_else(|| Error::new(Fault::Unexpected, "the plan is not one of kind sqlite"))
}
