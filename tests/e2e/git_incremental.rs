//! Bundles that leave out what their target has: asked for by a ticket, needed in the repository, taken by stock git.

use crate::git::{extract, files, git, git_args, git_command, go_on, refs, sound, world};
use crate::support::{Run, World};
use std::fs;
use std::path::{Path, PathBuf};

/// A target that has the source's repository as it was, and a source that has gone on and believes the target's tickets.
fn scene() -> World {
    let world = world();
    world.import(&world.export("1.kbp"), &[]).ok();
    let source = world.source.join("code");
    fs::write(source.join("large"), noise(300_000)).unwrap();
    git(&source, "add large");
    go_on(&source, "more");
    world.import(&world.export("2.kbp"), &[]).ok();
    go_on(&source, "and-more");
    git(&source, "checkout -q -b fresh main~1");
    go_on(&source, "fresh");
    git(&source, "tag -a -m old old-one two");
    git(&source, "tag of-a-new-tree HEAD^{tree}");
    fs::write(source.join("a.txt"), "stashed\n").unwrap();
    git(&source, "stash -q");
    believe(&world);
    world
}

/// Has the source believe the target's tickets.
pub fn believe(world: &World) {
    let made = world.target.kbpack(&["keygen", "--json"]);
    let signer = match made.code {
        0 => made.json()["signer"].as_str().unwrap().to_owned(),
        _ => format!("beta namespaces=\"kbpack-ticket\" {}", key(world)),
    };
    world.source.kbpack(&["trust", "add", "beta", &signer, "--for", "tickets"]).ok();
}

fn key(world: &World) -> String {
    String::from_utf8(world.target.read(".config/kbpack/signing_key.pub")).unwrap().trim().to_owned()
}

/// Bytes that do not compress.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

pub fn ticket(world: &World, name: &str) -> PathBuf {
    let ticket = world.path(name);
    world.target.kbpack(&["ticket", "-o", ticket.to_str().unwrap()]).ok();
    ticket
}

pub fn answer(world: &World, ticket: &Path, name: &str, more: &[&str]) -> Run {
    let out = world.path(name);
    let mut args = vec!["export", "--for", ticket.to_str().unwrap(), "-o", out.to_str().unwrap()];
    args.extend(more);
    world.source.kbpack(&args)
}

#[test]
fn what_the_target_has_is_left_out_and_stock_git_takes_the_rest() {
    let world = scene();
    let (source, target) = (world.source.join("code"), world.target.join("code"));
    let ticket = ticket(&world, "beta.ticket");
    let said = fs::read_to_string(&ticket).unwrap();
    assert!(said.contains("\"~/code\"") && said.contains(git(&target, "rev-parse main").trim()), "{said}");
    answer(&world, &ticket, "whole.kbp", &[]).ok();
    let report = answer(&world, &ticket, "b.kbp", &["--incremental"]).ok().stderr;
    assert!(report.contains("are needed to import it"), "{report}");
    let size = |name: &str| fs::metadata(world.path(name)).unwrap().len();
    assert!(
        size("b.kbp") < 100_000 && size("whole.kbp") > 300_000,
        "{} {}",
        size("b.kbp"),
        size("whole.kbp")
    );
    let bundle = world.path("b.kbp");
    let inspected = world.target.kbpack(&["inspect", bundle.to_str().unwrap()]).ok().text();
    assert!(inspected.contains("commits lead to that the target of the ticket had"), "{inspected}");

    // Stock git: not in an empty repository, and in one that has what the target has.
    let file = extract(&world, &bundle);
    let file = file.to_str().unwrap();
    git_args(&world.path("."), &["init", "-q", "--bare", "empty"]);
    let verified = Run::of(git_command(&world.path("empty")).args(["bundle", "verify", file]));
    assert_ne!(verified.code, 0, "{}", verified.text());
    git_args(&world.path("."), &["clone", "-q", "--mirror", target.to_str().unwrap(), "copy"]);
    git_args(&world.path("copy"), &["bundle", "verify", file]);
    git_args(&world.path("copy"), &["fetch", "-q", file, "+refs/*:refs/*"]);
    git(&world.path("copy"), "fsck --strict");

    world.import(&bundle, &[]).ok();
    assert_eq!((refs(&target), files(&target)), (refs(&source), files(&source)));
    assert_eq!(git(&target, "stash list"), git(&source, "stash list"));
    sound(&target);
    world.target.kbpack(&["rollback", "--yes"]).ok();
    sound(&target);
}

#[test]
fn where_a_needed_commit_is_missing_the_plan_says_so() {
    let world = scene();
    let (source, target) = (world.source.join("code"), world.target.join("code"));
    let ticket = ticket(&world, "beta.ticket");
    answer(&world, &ticket, "b.kbp", &["--incremental"]).ok();
    let bundle = world.path("b.kbp");
    let main = git(&target, "rev-parse main");
    let refused = |words: &str| {
        let run = world.import(&bundle, &[]).fails(8, words);
        assert!(run.stderr.contains("without --incremental"), "{}", run.stderr);
    };
    // No ref leads to it any more, though it lies there.
    git(&target, "reset -q --hard main~1");
    let old = (refs(&target), files(&target));
    refused("the bundle needs commit");
    assert_eq!((refs(&target), files(&target)), old);
    fs::rename(&target, world.target.join("elsewhere")).unwrap();
    refused("and no repository is there");
    assert!(!target.exists());
    fs::rename(world.target.join("elsewhere"), &target).unwrap();
    git_args(&target, &["reset", "-q", "--hard", main.trim()]);
    // Its objects may lie with another repository, which names a third.
    let (first, second) = (world.path("first"), world.path("second"));
    fs::create_dir_all(first.join("info")).unwrap();
    fs::rename(target.join(".git/objects"), &second).unwrap();
    fs::create_dir_all(target.join(".git/objects/info")).unwrap();
    fs::write(first.join("info/alternates"), format!("# no path\n{}\n", second.display())).unwrap();
    fs::write(target.join(".git/objects/info/alternates"), format!("{}\n", first.display())).unwrap();
    sound(&target);
    // A stash that is dropped meanwhile is none of what is needed.
    git(&target, "stash drop -q");
    world.import(&bundle, &[]).ok();
    assert_eq!(refs(&target), refs(&source));
    sound(&target);
}

#[test]
fn without_the_word_or_a_place_that_the_ticket_names_all_is_packed() {
    let world = world();
    assert_eq!(world.source.kbpack(&["export", "--incremental", "-o", "x.kbp"]).code, 2);
    let signer = format!("beta namespaces=\"kbpack-ticket\" {}", key(&world));
    world.source.kbpack(&["trust", "add", "beta", &signer, "--for", "tickets"]).ok();
    let ticket = ticket(&world, "beta.ticket");
    let said = answer(&world, &ticket, "b.kbp", &["--incremental"]).ok().stderr;
    assert!(said.contains("name no commit of it: all of it is packed"), "{said}");
    world.import(&world.path("b.kbp"), &[]).ok();
    assert_eq!(refs(&world.target.join("code")), refs(&world.source.join("code")));
    // Nothing is new: then it is refs alone.
    let again = self::ticket(&world, "again.ticket");
    answer(&world, &again, "c.kbp", &["--incremental"]).ok();
    let report = world.import(&world.path("c.kbp"), &["--json"]).ok().json();
    let plan = &report["components"][0]["plan"];
    assert_eq!((&plan["added"], &plan["changed"]), (&0.into(), &0.into()), "{report}");
    // And without git on either side.
    go_on(&world.source.join("code"), "more");
    let third = self::ticket(&world, "third.ticket");
    let out = world.path("d.kbp");
    let args = ["export", "--for", third.to_str().unwrap(), "--incremental", "-o", out.to_str().unwrap()];
    Run::of(world.source.command(&args).env("PATH", world.path("nothing"))).ok();
    let args = ["import", out.to_str().unwrap(), "--yes"];
    Run::of(world.target.command(&args).env("PATH", world.path("nothing"))).ok();
    assert_eq!(refs(&world.target.join("code")), refs(&world.source.join("code")));
    sound(&world.target.join("code"));
}
