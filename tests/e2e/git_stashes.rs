//! All stashes of a repository, with `git stash list` as the oracle.

use crate::git::{extract, files, git, git_args, go_on, refs, sound, world};
use std::fs;
use std::path::Path;

/// Number, message, commit, and when and by whom it was stashed.
fn stashes(dir: &Path) -> String {
    git(dir, "stash list --format=%gd%x20%gs%x20%H%x20%gn%x20%ge%x20%cD")
}

fn stash(dir: &Path, text: &str, message: &str) {
    fs::write(dir.join("a.txt"), format!("{text}\n")).unwrap();
    fs::write(dir.join(format!("untracked-{text}")), text).unwrap();
    git_args(dir, &["stash", "push", "-q", "--include-untracked", "-m", message]);
}

/// Three more than the one of the zoo; one with a message that is not its commit's.
fn furnish(dir: &Path) {
    stash(dir, "two", "a message with \"quotes\", ümlaut and $(touch pwned)");
    stash(dir, "three", "three");
    let three = git(dir, "rev-parse stash");
    git(dir, "stash drop -q");
    git_args(dir, &["stash", "store", "-m", "told otherwise", three.trim()]);
    stash(dir, "four", "four");
}

#[test]
fn all_stashes_arrive_in_their_order_and_can_be_applied() {
    let world = world();
    let (source, target) = (world.source.join("code"), world.target.join("code"));
    furnish(&source);
    let bundle = world.export("b.kbp");
    world.import(&bundle, &[]).ok();
    assert_eq!(stashes(&target).lines().count(), 4);
    assert_eq!(stashes(&target), stashes(&source));
    sound(&target);
    for dir in [&source, &target] {
        git(dir, "stash pop -q stash@{2}");
    }
    assert_eq!(files(&target), files(&source));
    assert_eq!(stashes(&target), stashes(&source));
    // Stock git sees them as refs, and no repository has those.
    let file = extract(&world, &bundle);
    let heads = git_args(&source, &["bundle", "list-heads", file.to_str().unwrap()]);
    assert!(heads.contains(" refs/kbpack/stash/3\n") && !heads.contains("refs/kbpack/stash/4"), "{heads}");
    assert!(git_args(&source, &["bundle", "verify", file.to_str().unwrap()]).contains("complete history"));
    assert_eq!(git(&target, "for-each-ref refs/kbpack"), "");
}

#[test]
fn they_go_on_top_of_those_that_are_there() {
    let world = world();
    let (source, target) = (world.source.join("code"), world.target.join("code"));
    world.import(&world.export("1.kbp"), &[]).ok();
    stash(&target, "mine", "mine");
    furnish(&source);
    go_on(&source, "more");
    let bundle = world.export("2.kbp");
    world.import(&bundle, &[]).ok();
    let messages = |dir: &Path| git(dir, "stash list --format=%gs");
    let (ours, theirs) = (messages(&target), messages(&source));
    let ours: Vec<&str> = ours.lines().collect();
    let theirs: Vec<&str> = theirs.lines().collect();
    assert_eq!(ours[..3], theirs[..3]);
    assert_eq!(ours[3..], ["On main: mine", theirs[3]]);
    // Once is enough.
    let again = world.import(&bundle, &["--json"]).ok().json();
    let plan = &again["components"][0]["plan"];
    assert_eq!((&plan["added"], &plan["changed"]), (&0.into(), &0.into()), "{again}");
}

#[test]
fn a_rollback_takes_them_away_and_keeps_what_was_stashed_since() {
    let world = world();
    let (source, target) = (world.source.join("code"), world.target.join("code"));
    world.import(&world.export("1.kbp"), &[]).ok();
    stash(&target, "mine", "mine");
    let before = stashes(&target);
    furnish(&source);
    world.import(&world.export("2.kbp"), &[]).ok();
    stash(&target, "since", "since");
    let since = git(&target, "rev-parse stash");
    let said = world.target.kbpack(&["rollback", "--yes"]).ok().stderr;
    assert!(
        said.contains("stashed after the import: 1 (On main: since); it will be kept as refs/kbpack/backup/"),
        "{said}"
    );
    assert_eq!(stashes(&target), before);
    let kept = git(&target, "for-each-ref --format=%(objectname) refs/kbpack/backup");
    assert_eq!(kept, since);
    sound(&target);
}

#[test]
fn a_failed_import_puts_them_back() {
    let world = world();
    let (source, target) = (world.source.join("code"), world.target.join("code"));
    world.import(&world.export("1.kbp"), &[]).ok();
    stash(&target, "mine", "mine");
    let before = (refs(&target), stashes(&target), files(&target));
    furnish(&source);
    // The file comes after the repository, and a check of it fails.
    let profile = fs::read_to_string(world.source.join(".config/kbpack/profile.toml")).unwrap();
    let check = "[[check]]\nname = \"never\"\nfile = { path = \"~/none\" }\n";
    world.source.profile(&format!("{profile}{check}"));
    world.import(&world.export("2.kbp"), &[]).fails(9, "never");
    assert_eq!((refs(&target), stashes(&target), files(&target)), before);
    sound(&target);
}
