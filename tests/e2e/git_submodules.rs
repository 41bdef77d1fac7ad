//! Submodules whose repositories travel, with stock git as the oracle.

use crate::crash::{injected, leftovers};
use crate::git::{files, git, git_args, git_command, refs, PROFILE};
use crate::git_incremental::{answer, believe, ticket};
use crate::kills::{all, Kills};
use crate::support::{snapshot, Run, World};
use std::fs;
use std::path::{Path, PathBuf};

fn profile(world: &World, more: &str) {
    world.source.profile(&format!("{PROFILE}submodules = true\n{more}"));
}

/// Git that may clone from a folder beside it.
#[track_caller]
fn local(dir: &Path, args: &str) -> String {
    let run = Run::of(git_command(dir).args(["-c", "protocol.file.allow=always"]).args(args.split(' ')));
    assert_eq!(run.code, 0, "git {args}: {}", run.stderr);
    run.text()
}

fn commit(dir: &Path, file: &str, text: &str) {
    fs::write(dir.join(file), text).unwrap();
    git(dir, "add -A");
    git_args(dir, &["commit", "-q", "-m", text.trim()]);
}

/// A repository with a submodule of another name than its path, which has a submodule in turn, and one on a branch.
fn world() -> (World, PathBuf, PathBuf) {
    let world = World::new();
    profile(&world, "");
    for name in ["deep", "lib", "plain"] {
        let dir = world.source.join(name);
        fs::create_dir(&dir).unwrap();
        git(&dir, "init -q -b main");
        commit(&dir, "a.txt", &format!("{name}\n"));
    }
    local(&world.source.join("lib"), "submodule --quiet add ../deep below/deep");
    git(&world.source.join("lib"), "commit -q -m deep");
    let code = world.source.join("code");
    fs::create_dir(&code).unwrap();
    git(&code, "init -q -b main");
    commit(&code, "own.txt", "own\n");
    local(&code, "submodule --quiet add --name named/lib ../lib vendor/lib");
    local(&code, "submodule --quiet add ../plain plain");
    git(&code, "commit -q -m modules");
    local(&code, "submodule --quiet update --init --recursive");
    git(&code, "-C vendor/lib tag v1");
    git(&code, "-C vendor/lib checkout -q --detach");
    let target = world.target.join("code");
    (world, code, target)
}

const MODULES: [&str; 4] = ["", "vendor/lib", "vendor/lib/below/deep", "plain"];

/// All that the repository and its submodules say and have.
fn state(dir: &Path) -> String {
    let mut text = String::new();
    for module in MODULES {
        let at = dir.join(module);
        text += &format!(
            "{module}: {}",
            git(&at, "for-each-ref --format=%(objectname)%20%(refname) refs/heads refs/tags")
        );
        text += &git(&at, "rev-parse HEAD");
        text += &Run::of(git_command(&at).args(["symbolic-ref", "-q", "HEAD"])).text();
        text += &git(&at, "status --porcelain --branch");
    }
    let is_link = |row: &String| {
        row.split(' ').next().is_some_and(|path| path.ends_with("/.git") || path.contains("/.git/"))
    };
    text + &git(dir, "submodule status --recursive")
        + &files(dir).into_iter().filter(|row| !is_link(row)).collect::<Vec<_>>().join("\n")
}

/// What status says of remotes is not the same on both sides.
fn plain(state: &str) -> String {
    state.lines().filter(|line| !line.starts_with("## ")).collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn same(target: &Path, source: &Path) {
    assert_eq!(plain(&state(target)), plain(&state(source)));
    for module in MODULES {
        git(&target.join(module), "fsck --strict");
    }
}

#[test]
fn submodules_arrive_with_their_repositories() {
    let (world, source, target) = world();
    let before = snapshot(&source);
    let bundle = world.export("b.kbp");
    assert_eq!(snapshot(&source), before, "an export changes nothing");
    world.import(&bundle, &[]).ok();
    same(&target, &source);
    // Where stock git has them, by relative paths: the repository may be moved.
    assert!(target.join(".git/modules/named/lib/modules/below/deep/HEAD").is_file());
    assert_eq!(world.target.read("code/vendor/lib/.git"), b"gitdir: ../../.git/modules/named/lib\n");
    let url = git(&target, "config submodule.named/lib.url");
    assert_eq!(url, git(&source, "config submodule.named/lib.url"));
    assert_eq!(git(&target, "submodule foreach --quiet --recursive pwd").lines().count(), 3);
    // With nothing to fetch from: stock git finds all that it needs.
    fs::rename(&target, world.target.join("moved")).unwrap();
    for name in ["lib", "deep", "plain"] {
        fs::rename(world.source.join(name), world.source.join(&format!("{name}.away"))).unwrap();
    }
    git(&world.target.join("moved"), "submodule --quiet update --init --recursive --force");
    fs::rename(world.target.join("moved"), &target).unwrap();
    // It leaves the branch that one was on.
    git(&target.join("plain"), "checkout -q main");
    same(&target, &source);

    let again = world.import(&bundle, &["--json"]).ok().json();
    let plan = &again["components"][0]["plan"];
    assert_eq!((&plan["added"], &plan["changed"]), (&0.into(), &0.into()), "{again}");
    world.target.kbpack(&["check"]).ok();
    // Nothing differs, on either side; then a commit in a submodule does.
    let path = bundle.to_str().unwrap();
    world.target.kbpack(&["diff", path, "--exit-code"]).ok();
    world.source.kbpack(&["status", "--exit-code"]).ok();
    git(&target.join("plain"), "commit -q --allow-empty -m further");
    let differs = world.target.kbpack(&["diff", path, "--json"]).ok().json();
    let differs = &differs["components"][0]["differences"];
    assert_eq!((differs.as_array().unwrap().len(), &differs[0]["ahead"]), (1, &1.into()), "{differs}");
    assert_eq!(differs[0]["name"], "plain: refs/heads/main");
    git(&target.join("plain"), "reset -q --hard HEAD~1");
    let listed = world.target.kbpack(&["inspect", bundle.to_str().unwrap(), "--files"]).ok().text();
    assert!(listed.contains("vendor/lib: refs/tags/v1"), "{listed}");
    // And its bundles are stock git's.
    let out = world.path("out");
    world.target.kbpack(&["extract", bundle.to_str().unwrap(), "code", "-C", out.to_str().unwrap()]).ok();
    let lib = out.join("code/modules/2/repository.bundle");
    git_args(&source.join("vendor/lib"), &["bundle", "verify", lib.to_str().unwrap()]);
    world.target.kbpack(&["rollback", "--yes"]).ok();
    let left = fs::read_dir(&world.target.path).unwrap().flatten().map(|e| e.file_name());
    assert!(left.into_iter().all(|name| !name.to_string_lossy().starts_with("code")));
}

/// The source goes on, in the submodules and around them.
fn go_on(source: &Path) {
    let (lib, deep) = (source.join("vendor/lib"), source.join("vendor/lib/below/deep"));
    commit(&deep, "a.txt", "deep, changed\n");
    git(&deep, "branch -f main");
    commit(&lib, "more.txt", "more\n");
    git(&lib, "branch -f main");
    commit(source, "own.txt", "own, changed\n");
}

#[test]
fn submodules_that_are_there_move_along_and_back() {
    let (world, source, target) = world();
    world.import(&world.export("1.kbp"), &[]).ok();
    let old = state(&target);
    go_on(&source);
    let bundle = world.export("2.kbp");
    world.import(&bundle, &[]).ok();
    same(&target, &source);
    world.target.kbpack(&["rollback", "--yes"]).ok();
    assert_eq!(state(&target), old);
    // A failure takes all of it back.
    let args = ["import", bundle.to_str().unwrap(), "--yes", "-q"];
    // Before the commit, in it, and when there is none left.
    let failed = (1..20).step_by(if all() { 1 } else { 2 }).filter(|nth| {
        let code = injected(&world.target, &args, "rename", *nth, "error=EIO").code;
        if code == 10 {
            world.target.kbpack(&["recover"]).ok();
        }
        if code == 0 {
            assert_eq!(plain(&state(&target)), plain(&state(&source)));
            world.target.kbpack(&["rollback", "--yes"]).ok();
        }
        assert_eq!(state(&target), old, "rename {nth}");
        code == 9
    });
    assert!(failed.count() > 2);
    world.import(&bundle, &[]).ok();
    same(&target, &source);
}

#[test]
fn submodules_travel_whole_with_what_a_target_has_not() {
    let (world, source, target) = world();
    world.import(&world.export("1.kbp"), &[]).ok();
    believe(&world);
    go_on(&source);
    fs::write(source.join("vendor/lib/a.txt"), "stashed\n").unwrap();
    git(&source.join("vendor/lib"), "stash -q");
    let ticket = ticket(&world, "beta.ticket");
    let report = answer(&world, &ticket, "2.kbp", &["--incremental"]).ok().stderr;
    assert!(report.contains("are needed to import it"), "{report}");
    world.import(&world.path("2.kbp"), &[]).ok();
    same(&target, &source);
    let stashed = |dir: &Path| git(&dir.join("vendor/lib"), "stash list --format=%H%gs");
    assert_eq!(stashed(&target), stashed(&source));
}

#[test]
fn work_in_submodules_is_refused_or_travels_and_is_kept() {
    let (world, source, target) = world();
    let export = || {
        let out = world.path("x.kbp");
        world.source.kbpack(&["export", "-r", &world.recipient, "-o", out.to_str().unwrap()])
    };
    // Not where the commit around it has it.
    commit(&source.join("plain"), "b.txt", "b\n");
    export().fails(8, "plain: it is not at the commit");
    git(&source.join("plain"), "reset -q --hard HEAD~1");
    fs::write(source.join("vendor/lib/a.txt"), "changed\n").unwrap();
    fs::write(source.join("vendor/lib/below/deep/new.txt"), "new\n").unwrap();
    export().fails(8, "vendor/lib");
    fs::write(source.join("own.txt"), "of the one around them\n").unwrap();
    profile(&world, "uncommitted = \"include\"\n");
    let bundle = world.export("1.kbp");
    world.import(&bundle, &[]).ok();
    same(&target, &source);
    assert_eq!(world.target.read("code/vendor/lib/below/deep/new.txt"), b"new\n");
    // A rollback takes it away again, and leaves no copy of it; nor does an import that fails.
    world.target.kbpack(&["rollback", "--yes"]).ok();
    assert!(!target.exists());
    assert_eq!(leftovers(&files(&world.target.path)), Vec::<&String>::new());
    world.source.write("last/file", "x");
    profile(&world, "uncommitted = \"include\"\n[component.z]\nkind = \"files\"\npath = \"~/last\"\n");
    let bundle = world.export("2.kbp");
    let args = ["import", bundle.to_str().unwrap(), "--yes", "--accept-new", "-q"];
    // The later ones are those of the other component, when this one is in place.
    let failed = (1..8).filter(|nth| {
        let code = injected(&world.target, &args, "renameat2", *nth, "error=EIO").code;
        if code == 0 {
            world.target.kbpack(&["rollback", "--yes"]).ok();
        }
        assert!(!target.exists());
        assert_eq!(leftovers(&files(&world.target.path)), Vec::<&String>::new(), "renameat2 {nth}");
        code == 9
    });
    assert!(failed.count() > 1);
    world.import(&bundle, &[]).ok();
    // What is done in a submodule since is not lost by a rollback.
    world.target.write("code/vendor/lib/below/deep/mine.txt", "mine");
    world.target.kbpack(&["rollback", "--yes"]).ok();
    let kept = fs::read_dir(&world.target.path)
        .unwrap()
        .flatten()
        .find(|e| e.file_name().to_string_lossy().starts_with("code.kbpack-kept-"));
    assert_eq!(fs::read(kept.unwrap().path().join("vendor/lib/below/deep/mine.txt")).unwrap(), b"mine");
}

#[test]
fn a_target_whose_submodules_cannot_follow_is_left_alone() {
    let (world, source, target) = world();
    world.import(&world.export("1.kbp"), &[]).ok();
    go_on(&source);
    let bundle = world.export("2.kbp");
    let refused = |words: &str| {
        let before = (refs(&target), files(&target));
        world.import(&bundle, &[]).fails(8, words);
        assert_eq!((refs(&target), files(&target)), before);
    };
    fs::write(target.join("vendor/lib/a.txt"), "mine\n").unwrap();
    refused("vendor/lib: changes that are in no commit: a.txt");
    git(&target.join("vendor/lib"), "checkout -q a.txt");
    git(&target.join("vendor/lib"), "checkout -q main");
    commit(&target.join("vendor/lib"), "b.txt", "another way\n");
    refused("vendor/lib: refs/heads/main has gone another way");
    git(&target, "submodule --quiet deinit --force vendor/lib");
    refused("vendor/lib: the submodule is not checked out here");
}

#[test]
fn a_submodule_that_came_since_is_kept_by_a_rollback() {
    let (world, _, target) = world();
    world.source.profile(PROFILE);
    world.import(&world.export("b.kbp"), &[]).ok();
    // One that kbpack does not carry: that it is there is enough.
    let url = format!("file://{}", world.source.join("plain").display());
    local(&target, &format!("-c submodule.plain.url={url} submodule --quiet update --init --depth 1 plain"));
    world.target.write("code/plain/mine.txt", "mine");
    let run = world.target.kbpack(&["rollback", "--yes"]).ok();
    assert!(run.stderr.contains("it was changed after the import"), "{}", run.stderr);
    let mut names = fs::read_dir(&world.target.path).unwrap().flatten().map(|e| e.path());
    let kept = names.find(|path| path.to_string_lossy().contains("code.kbpack-kept-")).unwrap();
    assert_eq!(fs::read(kept.join("plain/mine.txt")).unwrap(), b"mine");
    assert!(!target.exists());
}

#[test]
fn submodules_stay_behind_unless_they_are_to_travel() {
    let (world, _, target) = world();
    world.source.profile(PROFILE);
    let out = world.path("b.kbp");
    let run = world.source.kbpack(&["export", "-r", &world.recipient, "-o", out.to_str().unwrap()]).ok();
    assert!(run.stderr.contains("its submodules do not travel: plain, vendor/lib"), "{}", run.stderr);
    world.import(&out, &[]).ok();
    assert_eq!(fs::read_dir(target.join("vendor/lib")).unwrap().count(), 0);
    // One that is not checked out on the source.
    git(&world.source.join("code"), "submodule --quiet deinit --force plain");
    profile(&world, "");
    fs::remove_file(&out).unwrap();
    let run = world.source.kbpack(&["export", "-r", &world.recipient, "-o", out.to_str().unwrap()]).ok();
    assert!(run.stderr.contains("not checked out here do not travel: plain"), "{}", run.stderr);
}

#[test]
fn killed_anywhere_submodules_are_the_old_or_the_new_ones() {
    for there in [true, false] {
        let (world, source, target) = world();
        if there {
            world.import(&world.export("1.kbp"), &[]).ok();
            go_on(&source);
        }
        let state = || target.exists().then(|| plain(&state(&target)));
        let bundle = world.export("2.kbp");
        let args = ["import", bundle.to_str().unwrap(), "--yes", "-q"];
        Kills { world: &world, args: &args, sample: 6, state: &state, sound: &|_| () }.run();
        assert_eq!(state(), Some(plain(&self::state(&source))));
    }
}
