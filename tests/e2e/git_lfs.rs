//! Large files of a repository, with stock git-lfs as the oracle.

use crate::crash::{copy, injected};
use crate::git::{files, git, git_args, git_command, refs, sound, PROFILE};
use crate::git_incremental::{answer, believe, ticket};
use crate::kills::Kills;
use crate::support::{snapshot, Run, World};
use std::fs;
use std::path::{Path, PathBuf};

const OBJECTS: &str = ".git/lfs/objects";

/// Git with LFS's filters, as `git lfs install` sets them up for a user.
#[track_caller]
fn lfs(dir: &Path, args: &str) -> String {
    let mut command = git_command(dir);
    for (key, value) in [
        ("clean", "git-lfs clean -- %f"),
        ("smudge", "git-lfs smudge -- %f"),
        ("process", "git-lfs filter-process"),
        ("required", "true"),
    ] {
        command.args(["-c", &format!("filter.lfs.{key}={value}")]);
    }
    let run = Run::of(command.args(args.split(' ')));
    assert_eq!(run.code, 0, "git {args}: {}", run.stderr);
    run.text()
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let next = |_| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 56) as u8
    };
    (0..len).map(next).collect()
}

/// A repository with large files: one that changed once, one on another branch only, one that may be run.
fn with_lfs(dir: &Path) {
    fs::create_dir_all(dir.join("deep")).unwrap();
    lfs(dir, "init -q -b main");
    fs::write(dir.join(".gitattributes"), "*.bin filter=lfs diff=lfs merge=lfs -text\n").unwrap();
    fs::write(dir.join("a.txt"), "one\n").unwrap();
    fs::write(dir.join("big.bin"), noise(1, 70_000)).unwrap();
    fs::write(dir.join("deep/run.bin"), noise(2, 5_000)).unwrap();
    fs::set_permissions(dir.join("deep/run.bin"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    lfs(dir, "add -A");
    lfs(dir, "commit -q -m first");
    lfs(dir, "checkout -q -b side");
    fs::write(dir.join("side.bin"), noise(3, 9_000)).unwrap();
    lfs(dir, "add -A");
    lfs(dir, "commit -q -m side");
    lfs(dir, "checkout -q main");
    fs::write(dir.join("big.bin"), noise(4, 80_001)).unwrap();
    lfs(dir, "add -A");
    lfs(dir, "commit -q -m second");
}

fn world() -> (World, PathBuf, PathBuf) {
    let world = World::new();
    world.source.profile(PROFILE);
    let (source, target) = (world.source.join("code"), world.target.join("code"));
    with_lfs(&source);
    (world, source, target)
}

/// The ids of the objects in a repository's store.
fn objects(dir: &Path) -> Vec<String> {
    let rows = walkdir::WalkDir::new(dir.join(OBJECTS)).sort_by_file_name().into_iter().flatten();
    rows.filter(|row| row.file_type().is_file())
        .map(|row| row.file_name().to_str().unwrap().to_owned())
        .collect()
}

/// Whole, clean for git with LFS, and clean for git that has none.
#[track_caller]
fn sound_with_lfs(dir: &Path) {
    sound(dir);
    assert_eq!(lfs(dir, "status --porcelain"), "");
    let fsck = lfs(dir, "lfs fsck --objects");
    assert!(fsck.contains("Git LFS fsck OK"), "{fsck}");
}

#[test]
fn large_files_arrive_with_their_contents() {
    let (world, source, target) = world();
    let before = snapshot(&source);
    let bundle = world.export("b.kbp");
    assert_eq!(snapshot(&source), before, "an export changes nothing");
    let run = world.import(&bundle, &[]).ok();
    // The system's config may have the filters already.
    let set_up = fs::read_to_string("/etc/gitconfig").is_ok_and(|text| text.contains("\"lfs\""));
    assert_eq!(run.stderr.contains("git LFS is not set up here"), !set_up, "{}", run.stderr);
    assert_eq!((refs(&target), files(&target)), (refs(&source), files(&source)));
    assert_eq!(world.target.read("code/big.bin"), noise(4, 80_001));
    assert_eq!(world.target.mode("code/deep/run.bin") & 0o111, 0o111);
    // All four, of every branch and every commit.
    assert_eq!(objects(&target), objects(&source));
    assert_eq!(objects(&target).len(), 4);
    sound_with_lfs(&target);
    // With nothing to fetch from, stock git-lfs goes to the other branch and into the past.
    lfs(&target, "checkout -q side");
    assert_eq!(world.target.read("code/side.bin"), noise(3, 9_000));
    assert_eq!(world.target.read("code/big.bin"), noise(1, 70_000));
    lfs(&target, "checkout -q main");

    let shown = world.target.kbpack(&["inspect", bundle.to_str().unwrap(), "--files"]).ok().text();
    assert!(shown.contains(&objects(&source)[0]), "{shown}");
    let again = world.import(&bundle, &["--json"]).ok().json();
    let plan = &again["components"][0]["plan"];
    assert_eq!((&plan["added"], &plan["changed"]), (&0.into(), &0.into()), "{again}");
    world.target.kbpack(&["check"]).ok();
}

/// The source goes on: a large file changes, one comes, one goes, and one becomes a text.
fn go_on(dir: &Path) {
    fs::write(dir.join("big.bin"), noise(5, 60_000)).unwrap();
    fs::write(dir.join("deep/new.bin"), noise(6, 100)).unwrap();
    lfs(dir, "rm -q deep/run.bin");
    lfs(dir, "add -A");
    lfs(dir, "commit -q -m more");
}

#[test]
fn a_repository_that_is_there_gets_what_is_new_and_a_rollback_takes_it_back() {
    let (world, source, target) = world();
    world.import(&world.export("1.kbp"), &[]).ok();
    let old = (refs(&target), files(&target));
    go_on(&source);
    let kept = target.join(OBJECTS).join(Path::new(&objects(&target)[0][..2]));
    let before = snapshot(&kept);
    world.import(&world.export("2.kbp"), &[]).ok();
    assert_eq!((refs(&target), files(&target)), (refs(&source), files(&source)));
    assert_eq!(objects(&target), objects(&source));
    assert!(snapshot(&kept).ends_with(&before[before.len() - 1..]), "what is there is not written again");
    sound_with_lfs(&target);
    world.target.kbpack(&["rollback", "--yes"]).ok();
    assert_eq!((refs(&target), files(&target)), old);
    sound_with_lfs(&target);
}

#[test]
fn pointers_on_the_target_are_filled_though_no_ref_moves() {
    let (world, source, target) = world();
    world.source.profile(&format!("{PROFILE}lfs = \"pointers\"\n"));
    let run = world.import(&world.export("1.kbp"), &[]).ok();
    assert!(run.stderr.contains("only the pointers, not the contents"), "{}", run.stderr);
    assert!(
        String::from_utf8_lossy(&world.target.read("code/big.bin")).starts_with("version https://git-lfs")
    );
    assert!(objects(&target).is_empty());
    sound(&target);
    world.source.profile(PROFILE);
    let bundle = world.export("2.kbp");
    // A failure leaves the pointers where they were.
    let old = (refs(&target), files(&target));
    let args = ["import", bundle.to_str().unwrap(), "--yes", "-q"];
    let mut failed = 0;
    for nth in 1..20 {
        let run = injected(&world.target, &args, "renameat", nth, "error=EIO");
        if run.code != 9 {
            break;
        }
        failed += 1;
        assert_eq!((refs(&target), files(&target)), old);
        sound(&target);
    }
    assert!(failed > 1, "{failed}");
    world.import(&bundle, &[]).ok();
    assert_eq!(files(&target), files(&source));
    sound_with_lfs(&target);
}

#[test]
fn contents_that_are_not_there_stop_an_export_unless_they_may_be_missing() {
    let world = World::new();
    let code = world.source.join("code");
    let export = |name: &str| {
        let out = world.path(name);
        world.source.kbpack(&["export", "-v", "-r", &world.recipient, "-o", out.to_str().unwrap()])
    };
    world.source.profile(PROFILE);
    with_lfs(&code);
    // A text that looks like a pointer is none where no attribute says so.
    let pointer =
        format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 3\n", "a".repeat(64));
    fs::write(code.join("pointer.txt"), &pointer).unwrap();
    lfs(&code, "add -A");
    lfs(&code, "commit -q -m text");
    let oids =
        |path: &str| lfs(&code, &format!("cat-file -p HEAD:{path}")).lines().nth(1).unwrap()[11..].to_owned();
    // The work tree's own file is as good as the store's.
    let big = objects_path(&code, &oids("big.bin"));
    fs::remove_file(&big).unwrap();
    let run = export("a.kbp").ok();
    assert!(run.stderr.contains("1 large files of other branches or older commits"), "{}", run.stderr);
    fs::write(code.join("big.bin"), lfs(&code, "cat-file -p HEAD:big.bin")).unwrap();
    export("b.kbp").fails(8, "big.bin");
    world.source.profile(&format!("{PROFILE}lfs = \"partial\"\n"));
    world.import(&world.export("c.kbp"), &[]).ok();
    let target = world.target.join("code");
    assert!(
        String::from_utf8_lossy(&world.target.read("code/big.bin")).starts_with("version https://git-lfs")
    );
    assert_eq!(world.target.read("code/deep/run.bin"), noise(2, 5_000));
    assert_eq!(world.target.read("code/pointer.txt"), pointer.as_bytes());
    sound(&target);
    // A file that is not what its name says.
    fs::write(&big, noise(9, 80_001)).unwrap();
    export("d.kbp").fails(8, "not the content that its pointer names");
    assert!(!world.path("d.kbp").exists() && !world.path("b.kbp").exists());
}

fn objects_path(dir: &Path, oid: &str) -> PathBuf {
    dir.join(OBJECTS).join(&oid[..2]).join(&oid[2..4]).join(oid)
}

#[test]
fn uncommitted_large_files_travel_if_they_are_to() {
    let (world, source, target) = world();
    world.source.profile(&format!("{PROFILE}uncommitted = \"include\"\n"));
    fs::write(source.join("deep/staged.bin"), noise(7, 3_000)).unwrap();
    lfs(&source, "add -A");
    fs::write(source.join("big.bin"), noise(8, 4_000)).unwrap();
    fs::write(source.join("a.txt"), "changed\n").unwrap();
    let bundle = world.export("b.kbp");
    world.import(&bundle, &[]).ok();
    assert_eq!(files(&target), files(&source));
    assert_eq!(lfs(&target, "status --porcelain"), lfs(&source, "status --porcelain"));
    let again = world.import(&bundle, &["--json"]).ok().json();
    let plan = &again["components"][0]["plan"];
    assert_eq!((&plan["added"], &plan["changed"]), (&0.into(), &0.into()), "{again}");
}

#[test]
fn a_rollback_takes_uncommitted_large_files_away_again() {
    let (world, source, target) = world();
    world.import(&world.export("1.kbp"), &[]).ok();
    world.source.profile(&format!("{PROFILE}uncommitted = \"include\"\n"));
    // One staged as a pointer, one that comes, and one with contents that no store has.
    fs::write(source.join("big.bin"), noise(7, 3_000)).unwrap();
    fs::write(source.join("deep/new.bin"), noise(9, 2_000)).unwrap();
    lfs(&source, "add -A");
    fs::write(source.join("deep/run.bin"), noise(8, 4_000)).unwrap();
    let state = || (refs(&target), files(&target), lfs(&target, "status --porcelain"));
    let old = state();
    world.import(&world.export("2.kbp"), &[]).ok();
    let new = state();
    assert_eq!(new.2, lfs(&source, "status --porcelain"));
    assert_eq!(new.1, files(&source));
    let args = ["rollback", "--yes", "-q"];
    // Killed on its way, it has either all of them or none.
    let sound = |_: &str| drop(lfs(&target, "lfs fsck --objects"));
    Kills { world: &world, args: &args, sample: 10, state: &state, sound: &sound }.run();
    assert_eq!(state(), old);
    sound_with_lfs(&target);
}

/// A bundle that leaves out what its target has brings the large files of what is new.
#[test]
fn large_files_come_with_what_a_target_has_not() {
    let (world, source, target) = world();
    world.import(&world.export("1.kbp"), &[]).ok();
    believe(&world);
    go_on(&source);
    let ticket = ticket(&world, "beta.ticket");
    let report = answer(&world, &ticket, "2.kbp", &["--incremental"]).ok().stderr;
    assert!(report.contains("are needed to import it"), "{report}");
    world.import(&world.path("2.kbp"), &[]).ok();
    assert_eq!((refs(&target), files(&target)), (refs(&source), files(&source)));
    assert_eq!(objects(&target), objects(&source));
    sound_with_lfs(&target);
}

#[test]
fn a_bare_repository_keeps_its_large_files() {
    let world = World::new();
    let (source, target) = (world.source.join("code"), world.target.join("code"));
    let other = world.source.join("other");
    with_lfs(&other);
    git_args(&world.source.path, &["clone", "-q", "--mirror", other.to_str().unwrap(), "code"]);
    copy(&other.join(".git/lfs"), &source.join("lfs"));
    world.source.profile(PROFILE);
    world.import(&world.export("b.kbp"), &[]).ok();
    let stored = |dir: &Path| snapshot(&dir.join("lfs/objects")).len();
    assert_eq!(stored(&target), stored(&source));
    git(&target, "fsck --strict");
}

#[test]
fn a_clone_with_large_files_goes_around_what_belongs_to_others() {
    let (world, source, target) = world();
    world.source.write("code/venv/keep.txt", "venv");
    fs::write(source.join(".git/info/exclude"), "venv\n").unwrap();
    let profile = format!("{PROFILE}[component.venv]\nkind = \"files\"\npath = \"~/code/venv\"\n");
    world.source.profile(&profile);
    world.target.write("code/venv/mine.txt", "mine");
    world.import(&world.export("b.kbp"), &[]).ok();
    fs::write(target.join(".git/info/exclude"), "venv\n").unwrap();
    assert_eq!(world.target.read("code/big.bin"), noise(4, 80_001));
    sound_with_lfs(&target);
}

#[test]
fn killed_anywhere_large_files_are_the_old_or_the_new_ones() {
    let (world, source, target) = world();
    world.import(&world.export("1.kbp"), &[]).ok();
    go_on(&source);
    let state = || (refs(&target), files(&target));
    let bundle = world.export("2.kbp");
    let args = ["import", bundle.to_str().unwrap(), "--yes", "-q"];
    let sound = |point: &str| {
        // A copy's files are not those that its index knows: the filters have to say that they are the same.
        assert_eq!(lfs(&target, "status --porcelain"), "", "{point}");
        lfs(&target, "lfs fsck --objects");
        git(&target, "fsck --strict");
    };
    Kills { world: &world, args: &args, sample: 12, state: &state, sound: &sound }.run();
    assert_eq!(state(), (refs(&source), files(&source)));
    assert_eq!(lfs(&target, "status --porcelain"), "");
}
