//! `rollback`: takes an import back that was finalised, by importing its backup. The backup is taken by the digest in the
//! history, whatever its age; no sequence mark is lowered. Before it, what is there now is backed up like in any import.

use crate::base::path::ShownPath;
use crate::component::{Finding, Host, Nobody, Severity};
use crate::crypto::identity::Identities;
use crate::crypto::paths::KeyPaths;
use crate::engine::apply::Transaction;
use crate::engine::backup::{self, Backup, Part};
use crate::engine::error::{EngineError, Result};
use crate::engine::events::{Decide, Events};
use crate::engine::history::{past_records, records, taken_back};
use crate::engine::hooks::plan::of_rollback;
use crate::engine::import::{
    backed_up, begin, confirm, logged, own_keys, quiet, random_run, ImportReport, LoadKeys,
};
use crate::engine::journal::{Begin, End, Record};
use crate::engine::log::Log;
use crate::engine::machine;
use crate::engine::participants::{self, participants, From};
use crate::engine::plan::{look_at_late_backups, refuse, require_space, ImportPlan};
use crate::engine::recover::recover_first;
use crate::engine::selection::Selection;
use crate::engine::state::State;
use crate::pipeline::unpack::Opened;

/// How to take an import back.
pub struct Rollback<'a> {
    /// This machine.
    pub host: &'a Host,
    /// What this machine remembers.
    pub state: &'a State,
    /// The trusted signers: whose hooks still run.
    pub paths: &'a KeyPaths,
    /// What opens the backup.
    pub identities: &'a Identities,
    /// The beginning of the import's run; `None` is the last one that changed anything.
    pub import: Option<&'a str>,
    /// Stop after the plan.
    pub dry_run: bool,
    /// Do without a backup of what is there now.
    pub no_backup: bool,
    /// Do without the hooks of the import.
    pub no_hooks: bool,
    /// What the backup is kept with.
    pub keys: LoadKeys<'a>,
    /// Asked before the first change.
    pub decide: &'a dyn Decide,
}

impl Rollback<'_> {
    /// Takes it back.
    pub fn run(&self, events: &dyn Events) -> Result<ImportReport> {
        let _lock = self.state.lock()?;
        recover_first(self.state, self.host, events)?;
        let (past, later) = self.choose()?;
        logged(events, |log| self.steps(&past, &later, log))
    }

    fn steps(&self, past: &Begin, later: &[Begin], log: &Log<'_>) -> Result<ImportReport> {
        let events: &dyn Events = log;
        self.warn_of(later, events);
        events.step("verifying");
        let (opened, place) = self.open(past, events)?;
        // Where it was imported, not where this user's home is by now.
        let host = Host { home: past.home.0.clone(), maps: Vec::new(), ..self.host.clone() };

        events.step("planning");
        let run = random_run()?;
        let participants =
            participants(&opened, &host, &Selection::default(), &From::Backup(&past.components))?;
        let components = participants::plan(&participants, &host, &run, &Nobody, events)?;
        let hooks = of_rollback(&past.hooks, self.paths, !self.no_hooks)?;
        let mut plan = ImportPlan { components, hooks, ..plan_of(&opened[0], past) };
        look_at_late_backups(&mut plan, self.state, self.no_backup, events);
        if self.dry_run {
            return Ok(ImportReport::planned(plan));
        }
        refuse(&plan)?;
        require_space(&plan, &host)?;
        let keys = own_keys(&plan, self.no_backup, self.keys)?;
        confirm(self.decide, &plan, &[])?;
        let quiet = quiet(&plan, &run, &host, self.state, log);
        let transaction = Transaction {
            host: &host,
            state: self.state,
            run: &run,
            participants: &participants,
            plan: &plan,
            keys: keys.as_ref(),
            quiet: &quiet,
            events: log,
        };
        let (backup, applied) = quiet.during(|| {
            let backup = backed_up(&transaction)?;
            let begin = Begin { place, ..begin(&transaction, backup) };
            Ok((backup, transaction.run(&begin, || Ok(()))?))
        })?;
        // The checks of what is no longer in place say nothing.
        self.state.drop_checks()?;
        let backup = backup.early().map(|made| made.shown(Part::Early, &run, self.state));
        Ok(ImportReport::done(plan, backup, applied))
    }

    /// The import to take back, and those that came after it.
    fn choose(&self) -> Result<(Begin, Vec<Begin>)> {
        let (over, damaged) = past_records(self.state)?;
        if self.import.is_none() {
            self.last_is_known(&over, damaged)?;
        }
        let held = |record: Record| record.begin.filter(|_| record.end == Some(End::Imported));
        let undone = |name: &str, records: &[Record]| {
            let began =
                records.iter().filter(|r| r.end == Some(End::Undone)).filter_map(|r| r.begin.as_ref());
            began.map(|begin| begin.run.clone()).find(|run| run.starts_with(name))
        };
        let undone = self.import.and_then(|name| undone(name, &over));
        let held: Vec<Begin> = over.into_iter().filter_map(held).collect();
        let taken_back = taken_back(held.iter().map(|held| (held.run.as_str(), held.rolls_back.as_deref())));
        let at = match self.import {
            // What changed nothing, and what was taken back already, are passed over; a rollback is taken back by name only.
            None => held.iter().rposition(|import| {
                import.rolls_back.is_none()
                    && import.backup != Backup::Unneeded
                    && !taken_back.contains_key(&import.run)
            }),
            Some(name) => {
                let mut named = (0..held.len()).filter(|i| held[*i].run.starts_with(name));
                let at = named.next();
                if named.next().is_some() {
                    return Err(EngineError::AmbiguousImport(name.to_owned()));
                }
                if let (None, Some(run)) = (at, undone) {
                    let why = "it failed and was undone: nothing of it is left".to_owned();
                    return Err(EngineError::CannotRollBack { run, why });
                }
                Some(at.ok_or_else(|| EngineError::NoSuchImport(name.to_owned()))?)
            }
        };
        let at = at.ok_or(EngineError::NothingToRollBack)?;
        if let Some(by) = taken_back.get(&held[at].run) {
            let why = format!("the rollback {by} did so already");
            return Err(EngineError::CannotRollBack { run: held[at].run.clone(), why });
        }
        let past = held[at].clone();
        // What was taken back since, and the rollbacks that did it, left nothing.
        let stands = |import: &&Begin| {
            let taken_later = |run: &String| held[at + 1..].iter().any(|other| other.run == *run);
            !taken_back.contains_key(&import.run) && !import.rolls_back.as_ref().is_some_and(taken_later)
        };
        let later = held[at + 1..].iter().filter(stands).cloned().collect();
        Ok((past, later))
    }

    /// Which import was the last one is known only where every one is over and can be read: else an older one would be
    /// taken for it.
    fn last_is_known(&self, over: &[Record], damaged: Vec<EngineError>) -> Result<()> {
        if let Some(error) = damaged.into_iter().next() {
            return Err(error);
        }
        if let Some(torn) = over.iter().find(|record| record.end.is_none()) {
            return Err(EngineError::DamagedHistory(torn.path.clone()));
        }
        let (unfinished, _) = records(&self.state.journals_dir())?;
        match unfinished.into_iter().find_map(|record| record.begin) {
            None => Ok(()),
            Some(Begin { run, .. }) => {
                let why = "it is not over: what it had left over could not be removed".to_owned();
                Err(EngineError::CannotRollBack { run, why })
            }
        }
    }

    /// Imports that came later and hold may have changed the same places.
    fn warn_of(&self, later: &[Begin], events: &dyn Events) {
        let changed = later.iter().filter(|import| import.backup != Backup::Unneeded);
        for import in changed {
            let when = machine::timestamp(import.started / 1000);
            let what = format!(
                "the import {} of {when} came after it; what that put in the same places is kept aside",
                import.run
            );
            events.finding("rollback", &Finding::new(Severity::Warning, what));
        }
    }

    /// The one or two bundles of the backup of `past`, and where they stand.
    fn open(&self, past: &Begin, events: &dyn Events) -> Result<(Vec<Opened>, String)> {
        let cannot = |why: String| EngineError::CannotRollBack { run: past.run.clone(), why };
        match past.backup {
            Backup::Unneeded => return Err(cannot("it changed nothing".to_owned())),
            Backup::None => return Err(cannot("it was made without a backup".to_owned())),
            Backup::Made(_) | Backup::Late => {}
        }
        let parts = [(Part::Early, past.backup.early()), (Part::Late, past.late)];
        let (mut all, mut places) = (Vec::new(), Vec::new());
        for (part, made) in parts {
            let Some(made) = made else { continue };
            let path = part.path(&past.run, self.state);
            let place = ShownPath::from(path.as_path()).to_string();
            if path.symlink_metadata().is_err() {
                return Err(cannot(format!("its backup {place} is gone")));
            }
            all.push(backup::open(&path, Some(made.sums), self.identities, events)?.0);
            places.push(place);
        }
        match all.is_empty() {
            true => Err(cannot("it has no backup".to_owned())),
            false => Ok((all, places.join(" and "))),
        }
    }
}

/// What there is to say of the rollback, but for its components.
fn plan_of(opened: &Opened, past: &Begin) -> ImportPlan {
    let manifest = opened.manifest();
    ImportPlan {
        id: manifest.id,
        signer: opened.signer().fingerprint(),
        principal: opened.trust().principal.clone(),
        profile: manifest.profile.clone(),
        sequence: manifest.sequence,
        origin: format!("{}@{}", manifest.origin.user, manifest.origin.host),
        created: machine::timestamp(manifest.created),
        rolls_back: Some(past.run.clone()),
        overrides: None,
        components: Vec::new(),
        checks: Vec::new(),
        hooks: Vec::new(),
        todos: Vec::new(),
    }
}
