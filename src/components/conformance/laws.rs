//! The parts of the suite, each a sentence of the contract.

use super::{from_facts, from_options, untimed, Acts, Break, Bundle, Machine, State, Subject, RUN};
use crate::component::{Against, CheckResult, Component, Contrast, Nobody, Plan, Scope, Severity, Thing};
use serde_json::Value;

/// A machine in a state, and an import of a bundle there, as far as its plan.
struct Import<'a> {
    subject: &'a dyn Subject,
    bundle: &'a Bundle,
    machine: Machine,
    component: Box<dyn Component>,
    /// The world before it.
    before: Vec<String>,
    plan: Plan,
    journal: Acts,
}

impl<'a> Import<'a> {
    fn onto(subject: &'a dyn Subject, bundle: &'a Bundle, start: State) -> Self {
        let machine = Machine::new();
        if start != State::Absent {
            subject.furnish(&machine.host, start);
        }
        let overrides = subject.overrides(&machine.host);
        Import::on(subject, bundle, machine, overrides.as_ref())
    }

    fn on(subject: &'a dyn Subject, bundle: &'a Bundle, machine: Machine, overrides: Option<&Value>) -> Self {
        let component = from_facts(subject, &bundle.facts, overrides, &machine);
        Import::of(subject, bundle, machine, component)
    }

    fn of(
        subject: &'a dyn Subject,
        bundle: &'a Bundle,
        machine: Machine,
        component: Box<dyn Component>,
    ) -> Self {
        let before = subject.world(&machine.host);
        // A plan asks nobody.
        let unasked = Scope { ask: &Nobody, ..machine.scope() };
        let open = component.plan(&unasked, &bundle.streams).unwrap();
        let mut plan = open.clone();
        component.prepare(&machine.scope(), &mut plan, &bundle.streams).unwrap();
        narrowed(&open, &plan);
        let refused: Vec<_> = plan.findings.iter().filter(|f| f.severity == Severity::Refusal).collect();
        assert!(refused.is_empty(), "{refused:?}");
        Import { subject, bundle, machine, component, before, plan, journal: Acts::default() }
    }

    fn world(&self) -> Vec<String> {
        self.subject.world(&self.machine.host)
    }

    fn stage(&self) {
        self.component.stage(&self.machine.scope(), &self.plan, &self.bundle.streams).unwrap();
        passed(&self.component.check_staged(&self.machine.scope(), &self.plan).unwrap());
    }

    fn commit(&mut self) -> crate::component::Result<()> {
        self.component.commit(&self.machine.scope(), &self.plan, &mut self.journal)
    }

    fn check(&self) -> Vec<CheckResult> {
        self.component.check(&self.machine.scope(), &self.plan).unwrap()
    }

    fn finalise(&self) {
        self.component.finalise(&self.machine.scope(), &self.journal.acts).unwrap();
    }

    /// To its end; gives the machine back.
    fn run(self) -> Machine {
        self.run_with_backup().0
    }

    /// To its end, with the backup at its time.
    fn run_with_backup(mut self) -> (Machine, Bundle) {
        let early = self.plan.late_backup.is_none().then(|| self.back_up());
        self.stage();
        self.commit().unwrap();
        passed(&self.check());
        let backup = early.unwrap_or_else(|| self.back_up());
        self.finalise();
        (self.machine, backup)
    }

    fn back_up(&self) -> Bundle {
        let before = self.world();
        let backup = Bundle::before(&*self.component, &self.plan, &self.machine);
        assert_same(&self.world(), &before, "backed up");
        backup
    }

    /// Undoes, and everything must be as it was: after a second time as well.
    #[track_caller]
    fn undo(&self, when: &str) {
        for time in ["once", "twice"] {
            let kept = self.component.undo(&self.machine.scope(), &self.journal.acts).unwrap();
            assert_eq!(kept, [], "undone {time} {when}");
            assert_same(&self.world(), &self.before, &format!("undone {time} {when}"));
        }
    }
}

#[track_caller]
fn passed(results: &[CheckResult]) {
    assert!(results.iter().all(|r| r.failure.is_none()), "{results:?}");
}

/// What was prepared is what was planned, or less.
#[track_caller]
fn narrowed(planned: &Plan, prepared: &Plan) {
    assert_eq!(prepared.destinations, planned.destinations);
    assert_eq!(prepared.commands, planned.commands);
    let names = |plan: &Plan| plan.not_packed.iter().map(|n| n.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(prepared), names(planned));
    let more: Vec<_> = prepared.changes.iter().filter(|change| !planned.changes.contains(change)).collect();
    assert!(more.is_empty(), "changes that were not planned: {more:?}");
    assert!(prepared.executes.iter().all(|line| planned.executes.contains(line)));
    assert!(prepared.space <= planned.space);
}

/// Two worlds, and only the lines that differ when they do.
#[track_caller]
fn assert_same(now: &[String], then: &[String], when: &str) {
    let only = |a: &[String], b: &[String]| -> Vec<String> {
        a.iter().filter(|row| !b.contains(row)).cloned().collect()
    };
    let (new, lost) = (only(now, then), only(then, now));
    assert!(new.is_empty() && lost.is_empty(), "{when}: now {new:#?}, before {lost:#?}");
}

/// Without the lines that name the run: staging areas and what was kept aside.
fn without_run(world: &[String]) -> Vec<String> {
    world.iter().filter(|row| !row.contains(RUN)).cloned().collect()
}

/// And without folders: an edit moves their times, and one that is kept keeps the folder that it is in.
fn without_folders(world: &[String]) -> Vec<String> {
    without_run(world).into_iter().filter(|row| !row.starts_with("folder ")).collect()
}

/// Facts are all that it takes to make the component again; a survey announces what is then listed.
pub fn facts_and_counts(subject: &dyn Subject, source: &Machine, bundle: &Bundle) {
    let described = from_options(subject, source);
    let overrides = subject.overrides(&source.host);
    let again = from_facts(subject, &bundle.facts, overrides.as_ref(), source);
    assert_eq!(again.claims().unwrap(), described.claims().unwrap());
    assert_eq!(again.undo_strength(), described.undo_strength());
    let secrets = described.secrets().unwrap();
    assert!(!shows(&bundle.facts.to_string(), &secrets), "a secret's value is in the facts");

    let survey = described.survey(&source.scope()).unwrap();
    let mut listed = Vec::new();
    again.list(&bundle.streams, &mut |row| listed.push(row)).unwrap();
    assert_eq!(survey.items, listed.len() as u64, "{listed:?}");
    assert!(survey.items > 0 && survey.bytes > 0 && !survey.origins.is_empty());
}

fn shows(text: &str, secrets: &[crate::component::NamedSecret]) -> bool {
    secrets.iter().any(|s| text.contains(&*String::from_utf8_lossy(s.value.expose())))
}

/// The target becomes what the source is; a second import of the same finds nothing to do, and does nothing.
pub fn round_trip(subject: &dyn Subject, bundle: &Bundle, start: State) {
    let import = Import::onto(subject, bundle, start);
    assert!(!import.plan.changes.is_empty() && !import.plan.destinations.is_empty());
    let compared = import.component.compare(&import.machine.scope(), &import.plan).unwrap();
    assert!(compared.is_none_or(|results| results.iter().any(|result| result.failure.is_some())));
    assert_ne!(differences(&*import.component, &import.machine, bundle), [""; 0], "onto {start:?}");
    let machine = import.run();
    let captured = Bundle::of(&*from_options(subject, &machine), &machine);
    assert_eq!(captured.content(subject), bundle.content(subject), "onto {start:?}");

    let overrides = subject.overrides(&machine.host);
    let mut again = Import::on(subject, bundle, machine, overrides.as_ref());
    assert_eq!(differences(&*again.component, &again.machine, bundle), [""; 0], "onto {start:?}");
    assert_same(&again.world(), &again.before, "looked at");
    if let Some(results) = again.component.compare(&again.machine.scope(), &again.plan).unwrap() {
        // Its plan does not compare, so that the same again is put in place anew.
        return passed(&results);
    }
    assert!(again.plan.changes.is_empty(), "onto {start:?}: {:?}", again.plan.changes);
    // What an import fetches by a command, it fetches each time.
    assert_eq!(again.plan.executes.len(), again.plan.commands.len(), "{:?}", again.plan.executes);
    assert!(again.plan.unchanged > 0);
    again.stage();
    again.commit().unwrap();
    assert!(again.journal.acts.is_empty(), "{:?}", again.journal.acts);
    passed(&again.check());
    again.finalise();
    assert_same(&again.world(), &again.before, "after the same again");
}

/// What a bundle holds and what is present, where they differ.
fn differences(component: &dyn Component, machine: &Machine, bundle: &Bundle) -> Vec<String> {
    let mut held = component.holds(&bundle.streams, &Against::NOTHING).unwrap();
    held.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(held.windows(2).all(|two| two[0].name < two[1].name), "a name stands there twice");
    let against = Against { things: &held, streams: Some(&bundle.streams), only: &[] };
    let mut present = component.present(&machine.scope(), &against).unwrap().unwrap_or_default();
    present.sort_by(|a, b| a.name.cmp(&b.name));
    let differences = Contrast::of(&held, &present).differences;
    let words = |(left, right, aspects): &(Option<&Thing>, Option<&Thing>, Vec<&str>)| {
        format!("{left:?} {right:?}: {aspects:?}")
    };
    differences.iter().map(words).collect()
}

/// A plan changes nothing. What was staged and is not committed goes without a trace.
pub fn planning_and_staging_leave_no_trace(subject: &dyn Subject, bundle: &Bundle, start: State) {
    let import = Import::onto(subject, bundle, start);
    assert_same(&import.world(), &import.before, "planned");
    import.undo("before anything was staged");
    import.stage();
    // Also where it was begun before.
    import.stage();
    assert_ne!(import.world(), import.before);
    import.undo("after staging");
}

/// Exactly what was there, or nothing where nothing was; and the checks say that it is not the new state.
pub fn undo_brings_back(subject: &dyn Subject, bundle: &Bundle, start: State) {
    let mut import = Import::onto(subject, bundle, start);
    import.stage();
    import.commit().unwrap();
    let done = import.world();
    import.commit().unwrap();
    assert_same(&import.world(), &done, "committed twice");
    passed(&import.check());
    let secrets = from_options(subject, &import.machine).secrets().unwrap();
    for act in &import.journal.acts {
        assert!(!shows(&act.0.to_string(), &secrets), "a secret's value is in the journal");
        let words = import.component.describe(act);
        assert!(
            !words.is_empty() && !words.contains(char::is_control) && !shows(&words, &secrets),
            "{words}"
        );
        let digest = words.split(|c: char| !c.is_ascii_hexdigit()).any(|word| word.len() == 64);
        assert!(!digest, "{words}");
    }
    import.undo("after the commit");
    assert!(import.check().iter().any(|check| check.failure.is_some()), "the check sees no difference");
}

/// Whichever acts are in the journal, and however many of them were done.
pub fn undo_from_every_half_done_position(subject: &dyn Subject, bundle: &Bundle, start: State) {
    for at in 0.. {
        let mut failed = false;
        for breaks in [Break::Before(at), Break::After(at)] {
            let mut import = Import::onto(subject, bundle, start);
            import.stage();
            import.journal = Acts::breaking(breaks);
            failed |= import.commit().is_err();
            import.undo(&format!("from {breaks:?}"));
        }
        if !failed {
            assert!(at > 0, "no act was written down");
            return;
        }
    }
}

/// A commit that stopped goes on, and can still be undone.
pub fn a_commit_goes_on_where_it_stopped(subject: &dyn Subject, bundle: &Bundle, start: State) {
    for at in 0.. {
        let mut import = Import::onto(subject, bundle, start);
        import.stage();
        import.journal = Acts::breaking(Break::After(at));
        let failed = import.commit().is_err();
        import.journal.breaks = None;
        import.commit().unwrap();
        passed(&import.check());
        import.undo(&format!("after a commit that went on from {at}"));
        if !failed {
            return;
        }
    }
}

/// Nothing is left but the new state, also the second time. An undo that comes too late does no harm.
pub fn finalise_is_the_end(subject: &dyn Subject, bundle: &Bundle, start: State) {
    let mut import = Import::onto(subject, bundle, start);
    import.stage();
    import.commit().unwrap();
    import.finalise();
    let done = import.world();
    assert_same(&without_run(&done), &done, "finalised");
    import.finalise();
    assert_same(&import.world(), &done, "finalised twice");
    // Refused or without effect.
    let _ = import.component.undo(&import.machine.scope(), &import.journal.acts);
    assert_same(&import.world(), &done, "undone after the end");
    passed(&import.check());
}

/// Staging or the commit stops, and what somebody wrote stays where it is. Where the backup comes late, it is in there.
pub fn an_edit_since_the_plan_is_refused_or_carried_along(
    subject: &dyn Subject,
    bundle: &Bundle,
    start: State,
) {
    for staged_before in [true, false] {
        let mut import = Import::onto(subject, bundle, start);
        if import.plan.late_backup.is_some() {
            an_edit_is_carried_along(import, staged_before);
            continue;
        }
        if staged_before {
            import.stage();
        }
        subject.edit(&import.machine.host);
        let edited = without_folders(&import.world());
        let staged = match staged_before {
            true => Ok(()),
            false => import.component.stage(&import.machine.scope(), &import.plan, &bundle.streams),
        };
        staged.and_then(|()| import.commit()).expect_err("a commit over an edit");
        let kept = import.component.undo(&import.machine.scope(), &import.journal.acts).unwrap();
        assert_eq!(kept, []);
        assert_same(&without_run(&import.world()), &import.world(), "undone after an edit");
        assert_same(
            &without_folders(&import.world()),
            &edited,
            &format!("after an edit since the plan of {start:?}"),
        );
        assert!(subject.edit_survives(&import.machine.host));
    }
}

/// An edit of what the commit moves aside is back after an undo, and in the late backup.
fn an_edit_is_carried_along(mut import: Import<'_>, staged_before: bool) {
    let (subject, bundle) = (import.subject, import.bundle);
    if staged_before {
        import.stage();
        subject.edit(&import.machine.host);
    } else {
        subject.edit(&import.machine.host);
        import.stage();
    }
    let edited = without_run(&import.world());
    import.commit().unwrap();
    assert_eq!(import.component.undo(&import.machine.scope(), &import.journal.acts).unwrap(), []);
    assert_same(&import.world(), &edited, "undone after an edit");

    import.before = edited.clone();
    let overrides = subject.overrides(&import.machine.host);
    let mut import = Import::on(subject, bundle, import.machine, overrides.as_ref());
    import.stage();
    import.commit().unwrap();
    let backup = import.back_up();
    import.finalise();
    assert!(!subject.edit_survives(&import.machine.host));
    let component =
        subject.kind().from_backup(&super::name(), &backup.facts, None, &import.machine.host).unwrap();
    let machine = Import::of(subject, &backup, import.machine, component).run();
    assert_same(&subject.world(&machine.host), &edited, "rolled back after an edit");
    assert!(subject.edit_survives(&machine.host));
}

/// The old state is back, and what somebody wrote to the new one is kept aside and named.
pub fn an_edit_after_the_commit_is_kept(subject: &dyn Subject, bundle: &Bundle, start: State) {
    let mut import = Import::onto(subject, bundle, start);
    import.stage();
    import.commit().unwrap();
    subject.edit(&import.machine.host);
    let kept = import.component.undo(&import.machine.scope(), &import.journal.acts).unwrap();
    assert!(kept.iter().any(|finding| finding.severity == Severity::Warning), "{kept:?}");
    assert!(subject.edit_survives(&import.machine.host), "onto {start:?}");
    let (now, before) = (without_folders(&import.world()), without_folders(&import.before));
    assert_same(&now, &before, "with an edit kept aside");
}

/// What is backed up before an import brings back what it touched, and keeps what was edited since.
pub fn a_backup_brings_back(subject: &dyn Subject, bundle: &Bundle, start: State) {
    for edited in [false, true] {
        let import = Import::onto(subject, bundle, start);
        let before = untimed(&import.before);
        let (machine, backup) = import.run_with_backup();
        assert_ne!(untimed(&subject.world(&machine.host)), before);
        if edited {
            subject.edit(&machine.host);
        }
        let component =
            subject.kind().from_backup(&super::name(), &backup.facts, None, &machine.host).unwrap();
        let mut back = Import::of(subject, &backup, machine, component);
        // What is edited is kept aside, or all of it is in the late backup of the rollback.
        let late = back.plan.late_backup.is_some();
        let warned = back.plan.findings.iter().any(|finding| finding.severity == Severity::Warning);
        assert!(late || warned == edited, "{:?}", back.plan.findings);
        // Half way and back again.
        back.stage();
        back.commit().unwrap();
        let kept = back.component.undo(&back.machine.scope(), &back.journal.acts).unwrap();
        assert_eq!(kept, []);
        assert_same(&untimed(&back.world()), &untimed(&back.before), "a rollback that was undone");
        back.journal = Acts::default();
        let imported = untimed(&back.before);
        let (machine, forth) = back.run_with_backup();
        let now = untimed(&subject.world(&machine.host));
        let when = format!("rolled back onto {start:?}, edited: {edited}");
        match edited {
            false => assert_same(&now, &before, &when),
            // The folder that holds what is kept may be one that was not there.
            true => assert_same(&without_folders(&now), &without_folders(&before), &when),
        }
        assert_eq!(subject.edit_survives(&machine.host), edited && !late, "{when}");

        // And forth again, by the backup of the rollback: what was kept stays beside.
        let component =
            subject.kind().from_backup(&super::name(), &forth.facts, None, &machine.host).unwrap();
        let machine = Import::of(subject, &forth, machine, component).run();
        let again = without_run(&untimed(&subject.world(&machine.host)));
        assert_same(&again, &imported, &format!("and forth again, {when}"));
        assert_eq!(subject.edit_survives(&machine.host), edited, "{when}");
    }
}
