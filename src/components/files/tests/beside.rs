//! Several components beside and inside each other: committed in their order, taken back in the opposite one.

use super::super::FilesKind;
use super::world::*;
use crate::base::name::ComponentName;
use crate::component::{Act, Component, Finding, Kind, Plan, Scope};
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// One component of a bundle: its root, relative to both trees, and all that its acts need.
struct One {
    target: Box<dyn Component>,
    streams: Streams,
    carved: Vec<PathBuf>,
    plan: Option<Plan>,
    journal: Acts,
}

/// Components at `roots` of the source, to be imported at the same places of the target, outer ones first.
fn several(world: &World, roots: &[&str]) -> Vec<One> {
    let inside = |root: &str, at: &dyn Fn(&str) -> PathBuf| -> Vec<PathBuf> {
        let inner = roots.iter().filter(|other| other.starts_with(&format!("{root}/")));
        inner.map(|other| at(other)).collect()
    };
    let one = |(number, root): (usize, &&str)| {
        let name = ComponentName::new(&format!("c{number}")).unwrap();
        let options = json!({"path": format!("~/src/{root}"), "mode": "mirror"});
        let source = FilesKind.from_options(&name, &options, &world.host).unwrap();
        let mut streams = Streams::default();
        let carved = inside(root, &|path| world.src(path));
        let captured = source.capture(&Scope { carved: &carved, ..world.scope() }, &streams).unwrap();
        streams.seal();
        let there = json!({"path": format!("~/dst/{root}")});
        let target = FilesKind.from_facts(&name, &captured.facts, Some(&there), &world.host).unwrap();
        One {
            target,
            streams,
            carved: inside(root, &|path| world.dst(path)),
            plan: None,
            journal: Acts::default(),
        }
    };
    roots.iter().enumerate().map(one).collect()
}

fn plan_and_stage(world: &World, all: &mut [One]) {
    for one in all.iter_mut() {
        let scope = Scope { carved: &one.carved, ..world.scope() };
        one.plan = Some(one.target.plan(&scope, &one.streams).unwrap());
    }
    for one in all {
        let scope = Scope { carved: &one.carved, ..world.scope() };
        one.target.stage(&scope, one.plan.as_ref().unwrap(), &one.streams).unwrap();
    }
}

fn commit(world: &World, all: &mut [One]) {
    for one in all {
        let scope = Scope { carved: &one.carved, ..world.scope() };
        one.target.commit(&scope, one.plan.as_ref().unwrap(), &mut one.journal).unwrap();
    }
}

fn undo(world: &World, all: &[One]) -> Vec<Finding> {
    let back = |one: &One, acts: &[Act]| {
        one.target.undo(&Scope { carved: &one.carved, ..world.scope() }, acts).unwrap()
    };
    all.iter().rev().flat_map(|one| back(one, &one.journal.acts)).collect()
}

fn furnished() -> World {
    let world = World::new();
    write(world.src("x/y/one/f"), "1");
    write(world.src("x/y/two/f"), "2");
    write(world.src("x/y/two/deep/er/inner/g"), "3");
    write(world.src("x/y/single"), "4");
    chmod(world.src("x/y/two/deep/er"), 0o500);
    touch(world.src("x/y/two"), 1_000_000, 5);
    std::fs::create_dir(world.dst("")).unwrap();
    touch(world.dst(""), 1_500_000_000, 7);
    world
}

const ROOTS: [&str; 4] = ["x/y/one", "x/y/two", "x/y/two/deep/er/inner", "x/y/single"];

#[test]
fn roots_that_share_a_missing_parent_arrive_and_go_again() {
    let world = furnished();
    let before = snapshot(&world.dst(""));
    let mut all = several(&world, &ROOTS);
    plan_and_stage(&world, &mut all);
    commit(&world, &mut all);
    // Twice does no harm.
    commit(&world, &mut all);
    for path in ["x/y/one/f", "x/y/two/f", "x/y/two/deep/er/inner/g", "x/y/single"] {
        assert_eq!(std::fs::read(world.dst(path)).unwrap(), std::fs::read(world.src(path)).unwrap());
    }
    let mode = std::fs::metadata(world.dst("x/y/two/deep/er")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o500, "it was opened up and not closed again");
    assert_eq!(undo(&world, &all), []);
    assert_eq!(snapshot(&world.dst("")), before);
    assert_eq!(undo(&world, &all), []);
    assert_eq!(snapshot(&world.dst("")), before);
}

#[test]
fn each_may_be_the_last_that_was_committed() {
    for done in 0..=ROOTS.len() {
        let world = furnished();
        let before = snapshot(&world.dst(""));
        let mut all = several(&world, &ROOTS);
        plan_and_stage(&world, &mut all);
        commit(&world, &mut all[..done]);
        assert_eq!(undo(&world, &all), [], "after {done}");
        let after = snapshot(&world.dst(""));
        // Without an act, nobody wrote down the time that the directory around a staging area had.
        let from = usize::from(done < ROOTS.len());
        assert_eq!(after[from..], before[from..], "after {done}");
    }
}

#[test]
fn a_second_import_finds_nothing_to_do() {
    let world = furnished();
    let mut all = several(&world, &ROOTS);
    plan_and_stage(&world, &mut all);
    commit(&world, &mut all);
    for one in &all {
        one.target.finalise(&world.scope(), &one.journal.acts).unwrap();
    }
    let mut all = several(&world, &ROOTS);
    for one in &mut all {
        let scope = Scope { carved: &one.carved, ..world.scope() };
        let plan = one.target.plan(&scope, &one.streams).unwrap();
        assert_eq!(plan.changes, []);
    }
}

#[test]
fn a_folder_above_that_others_use_by_then_stays() {
    let world = furnished();
    let mut all = several(&world, &ROOTS[..1]);
    plan_and_stage(&world, &mut all);
    commit(&world, &mut all);
    write(world.dst("x/y/mine"), "mine");
    assert_eq!(undo(&world, &all), []);
    assert!(world.dst("x/y/mine").exists() && !world.dst("x/y/one").exists());
}

#[test]
fn what_is_edited_inside_is_still_kept() {
    let world = furnished();
    let mut all = several(&world, &ROOTS);
    plan_and_stage(&world, &mut all);
    commit(&world, &mut all);
    write(world.dst("x/y/two/f"), "edited");
    assert_eq!(undo(&world, &all).len(), 1);
    let kept = world.dst(&format!("x/y/two.kbpack-kept-{RUN}/f"));
    assert_eq!(std::fs::read_to_string(kept).unwrap(), "edited");
}
