//! The kind python: stock `python3 -m venv`, pip and git are the oracles, and the wheels are written here. No index is asked.

use crate::crash::{content, copy, killed, leftovers, points};
use crate::support::{snapshot_but_times_of_folders, Home, Run, World};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

const PROFILE: &str = r#"
[bundle]
name = "py"

[component.venv]
kind = "python"
path = "~/app/venv"
"#;

/// A program in nobody's environment but this home's.
#[track_caller]
fn run(home: &Home, program: impl AsRef<Path>, args: &[&str]) -> String {
    let mut command = Command::new(program.as_ref());
    command.args(args).current_dir(&home.path).env_clear().env("HOME", &home.path);
    command.env("PATH", std::env::var_os("PATH").unwrap()).env("GIT_CONFIG_NOSYSTEM", "1");
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "Ada").env(format!("GIT_{who}_EMAIL"), "ada@example.com");
    }
    Run::of(&mut command).ok().text()
}

/// The Python of this machine itself, where `python3` may be a script that looks for it, and its pip, unpacked and compiled: out of
/// its wheel it would compile itself at each start. Both are looked for once.
fn stock() -> &'static (PathBuf, PathBuf) {
    static STOCK: OnceLock<(PathBuf, PathBuf)> = OnceLock::new();
    STOCK.get_or_init(|| {
        let say = |program: &Path, script: &str| {
            Run::of(Command::new(program).args(["-c", script])).ok().text().trim().to_owned()
        };
        let python = PathBuf::from(say(Path::new("python3"), "import sys; print(sys.executable)"));
        let wheel = say(
            &python,
            "import ensurepip, glob, os, sysconfig\n\
             own = os.path.join(os.path.dirname(ensurepip.__file__), '_bundled')\n\
             folders = [sysconfig.get_config_var('WHEEL_PKG_DIR'), own]\n\
             print([w for f in folders if f for w in glob.glob(f + '/pip-*.whl')][0])",
        );
        let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let unpacked = tmp.join(wheel.replace('/', "-"));
        if !unpacked.exists() {
            let part = tmp.join(format!("pip-{}", std::process::id()));
            Run::of(Command::new(&python).args(["-m", "zipfile", "-e", &wheel]).arg(&part)).ok();
            Run::of(Command::new(&python).args(["-m", "compileall", "-q"]).arg(&part)).ok();
            fs::rename(&part, &unpacked).unwrap();
        }
        (python, unpacked.join("pip"))
    })
}

/// Writes wheels, and lets this home's pip look for them there and nowhere else.
pub fn index(home: &Home, wheels: &[&str]) {
    let folder = home.join(".config/wheels");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/python/wheels.py");
    for wheel in wheels {
        let words: Vec<&str> = wheel.split(' ').collect();
        run(home, &stock().0, &[&[script.to_str().unwrap(), folder.to_str().unwrap()], &words[..]].concat());
    }
    let links = format!("[global]\nno-index = true\nfind-links = {}\n", folder.display());
    home.write(".config/pip/pip.conf", links);
}

/// Makes `~/app/venv` as tools do that are quicker than `venv`: with these installed, and without pip.
pub fn venv(home: &Home, names: &[&str]) {
    fs::create_dir_all(home.join("app")).unwrap();
    run(home, &stock().0, &["-m", "venv", "--without-pip", "app/venv"]);
    pip(home, &[&["install", "-q"], names].concat());
}

/// Makes it as people do.
fn venv_with_pip(home: &Home, names: &[&str]) {
    fs::create_dir_all(home.join("app")).unwrap();
    run(home, &stock().0, &["-m", "venv", "app/venv"]);
    run(home, home.join("app/venv/bin/pip"), &[&["install", "-q"], names].concat());
}

/// Stock pip, at work in `~/app/venv`.
#[track_caller]
fn pip(home: &Home, args: &[&str]) -> String {
    let args = [&[stock().1.to_str().unwrap(), "--disable-pip-version-check"], args].concat();
    run(home, home.join("app/venv/bin/python"), &args)
}

/// What stock pip finds in an environment, which need not have pip.
pub fn frozen(environment: &Path) -> String {
    Run::of(Command::new(environment.join("bin/python")).arg(&stock().1).arg("freeze")).ok().text()
}

/// A source with `kbdemo`, which needs `kbother`, and the profile with `more` in it.
fn world(more: &str) -> World {
    world_with(more, venv)
}

fn world_with(more: &str, venv: impl Fn(&Home, &[&str])) -> World {
    let world = World::new();
    index(&world.source, &["kbdemo 1.0 py3-none-any kbother>=2", "kbother 2.1"]);
    venv(&world.source, &["kbdemo"]);
    // What an index has by now is of no interest.
    index(&world.source, &["kbother 2.2", "kbdemo 1.1"]);
    world.source.profile(&format!("{PROFILE}{more}"));
    world
}

/// What a script of the environment prints: it says where it runs.
#[track_caller]
fn demo(home: &Home) -> String {
    run(home, home.join("app/venv/bin/kbdemo"), &[]).trim().to_owned()
}

fn works(home: &Home, version: &str) {
    let place = home.path.canonicalize().unwrap().join("app/venv");
    assert_eq!(demo(home), format!("kbdemo {version} {}", place.display()));
}

#[test]
fn an_environment_arrives_with_the_repository_around_it_and_no_index_is_asked() {
    let world = world_with(
        "requirements = \"~/app/requirements.txt\"\nwheels = true\n[component.code]\nkind = \"git\"\npath = \"~/app\"\n",
        venv_with_pip,
    );
    let (source, target) = (&world.source, &world.target);
    source.write("app/requirements.txt", "# what we use\nkbdemo[x] >= 1.0  # it\n-r more.txt\n");
    source.write("app/more.txt", "kbother ; python_version >= '3'\n");
    source.write("app/.gitignore", "venv/\n");
    for args in ["init -q -b main app", "-C app add -A", "-C app commit -q -m first"] {
        run(source, "git", &args.split(' ').collect::<Vec<_>>());
    }
    let bundle = world.export("b.kbp");
    world.import(&bundle, &[]).ok();
    works(target, "1.0");
    run(target, target.join("app/venv/bin/pip"), &["check"]);
    let frozen = "kbdemo==1.0\nkbother==2.1\n";
    assert_eq!(run(target, target.join("app/venv/bin/pip"), &["freeze"]), frozen);
    assert_eq!(run(target, "git", &["-C", "app", "status", "--porcelain"]), "");
    // As it is used: activated, and by its own name.
    let shell =
        ". app/venv/bin/activate && command -v python && python -c 'import kbdemo' && echo $VIRTUAL_ENV";
    let place = target.path.canonicalize().unwrap().join("app/venv");
    let said = format!("{0}/bin/python\n{0}\n", place.display());
    assert_eq!(run(target, "/bin/sh", &["-c", shell]), said);
    // No file names another place, and pip's own lists of files are right.
    let source_home = format!("{}/", source.path.display());
    let mut grep = Command::new("grep");
    grep.args(["-rlF", "-e", "kbpack-stage", "-e", &source_home]).arg(target.join("app/venv"));
    assert_eq!(String::from_utf8_lossy(&grep.output().unwrap().stdout), "");
    let verify = "import sys, pathlib, importlib.metadata as m, hashlib, base64\n\
        for d in m.distributions():\n\
        \x20 for f in d.files:\n\
        \x20  if f.hash: assert base64.urlsafe_b64encode(hashlib.sha256(f.locate().read_bytes()).digest()).rstrip(b'=').decode() == f.hash.value, f\n";
    run(target, target.join("app/venv/bin/python"), &["-c", verify]);
    // Compiled, so that it starts as quickly, and by users who may not write there.
    let compiled = Command::new("find").arg(target.join("app/venv")).args(["-name", "kbdemo.*.pyc"]).output();
    assert!(!compiled.unwrap().stdout.is_empty());

    // Again: nothing to do. And what somebody installs by hand is noticed.
    let counts = |home: &Home, args: &[&str]| {
        let report = home
            .kbpack(&[&["import", bundle.to_str().unwrap(), "--yes", "--json"], args].concat())
            .ok()
            .json();
        let plans = report["components"].as_array().unwrap();
        let plan = plans.iter().find(|one| one["name"] == "venv").unwrap()["plan"].clone();
        (plan["added"].clone(), plan["changed"].clone(), plan["removed"].clone())
    };
    assert_eq!(counts(target, &[]), (0.into(), 0.into(), 0.into()));
    index(target, &["kbmine 7"]);
    run(target, target.join("app/venv/bin/pip"), &["install", "-q", "kbmine"]);
    assert_eq!(counts(target, &["--dry-run"]), (0.into(), 1.into(), 1.into()));
    // On the source itself there is nothing to do, either.
    let own = source.kbpack(&["keygen", "--show", "--json"]).ok().json();
    source.kbpack(&["trust", "add", "me", own["signer"].as_str().unwrap()]).ok();
    let here = world.path("here.kbp");
    let recipient = own["recipient"].as_str().unwrap();
    source.kbpack(&["export", "-r", recipient, "-o", here.to_str().unwrap()]).ok();
    let report = source.kbpack(&["import", here.to_str().unwrap(), "--dry-run", "--json"]).ok().json();
    assert!(report["components"]
        .as_array()
        .unwrap()
        .iter()
        .all(|one| one["plan"]["changes"] == serde_json::json!([])));
}

#[test]
fn an_old_environment_works_until_the_swap_and_comes_back() {
    let world = world("wheels = true\n");
    let target = &world.target;
    index(target, &["kbdemo 0.9"]);
    venv(target, &["kbdemo"]);
    let bundle = world.export("b.kbp");
    let before = snapshot_but_times_of_folders(target);
    // A check that fails, while the new one is in place: the old one is back, every file of it.
    target.profile("[bundle]\nname = \"own\"\n[component.venv]\nkind = \"python\"\nscripts = [[\"kbdemo\"], [\"no-such\"]]\n");
    world.import(&bundle, &[]).fails(9, "no-such");
    fs::remove_file(target.join(".config/kbpack/profile.toml")).unwrap();
    assert_eq!(snapshot_but_times_of_folders(target), before);
    works(target, "0.9");

    world.import(&bundle, &[]).ok();
    works(target, "1.0");
    target.kbpack(&["rollback", "--yes"]).ok();
    works(target, "0.9");
    let files =
        |rows: &[String]| rows.iter().filter(|row| !row.contains("__pycache__")).cloned().collect::<Vec<_>>();
    assert_eq!(files(&tree(target)), files(&app(&before)));

    // And again; what was changed in it meanwhile is kept aside.
    world.import(&bundle, &[]).ok();
    target.write("app/venv/lib/note.txt", "mine\n");
    let run = target.kbpack(&["rollback", "--yes"]).ok();
    let words = "it was changed after the import; it will be kept as venv.kbpack-kept-";
    assert!(run.stderr.contains(words), "{}", run.stderr);
    works(target, "0.9");
    let kept = fs::read_dir(target.join("app")).unwrap().map(|entry| entry.unwrap().path());
    let kept = kept.filter(|path| path.to_str().unwrap().contains("kbpack-kept")).collect::<Vec<_>>();
    assert!(kept.len() == 1 && kept[0].join("lib/note.txt").exists(), "{kept:?}");
}

/// The rows of the environment in a snapshot.
fn app(rows: &[String]) -> Vec<String> {
    rows.iter().filter(|row| row.starts_with("app/venv/") || row.starts_with("app/venv ")).cloned().collect()
}

fn tree(home: &Home) -> Vec<String> {
    app(&snapshot_but_times_of_folders(home))
}

#[test]
fn a_rollback_takes_the_environment_and_the_repository_around_it_away() {
    let world = world("wheels = true\n[component.code]\nkind = \"git\"\npath = \"~/app\"\n");
    let (source, target) = (&world.source, &world.target);
    source.write("app/.gitignore", "venv/\n");
    for args in ["init -q -b main app", "-C app add -A", "-C app commit -q -m first"] {
        run(source, "git", &args.split(' ').collect::<Vec<_>>());
    }
    let bundle = world.export("b.kbp");
    // An import that fails when all of it is in place.
    target.profile(
        "[bundle]\nname = \"own\"\n[component.venv]\nkind = \"python\"\nscripts = [[\"no-such\"]]\n",
    );
    world.import(&bundle, &[]).fails(9, "no-such");
    assert!(!target.join("app").exists());
    fs::remove_file(target.join(".config/kbpack/profile.toml")).unwrap();

    world.import(&bundle, &[]).ok();
    works(target, "1.0");
    target.kbpack(&["rollback", "--yes"]).ok();
    assert!(!target.join("app").exists());
    // And forth again, by the backup of the rollback.
    let history = target.kbpack(&["history", "--json"]).ok().json();
    let rollback = history["imports"].as_array().unwrap().last().unwrap()["run"].as_str().unwrap().to_owned();
    target.kbpack(&["rollback", &rollback, "--yes"]).ok();
    works(target, "1.0");
    assert_eq!(run(target, "git", &["-C", "app", "status", "--porcelain"]), "");

    // What somebody did in it is kept, each in its place.
    target.write("app/venv/note.txt", "mine\n");
    target.write("app/more.txt", "mine, too\n");
    for args in ["-C app add -A", "-C app commit -q -m second"] {
        run(target, "git", &args.split(' ').collect::<Vec<_>>());
    }
    target.kbpack(&["rollback", "--yes"]).ok();
    let named = |dir: &Path| {
        let mut names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        let name = names.find(|path| path.to_str().unwrap().contains(".kbpack-kept-")).unwrap();
        (name, names.count())
    };
    assert!(!target.join("app/.git").exists());
    let (environment, more) = named(&target.join("app"));
    assert_eq!((target_text(&environment.join("note.txt")), more), ("mine\n".to_owned(), 0));
    let (repository, _) = named(&target.path);
    assert_eq!(target_text(&repository.join("more.txt")), "mine, too\n");
    assert!(!repository.join("venv").exists());
    let subjects = run(target, "git", &["-C", repository.to_str().unwrap(), "log", "--format=%s"]);
    assert_eq!(subjects, "second\nfirst\n");
}

fn target_text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn a_symlink_is_replaced_and_put_back() {
    let world = world("wheels = true\n");
    let target = &world.target;
    fs::create_dir_all(target.join("app")).unwrap();
    fs::create_dir_all(target.join("elsewhere")).unwrap();
    std::os::unix::fs::symlink("../elsewhere", target.join("app/venv")).unwrap();
    let bundle = world.export("b.kbp");
    let run = world.import(&bundle, &[]).ok();
    assert!(
        run.stderr.contains("it is a symlink to ../elsewhere; the new environment takes its place"),
        "{}",
        run.stderr
    );
    works(target, "1.0");
    target.kbpack(&["rollback", "--yes"]).ok();
    assert_eq!(fs::read_link(target.join("app/venv")).unwrap(), Path::new("../elsewhere"));
    // A folder that is no environment is nobody's to replace.
    fs::remove_file(target.join("app/venv")).unwrap();
    target.write("app/venv/data", "mine\n");
    world.import(&bundle, &[]).fails(8, "no Python environment");
    assert_eq!(target.read("app/venv/data"), b"mine\n");
}

#[test]
fn killed_anywhere_it_is_the_old_or_the_new_environment() {
    let world = world("wheels = true\n");
    let target = &world.target;
    index(target, &["kbdemo 0.9"]);
    venv(target, &["kbdemo"]);
    let bundle = world.export("b.kbp");
    let pristine = world.path("pristine");
    copy(&target.path, &pristine);
    let args = ["import", bundle.to_str().unwrap(), "--yes", "-q", "--no-backup"];
    // The old environment as it was; the new one by what it holds, for each build of it has times of its own.
    let seen = || {
        let rows = snapshot_but_times_of_folders(target);
        assert_eq!(leftovers(&rows).iter().filter(|row| !row.contains("venv/.kbpack.json")).count(), 0);
        let files =
            rows.into_iter().filter(|row| !row.contains("__pycache__") && !row.contains(".kbpack.json"));
        files.collect::<Vec<_>>()
    };
    let before = seen();
    let points = points(target, &args, &world.path("calls"));
    let after = content(&seen());
    assert_ne!(content(&before), after);
    // Python and pip make none of these calls; theirs come by the thousand, and before the first act.
    let ours = ["renameat2", "fdatasync", "syncfs"];
    let points: Vec<_> = points.iter().filter(|(call, _)| ours.contains(&call.as_str())).collect();
    let all = std::env::var_os("KBPACK_CAMPAIGN").is_some();
    assert!(points.len() > 5, "{points:?}");
    let (mut olds, mut news) = (0, 0);
    for (call, nth) in points.iter().step_by(if all { 1 } else { 2 }) {
        copy(&pristine, &target.path);
        killed(target, &args, call, *nth);
        target.kbpack(&["recover"]).ok();
        let now = seen();
        match (now == before, content(&now) == after) {
            (true, _) => olds += 1,
            (_, true) => news += 1,
            _ => panic!("killed at {call} number {nth}: neither the old nor the new state: {now:#?}"),
        }
        works(target, if now == before { "0.9" } else { "1.0" });
    }
    assert!(olds > 0, "{olds} old, {news} new");
}

#[test]
fn what_is_missing_is_found_in_the_plan() {
    let world = world("wheels = true\n");
    let target = &world.target;
    let bundle = world.export("b.kbp");
    let own = |more: &str| {
        target.profile(&format!("[bundle]\nname = \"own\"\n[component.venv]\nkind = \"python\"\n{more}"))
    };
    own("python = \"==3.999\"");
    let run = world.import(&bundle, &[]).fails(8, "there is no Python 3.999 on this machine");
    assert!(run.stderr.contains("apt-get install python3.999 python3.999-venv"), "{}", run.stderr);
    own("interpreter = \"/usr/bin/env\"");
    world.import(&bundle, &[]).fails(8, "no Python 3 that works");
    own("interpreter = \"no-such-python\"");
    world.import(&bundle, &[]).fails(8, "there is no such program");
    // As on Debian without python3-venv: the module is not there.
    let script = "#!/bin/bash\nexec python3 \"${@//\\\"ensurepip\\\"/\\\"no_such_module\\\"}\"\n";
    target.write("bin/python3", script);
    target.chmod("bin/python3", 0o755);
    own("interpreter = \"~/bin/python3\"");
    let run = world.import(&bundle, &[]).fails(8, "its module ensurepip is missing");
    assert!(run.stderr.contains("apt-get install python3."), "{}", run.stderr);
    own("path = \"~/with blank/venv\"");
    world.import(&bundle, &[]).fails(8, "blanks or quotes");
    assert!(!target.join("app").exists());
    own("path = \"~/elsewhere/env\"");
    world.import(&bundle, &[]).ok();
    assert!(run_demo(target, "elsewhere/env").ends_with("/target/elsewhere/env"));
}

fn run_demo(home: &Home, path: &str) -> String {
    run(home, home.join(path).join("bin/kbdemo"), &[]).trim().to_owned()
}

#[test]
fn without_wheels_pip_asks_its_index_and_builds_nothing_unasked() {
    let world = world("");
    let target = &world.target;
    let bundle = world.export("b.kbp");
    let untouched = || assert!(!target.join("app").exists());
    index(target, &[]);
    world.import(&bundle, &[]).fails(8, "pip could not install it");
    untouched();
    // The versions of the source, whatever newer ones there are.
    index(target, &["kbdemo 1.0 py3-none-any kbother>=2", "kbdemo 1.1", "kbother 2.1", "kbother 2.2"]);
    let plan = world.import(&bundle, &["--dry-run"]).ok();
    assert!(
        plan.text().contains("pip fetches them from the index")
            || plan.stderr.contains("pip fetches them from the index")
    );
    world.import(&bundle, &[]).ok();
    works(target, "1.0");
    assert_eq!(pip(target, &["freeze"]), "kbdemo==1.0\nkbother==2.1\n");

    // What is only there as source would run its author's code.
    target.kbpack(&["rollback", "--yes"]).ok();
    untouched();
    let wheels = target.join(".config/wheels");
    fs::remove_file(wheels.join("kbother-2.1-py3-none-any.whl")).unwrap();
    target.write("sdist/kbother-2.1/setup.py", "open('/tmp/kbpack-ran-setup', 'w')\n");
    let archive = wheels.join("kbother-2.1.tar.gz");
    run(target, "tar", &["-czf", archive.to_str().unwrap(), "-C", "sdist", "kbother-2.1"]);
    let run = world.import(&bundle, &[]).fails(8, "pip could not install it");
    assert!(run.stderr.contains("sdists = true"), "{}", run.stderr);
    assert!(!Path::new("/tmp/kbpack-ran-setup").exists());
    untouched();
    // A bundle that asks for it needs a signer who may.
    world.source.profile(&format!("{PROFILE}sdists = true\n"));
    let bundle = world.export("sdists.kbp");
    world.import(&bundle, &[]).fails(8, "its signer may not have commands run");
    untouched();
}

#[test]
fn imports_and_scripts_run_for_who_may() {
    let world = world(
        "wheels = true\nimports = [\"kbdemo\", \"kbother\"]\nscripts = [[\"kbdemo\", \"--version\"]]\n",
    );
    let target = &world.target;
    let bundle = world.export("b.kbp");
    // They are checks: those that may not run are skipped, and nothing fails for it.
    let run = world.import(&bundle, &[]).ok();
    for option in ["imports", "scripts"] {
        let said = format!("its {option} will not be tried: the bundle's signer may not have commands run");
        assert!(run.stderr.contains(&said), "{}", run.stderr);
    }
    assert!(!run.stderr.contains("import kbdemo") && !run.stderr.contains("--version"), "{}", run.stderr);
    works(target, "1.0");
    target.kbpack(&["rollback", "--yes"]).ok();
    assert!(!target.join("app").exists());
    // This machine's own profile asks for it.
    let own = |imports: &str| {
        target.profile(&format!(
            "[bundle]\nname = \"own\"\n[component.venv]\nkind = \"python\"\nimports = [{imports}]\nscripts = [[\"kbdemo\"]]\n"
        ));
    };
    own("\"kbdemo\", \"no_such_module\"");
    let run = world.import(&bundle, &[]).fails(6, "import no_such_module");
    assert!(run.stderr.contains("No module named"), "{}", run.stderr);
    assert!(!target.join("app").exists());
    own("\"kbdemo\"");
    let run = world.import(&bundle, &[]).ok();
    assert!(run.stderr.contains("import kbdemo"), "{}", run.stderr);
    works(target, "1.0");
    // Or the signer may.
    target.kbpack(&["rollback", "--yes"]).ok();
    fs::remove_file(target.join(".config/kbpack/profile.toml")).unwrap();
    target.kbpack(&["trust", "remove", &world.fingerprint]).ok();
    target.kbpack(&["trust", "add", "source", &world.signer, "--hooks"]).ok();
    let run = world.import(&bundle, &[]).ok();
    assert!(run.stderr.contains("kbdemo --version"), "{}", run.stderr);
}

#[test]
fn what_the_source_cannot_pack_is_said_with_its_line() {
    let world = world("requirements = \"~/app/requirements.txt\"\n");
    let source = &world.source;
    let refused = |text: &str, code: i32, words: &str| {
        source.write("app/requirements.txt", text);
        let out = world.path("refused.kbp");
        let args = ["export", "-r", &world.recipient, "-o", out.to_str().unwrap()];
        source.kbpack(&args).fails(code, words);
        assert!(!out.exists());
    };
    refused("kbdemo\n\n-e .\n", 8, "requirements.txt:3: it is an option of pip's");
    refused(
        "--index-url https://example.org/simple\nkbdemo\n",
        8,
        "requirements.txt:1: it is an option of pip's",
    );
    refused("kbdemo @ https://example.org/kbdemo.whl\n", 8, "requirements.txt:1: it is a URL");
    refused("./kbdemo\n", 8, "requirements.txt:1: it is a path");
    refused("kbdemo==1.1\n", 8, "it asks for kbdemo==1.1, and 1.0 is installed");
    refused("-r requirements.txt\n", 8, "too deep");
    source.write("app/requirements.txt", "kbdemo\nkbmissing\n");
    let bundle = world.path("b.kbp");
    let args = ["export", "-r", &world.recipient, "-o", bundle.to_str().unwrap()];
    let run = source.kbpack(&args).ok();
    assert!(run.stderr.contains("asks for kbmissing, which is not installed"), "{}", run.stderr);

    // What was installed from a folder stays behind, and is named.
    source.profile(PROFILE);
    let info = fs::read_dir(source.join("app/venv/lib")).unwrap().next().unwrap().unwrap().path();
    fs::write(
        info.join("site-packages/kbother-2.1.dist-info/direct_url.json"),
        "{\"url\": \"file:///home/ada/other\"}",
    )
    .unwrap();
    let run =
        source.kbpack(&["export", "-r", &world.recipient, "-o", world.path("c.kbp").to_str().unwrap()]).ok();
    assert!(
        run.stderr.contains("kbother (from file:///home/ada/other) came from no index"),
        "{}",
        run.stderr
    );
    fs::remove_dir_all(source.join("app/venv")).unwrap();
    let out = world.path("none.kbp");
    let run = source.kbpack(&["export", "-r", &world.recipient, "-o", out.to_str().unwrap()]);
    run.fails(8, "no Python environment");
    assert!(!out.exists());
}
