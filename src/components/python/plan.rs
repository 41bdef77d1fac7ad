//! What an import would change: distribution by distribution.

use super::capture::works;
use super::facts::{Facts, Left, State};
use super::installed::{self, Installed};
use super::interpreter::{able, find, told, Interpreter};
use super::names::normal;
use super::profile::Need;
use super::rows::Pin;
use super::site::{fingerprint, look, resolve, Found, Mark};
use super::wanted::{built_from, is_same, minor_of, Wanted};
use super::{require_streams, Python};
use crate::base::change::{exists, kept_name};
use crate::base::digest::Digest;
use crate::base::fault::Fault;
use crate::base::path::{path_text, shown};
use crate::base::side::{nearest_dir, side_of};
use crate::component::{Change, ChangeKind, Error, Finding, Plan, Result, Scope, Severity, StreamSource};
use rustix::fs::{accessat, Access, AtFlags, CWD};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The longest path of an environment: the first line of its scripts names its Python, and the kernel reads but so much.
const MAX_PATH: usize = 100;

/// What a commit puts in place.
pub enum Todo {
    /// Nothing: all is as it should be.
    Nothing,
    /// A new environment.
    Build(Interpreter),
    /// What a backup has: an environment, or a symlink to this.
    Restore(Option<PathBuf>),
    /// Nothing, and what is there goes.
    Remove,
}

/// The kind's own part of a plan.
pub struct Planned {
    /// Where it lies or will lie.
    pub path: PathBuf,
    /// The staging area.
    pub side: PathBuf,
    /// What is to be done.
    pub todo: Todo,
    /// What the bundle says.
    pub facts: Facts,
    /// What an environment is to be made from; `None` in a backup.
    pub wanted: Option<Wanted>,
    /// The fingerprint of what is there.
    pub seen: Option<Digest>,
    /// Whether what is replaced is kept beside it in the end.
    pub keep: bool,
    /// What is to be imported and run as a check.
    pub imports: Vec<String>,
    /// What is to be imported and run as a check.
    pub scripts: Vec<Vec<String>>,
    /// Whether what has no wheel may be built.
    pub sdists: bool,
    /// Folders to be made, parents first.
    pub dirs: Vec<PathBuf>,
    /// Folders that go with it if nothing else is in them, the deepest first.
    pub empties: Vec<PathBuf>,
    /// Who is to own a new environment, where that is not the one who imports.
    pub owner: Option<(u32, u32)>,
}

/// The kind's part of `plan`.
pub fn of(plan: &Plan) -> Result<&Planned> {
    plan.detail().ok_or_else(|| Error::new(Fault::Unexpected, "the plan is not one of kind python"))
}

/// Compares what is there with what the bundle has. Writes nothing.
pub fn plan(component: &Python, scope: &Scope<'_>, streams: &dyn StreamSource) -> Result<Plan> {
    let facts = component.facts()?;
    require_streams(facts, streams)?;
    let wanted = facts.environment.as_ref().map(|e| Wanted::read(e, streams)).transpose()?;
    let path = resolve(&component.path)?;
    let home = nearest_dir(&path);
    let name = scope.host.contract(&path).unwrap_or_else(|| shown(&path));
    let found = look(&path)?;
    let seen = fingerprint(&path)?;
    let mut draft = Draft { component, scope, name, plan: Plan::new(()) };
    draft.require_place(&path, home, &found);
    let todo = match &wanted {
        Some(wanted) => draft.build(&path, &found, wanted)?,
        None => draft.restore(facts, seen, &found, streams)?,
    };
    let keep = match (&facts.left, &todo) {
        (None, _) | (_, Todo::Nothing) => false,
        (Some(left), _) => exists(&path) && !is_left(left, &path, seen)?,
    };
    if keep {
        let kept = kept_name(&path, scope.run);
        let kept = path_text(kept.file_name().unwrap_or_default().as_bytes());
        let what = format!("{}: it was changed after the import; it will be kept as {kept}", draft.name);
        draft.plan.findings.push(Finding::new(Severity::Warning, what));
    }
    let (imports, scripts, sdists) = draft.runs(&path, &todo, wanted.as_ref());
    let dirs = path.ancestors().skip(1).take_while(|dir| !exists(dir));
    let mut dirs: Vec<_> = dirs.map(Path::to_owned).collect();
    dirs.reverse();
    let owner = fs::metadata(home).ok().filter(|_| scope.host.is_root());
    let owner = owner.map(|meta| (meta.uid(), meta.gid())).filter(|owner| *owner != (0, 0));
    let planned = Planned {
        side: side_of(home, scope.run, component.name.as_str()),
        todo,
        facts: facts.clone(),
        wanted,
        seen,
        keep,
        imports,
        scripts,
        sdists,
        dirs,
        empties: path.ancestors().skip(1).take(facts.above as usize).map(Path::to_owned).collect(),
        owner,
        path,
    };
    let Draft { name, plan: drafted, .. } = draft;
    let mut plan = Plan::new(planned);
    plan.destinations = vec![name];
    (plan.changes, plan.unchanged, plan.findings) = (drafted.changes, drafted.unchanged, drafted.findings);
    (plan.executes, plan.commands, plan.space) = (drafted.executes, drafted.commands, drafted.space);
    Ok(plan)
}

/// Whether what is there is what an import left.
fn is_left(left: &Left, path: &Path, seen: Option<Digest>) -> Result<bool> {
    match left {
        Left::Nothing => Ok(seen.is_none()),
        Left::Seen(digest) => Ok(seen == Some(*digest)),
        Left::Built(run) => Ok(Mark::of(path)?.is_some_and(|mark| mark.run == *run)),
    }
}

struct Draft<'a> {
    component: &'a Python,
    scope: &'a Scope<'a>,
    name: String,
    plan: Plan,
}

impl Draft<'_> {
    fn find(&mut self, severity: Severity, what: impl std::fmt::Display, todo: impl std::fmt::Display) {
        let what = format!("{}: {what}", self.name);
        self.plan.findings.push(Finding::new(severity, what).todo(todo));
    }

    fn note(&mut self, what: impl std::fmt::Display) {
        let what = format!("{}: {what}", self.name);
        self.plan.findings.push(Finding::new(Severity::Note, what));
    }

    fn change(&mut self, kind: ChangeKind, of: Option<String>) {
        let what = of.map_or_else(|| self.name.clone(), |of| format!("{}: {of}", self.name));
        self.plan.changes.push(Change { kind, what });
    }

    /// Whether something can be put there that works there.
    fn require_place(&mut self, path: &Path, home: &Path, found: &Found) {
        if *found == Found::Taken {
            self.find(
                Severity::Refusal,
                "what is there is no Python environment",
                "move it away, or set another path in this machine's profile",
            );
        }
        if accessat(CWD, home, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS).is_err() {
            let what = format!("{} may not be written to", shown(home));
            self.find(Severity::Refusal, what, "run kbpack as a user who may");
        }
        let plain = |c: char| c.is_alphanumeric() || "/._@%+=:,~-".contains(c);
        let text = path.to_str().filter(|text| text.len() <= MAX_PATH && text.chars().all(plain));
        if text.is_none() && self.component.facts().is_ok_and(|facts| facts.environment.is_some()) {
            self.find(
                Severity::Refusal,
                format_args!("programs cannot start in a folder whose path is over {MAX_PATH} bytes long or has blanks or quotes in it"),
                "set another path for it in this machine's profile",
            );
        }
    }

    /// A new environment, unless the one that is there is as it should be.
    fn build(&mut self, path: &Path, found: &Found, wanted: &Wanted) -> Result<Todo> {
        let need = self.component.profile.python.unwrap_or(wanted.environment.needs);
        let working = match found {
            Found::Environment => match works(path, self.scope.host) {
                Ok(python) => Some(python),
                Err(why) => {
                    self.note(format_args!("what is there does not work ({why}); it is replaced"));
                    None
                }
            },
            Found::Link(target) => {
                let what =
                    format!("it is a symlink to {}; the new environment takes its place", shown(target));
                self.note(what);
                None
            }
            _ => None,
        };
        let installed = match &working {
            Some(python) => installed::read(path, python.minor)?,
            None => Installed::default(),
        };
        let same = match &working {
            Some(python) if need.takes(python.minor) => {
                is_same(&installed, wanted) || built_from(path, wanted)?
            }
            _ => false,
        };
        if same {
            self.plan.unchanged = (wanted.pins.len() as u64).max(1);
            return Ok(Todo::Nothing);
        }
        self.changes(found, &installed, &wanted.pins);
        if *found == Found::Environment {
            self.note("what runs in it goes on with the old one; start it again when this is done");
        }
        self.require_room(wanted);
        match self.interpreter(need, wanted) {
            Some(python) => Ok(Todo::Build(python)),
            None => Ok(Todo::Nothing),
        }
    }

    /// The interpreter that is nearest and takes all wheels; else why there is none.
    fn interpreter(&mut self, need: Need, wanted: &Wanted) -> Option<Interpreter> {
        let named = self.component.profile.interpreter.as_deref();
        let found = match find(need, named, self.scope.host) {
            Ok(found) => found,
            Err(error) => {
                let (what, todo) = told(&error);
                self.find(Severity::Refusal, what, todo);
                return None;
            }
        };
        if let Some(wrong) = found.iter().find(|one| !need.takes(one.minor)) {
            let what =
                format!("{} is Python {}, and {need} is asked for", shown(&wrong.program), wrong.version());
            self.find(
                Severity::Refusal,
                what,
                "correct interpreter, or set python, in this machine's profile",
            );
            return None;
        }
        let able = match able(found, need) {
            Ok(able) => able,
            Err((what, todo)) => {
                self.find(Severity::Refusal, what, todo);
                return None;
            }
        };
        let fits = |one: &&Interpreter| wanted.wheels.iter().all(|(name, _)| name.fits(one));
        let Some(python) = able.iter().find(fits).cloned() else {
            self.misfits(&able[0], wanted);
            return None;
        };
        if format!("3.{}", python.minor) != minor_of(&wanted.environment.python) {
            let source = &wanted.environment.python;
            let what = format!("it is made with Python {}; on the source it was {source}", python.version());
            self.note(what);
        }
        if wanted.environment.wheels.is_none() && !wanted.requirements.is_empty() {
            self.note(
                "the bundle has no wheels of it: pip fetches them from the index that it is set up for here",
            );
        }
        Some(python)
    }

    fn misfits(&mut self, python: &Interpreter, wanted: &Wanted) {
        const SHOWN: usize = 5;
        let misfits: Vec<&str> = wanted
            .wheels
            .iter()
            .filter(|(name, _)| !name.fits(python))
            .map(|(name, _)| name.as_str())
            .collect();
        let more = misfits.len().saturating_sub(SHOWN);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let what = format!(
            "wheels that are not for Python {} on {}: {}{more}",
            python.version(),
            python.platform,
            misfits.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ")
        );
        let source = minor_of(&wanted.environment.python);
        let todo =
            format!("install Python {source} here, or export without wheels, or on a machine like this one");
        self.find(Severity::Refusal, what, todo);
    }

    fn changes(&mut self, found: &Found, installed: &Installed, pins: &[Pin]) {
        let there = *found != Found::Nothing;
        self.change(if there { ChangeKind::Changed } else { ChangeKind::Added }, None);
        for pin in pins {
            match installed.version(&pin.name) {
                None => self.change(ChangeKind::Added, Some(format!("{} {}", pin.name, pin.version))),
                Some(version) if version == pin.version => self.plan.unchanged += 1,
                Some(version) => {
                    self.change(
                        ChangeKind::Changed,
                        Some(format!("{} {version} to {}", pin.name, pin.version)),
                    );
                }
            }
        }
        for old in &installed.distributions {
            if !pins.iter().any(|pin| normal(&pin.name) == normal(&old.name)) {
                self.change(ChangeKind::Removed, Some(format!("{} {}", old.name, old.version)));
            }
        }
    }

    fn require_room(&mut self, wanted: &Wanted) {
        // pip, and what Python compiles.
        const MORE: u64 = 64 << 20;
        let wheels: u64 = wanted.wheels.iter().map(|(_, row)| row.size).sum();
        self.plan.space = wanted.environment.size.saturating_add(wheels * 2).saturating_add(MORE);
    }

    /// What a backup has, unless it is there.
    fn restore(
        &mut self,
        facts: &Facts,
        seen: Option<Digest>,
        found: &Found,
        streams: &dyn StreamSource,
    ) -> Result<Todo> {
        if seen == facts.seen {
            self.plan.unchanged = 1;
            return Ok(Todo::Nothing);
        }
        let kind = match (seen, facts.seen) {
            (None, _) => ChangeKind::Added,
            (_, Some(_)) => ChangeKind::Changed,
            (_, None) => ChangeKind::Removed,
        };
        self.change(kind, None);
        self.plan.space = facts.size.unwrap_or(0);
        Ok(match facts.state {
            State::Link => Todo::Restore(Some(super::read_link(streams)?)),
            State::Tree => Todo::Restore(None),
            // What is none of ours is refused already.
            _ if *found == Found::Taken => Todo::Nothing,
            _ => Todo::Remove,
        })
    }

    fn run(&mut self, words: Vec<String>, own: bool) {
        self.plan.executes.push(words.join(" "));
        if !own {
            self.plan.commands.push(words);
        }
    }

    /// What this machine's own profile asks to be tried, else what the bundle does, if its signer may have commands run.
    /// These are checks: those that may not run are skipped, and that is said.
    fn may_run<T: Clone>(&mut self, option: &str, own: Option<&Vec<T>>, bundle: &[T]) -> Vec<T> {
        match own {
            Some(own) => own.clone(),
            None if self.scope.trusted || bundle.is_empty() => bundle.to_vec(),
            None => {
                let what =
                    format!("its {option} will not be tried: the bundle's signer may not have commands run");
                let todo = format!(
                    "trust the signer with --hooks, or name the {option} in this machine's own profile"
                );
                self.find(Severity::Warning, what, todo);
                Vec::new()
            }
        }
    }

    /// What would run, now and later. What this machine's own profile names is not the bundle's command.
    fn runs(
        &mut self,
        path: &Path,
        todo: &Todo,
        wanted: Option<&Wanted>,
    ) -> (Vec<String>, Vec<Vec<String>>, bool) {
        let Some(wanted) = wanted else { return (Vec::new(), Vec::new(), false) };
        let own = &self.component.profile;
        let bin = |program: &str| shown(&path.join("bin").join(program));
        let building = matches!(todo, Todo::Build(_));
        let sdists = own.sdists.unwrap_or(wanted.environment.sdists) && wanted.environment.wheels.is_none();
        if sdists && building {
            self.plan.executes.push(
                "the build scripts of every distribution that has no wheel, while it is installed".to_owned(),
            );
            if own.sdists.is_none() {
                self.plan.commands.push(["pip", "install"].map(str::to_owned).to_vec());
            }
        }
        let imports = self.may_run("imports", own.imports.as_ref(), &wanted.environment.imports);
        if !imports.is_empty() {
            let words = vec![bin("python"), "-c".to_owned(), format!("import {}", imports.join(", "))];
            self.run(words, own.imports.is_some());
        }
        let scripts = self.may_run("scripts", own.scripts.as_ref(), &wanted.environment.scripts);
        for script in &scripts {
            let mut words = script.clone();
            words[0] = bin(&words[0]);
            self.run(words, own.scripts.is_some());
        }
        if building && !wanted.pins.is_empty() {
            let number = wanted.pins.len();
            self.plan.executes.push(format!("the code of {number} distributions, from {}", bin("")));
        }
        (imports, scripts, sdists)
    }
}

/// What is put in place leaves this, for a rollback to know it again.
pub fn left_by(plan: &Planned, run: &str) -> Left {
    match &plan.todo {
        Todo::Build(_) => Left::Built(run.to_owned()),
        Todo::Remove => Left::Nothing,
        Todo::Nothing => plan.seen.map_or(Left::Nothing, Left::Seen),
        Todo::Restore(_) => plan.facts.seen.map_or(Left::Nothing, Left::Seen),
    }
}

/// Refuses a path that leads elsewhere by now: another component may just have brought a symlink.
pub fn stays(path: &Path) -> Result<()> {
    match resolve(path)? == path {
        true => Ok(()),
        false => {
            Err(Error::not_ready(format_args!("{}: a symlink on it was not there at the plan", shown(path)))
                .todo(
                "import the component that has the symlink first, with --only, and look at the plan again",
            ))
        }
    }
}
