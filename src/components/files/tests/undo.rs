use super::world::*;
use serde_json::json;
use std::os::unix::fs::symlink;

/// A target on which an import of the rich tree does every kind of step.
pub fn mixed() -> World {
    let world = World::with(json!({"mode": "mirror", "symlinks": "replace"}));
    rich(&world.src(""));
    rich(&world.dst(""));
    differ(&world.dst(""));
    world
}

#[test]
fn undo_after_any_number_of_acts_gives_the_old_tree() {
    undo_everywhere();
}

#[test]
fn also_where_names_cannot_be_exchanged() {
    super::super::seat::tests::NO_EXCHANGE.set(true);
    undo_everywhere();
}

fn undo_everywhere() {
    let world = mixed();
    let before = snapshot(&world.dst(""));
    let steps = {
        let mut job = world.plan();
        assert_eq!(job.refusals(), Vec::<String>::new());
        job.stage().unwrap();
        job.commit().unwrap();
        assert_eq!(snapshot(&world.dst("")), snapshot(&world.src("")));
        // Twice does no harm.
        job.commit().unwrap();
        assert_eq!(snapshot(&world.dst("")), snapshot(&world.src("")));
        let findings = job.undo(&job.journal.acts);
        assert_eq!(findings, []);
        assert_eq!(snapshot(&world.dst("")), before);
        assert_eq!(job.undo(&job.journal.acts), []);
        assert_eq!(snapshot(&world.dst("")), before);
        super::super::plan::FilesPlan::of(&job.plan).unwrap().steps.len()
    };
    // The acts are journalled in batches, so all may be in the journal while only some of them are done.
    assert!(steps > 10);
    for done in 0..=steps {
        let mut job = world.plan();
        job.stage().unwrap();
        let detail = super::super::plan::FilesPlan::of(&job.plan).unwrap();
        interrupted(detail, &world, &mut job.journal, done);
        assert_eq!(job.undo(&job.journal.acts), [], "after {done}");
        assert_eq!(snapshot(&world.dst("")), before, "after {done}");
        assert_eq!(std::fs::read_dir(&world.host.home).unwrap().count(), 2);
    }
}

/// Runs the commit up to the step of the given number.
fn interrupted(plan: &super::super::plan::FilesPlan, world: &World, journal: &mut Acts, steps: usize) {
    super::super::commit::commit_until(plan, &world.scope(), journal, steps).unwrap();
}

#[test]
fn an_undo_goes_on_where_it_was_interrupted() {
    let world = mixed();
    let before = snapshot(&world.dst(""));
    let (_, captured) = world.capture();
    let facts = super::super::facts::Facts::read("tree", &captured.facts).unwrap();
    let name = crate::base::name::ComponentName::new("tree").unwrap();
    let options = facts.options.clone();
    let files = super::super::Files::new(&name, "~/dst", options, Some(facts), &world.host).unwrap();
    let acts = {
        let mut job = world.plan();
        job.stage().unwrap();
        job.commit().unwrap();
        job.undo(&job.journal.acts);
        job.journal.acts.len()
    };
    for stop in 0..acts {
        let mut job = world.plan();
        job.stage().unwrap();
        job.commit().unwrap();
        super::super::undo::undo_until(&files, &world.scope(), &job.journal.acts, stop).unwrap();
        assert_eq!(job.undo(&job.journal.acts), [], "after {stop}");
        assert_eq!(snapshot(&world.dst("")), before, "after {stop}");
    }
}

#[test]
fn a_commit_goes_on_where_it_was_interrupted() {
    let world = mixed();
    let mut job = world.plan();
    job.stage().unwrap();
    let detail = super::super::plan::FilesPlan::of(&job.plan).unwrap();
    interrupted(detail, &world, &mut job.journal, detail.steps.len() / 2);
    job.commit().unwrap();
    job.check();
    assert_eq!(snapshot(&world.dst("")), snapshot(&world.src("")));
}

#[test]
fn a_journal_that_fails_stops_the_commit_before_the_act() {
    let world = mixed();
    let before = snapshot(&world.dst(""));
    let mut job = world.plan();
    job.stage().unwrap();
    job.journal.breaks = Some(Break::Before(0));
    assert!(job.commit().is_err());
    assert_eq!(snapshot(&world.dst("")), before);
}

#[test]
fn without_acts_only_the_staging_area_goes() {
    let world = mixed();
    let before = snapshot(&world.dst(""));
    let job = world.plan();
    job.stage().unwrap();
    assert_eq!(std::fs::read_dir(&world.host.home).unwrap().count(), 3);
    assert_eq!(job.undo(&[]), []);
    assert_eq!(job.undo(&[]), []);
    assert_eq!(snapshot(&world.dst("")), before);
    assert_eq!(std::fs::read_dir(&world.host.home).unwrap().count(), 2);
}

#[test]
fn an_absent_target_is_absent_again() {
    let world = World::new();
    rich(&world.src(""));
    let mut job = world.plan();
    job.stage().unwrap();
    job.commit().unwrap();
    assert_eq!(job.undo(&job.journal.acts), []);
    assert!(!world.dst("").exists());
    assert_eq!(std::fs::read_dir(&world.host.home).unwrap().count(), 1);
}

#[test]
fn a_directory_that_only_loses_something_gets_its_time_back() {
    let world = World::with(json!({"mode": "mirror", "exclude": ["*.log"]}));
    write(world.dst("kept/y.log"), "excluded");
    write(world.dst("kept/goes"), "goes");
    touch(world.dst("kept"), 1_400_000_000, 3);
    let before = snapshot(&world.dst(""));
    let mut job = world.plan();
    job.stage().unwrap();
    job.commit().unwrap();
    assert!(!world.dst("kept/goes").exists());
    job.undo(&job.journal.acts);
    assert_eq!(snapshot(&world.dst("")), before);
}

#[test]
fn edits_after_the_commit_are_kept_aside() {
    let world = World::new();
    write(world.src("changed"), "new");
    write(world.src("added"), "new");
    write(world.src("dir/deep/f"), "new");
    write(world.src("replaced"), "new");
    write(world.dst("changed"), "old");
    let before = std::fs::read_to_string(world.dst("changed")).unwrap();
    let mut job = world.plan();
    job.stage().unwrap();
    job.commit().unwrap();
    for path in ["changed", "added", "dir/deep/f"] {
        write(world.dst(path), "edited");
    }
    std::fs::remove_file(world.dst("replaced")).unwrap();
    write(world.dst("replaced"), "edited");
    let findings = job.undo(&job.journal.acts);
    assert_eq!(findings.len(), 4, "{findings:?}");
    assert_eq!(std::fs::read_to_string(world.dst("changed")).unwrap(), before);
    for (path, kept) in [("changed", ""), ("added", ""), ("dir", "/deep/f"), ("replaced", "")] {
        let kept = world.dst(&format!("{path}.kbpack-kept-{RUN}{kept}"));
        assert_eq!(std::fs::read_to_string(&kept).unwrap(), "edited", "{kept:?}");
    }
    assert!(!world.dst("added").exists() && !world.dst("dir").exists());
    // What is kept does not stand in the way of what is kept the next time.
    let mut job = world.plan();
    job.stage().unwrap();
    job.commit().unwrap();
    write(world.dst("changed"), "edited again");
    assert!(job.undo(&job.journal.acts)[0].what.ends_with(&format!("changed.kbpack-kept-{RUN}-2")));
}

#[test]
fn nothing_is_written_through_a_symlink_that_appears_meanwhile() {
    let world = World::new();
    write(world.src("dir/f"), "new");
    write(world.dst("dir/f"), "older");
    write(world.host.home.join("outside/f"), "outside");
    let outside = snapshot(&world.host.home.join("outside"));
    let mut job = world.plan();
    job.stage().unwrap();
    std::fs::rename(world.dst("dir"), world.dst("was")).unwrap();
    symlink("../outside", world.dst("dir")).unwrap();
    assert!(job.commit().is_err());
    job.undo(&job.journal.acts);
    assert_eq!(snapshot(&world.host.home.join("outside")), outside);

    std::fs::remove_file(world.dst("dir")).unwrap();
    std::fs::rename(world.dst("was"), world.dst("dir")).unwrap();
    let mut job = world.plan();
    job.stage().unwrap();
    job.commit().unwrap();
    std::fs::rename(world.dst("dir"), world.dst("was")).unwrap();
    symlink("../outside", world.dst("dir")).unwrap();
    // The old file cannot go back through the link: that is an error, and it is still in the staging area.
    assert!(job.target.undo(&world.scope(), &job.journal.acts).is_err());
    assert_eq!(snapshot(&world.host.home.join("outside")), outside);
    std::fs::remove_file(world.dst("dir")).unwrap();
    std::fs::rename(world.dst("was"), world.dst("dir")).unwrap();
    job.undo(&job.journal.acts);
    assert_eq!(std::fs::read_to_string(world.dst("dir/f")).unwrap(), "older");
}
