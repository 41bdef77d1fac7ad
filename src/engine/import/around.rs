//! What an import and a rollback have in common around their [`Transaction`].

use super::{ImportReport, LoadKeys};
use crate::base::path::ShownPath;
use crate::component::{Finding, Host, Severity};
use crate::crypto::own::OwnKeys;
use crate::engine::apply::Transaction;
use crate::engine::backup::{self, back_up, Backup, Part};
use crate::engine::error::{EngineError, Result};
use crate::engine::events::{Confirmation, Decide, Events};
use crate::engine::hooks::{self, Quiet};
use crate::engine::journal::Begin;
use crate::engine::log::{self, Log};
use crate::engine::machine;
use crate::engine::plan::{require_space, ImportPlan};
use crate::engine::state::State;
use crate::format::{BundleId, Where};
use crate::pipeline::pack::PackError;

/// Has the events of `steps`, and what becomes of them, in a log.
pub(in crate::engine) fn logged(
    events: &dyn Events,
    steps: impl FnOnce(&Log<'_>) -> Result<ImportReport>,
) -> Result<ImportReport> {
    let log = Log::new(events);
    let outcome = steps(&log);
    match &outcome {
        Ok(report) => {
            let done = report.plan.rolls_back.as_ref().map_or("imported", |_| "taken back");
            let rest =
                if report.leftovers.is_empty() { "" } else { "; `kbpack recover` removes what is left over" };
            log.end(&format!("{done}{rest}"));
        }
        Err(error) => log.end(&log::failure(error)),
    }
    outcome
}

/// The keys for the backup, if there is to be one: before anything is asked or done.
pub(in crate::engine) fn own_keys(
    plan: &ImportPlan,
    no_backup: bool,
    load: LoadKeys<'_>,
) -> Result<Option<OwnKeys>> {
    match backup::is_needed(plan) && !no_backup {
        true => load().map(Some).map_err(EngineError::NoBackupKey),
        false => Ok(None),
    }
}

/// The hooks of what is planned. Where nothing changes, nothing has to be quiesced or told.
pub(in crate::engine) fn quiet<'a>(
    plan: &ImportPlan,
    run: &str,
    host: &Host,
    state: &'a State,
    events: &'a dyn Events,
) -> Quiet<'a> {
    let hooks = if backup::is_needed(plan) { hooks::plan::running(&plan.hooks) } else { Vec::new() };
    let quiet = Quiet::new((run, Where::Target), host, state, hooks, events);
    quiet.taking_back(plan.rolls_back.is_some())
}

/// Asks whether to go on.
pub(in crate::engine) fn confirm(decide: &dyn Decide, plan: &ImportPlan, news: &[String]) -> Result<()> {
    match decide.confirm(plan, news) {
        Confirmation::Yes => Ok(()),
        Confirmation::No => Err(EngineError::Declined),
        Confirmation::NobodyToAsk => Err(EngineError::NobodyToAsk),
        Confirmation::NewDestinations => Err(EngineError::NewDestinations(news.join(", "))),
    }
}

/// Makes what of the backup comes before the first change, or says why there is none.
pub(in crate::engine) fn backed_up(transaction: &Transaction<'_>) -> Result<Backup> {
    let plan = transaction.plan;
    match transaction.keys {
        _ if !backup::is_needed(plan) => Ok(Backup::Unneeded),
        Some(keys) if Part::Early.is_needed(plan) => {
            let made = back_up(transaction, keys, Part::Early)?;
            // It may have taken the room that staging needs.
            require_space(plan, transaction.host)?;
            Ok(Backup::Made(made))
        }
        Some(_) => Ok(Backup::Late),
        None => {
            let what = "no backup is made: when this is done, nothing brings back what it replaces";
            transaction.events.finding("backup", &Finding::new(Severity::Warning, what));
            Ok(Backup::None)
        }
    }
}

/// All that recovery needs to know.
pub(in crate::engine) fn begin(transaction: &Transaction<'_>, backup: Backup) -> Begin {
    let Transaction { host, plan, .. } = transaction;
    let map = |(from, to): &(_, _)| (ShownPath(Clone::clone(from)), ShownPath(Clone::clone(to)));
    Begin {
        run: transaction.run.to_owned(),
        started: machine::now_ms(),
        bundle: plan.id,
        place: String::new(),
        signer: plan.signer.clone(),
        profile: plan.profile.clone(),
        sequence: plan.sequence,
        origin: plan.origin.clone(),
        home: ShownPath(host.home.clone()),
        maps: host.maps.iter().map(map).collect(),
        backup,
        late: None,
        rolls_back: plan.rolls_back.clone(),
        hooks: hooks::plan::running(&plan.hooks),
        components: transaction.participants.iter().map(|participant| participant.begun(plan)).collect(),
    }
}

/// 16 hex digits that no other run has.
pub(in crate::engine) fn random_run() -> Result<String> {
    let id = BundleId::random().map_err(PackError::from)?;
    Ok(id.to_string()[..16].to_owned())
}
