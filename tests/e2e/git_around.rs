//! A repository with other components inside its work tree, on a machine that had none of them: an import is undone, and a rollback
//! takes all of it away, each component its own.

use crate::crash::content;
use crate::git::{files, git, git_args, refs};
use crate::kills::Kills;
use crate::support::{snapshot_but_times_of_folders, World};
use std::fs;

const PROFILE: &str = r#"
[bundle]
name = "around"

[component.code]
kind = "git"
path = "~/projects/code"

[component.data]
kind = "files"
path = "~/projects/code/build/deep/data"

[component.keys]
kind = "secrets"
files = [{ path = "~/projects/code/.env", mode = "600" }]
"#;

fn world() -> World {
    let world = World::new();
    let code = world.source.join("projects/code");
    world.source.write("projects/code/a.txt", "a\n");
    world.source.write("projects/code/sub/b.txt", "b\n");
    world.source.write("projects/code/.gitignore", "build/\n.env\n");
    git(&code, "init -q -b main");
    git(&code, "add -A");
    git_args(&code, &["commit", "-q", "-m", "first"]);
    world.source.write("projects/code/build/deep/data/x.bin", vec![1; 10_000]);
    // As a target gets them that has none.
    for folder in ["build", "build/deep"] {
        world.source.chmod(&format!("projects/code/{folder}"), 0o700);
    }
    world.source.write("projects/code/.env", "TOKEN=tok-abcdef-012345\n");
    world.source.chmod("projects/code/.env", 0o600);
    world.source.profile(PROFILE);
    world
}

#[test]
fn killed_anywhere_all_of_it_is_there_or_nothing() {
    let world = world();
    let place = world.target.join("projects/code");
    let bundle = world.export("b.kbp");
    let state = || place.exists().then(|| (refs(&place), files(&place)));
    let sound = |point: &str| match place.exists() {
        true => {
            git(&place, "fsck --strict");
            assert_eq!(git(&place, "status --porcelain"), "", "{point}");
        }
        false => assert!(!world.target.join("projects").exists(), "{point}"),
    };
    let import = ["import", bundle.to_str().unwrap(), "--yes", "-q"];
    Kills { world: &world, args: &import, sample: 8, state: &state, sound: &sound }.run();
    let source = world.source.join("projects/code");
    assert_eq!(state(), Some((refs(&source), files(&source))));
    let rollback = ["rollback", "--yes", "-q"];
    Kills { world: &world, args: &rollback, sample: 16, state: &state, sound: &sound }.run();
    assert_eq!(state(), None);
}

#[test]
fn a_rollback_takes_away_what_came_and_leaves_what_was_there() {
    let world = world();
    // One of the three was there before, and so was the folder that is to become the repository.
    world.target.write("projects/code/build/deep/data/x.bin", "old\n");
    world.target.chmod("projects/code", 0o750);
    let seen = || content(&snapshot_but_times_of_folders(&world.target));
    let before = seen();
    let bundle = world.export("b.kbp");
    world.import(&bundle, &[]).ok();
    world.target.kbpack(&["rollback", "--yes"]).ok();
    assert_eq!(seen(), before);

    // A failed rollback puts all of it back.
    world.import(&bundle, &[]).ok();
    let there = seen();
    for nth in [1, 2, 3, 5] {
        let args = ["rollback", "--yes", "-q"];
        let run = crate::crash::injected(&world.target, &args, "renameat2", nth, "error=EIO");
        assert_eq!((run.code, seen()), (9, there.clone()), "renameat2 {nth}: {}", run.stderr);
    }

    // What is in no commit stops it, wherever it is; what git ignores and nobody claims is kept.
    let place = world.target.join("projects/code");
    fs::write(place.join("sub/new.txt"), "new\n").unwrap();
    world.target.kbpack(&["rollback", "--yes"]).fails(8, "changes that are in no commit: sub/new.txt");
    fs::rename(place.join("sub/new.txt"), place.join("build/new.txt")).unwrap();
    let run = world.target.kbpack(&["rollback", "--yes"]).ok();
    assert!(run.stderr.contains("it will be kept as code.kbpack-kept-"), "{}", run.stderr);
    let kept = |row: &&String| row.starts_with("projects/code.kbpack-kept-");
    let now = seen();
    assert!(now.iter().any(|row| row.contains("/build/new.txt ")), "{now:#?}");
    assert!(now.iter().any(|row| kept(&row) && row.contains("/build/new.txt ")), "{now:#?}");
    assert!(now.iter().any(|row| kept(&row) && row.contains(" 40750 ")), "{now:#?}");
    assert_eq!(now.iter().filter(|row| !kept(row)).cloned().collect::<Vec<_>>(), before);
}
