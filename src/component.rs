//! L2: the trait that every kind of component implements, and its vocabulary. The only door for kinds.
//!
//! A kind sees this file and `base`. It never sees the container, the keys, the journal's file or the terminal.
//!
//! A component's life on the source: [`Kind::from_options`], [`claims`](Component::claims),
//! [`secrets`](Component::secrets), [`capture`](Component::capture).
//!
//! On the target: [`Kind::from_facts`], [`claims`](Component::claims), [`plan`](Component::plan),
//! [`stage`](Component::stage), [`check_staged`](Component::check_staged), [`commit`](Component::commit),
//! [`check`](Component::check), then [`finalise`](Component::finalise) or [`undo`](Component::undo).

use crate::base::fault::{io_fault, io_remedy, Fault, Faulty};
use crate::base::name::{ComponentName, StreamName};
use crate::base::path::BundlePath;
use crate::base::secret::Secret;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::any::Any;
use std::fmt;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What went wrong in a component: which kind of failure, what and where, and what to do.
#[derive(Debug)]
pub struct Error {
    fault: Fault,
    what: String,
    remedy: Option<String>,
}

/// What a component's acts return.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Any fault. `what` is one line that says what and where.
    pub fn new(fault: Fault, what: impl fmt::Display) -> Self {
        Error { fault, what: what.to_string(), remedy: None }
    }

    /// What is inside the bundle breaks a rule of `docs/FORMAT.md`, named by its number (`F3`).
    pub fn rule(rule: &str, what: impl fmt::Display) -> Self {
        Error::new(Fault::Rule, format_args!("{what} (rule {rule})"))
    }

    /// The source or the target is not in a state to go on.
    pub fn not_ready(what: impl fmt::Display) -> Self {
        Error::new(Fault::NotReady, what)
    }

    /// The options of a component, in a profile, are wrong.
    pub fn usage(what: impl fmt::Display) -> Self {
        Error::new(Fault::Usage, what)
    }

    /// An error that says all of it: its fault, its words, its remedy.
    pub fn of(error: impl Faulty) -> Self {
        Error { fault: error.fault(), what: error.to_string(), remedy: error.remedy() }
    }

    /// An I/O error at `place` (a path, a stream). A typed error that travelled inside it keeps its fault.
    pub fn io(place: impl fmt::Display, error: io::Error) -> Self {
        Error { fault: io_fault(&error), remedy: io_remedy(&error), what: format!("{place}: {error}") }
    }

    /// Adds the line that says what to do.
    pub fn todo(mut self, remedy: impl fmt::Display) -> Self {
        self.remedy = Some(remedy.to_string());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}
impl std::error::Error for Error {}
impl Faulty for Error {
    fn fault(&self) -> Fault {
        self.fault
    }
    fn remedy(&self) -> Option<String> {
        self.remedy.clone()
    }
}

/// The machine and the user that a component works for.
#[derive(Debug, Clone)]
pub struct Host {
    /// The user's home directory, absolute, symlinks resolved.
    pub home: PathBuf,
    /// Effective user id.
    pub uid: u32,
    /// kbpack's own config and state directories: never claimed, never captured, never written by a component.
    pub own: Vec<PathBuf>,
    /// `--map FROM=TO` in their order: a path that is FROM or lies below it moves to TO.
    pub maps: Vec<(PathBuf, PathBuf)>,
}

impl Host {
    /// Whether owners can be set.
    pub fn is_root(&self) -> bool {
        self.uid == 0
    }

    /// The absolute path that `text` stands for: `~` and `~/...` are the home, then the first matching
    /// map applies. `None` if the result is not absolute, or has `.`, `..` or a NUL in it.
    pub fn expand(&self, text: &str) -> Option<PathBuf> {
        let path = match text.strip_prefix('~') {
            Some("") => self.home.clone(),
            Some(rest) => self.home.join(rest.strip_prefix('/')?),
            None => PathBuf::from(text),
        };
        let written = |p: &str| p.split('/').any(|s| s == "." || s == "..");
        if !path.is_absolute() || written(text) || text.contains('\0') {
            return None;
        }
        let path: PathBuf = path.components().collect();
        let mapped = self.maps.iter().find_map(|(from, to)| {
            path.strip_prefix(from).ok().map(|rest| {
                if rest.as_os_str().is_empty() {
                    to.clone()
                } else {
                    to.join(rest)
                }
            })
        });
        Some(mapped.unwrap_or(path))
    }

    /// The portable form of an absolute path: `~/...` for what lies in the home. `None` if not UTF-8.
    pub fn contract(&self, path: &Path) -> Option<String> {
        match path.strip_prefix(&self.home) {
            Ok(rest) if rest.as_os_str().is_empty() => Some("~".to_owned()),
            Ok(rest) => Some(format!("~/{}", rest.to_str()?)),
            Err(_) => Some(path.to_str()?.to_owned()),
        }
    }
}

/// What a component owns. Where claims nest, the deeper one owns; two equal ones are an error.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// A path and everything below it: absolute, with all symlinks above its last segment resolved.
    Path(PathBuf),
    /// A database, by server and name.
    Database(String),
}

/// How exactly an undo brings back what was there. The plan shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum UndoStrength {
    /// Byte for byte.
    Exact,
    /// Byte for byte, unless something wrote to it after the commit.
    ExactUntilWrittenTo,
    /// As well as the kind can.
    BestEffort,
}

/// How much a [`Finding`] weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Something will differ from what one would expect.
    Warning,
    /// The import (or export) does not go on with this.
    Refusal,
}

/// Something that capture or plan noticed. `what` may hold text from a bundle: escape it before showing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How much it weighs.
    pub severity: Severity,
    /// One line: what and where.
    pub what: String,
    /// One line: what to do, where something can be done.
    pub remedy: Option<String>,
}

impl Finding {
    /// A finding without a remedy.
    pub fn new(severity: Severity, what: impl fmt::Display) -> Self {
        Finding { severity, what: what.to_string(), remedy: None }
    }
    /// Adds the line that says what to do.
    pub fn todo(mut self, remedy: impl fmt::Display) -> Self {
        self.remedy = Some(remedy.to_string());
        self
    }
}

/// What a plan would do to one path or object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    /// It is not there yet.
    Added,
    /// It is there and differs.
    Changed,
    /// It is there and will be gone.
    Removed,
}

/// One line of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What happens.
    pub kind: ChangeKind,
    /// To what: a path on the target or another object's name, in text form.
    pub what: String,
}

/// What an import would do for one component: data that staging and commit consume.
#[derive(Clone)]
pub struct Plan {
    /// Places on this machine that the component writes to, for people and for the memory of a signer's destinations.
    pub destinations: Vec<String>,
    /// What would change, in a stable order.
    pub changes: Vec<Change>,
    /// How many things are there already just as they should be.
    pub unchanged: u64,
    /// What to know before saying yes; a [`Severity::Refusal`] among them stops the import.
    pub findings: Vec<Finding>,
    /// What this machine would newly execute because of the import, one line each.
    pub executes: Vec<String>,
    /// Bytes that staging needs on the destination's file system, at most.
    pub space: u64,
    detail: Arc<dyn Any + Send + Sync>,
}

impl Plan {
    /// A plan with nothing in it but the kind's own `detail`.
    pub fn new(detail: impl Any + Send + Sync) -> Self {
        Plan {
            destinations: Vec::new(),
            changes: Vec::new(),
            unchanged: 0,
            findings: Vec::new(),
            executes: Vec::new(),
            space: 0,
            detail: Arc::new(detail),
        }
    }

    /// The kind's own part. `None` if another kind made the plan.
    pub fn detail<T: Any>(&self) -> Option<&T> {
        self.detail.downcast_ref()
    }
}

/// One reversible step of a commit, in the kind's own words. What the journal keeps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Act(pub Value);

/// Where a commit writes down each act before it does it.
pub trait Journal {
    /// Returns when `acts` are on disk. A commit that gets an error here must not do them.
    fn intend(&mut self, acts: &[Act]) -> Result<()>;
}

/// The outcome of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckResult {
    /// What was checked, in a few words.
    pub name: String,
    /// Why it failed; `None` if it passed.
    pub failure: Option<String>,
}

/// A secret's value and how to speak of it (`$OPENAI_API_KEY in ~/.bashrc`).
#[derive(Debug, Clone)]
pub struct NamedSecret {
    /// The name that may be shown.
    pub name: String,
    /// The value that may not.
    pub value: Secret,
}

/// Whether a stream is searched for secrets that do not belong there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// Ordinary data: searched.
    Data,
    /// Secrets, declared as such: not searched.
    Secrets,
}

/// A stream being written. Dropping it without [`finish`](StreamWrite::finish) spoils the bundle, on purpose.
pub trait StreamWrite: Write + Send {
    /// What the bytes from here on belong to (a file's path, a table), so that a secret found in them can be placed.
    fn label(&mut self, label: &str);
    /// Ends the stream.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// Where capture puts its streams. Several may be written at once, from several threads, at most
/// [`threads`](Scope::threads) + 1 at a time.
pub trait StreamSink: Sync {
    /// Opens a stream of this component. Names are unique within it.
    fn create(&self, name: &StreamName, holds: Holds) -> Result<Box<dyn StreamWrite>>;
}

/// What the manifest says of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamInfo {
    /// Its name inside the component.
    pub name: StreamName,
    /// Bytes of its plaintext.
    pub size: u64,
}

/// Where plan and stage read a component's streams. Any may be opened at any time, several at once, from
/// several threads, and more than once.
pub trait StreamSource: Sync {
    /// The component's streams, in the order in which they were created.
    fn list(&self) -> &[StreamInfo];
    /// Opens one. Its reader gives an error, never a short end, if the content is not what the manifest
    /// says; it must be read to its end (`Ok(0)`) for the last of these checks to be made.
    fn open(&self, name: &StreamName) -> Result<Box<dyn Read + Send>>;
}

/// Hears how far the work is.
pub trait Progress: Sync {
    /// This much (bytes of plaintext) will come, in addition to what was announced before.
    fn expect(&self, bytes: u64);
    /// This much was done.
    fn advance(&self, bytes: u64);
}

/// What every act of a component may know of its surroundings.
pub struct Scope<'a> {
    /// The machine.
    pub host: &'a Host,
    /// Paths inside this component's claims that belong to another component: not read, not written, not removed.
    pub carved: &'a [PathBuf],
    /// `--only NAME:PATH`, each: nothing outside these paths is captured or touched. Empty: no such limit.
    pub only: &'a [BundlePath],
    /// 16 hex digits that name this run; staging areas carry it in their names, so that recovery finds them.
    pub run: &'a str,
    /// How many threads the component may use.
    pub threads: usize,
    /// Hears how far the work is.
    pub progress: &'a dyn Progress,
}

/// What [`Component::capture`] returns.
#[derive(Debug)]
pub struct Captured {
    /// The kind's own JSON for the manifest: enough for [`Kind::from_facts`]. Never a secret value, never a long list.
    pub facts: Value,
    /// What was noticed on the way.
    pub findings: Vec<Finding>,
}

/// A kind of component: one row of `components::KINDS`.
#[allow(clippy::wrong_self_convention)] // a kind makes components from what it is given
pub trait Kind: Sync {
    /// The word for it in profiles and manifests.
    fn name(&self) -> &'static str;

    /// A component as a profile describes it. Reads nothing but `options`.
    fn from_options(&self, name: &ComponentName, options: &Value, host: &Host) -> Result<Box<dyn Component>>;

    /// A component as a bundle describes it, with what the target's own profile overrides. Reads nothing
    /// but its arguments. `facts` come from outside: every rule that they break is an [`Error::rule`].
    fn from_facts(
        &self,
        name: &ComponentName,
        facts: &Value,
        overrides: Option<&Value>,
        host: &Host,
    ) -> Result<Box<dyn Component>>;
}

/// One part of a server's state.
pub trait Component: Send + Sync {
    /// What it owns on this machine. Read-only. May be called at any time, also when nothing of it exists.
    fn claims(&self) -> Result<Vec<Claim>>;

    /// Components that must be staged and committed before this one.
    fn after(&self) -> Vec<ComponentName> {
        Vec::new()
    }

    /// How exactly [`undo`](Component::undo) works.
    fn undo_strength(&self) -> UndoStrength;

    /// Source: the secrets this component declares, packed or not, to be searched for in other streams. Read-only.
    fn secrets(&self) -> Result<Vec<NamedSecret>> {
        Ok(Vec::new())
    }

    /// Source: what an export would pack, without packing it: how many things, and how many bytes of plaintext, roughly.
    fn survey(&self, scope: &Scope<'_>) -> Result<Survey>;

    /// Source: writes the component's streams. Changes nothing on the machine.
    fn capture(&self, scope: &Scope<'_>, sink: &dyn StreamSink) -> Result<Captured>;

    /// What the component's streams hold, thing by thing, for `inspect --files`. Reads lists, not contents.
    fn list(&self, streams: &dyn StreamSource, each: &mut dyn FnMut(Listed)) -> Result<()>;

    /// Target: what an import would change. Read-only; the target may be absent.
    fn plan(&self, scope: &Scope<'_>, streams: &dyn StreamSource) -> Result<Plan>;

    /// Target: builds the new state out of sight, on the destination's own file system. Nothing that the
    /// machine uses changes. After an error, or a kill, [`undo`](Component::undo) without acts removes what was staged.
    fn stage(&self, scope: &Scope<'_>, plan: &Plan, streams: &dyn StreamSource) -> Result<()>;

    /// Target: compares what was staged with what the bundle recorded. Read-only.
    fn check_staged(&self, scope: &Scope<'_>, plan: &Plan) -> Result<Vec<CheckResult>>;

    /// Where `path` of the target stands in the staging area, for a later component that needs it before the commit.
    fn staged_path(&self, _scope: &Scope<'_>, _plan: &Plan, _path: &Path) -> Option<PathBuf> {
        None
    }

    /// Target: puts the staged state in place by quick, reversible acts, each given to `journal` before it
    /// is done. What is replaced is moved aside, not deleted. May run twice.
    fn commit(&self, scope: &Scope<'_>, plan: &Plan, journal: &mut dyn Journal) -> Result<()>;

    /// Target: takes back `acts` (all that this run intended for the component, in their order; each may
    /// be done, half done or not done) and removes the staging area. Works from the acts alone. May run
    /// twice. Returns what it kept aside because it was edited since.
    fn undo(&self, scope: &Scope<'_>, acts: &[Act]) -> Result<Vec<Finding>>;

    /// Target: whether the component is in place as the plan wanted it. Read-only.
    fn check(&self, scope: &Scope<'_>, plan: &Plan) -> Result<Vec<CheckResult>>;

    /// Target: drops what was replaced and the staging area. After this there is no undo. May run twice.
    fn finalise(&self, scope: &Scope<'_>, acts: &[Act]) -> Result<()>;
}

/// One thing in a bundle, for [`Component::list`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// A path inside the component, or another name.
    pub name: String,
    /// What it is: `file`, `directory`, `symlink`, `variable`...
    pub what: &'static str,
    /// Bytes, where it has a size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Permission bits, where it has some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
}

/// What [`Component::survey`] returns.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Survey {
    /// Where it reads from, for people.
    pub origins: Vec<String>,
    /// How many things (files, variables, tables).
    pub items: u64,
    /// Bytes of plaintext, roughly.
    pub bytes: u64,
    /// What was noticed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Host {
        Host {
            home: "/home/ada".into(),
            uid: 1000,
            own: vec![],
            maps: vec![("/srv/old".into(), "/srv/new".into()), ("/home/ada/x".into(), "/data".into())],
        }
    }

    #[test]
    fn an_error_of_another_module_keeps_its_remedy() {
        let error = Error::of(crate::base::interrupt::Interrupted);
        assert_eq!(error.remedy().as_deref(), Some("nothing was changed; run it again"));
    }

    #[test]
    fn expand_and_contract() {
        let host = host();
        let expanded = |s: &str| host.expand(s).map(|p| p.to_str().unwrap().to_owned());
        assert_eq!(expanded("~").as_deref(), Some("/home/ada"));
        assert_eq!(expanded("~/a//b/").as_deref(), Some("/home/ada/a/b"));
        assert_eq!(expanded("/srv/old/a").as_deref(), Some("/srv/new/a"));
        assert_eq!(expanded("/srv/older").as_deref(), Some("/srv/older"));
        assert_eq!(expanded("~/x").as_deref(), Some("/data"));
        for bad in ["~eve/x", "a/b", "", "~/../etc", "/a/./b", "/a/../b", "~/a\0b"] {
            assert_eq!(expanded(bad), None, "{bad}");
        }
        assert_eq!(host.contract(Path::new("/home/ada/.claude")).as_deref(), Some("~/.claude"));
        assert_eq!(host.contract(Path::new("/etc")).as_deref(), Some("/etc"));
    }
}
