//! From the backup of an import back to what was there.

use super::super::FilesKind;
use super::undo::mixed;
use super::world::*;
use crate::base::name::ComponentName;
use crate::component::{Kind, Severity};
use crate::components::conformance::untimed;
use serde_json::{json, Value};
use std::os::unix::fs::symlink;

impl World {
    /// Imports, after the backup that it returns.
    fn import_with_backup(&self) -> (Streams, Value) {
        let mut job = self.plan();
        assert_eq!(job.refusals(), Vec::<String>::new());
        let mut streams = Streams::default();
        let captured = job.target.back_up(&self.scope(), &job.plan, &streams).unwrap();
        streams.seal();
        job.run().unwrap();
        (streams, captured.facts)
    }

    /// Plans the way back.
    fn back(&self, streams: Streams, facts: &Value) -> Job<'_> {
        let name = ComponentName::new("tree").unwrap();
        // No bundle may say of itself that it is a backup.
        assert!(FilesKind.from_facts(&name, facts, None, &self.host).is_err());
        let target = FilesKind.from_backup(&name, facts, None, &self.host).unwrap();
        let plan = target.plan(&self.scope(), &streams).unwrap();
        let job = self.planned(target, streams, plan);
        assert_eq!(job.refusals(), Vec::<String>::new());
        job
    }
}

#[test]
fn every_kind_of_step_is_taken_back_to_the_last_time_stamp() {
    let world = mixed();
    let before = snapshot(&world.dst(""));
    let (streams, facts) = world.import_with_backup();
    assert_eq!(snapshot(&world.dst("")), snapshot(&world.src("")));
    let mut job = world.back(streams, &facts);
    let warned = job.plan.findings.iter().filter(|f| f.severity == Severity::Warning).count();
    assert_eq!(warned, 0, "{:?}", job.plan.findings);
    job.run().unwrap();
    assert_eq!(snapshot(&world.dst("")), before);
}

#[test]
fn what_was_not_there_goes_with_the_folders_above_it() {
    let mut world = World::new();
    rich(&world.src(""));
    world.overrides = json!({"path": "~/srv/app/dst"});
    let (streams, facts) = world.import_with_backup();
    let root = world.host.home.join("srv/app/dst");
    assert_eq!(snapshot(&root), snapshot(&world.src("")));
    world.back(streams, &facts).run().unwrap();
    assert!(!world.host.home.join("srv").exists());
}

#[test]
fn folders_above_stay_if_others_use_them_and_the_root_if_it_was_edited() {
    let mut world = World::new();
    write(world.src("a"), "a");
    world.overrides = json!({"path": "~/srv/app/dst"});
    let (streams, facts) = world.import_with_backup();
    let root = world.host.home.join("srv/app/dst");
    write(root.join("mine"), "added since");
    write(root.with_file_name("beside"), "another's");
    let mut job = world.back(streams, &facts);
    assert!(job.plan.findings.iter().any(|f| f.what.ends_with(&format!("dst.kbpack-kept-{RUN}"))));
    job.run().unwrap();
    assert!(!root.exists());
    let kept = root.with_file_name(format!("dst.kbpack-kept-{RUN}"));
    assert_eq!(std::fs::read(kept.join("mine")).unwrap(), b"added since");
    assert!(root.with_file_name("beside").exists());
}

#[test]
fn edits_since_the_import_are_kept_beside() {
    let world = World::new();
    for name in ["changed", "removed", "new", "same-content"] {
        write(world.src(name), &format!("{name} of the bundle"));
    }
    write(world.src("dir/inner"), "i");
    write(world.dst("changed"), "old");
    write(world.dst("same-content"), "same-content of the bundle");
    write(world.dst("untouched"), "u");
    let (streams, facts) = world.import_with_backup();

    write(world.dst("changed"), "edited");
    write(world.dst("new"), "edited too");
    write(world.dst("dir/added"), "added");
    write(world.dst("same-content"), "edited; the import changed its time only");
    write(world.dst("untouched"), "edited, and none of the import's");
    std::fs::remove_file(world.dst("removed")).unwrap();
    let mut job = world.back(streams, &facts);
    let kept = job.plan.findings.iter().filter(|f| f.what.contains("kbpack-kept-")).count();
    assert_eq!(kept, 3, "{:?}", job.plan.findings);
    job.run().unwrap();

    let read = |name: &str| std::fs::read_to_string(world.dst(name)).unwrap();
    assert_eq!(read("changed"), "old");
    assert_eq!(read(&format!("changed.kbpack-kept-{RUN}")), "edited");
    assert_eq!(read(&format!("new.kbpack-kept-{RUN}")), "edited too");
    assert_eq!(read(&format!("dir.kbpack-kept-{RUN}/added")), "added");
    assert_eq!(read("same-content"), "edited; the import changed its time only");
    assert_eq!(read("untouched"), "edited, and none of the import's");
    for gone in ["new", "removed", "dir"] {
        assert!(!world.dst(gone).exists(), "{gone}");
    }
}

#[test]
fn a_way_back_that_fails_leaves_what_the_import_put_there() {
    let world = mixed();
    let (streams, facts) = world.import_with_backup();
    write(world.dst("plain"), "edited since");
    let after = snapshot(&world.dst(""));
    let mut job = world.back(streams, &facts);
    job.stage().unwrap();
    job.commit().unwrap();
    assert_eq!(job.undo(&job.journal.acts), []);
    assert_eq!(snapshot(&world.dst("")), after);
}

#[test]
fn a_single_file_comes_back_and_one_that_was_not_there_goes() {
    for was_there in [true, false] {
        let mut world = World::new();
        write(world.src("f"), "newer");
        world.options = json!({"path": "~/src/f"});
        world.overrides = json!({"path": "~/dst"});
        if was_there {
            write(world.host.home.join("dst"), "old");
        }
        let (streams, facts) = world.import_with_backup();
        assert_eq!(std::fs::read(world.host.home.join("dst")).unwrap(), b"newer");
        let mut job = world.back(streams, &facts);
        assert_eq!(job.changes(), [if was_there { "Changed dst" } else { "Removed dst" }]);
        job.run().unwrap();
        let now = std::fs::read(world.host.home.join("dst")).ok();
        assert_eq!(now.as_deref(), was_there.then_some(&b"old"[..]));
        let left = std::fs::read_dir(&world.host.home).unwrap().count();
        assert_eq!(left, 1 + usize::from(was_there));
    }
}

#[test]
fn only_what_an_import_of_a_part_touched() {
    let mut world = World::with(json!({"mode": "mirror"}));
    write(world.src("in/a"), "a");
    write(world.src("out/b"), "b");
    write(world.dst("in/gone"), "g");
    write(world.dst("out/mine"), "m");
    symlink("mine", world.dst("out/link")).unwrap();
    let before = snapshot(&world.dst(""));
    world.only = vec![crate::base::path::BundlePath::new("in").unwrap()];
    world.options["path"] = json!("~/src");
    let (captured, facts) = {
        world.only.clear();
        let (streams, captured) = world.capture();
        world.only = vec![crate::base::path::BundlePath::new("in").unwrap()];
        let mut job = world.job(streams, &captured.facts).unwrap();
        let mut backup = Streams::default();
        let facts = job.target.back_up(&world.scope(), &job.plan, &backup).unwrap().facts;
        backup.seal();
        job.run().unwrap();
        (backup, facts)
    };
    world.only.clear();
    assert!(!world.dst("in/gone").exists() && world.dst("out/mine").exists());
    write(world.dst("out/later"), "l");
    world.back(captured, &facts).run().unwrap();
    std::fs::remove_file(world.dst("out/later")).unwrap();
    // The test itself moved the time of `out`.
    assert_eq!(untimed(&snapshot(&world.dst(""))), untimed(&before));
}
