//! The kind git, with stock git as the oracle for every repository.

use crate::crash::{copy, leftovers};
use crate::kills::Kills;
use crate::support::{snapshot, Run, World};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

pub const PROFILE: &str = "[bundle]\nname = \"repo\"\n[component.code]\nkind = \"git\"\npath = \"~/code\"\n";

/// Stock git, in nobody's environment.
pub fn git_command(dir: &Path) -> Command {
    let mut command = Command::new("git");
    command.current_dir(dir).env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", dir);
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "Ada").env(format!("GIT_{who}_EMAIL"), "ada@example.com");
        command.env(format!("GIT_{who}_DATE"), "2026-01-02T03:04:05Z");
    }
    command
}

#[track_caller]
pub fn git(dir: &Path, args: &str) -> String {
    git_args(dir, &args.split(' ').collect::<Vec<_>>())
}

#[track_caller]
pub fn git_args(dir: &Path, args: &[&str]) -> String {
    let run = Run::of(git_command(dir).args(args));
    assert_eq!(run.code, 0, "git {args:?}: {}", run.stderr);
    run.text()
}

/// A repository with some of everything.
pub fn zoo(dir: &Path) {
    fs::create_dir_all(dir).unwrap();
    git(dir, "init -q -b main");
    fs::write(dir.join("a.txt"), "one\n").unwrap();
    fs::create_dir(dir.join("sub")).unwrap();
    fs::write(dir.join("sub/run.sh"), "#!/bin/sh\necho hi\n").unwrap();
    Command::new("chmod").arg("+x").arg(dir.join("sub/run.sh")).status().unwrap();
    std::os::unix::fs::symlink("a.txt", dir.join("link")).unwrap();
    fs::write(dir.join(std::ffi::OsStr::from_bytes(b"caf\xe9")), "not UTF-8\n").unwrap();
    fs::write(dir.join(".gitignore"), "*.log\nvenv/\n").unwrap();
    fs::write(dir.join(".gitattributes"), "*.crlf text eol=crlf\n").unwrap();
    fs::write(dir.join("dos.crlf"), "a\r\nb\r\n").unwrap();
    git(dir, "add -A");
    git(dir, "commit -q -m first");
    git(dir, "tag light");
    for side in ["one", "two", "three"] {
        git(dir, &format!("checkout -q -b {side} main"));
        fs::write(dir.join(side), side).unwrap();
        git(dir, "add -A");
        git(dir, &format!("commit -q -m {side}"));
    }
    git(dir, "checkout -q main");
    git(dir, "merge -q -m octopus one two three");
    git(dir, "tag -a -m annotated v1");
    let tree = git(dir, "rev-parse HEAD^{tree}");
    git_args(dir, &["tag", "of-a-tree", tree.trim()]);
    let blob = git(dir, "rev-parse HEAD:a.txt");
    git_args(dir, &["tag", "-a", "-m", "x", "of-a-blob", blob.trim()]);
    git(dir, "notes add -m note HEAD");
    fs::write(dir.join("a.txt"), "stashed\n").unwrap();
    git(dir, "stash -q");
    git(dir, "pack-refs --all");
    git(dir, "branch later one");
    git(dir, "remote add origin https://ada:hunter2pass@example.com/x.git");
    git(dir, "config branch.main.remote origin");
    git(dir, "config branch.main.merge refs/heads/main");
}

/// All refs that travel, and HEAD.
pub fn refs(dir: &Path) -> String {
    let shown = git(
        dir,
        "for-each-ref --format=%(objectname)%20%(refname) refs/heads refs/tags refs/notes refs/stash",
    );
    let head =
        fs::read_to_string(dir.join(".git/HEAD")).or_else(|_| fs::read_to_string(dir.join("HEAD"))).unwrap();
    format!("{shown}{head}")
}

/// Everything in the work tree but `.git`, without times.
pub fn files(dir: &Path) -> Vec<String> {
    let rows = snapshot(dir).into_iter().filter(|row| !row.starts_with(".git/") && !row.starts_with(".git "));
    rows.skip(1)
        .map(|row| {
            row.split(' ').enumerate().filter(|(n, _)| *n != 3).map(|(_, f)| f).collect::<Vec<_>>().join(" ")
        })
        .collect()
}

#[track_caller]
pub fn sound(dir: &Path) {
    git(dir, "fsck --strict");
    if dir.join(".git").exists() {
        assert_eq!(git(dir, "status --porcelain"), "");
    }
}

pub fn world() -> World {
    let world = World::new();
    world.source.profile(PROFILE);
    zoo(&world.source.join("code"));
    world
}

pub fn extract(world: &World, bundle: &Path) -> std::path::PathBuf {
    let out = world.path("out");
    let _ = fs::remove_dir_all(&out);
    let args = ["extract", bundle.to_str().unwrap(), "code", "-C", out.to_str().unwrap()];
    world.target.kbpack(&args).ok();
    out.join("code/repository.bundle")
}

#[test]
fn a_repository_arrives_and_stock_git_takes_its_bundle() {
    let world = world();
    let (source, target) = (world.source.join("code"), world.target.join("code"));
    let before = snapshot(&source);
    let bundle = world.export("b.kbp");
    assert_eq!(snapshot(&source), before, "an export changes nothing");
    world.import(&bundle, &[]).ok();
    assert_eq!(refs(&target), refs(&source));
    assert_eq!(files(&target), files(&source));
    sound(&target);
    assert_eq!(git(&target, "stash list"), git(&source, "stash list"));
    assert_eq!(git(&target, "config remote.origin.url").trim(), "https://ada@example.com/x.git");
    assert_eq!(git(&target, "config branch.main.merge").trim(), "refs/heads/main");
    assert!(
        !target.join(".git/hooks").exists()
            || fs::read_dir(target.join(".git/hooks")).unwrap().next().is_none()
    );

    let file = extract(&world, &bundle);
    let file = file.to_str().unwrap();
    assert!(git_args(&source, &["bundle", "verify", file]).contains("complete history"));
    git_args(&world.path("."), &["clone", "-q", file, "cloned"]);
    assert_eq!(git(&world.path("cloned"), "rev-parse HEAD"), git(&source, "rev-parse HEAD"));
    git_args(&world.path("."), &["init", "-q", "--bare", "fetched"]);
    git_args(&world.path("fetched"), &["fetch", "-q", file, "+refs/*:refs/*"]);
    git(&world.path("fetched"), "fsck --strict");
    // A second import finds nothing to do, and leaves the first one's alone.
    let again = world.import(&bundle, &["--json"]).ok().json();
    let plan = &again["components"][0]["plan"];
    assert_eq!((&plan["added"], &plan["changed"]), (&0.into(), &0.into()), "{again}");
}

#[test]
fn a_password_in_a_url_does_not_travel() {
    let world = world();
    let out = world.path("b.kbp");
    let args = ["export", "-r", &world.recipient, "-o", out.to_str().unwrap(), "--json"];
    let report = world.source.kbpack(&args).ok().json().to_string();
    assert!(report.contains("the password in the URL of the remote origin does not travel"), "{report}");
    assert!(!report.contains("hunter2"));
    assert!(!world
        .target
        .kbpack(&["inspect", out.to_str().unwrap(), "--json"])
        .ok()
        .text()
        .contains("hunter2"));
}

#[test]
fn repositories_of_every_shape() {
    type Make<'a> = &'a dyn Fn(&Path);
    let shapes: [(&str, Make<'_>); 6] = [
        ("empty", &|dir| {
            fs::create_dir_all(dir).unwrap();
            git(dir, "init -q -b trunk");
        }),
        ("detached", &|dir| {
            zoo(dir);
            git(dir, "checkout -q one");
            git(dir, "checkout -q --detach HEAD~1");
        }),
        ("unborn", &|dir| {
            zoo(dir);
            git(dir, "checkout -q --orphan fresh");
            git(dir, "rm -rfq .");
        }),
        ("bare", &|dir| {
            let other = dir.with_file_name("other");
            zoo(&other);
            git_args(dir.parent().unwrap(), &["clone", "-q", "--mirror", other.to_str().unwrap(), "code"]);
        }),
        ("linked work tree", &|dir| {
            let other = dir.with_file_name("other");
            zoo(&other);
            git_args(&other, &["worktree", "add", "-q", dir.to_str().unwrap(), "two"]);
        }),
        ("alternates and gc", &|dir| {
            let other = dir.with_file_name("other");
            zoo(&other);
            git(&other, "gc -q");
            git_args(dir.parent().unwrap(), &["clone", "-q", "--shared", other.to_str().unwrap(), "code"]);
            git(dir, "branch -q more HEAD~1");
        }),
    ];
    for (name, make) in shapes {
        let world = World::new();
        world.source.profile(PROFILE);
        make(&world.source.join("code"));
        world.import(&world.export("b.kbp"), &[]).ok();
        let (source, target) = (world.source.join("code"), world.target.join("code"));
        let head = |dir: &Path| {
            Run::of(git_command(dir).args(["rev-parse", "--symbolic-full-name", "HEAD"])).text()
                + &Run::of(git_command(dir).args(["symbolic-ref", "-q", "HEAD"])).text()
                + &Run::of(git_command(dir).args(["rev-parse", "-q", "--verify", "HEAD"])).text()
        };
        assert_eq!(head(&target), head(&source), "{name}");
        let refs = |dir: &Path| {
            git(dir, "for-each-ref --format=%(objectname)%20%(refname) refs/heads refs/tags refs/notes")
        };
        assert_eq!(refs(&target), refs(&source), "{name}");
        assert_eq!(target.join(".git").exists(), name != "bare", "{name}");
        if name != "bare" {
            assert_eq!(files(&target), files(&source), "{name}");
        }
        sound(&target);
    }
}

/// What kbpack does not carry: made of the repository `full`, in the folder `code` beside it.
const NOT_CARRIED: [(&str, &[&str]); 4] = [
    ("a shallow clone, which has not all of its history", &["clone", "-q", "--depth", "1", "URL", "code"]),
    (
        "a partial clone, which has not all of its objects",
        &["clone", "-q", "--filter=blob:none", "URL", "code"],
    ),
    ("its objects have SHA-256 ids", &["init", "-q", "--object-format=sha256", "code"]),
    ("its refs are kept in a reftable", &["init", "-q", "--ref-format=reftable", "code"]),
];

/// Makes one of them in `home`. False if this git is too old for it.
fn not_carried(home: &Path, args: &[&str]) -> bool {
    let url = format!("file://{}", home.join("full").display());
    let args: Vec<&str> = args.iter().map(|arg| if *arg == "URL" { &url } else { *arg }).collect();
    let _ = fs::remove_dir_all(home.join("code"));
    Run::of(git_command(home).args(args)).code == 0
}

#[test]
fn what_cannot_be_carried_whole_is_refused() {
    let world = World::new();
    world.source.profile(PROFILE);
    zoo(&world.source.join("full"));
    git(&world.source.join("full"), "config uploadpack.allowFilter true");
    let out = world.path("b.kbp");
    let export = || world.source.kbpack(&["export", "-r", &world.recipient, "-o", out.to_str().unwrap()]);
    for (why, args) in NOT_CARRIED {
        if not_carried(&world.source.path, args) {
            export().fails(8, why);
            assert!(!out.exists());
        }
    }
    fs::remove_dir_all(world.source.join("code")).unwrap();
    fs::create_dir(world.source.join("code")).unwrap();
    export().fails(8, "not a git repository");
}

#[test]
fn what_cannot_be_carried_is_left_alone_on_the_target() {
    let world = world();
    let bundle = world.export("b.kbp");
    copy(&world.source.join("code"), &world.target.join("full"));
    git(&world.target.join("full"), "config uploadpack.allowFilter true");
    for (why, args) in NOT_CARRIED {
        if not_carried(&world.target.path, args) {
            let before = snapshot(&world.target.join("code"));
            world.import(&bundle, &[]).fails(8, why);
            assert_eq!(snapshot(&world.target.join("code")), before, "{why}");
        }
    }
}

#[test]
fn uncommitted_work_stops_an_export_or_stays_behind() {
    let world = world();
    let code = world.source.join("code");
    fs::write(code.join("a.txt"), "changed\n").unwrap();
    fs::write(code.join("new.txt"), "untracked\n").unwrap();
    fs::write(code.join("x.log"), "ignored\n").unwrap();
    let out = world.path("b.kbp");
    let run = world.source.kbpack(&["export", "-r", &world.recipient, "-o", out.to_str().unwrap()]);
    assert!(!run.stderr.contains("x.log"), "{}", run.stderr);
    run.fails(8, "a.txt, new.txt");
    world.source.profile(&format!("{PROFILE}uncommitted = \"ignore\"\n"));
    world.import(&world.export("c.kbp"), &[]).ok();
    assert_eq!(world.target.read("code/a.txt"), b"one\n");
    assert!(!world.target.join("code/new.txt").exists());
}

#[test]
fn what_git_ignores_is_said_to_stay_behind() {
    let world = world();
    let source = &world.source;
    source.write("code/venv/lib/big.so", vec![1; 3 << 20]);
    source.write("code/venv/lib/small", "x");
    source.write("code/state.log", vec![2; 5 << 20]);
    source.write("code/tiny.log", "x");
    source.write("code/sub/app.log", vec![3; 9 << 20]);
    source.profile(&format!("{PROFILE}[component.log]\nkind = \"files\"\npath = \"~/code/sub/app.log\"\n"));
    let out = world.path("b.kbp");
    let export = |more: &[&str]| {
        let args = [&["export", "-r", &world.recipient, "-o", out.to_str().unwrap()], more].concat();
        let run = source.kbpack(&args).ok();
        run.text() + &run.stderr
    };
    for said in [export(&["--dry-run"]), export(&[])] {
        let expected = "what git ignores stays behind: 4 files, 8.0 MiB, the largest state.log (5.0 MiB), venv/ (3.0 MiB)";
        assert!(said.contains(expected), "{said}");
        let line = said.lines().find(|line| line.contains("stays behind")).unwrap();
        assert!(!line.contains("app.log") && !line.contains("tiny"), "{line}");
    }
    // Little is a note.
    fs::remove_file(&out).unwrap();
    fs::remove_dir_all(source.join("code/venv")).unwrap();
    fs::remove_file(source.join("code/state.log")).unwrap();
    assert!(!export(&[]).contains("stays behind"));
    fs::remove_file(&out).unwrap();
    assert!(export(&["-v"]).contains("what git ignores stays behind: 1 files, 1 KiB"));
}

/// Staged, unstaged and untracked work, a file removed, one staged and changed again.
pub fn dabble(dir: &Path) {
    fs::write(dir.join("a.txt"), "staged\n").unwrap();
    git(dir, "add a.txt");
    fs::write(dir.join("a.txt"), "and changed again\n").unwrap();
    fs::write(dir.join("sub/run.sh"), "unstaged\n").unwrap();
    fs::write(dir.join("new.txt"), "untracked\n").unwrap();
    fs::create_dir_all(dir.join("some/where")).unwrap();
    fs::write(dir.join("some/where/added"), "added\n").unwrap();
    git(dir, "add some");
    git(dir, "rm -q two");
    fs::remove_file(dir.join("one")).unwrap();
    fs::write(dir.join("x.log"), "ignored\n").unwrap();
}

#[test]
fn uncommitted_work_travels_if_it_is_to() {
    let world = world();
    let (source, target) = (world.source.join("code"), world.target.join("code"));
    world.source.profile(&format!("{PROFILE}uncommitted = \"include\"\n"));
    dabble(&source);
    let before = snapshot(&source);
    let bundle = world.export("b.kbp");
    assert_eq!(snapshot(&source), before, "an export changes nothing");
    let same = || {
        let diffs = |dir: &Path| ["status --porcelain", "diff", "diff --cached"].map(|args| git(dir, args));
        assert_eq!(diffs(&target), diffs(&source));
        assert_eq!(refs(&target), refs(&source));
        assert!(!target.join("x.log").exists());
        git(&target, "fsck --strict");
    };
    // Onto nothing; then once more, which finds nothing to do.
    world.import(&bundle, &[]).ok();
    same();
    let again = world.import(&bundle, &["--json"]).ok().json();
    let plan = &again["components"][0]["plan"];
    assert_eq!((&plan["added"], &plan["changed"]), (&0.into(), &0.into()), "{again}");
    same();
    // Onto a clean repository, which a failure makes clean again.
    fs::remove_dir_all(&target).unwrap();
    git_args(&world.target.path, &["clone", "-q", "--mirror", source.to_str().unwrap(), "code/.git"]);
    git(&target, "config core.bare false");
    git(&target, "reset -q --hard");
    sound(&target);
    let old = (refs(&target), files(&target));
    let args = ["import", bundle.to_str().unwrap(), "--yes", "-q"];
    let failed = (1..40)
        .find(|nth| crate::crash::injected(&world.target, &args, "rename", *nth, "error=EIO").code == 9);
    assert!(failed.is_some());
    assert_eq!((refs(&target), files(&target)), old);
    sound(&target);
    world.import(&bundle, &[]).ok();
    same();
    // A rollback takes it away again, also from where nothing was.
    world.target.kbpack(&["rollback", "--yes"]).ok();
    assert_eq!((refs(&target), files(&target)), old);
    sound(&target);
    fs::remove_dir_all(&target).unwrap();
    world.import(&bundle, &[]).ok();
    same();
    world.target.kbpack(&["rollback", "--yes"]).ok();
    assert!(!target.exists());
    assert_eq!(leftovers(&files(&world.target.path)), Vec::<&String>::new());
    // But not if somebody went on with it.
    world.import(&bundle, &[]).ok();
    fs::write(target.join("new.txt"), "edited\n").unwrap();
    world.target.kbpack(&["rollback", "--yes"]).fails(8, "changes that are in no commit");
    assert_eq!(world.target.read("code/new.txt"), b"edited\n");
    fs::write(target.join("new.txt"), "untracked\n").unwrap();
    same();
    // A target with work of its own is left alone.
    fs::write(target.join("a.txt"), "mine\n").unwrap();
    world.import(&bundle, &[]).fails(8, "changes that are in no commit");
    assert_eq!(world.target.read("code/a.txt"), b"mine\n");
}

/// A commit in `dir` that changes `a.txt`, adds one file and removes another.
pub fn go_on(dir: &Path, word: &str) {
    fs::write(dir.join("a.txt"), format!("{word}\n")).unwrap();
    fs::create_dir_all(dir.join("deep/er")).unwrap();
    fs::write(dir.join(format!("deep/er/{word}")), word).unwrap();
    let _ = fs::remove_file(dir.join("three"));
    git(dir, "add -A");
    git(dir, &format!("commit -q -m {word}"));
}

#[test]
fn what_is_there_is_fast_forwarded_and_stays_with_what_it_has_more() {
    let world = world();
    let (source, target) = (world.source.join("code"), world.target.join("code"));
    world.import(&world.export("1.kbp"), &[]).ok();
    git(&target, "branch mine");
    fs::write(target.join("x.log"), "ignored").unwrap();
    go_on(&source, "more");
    git(&source, "tag v2");
    world.import(&world.export("2.kbp"), &[]).ok();
    assert_eq!(git(&target, "rev-parse main v2"), git(&source, "rev-parse main v2"));
    assert_eq!(world.target.read("code/deep/er/more"), b"more");
    assert!(!target.join("three").exists());
    git(&target, "rev-parse mine");
    assert!(target.join("x.log").exists());
    sound(&target);
    // The target goes on alone: the same bundle again takes nothing back.
    go_on(&target, "further");
    let run = world.import(&world.path("2.kbp"), &["--json"]).ok();
    assert!(run.text().contains("is ahead of the bundle's, and stays"), "{}", run.text());
    assert_eq!(world.target.read("code/a.txt"), b"further\n");
}

#[test]
fn dirty_diverged_and_checked_out_elsewhere_are_refused_and_nothing_changes() {
    let world = world();
    let (source, target) = (world.source.join("code"), world.target.join("code"));
    world.import(&world.export("1.kbp"), &[]).ok();
    go_on(&source, "theirs");
    let bundle = world.export("2.kbp");
    let refused = |words: &str| {
        let before = (refs(&target), files(&target));
        world.import(&bundle, &[]).fails(8, words);
        assert_eq!((refs(&target), files(&target)), before);
    };
    fs::write(target.join("a.txt"), "edited\n").unwrap();
    refused("changes that are in no commit: a.txt");
    git(&target, "checkout -q a.txt");
    // A file that git does not know is in the way.
    fs::create_dir_all(target.join("deep/er")).unwrap();
    fs::write(target.join("deep/er/theirs"), "mine").unwrap();
    refused("changes that are in no commit");
    fs::write(target.join(".git/info/exclude"), "deep\n").unwrap();
    refused("in the way");
    assert_eq!(world.target.read("code/deep/er/theirs"), b"mine");
    fs::remove_dir_all(target.join("deep")).unwrap();
    git(&target, "checkout -q two");
    git_args(&target, &["worktree", "add", "-q", world.target.join("side").to_str().unwrap(), "main"]);
    refused("another work tree has refs/heads/main checked out");
    git(
        &target,
        "worktree remove side".replace("side", world.target.join("side").to_str().unwrap()).as_str(),
    );
    git(&target, "checkout -q main");
    go_on(&target, "mine");
    refused("refs/heads/main has gone another way");

    let mine = git(&target, "rev-parse main");
    world.target.profile(&format!("{PROFILE}on-diverge = \"keep-both\"\n"));
    world.import(&bundle, &[]).ok();
    assert_eq!(git(&target, "rev-parse main"), mine);
    assert_eq!(git(&target, "rev-parse refs/kbpack/incoming/heads/main"), git(&source, "rev-parse main"));
    world.target.profile(&format!("{PROFILE}on-diverge = \"take\"\n"));
    world.import(&bundle, &[]).ok();
    assert_eq!(git(&target, "rev-parse main"), git(&source, "rev-parse main"));
    assert!(git(&target, "for-each-ref refs/kbpack/backup").contains(mine.trim()));
    assert_eq!(world.target.read("code/a.txt"), b"theirs\n");
    sound(&target);
}

#[test]
fn a_clone_goes_around_what_belongs_to_others() {
    let world = world();
    world.source.write("code/venv/keep.txt", "venv");
    let both = format!("{PROFILE}[component.venv]\nkind = \"files\"\npath = \"~/code/venv\"\n");
    world.source.profile(&both);
    let bundle = world.export("b.kbp");
    world.target.write("code/venv/mine.txt", "mine");
    world.import(&bundle, &[]).ok();
    assert_eq!(refs(&world.target.join("code")), refs(&world.source.join("code")));
    assert_eq!(world.target.read("code/venv/keep.txt"), b"venv");
    assert_eq!(world.target.read("code/venv/mine.txt"), b"mine");
    sound(&world.target.join("code"));

    let world = self::world();
    world.target.write("code/notes.txt", "mine");
    world.import(&world.export("b.kbp"), &[]).fails(8, "notes.txt is in the way");
}

#[test]
fn nothing_of_the_bundle_is_run() {
    let world = world();
    let (source, target) = (world.source.join("code"), world.target.join("code"));
    let evil = format!("touch {}", world.path("pwned").display());
    fs::write(source.join(".gitattributes"), "* filter=evil diff=evil merge=evil\n").unwrap();
    fs::create_dir_all(source.join("hooks")).unwrap();
    fs::write(source.join("hooks/post-checkout"), format!("#!/bin/sh\n{evil}\n")).unwrap();
    git(&source, "add -A");
    git(&source, "commit -q -m evil");
    for key in [
        "filter.evil.smudge",
        "filter.evil.clean",
        "filter.evil.process",
        "core.fsmonitor",
        "core.sshCommand",
        "core.pager",
    ] {
        git_args(&source, &["config", key, &evil]);
    }
    git(&source, "config core.hooksPath hooks");
    world.import(&world.export("1.kbp"), &[]).ok();
    assert!(!world.path("pwned").exists());
    let config = fs::read_to_string(target.join(".git/config")).unwrap();
    assert!(!config.contains("pwned") && !config.contains("hooksPath"), "{config}");
}

#[test]
fn killed_anywhere_the_repository_is_the_old_or_the_new_one() {
    for there in [true, false] {
        let world = world();
        let (source, target) = (world.source.join("code"), world.target.join("code"));
        if there {
            world.import(&world.export("1.kbp"), &[]).ok();
            go_on(&source, "more");
            fs::write(source.join("a.txt"), "stashed, too\n").unwrap();
            git(&source, "stash -q");
        }
        let of = |dir: &Path| (refs(dir), files(dir), git(dir, "stash list --format=%H%x20%gs"));
        let state = || target.exists().then(|| of(&target));
        let bundle = world.export("2.kbp");
        let args = ["import", bundle.to_str().unwrap(), "--yes", "-q"];
        let sound = |_: &str| {
            if target.exists() {
                sound(&target);
            }
        };
        Kills { world: &world, args: &args, sample: 10, state: &state, sound: &sound }.run();
        assert_eq!(state(), Some(of(&source)));
    }
}

#[test]
fn a_rollback_that_takes_uncommitted_work_away_may_be_killed_anywhere() {
    let world = world();
    let (source, target) = (world.source.join("code"), world.target.join("code"));
    world.import(&world.export("1.kbp"), &[]).ok();
    world.source.profile(&format!("{PROFILE}uncommitted = \"include\"\n"));
    dabble(&source);
    world.import(&world.export("2.kbp"), &[]).ok();
    let state = || (refs(&target), files(&target), git(&target, "status --porcelain"));
    let sound = |_: &str| drop(git(&target, "fsck --strict"));
    let args = ["rollback", "--yes", "-q"];
    Kills { world: &world, args: &args, sample: 12, state: &state, sound: &sound }.run();
    assert_eq!(state().2, "");
}

#[test]
fn without_git_libgit2_packs() {
    for shape in ["work tree", "detached"] {
        let world = world();
        let source = world.source.join("code");
        if shape == "detached" {
            git(&source, "checkout -q --detach one");
        }
        let out = world.path("b.kbp");
        let mut export =
            world.source.command(&["export", "-r", &world.recipient, "-o", out.to_str().unwrap()]);
        Run::of(export.env("PATH", world.path("nothing"))).ok();
        let mut import = world.target.command(&["import", out.to_str().unwrap(), "--yes"]);
        Run::of(import.env("PATH", world.path("nothing"))).ok();
        let target = world.target.join("code");
        assert_eq!((refs(&target), files(&target)), (refs(&source), files(&source)));
        sound(&target);
        let file = extract(&world, &out);
        git_args(&source, &["bundle", "verify", file.to_str().unwrap()]);
    }
}

#[test]
fn this_projects_own_history_arrives() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    if !root.join(".git").exists() {
        return; // Built from an archive.
    }
    let world = World::new();
    world.source.profile(PROFILE);
    git_args(&world.source.path, &["clone", "-q", "--no-local", root.to_str().unwrap(), "code"]);
    world.import(&world.export("b.kbp"), &[]).ok();
    let (source, target) = (world.source.join("code"), world.target.join("code"));
    assert_eq!(refs(&target), refs(&source));
    assert_eq!(git(&target, "rev-list --count HEAD"), git(&source, "rev-list --count HEAD"));
    sound(&target);
}

#[test]
fn a_failed_import_puts_refs_head_index_and_work_tree_back() {
    let world = world();
    let (source, target) = (world.source.join("code"), world.target.join("code"));
    world.import(&world.export("1.kbp"), &[]).ok();
    go_on(&source, "more");
    git(&source, "checkout -q -b other");
    go_on(&source, "other");
    // A second component that cannot be put in place: a folder stands where its file was when it was planned.
    world.source.write("last/file", "x");
    world.source.profile(&format!("{PROFILE}[component.z]\nkind = \"files\"\npath = \"~/last\"\n"));
    let bundle = world.export("2.kbp");
    let before = (refs(&target), files(&target), fs::read(target.join(".git/index")).unwrap());
    let args = ["import", bundle.to_str().unwrap(), "--yes", "--accept-new", "-q"];
    // The first renames are the state's own; at one of the later ones the tree cannot be put in place.
    let failed = (1..40).find(|nth| {
        let run = crate::crash::injected(&world.target, &args, "renameat2", *nth, "error=EIO");
        run.code == 9
    });
    assert!(failed.is_some());
    assert_eq!((refs(&target), files(&target), fs::read(target.join(".git/index")).unwrap()), before);
    sound(&target);
}
