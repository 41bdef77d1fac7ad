//! L2: the trait that every kind of component implements, and its vocabulary. The only door for kinds.
//!
//! A kind sees this file and `base`. It never sees the container, the keys, the journal's file or the terminal.
//!
//! A component's life on the source: [`Kind::from_options`], [`claims`](Component::claims),
//! [`secrets`](Component::secrets), [`capture`](Component::capture).
//!
//! On the target: [`Kind::from_facts`], [`claims`](Component::claims), [`plan`](Component::plan), [`prepare`](Component::prepare),
//! [`back_up`](Component::back_up), [`stage`](Component::stage), [`check_staged`](Component::check_staged), [`commit`](Component::commit),
//! [`check`](Component::check), then [`finalise`](Component::finalise) or [`undo`](Component::undo). A late backup comes after the
//! checks: [`Plan::late_backup`].

use crate::base::libpq::pgpass::Field;
use crate::base::name::ComponentName;
use crate::base::path::BundlePath;
use crate::base::secret::Secret;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::PathBuf;

mod ask;
mod error;
mod host;
mod keep;
mod parallel;
mod plan;
mod streams;
mod suggest;
mod thing;

pub use ask::{Ask, Nobody, NotPacked};
pub use error::{Error, Result, OPTIONS_TODO};
pub use host::Host;
pub use keep::{require_short, Keep, KeptStreams, LONGEST_LIST};
pub use parallel::parallel;
pub use plan::{Change, ChangeKind, Finding, LateBackup, Plan, Rewrite, Severity, UndoStrength};
pub use streams::{stream_name, Holds, StreamInfo, StreamSink, StreamSource, StreamWrite};
pub use suggest::{Near, Suggestion};
pub use thing::{Against, Contrast, Thing};

/// What a component owns. Where claims nest, the deeper one owns; two equal ones are an error.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// A path and everything below it: absolute, with all symlinks above its last segment resolved.
    Path(PathBuf),
    /// A database, by server and name.
    Database(String),
}

/// One reversible step of a commit, in the kind's own words. What the journal keeps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Act(pub Value);

impl Act {
    /// A step of a kind's own, for the journal.
    pub fn of(step: &impl Serialize) -> Result<Act> {
        serde_json::to_value(step).map(Act).map_err(|e| Error::io("the journal", e.into()))
    }

    /// The steps that acts are, from the journal.
    pub fn steps<T: for<'de> Deserialize<'de>>(acts: &[Act]) -> Result<Vec<T>> {
        let read = |act: &Act| T::deserialize(&act.0).map_err(|e| Error::io("the journal", e.into()));
        acts.iter().map(read).collect()
    }

    /// What it does in the words of `tell`, if it is a step that this kbpack knows.
    pub fn describe<T: for<'de> Deserialize<'de>>(&self, tell: impl Fn(&T) -> String) -> String {
        let step = T::deserialize(&self.0);
        step.map_or_else(|_| "an act that this kbpack does not know".to_owned(), |step| tell(&step))
    }
}

/// Where a commit writes down each act before it does it.
pub trait Journal {
    /// Returns when `acts` are on disk. A commit that gets an error here must not do them.
    fn intend(&mut self, acts: &[Act]) -> Result<()>;
}

impl dyn Journal + '_ {
    /// The same of one step of a kind's own.
    pub fn intend_step(&mut self, step: &impl Serialize) -> Result<()> {
        self.intend(&[Act::of(step)?])
    }
}

/// The outcome of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckResult {
    /// What was checked, in a few words.
    pub name: String,
    /// Why it failed; `None` if it passed.
    pub failure: Option<String>,
    /// Why it could not be tried to its end, where that is so: then it neither passed nor failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
}

impl CheckResult {
    /// One that was tried.
    pub fn new(name: impl Into<String>, failure: Option<String>) -> Self {
        CheckResult { name: name.into(), failure, skipped: None }
    }

    /// Whether it was tried, and did not fail.
    pub fn passed(&self) -> bool {
        self.failure.is_none() && self.skipped.is_none()
    }
}

/// A secret's value and how to speak of it (`$OPENAI_API_KEY in ~/.bashrc`).
#[derive(Debug, Clone)]
pub struct NamedSecret {
    /// The name that may be shown.
    pub name: String,
    /// The value that may not.
    pub value: Secret,
}

/// The password of a database role that a component puts on this machine, see [`Component::logins`].
#[derive(Debug, Clone)]
pub struct Login {
    /// For which host, port, database and role: a line of `.pgpass`.
    pub line: [Field; 4],
    /// The password; `None` where a plan leaves it open.
    pub password: Option<Secret>,
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
    /// Gives the secrets that are not in the bundle.
    pub ask: &'a dyn Ask,
    /// Whether who asks for all this may have commands run here: this machine itself, or a signer with that right.
    pub trusted: bool,
    /// Logins that the components of this import bring, each with its password from [`stage`](Component::stage) on.
    pub logins: &'a [Login],
}

impl Scope<'_> {
    /// An error if `--only` names a path inside a component of `kind`, which is moved as a whole.
    pub fn require_whole(&self, kind: &str) -> Result<()> {
        match self.only.is_empty() {
            true => Ok(()),
            false => Err(Error::not_narrowed(kind)),
        }
    }
}

/// What [`Component::capture`] returns.
#[derive(Debug)]
pub struct Captured {
    /// The kind's own JSON for the manifest: enough for [`Kind::from_facts`]. Never a secret value, never a long list.
    pub facts: Value,
    /// What was noticed on the way.
    pub findings: Vec<Finding>,
}

impl Captured {
    /// With a kind's own facts.
    pub fn new(facts: &impl Serialize, findings: Vec<Finding>) -> Result<Captured> {
        let facts = serde_json::to_value(facts).map_err(|e| Error::io("the facts", e.into()))?;
        Ok(Captured { facts, findings })
    }
}

/// A kind of component: one row of `components::KINDS`.
#[allow(clippy::wrong_self_convention)] // a kind makes components from what it is given
pub trait Kind: Sync {
    /// The word for it in profiles and manifests.
    fn name(&self) -> &'static str;

    /// A component as a profile describes it. Reads nothing but `options`.
    fn from_options(&self, name: &ComponentName, options: &Value, host: &Host) -> Result<Box<dyn Component>>;

    /// An error with its [`option`](Error::option) if these options, of a component in a profile, cannot be right; others may be
    /// left for later. Reads nothing but its arguments.
    fn vet(&self, _options: &Value) -> Result<()> {
        Ok(())
    }

    /// A component as a bundle describes it, with what the target's own profile overrides. Reads nothing
    /// but its arguments. `facts` come from outside: every rule that they break is an [`Error::rule`].
    fn from_facts(
        &self,
        name: &ComponentName,
        facts: &Value,
        overrides: Option<&Value>,
        host: &Host,
    ) -> Result<Box<dyn Component>>;

    /// Target: what a source should know of this machine before it packs this kind for it (versions, what is there already):
    /// a JSON object of the kind's own, for a ticket. Read-only, quick, and never a secret.
    fn offer(&self, _host: &Host) -> Value {
        Value::Object(serde_json::Map::new())
    }

    /// Source: what of this kind is on this machine and would be worth packing, in `near` and where such things usually are: for
    /// a first profile. Read-only, quick; what cannot be read is passed over.
    fn suggest(&self, _host: &Host, _near: &Near) -> Vec<Suggestion> {
        Vec::new()
    }

    /// How much the component with these facts of ours holds, by the names of what is counted: so that an export notices when there
    /// is suddenly less. Bytes of plaintext are counted by others.
    fn measure(&self, _facts: &Value) -> Vec<(&'static str, u64)> {
        Vec::new()
    }

    /// Whether `--only` may name paths inside a component of this kind.
    fn narrows(&self) -> bool {
        false
    }

    /// The streams that [`Component::holds`] reads, by the last part of their names, and how many of the first bytes of each at
    /// most ([`LONGEST_LIST`]: all): of these an export keeps a copy while it writes them.
    fn lists(&self) -> &'static [(&'static str, usize)] {
        &[]
    }

    /// Target: of what is at `place`, a destination of an earlier import in its portable form, that which a source may leave
    /// out when it packs for this machine alone: see [`Component::capture_upon`]. For a ticket; as [`offer`](Kind::offer)
    /// read-only, quick, and never a secret. `None` if nothing of this kind is there.
    fn has(&self, _host: &Host, _place: &str) -> Option<Value> {
        None
    }

    /// A component as a backup of this machine's own describes it, see [`Component::back_up`]. It may do what a
    /// bundle from elsewhere may not, such as remove what was not there. `own` is what this machine's profile said at the
    /// import: of it, a kind takes the ways to a place (a server, a role), never another place.
    fn from_backup(
        &self,
        name: &ComponentName,
        facts: &Value,
        own: Option<&Value>,
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

    /// Source: what speaks against this component on a target whose ticket says `there`: that machine's [`Kind::offer`], which comes
    /// from outside. A [`Severity::Refusal`] stops the export.
    fn suits(&self, _there: &Value) -> Vec<Finding> {
        Vec::new()
    }

    /// Source: what an export would pack, without packing it: how many things, and how many bytes of plaintext, roughly.
    fn survey(&self, scope: &Scope<'_>) -> Result<Survey>;

    /// Source: writes the component's streams. Changes nothing on the machine.
    fn capture(&self, scope: &Scope<'_>, sink: &dyn StreamSink) -> Result<Captured>;

    /// Source: [`capture`](Component::capture) without what all targets have already. `there` has for each what its ticket says
    /// of this kind, from outside: its [`Kind::offer`], and in `has`, by place, its [`Kind::has`]. What is left out, the
    /// facts have to say, and a plan to require.
    fn capture_upon(&self, scope: &Scope<'_>, _there: &[&Value], sink: &dyn StreamSink) -> Result<Captured> {
        self.capture(scope, sink)
    }

    /// Target: writes what `plan` is about to touch as it is now, so that an import of what is written puts exactly
    /// that back; absence is a state. What [`capture`](Component::capture) writes, unless the kind knows how to write less.
    /// Changes nothing on the machine.
    ///
    /// Comes before anything is staged; with [`Plan::late_backup`] after the commit and the checks, of what the commit moved
    /// aside, for a kind whose commit replaces a whole that others write to until that moment.
    fn back_up(&self, scope: &Scope<'_>, _plan: &Plan, sink: &dyn StreamSink) -> Result<Captured> {
        self.capture(scope, sink)
    }

    /// What the component's streams hold, thing by thing, for `inspect --files`. Reads lists, not contents.
    fn list(&self, streams: &dyn StreamSource, each: &mut dyn FnMut(Listed)) -> Result<()>;

    /// What the component's streams hold, thing by thing, each with what tells it from another. Reads lists, not contents. A
    /// stream of secrets may be missing: then their values are not known. In any order; `against` is what it will be held
    /// against, if that is known.
    fn holds(&self, streams: &dyn StreamSource, against: &Against<'_>) -> Result<Vec<Thing>>;

    /// The same of what is on this machine now, where an import puts it: a bundle that was just imported holds what is
    /// present. Read-only; may take long. `None` if nothing of it is there.
    fn present(&self, scope: &Scope<'_>, against: &Against<'_>) -> Result<Option<Vec<Thing>>>;

    /// What it declares and a bundle of it does not bring. Reads nothing.
    fn not_packed(&self) -> Vec<NotPacked> {
        Vec::new()
    }

    /// Target: what an import would change. Read-only; the target may be absent. Asks nobody and runs nothing of the
    /// bundle's: what only that could tell stays open until [`prepare`](Component::prepare), and counts as a change.
    fn plan(&self, scope: &Scope<'_>, streams: &dyn StreamSource) -> Result<Plan>;

    /// Target: settles what the plan left open, when it is confirmed and nothing is backed up yet. The only act that may
    /// call [`Ask::ask`], or run the plan's [`commands`](Plan::commands). Changes nothing on the machine, and only ever
    /// narrows the plan: no new destination, no new change, nothing more to execute. What was edited since the plan is an
    /// error, also here.
    fn prepare(&self, _scope: &Scope<'_>, _plan: &mut Plan, _streams: &dyn StreamSource) -> Result<()> {
        Ok(())
    }

    /// Target: the passwords of database roles that an import puts on this machine, with the values that `plan` knows.
    /// Reads nothing. Whoever has any here, without a plan too, is planned and committed before databases are.
    fn logins(&self, _plan: Option<&Plan>) -> Vec<Login> {
        Vec::new()
    }

    /// Target: builds the new state out of sight, on the destination's own file system. Nothing that the
    /// machine uses changes. After an error, or a kill, [`undo`](Component::undo) without acts removes what was staged.
    fn stage(&self, scope: &Scope<'_>, plan: &Plan, streams: &dyn StreamSource) -> Result<()>;

    /// Target: compares what was staged with what the bundle recorded. Read-only.
    fn check_staged(&self, scope: &Scope<'_>, plan: &Plan) -> Result<Vec<CheckResult>>;

    /// Target: puts the staged state in place by quick, reversible acts, each given to `journal` before it
    /// is done. What is replaced is moved aside, not deleted. May run twice.
    fn commit(&self, scope: &Scope<'_>, plan: &Plan, journal: &mut dyn Journal) -> Result<()>;

    /// What `act`, one of the kind's own, does, for the log and for people: one line, with no secret and no digest of
    /// one in it. Also of acts that an older kbpack wrote down.
    fn describe(&self, act: &Act) -> String;

    /// Target: takes back `acts` (all that this run intended for the component, in their order; each may
    /// be done, half done or not done) and removes the staging area. Works from the acts alone. May run
    /// twice. Returns what it kept aside because it was edited since.
    fn undo(&self, scope: &Scope<'_>, acts: &[Act]) -> Result<Vec<Finding>>;

    /// Target: whether the component is in place as the plan wanted it. Read-only. Of a plan that was not prepared, what it
    /// leaves open is not compared.
    fn check(&self, scope: &Scope<'_>, plan: &Plan) -> Result<Vec<CheckResult>>;

    /// Target: compares what is there with the bundle, for `kbpack check`. Read-only; may take long. `None` where it is in
    /// place if the plan finds nothing to change: a kind that puts a whole in place whatever is there compares here.
    fn compare(&self, _scope: &Scope<'_>, _plan: &Plan) -> Result<Option<Vec<CheckResult>>> {
        Ok(None)
    }

    /// Target: drops what was replaced and the staging area. After this there is no undo: one that is tried is refused,
    /// or does nothing. May run twice.
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
