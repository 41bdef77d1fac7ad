//! The kind `files` from home to home: components beside and inside each other, imports that repeat, parts, fidelity.

use crate::support::{furnish, snapshot, Home, Run, World};
use std::fs;
use std::process::Command;

/// A component of the kind `files`, as a profile has it.
fn tree(name: &str, path: &str, more: &str) -> String {
    format!("[component.{name}]\nkind = \"files\"\npath = \"{path}\"\n{more}\n")
}

/// What differs between two trees, as rsync sees it: nothing, if all is well.
pub fn differences(from: &std::path::Path, to: &std::path::Path) -> String {
    let mut rsync = Command::new("rsync");
    rsync.args(["-aHAXn", "--delete", "--itemize-changes", "--checksum"]);
    rsync.arg(format!("{}/", from.display())).arg(format!("{}/", to.display()));
    Run::of(&mut rsync).ok().text()
}

/// The plan of each component, by its name.
fn changes(run: &Run) -> Vec<(String, usize)> {
    let planned = run.json();
    let of = |c: &serde_json::Value| {
        (c["name"].as_str().unwrap().to_owned(), c["plan"]["changes"].as_array().unwrap().len())
    };
    planned["components"].as_array().unwrap().iter().map(of).collect()
}

#[test]
fn roots_inside_and_beside_each_other_in_a_home_that_has_none() {
    let world = World::new();
    let source = &world.source;
    source.write(".claude/CLAUDE.md", "notes");
    source.write(".claude/plugins/deep/own/p.js", "plugin");
    source.write(".claude/plugins/deep/other", "of the outer one");
    let mut profile = tree("deep", "~/.claude/plugins/deep/own", "") + &tree("claude", "~/.claude", "");
    for n in 0..6 {
        source.write(&format!("many/levels/{n}/f"), n.to_string());
        profile += &tree(&format!("many-{n}"), &format!("~/many/levels/{n}"), "");
    }
    source.write("many/levels/single", "a file");
    profile += &tree("single", "~/many/levels/single", "");
    source.write("srv/token", "tok-0123456789-abcdef");
    source.chmod("srv/token", 0o600);
    source.write("srv/app/f", "f");
    profile += "[component.keys]\nkind = \"secrets\"\nfiles = [{ path = \"~/srv/token\", mode = \"600\" }]\n";
    profile += &tree("srv", "~/srv/app", "");
    source.profile(&profile);

    let bundle = world.export("b.kbp");
    world.import(&bundle, &[]).ok();
    for folder in [".claude", "many", "srv"] {
        let names = |home: &Home| -> Vec<String> {
            let rows = snapshot(&home.join(folder));
            rows.iter().map(|row| row.split(' ').next().unwrap().to_owned()).collect()
        };
        assert_eq!(names(&world.target), names(source));
    }
    assert_eq!(world.target.read(".claude/plugins/deep/own/p.js"), b"plugin");
    let left: Vec<_> = fs::read_dir(&world.target.path).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("stage")), "{left:?}");
    let again = world.import(&bundle, &["--json"]).ok();
    assert!(changes(&again).iter().all(|(_, changes)| *changes == 0), "{}", again.text());
}

#[test]
fn the_same_bundle_twice_changes_nothing() {
    for mode in ["overlay", "mirror"] {
        let world = World::new();
        furnish(&world.source);
        let profile = crate::support::PROFILE.replace("exclude =", &format!("mode = \"{mode}\"\nexclude ="));
        world.source.profile(&profile);
        let bundle = world.export("b.kbp");
        world.import(&bundle, &[]).ok();
        let before = snapshot(&world.target.join("app"));
        let again = world.import(&bundle, &["--json"]).ok();
        assert_eq!(changes(&again), [("app".to_owned(), 0), ("keys".to_owned(), 0)], "{}", again.text());
        assert_eq!(snapshot(&world.target.join("app")), before);
    }
}

#[test]
fn one_edited_file_is_one_change_and_plans_are_short() {
    let world = World::new();
    furnish(&world.source);
    let bundle = world.export("b.kbp");
    world.import(&bundle, &[]).ok();
    world.target.write("app/settings.json", "{\"a\": 2}\n");
    world.target.chmod("app/hooks/run.sh", 0o644);
    let run = world.target.kbpack(&["import", bundle.to_str().unwrap(), "--dry-run", "--json"]).ok().json();
    let plan = &run["components"][0]["plan"];
    assert_eq!(
        plan["changes"].to_string(),
        concat!(
            r#"[{"kind":"changed","what":"hooks/run.sh"},"#,
            r#"{"kind":"changed","what":"settings.json"}]"#
        )
    );
    assert_eq!(plan["executes"][0], "hooks/run.sh (executable)");
    assert_eq!(plan["destinations"][0], "~/app");
    world.import(&bundle, &["--only", "app:settings.json"]).ok();
    let run = world.target.kbpack(&["import", bundle.to_str().unwrap(), "--dry-run", "--json"]).ok();
    assert_eq!(changes(&run)[0].1, 1);
}

#[test]
fn what_would_newly_run_is_counted_and_all_of_it_is_there_for_who_asks() {
    let world = World::new();
    furnish(&world.source);
    for n in 10..30 {
        world.source.write(&format!("app/commands/{n}.md"), "run this");
    }
    let profile = crate::support::PROFILE.replace("exclude =", "runs = [\"commands/\"]\nexclude =");
    world.source.profile(&profile);
    let bundle = world.export("b.kbp");
    let dry = |more: &[&str]| {
        world.target.kbpack(&[&["import", bundle.to_str().unwrap(), "--dry-run"], more].concat()).ok()
    };
    let named = |text: &str| text.matches("(programs run what stands in it)").count();
    let (short, long) = (dry(&[]).text(), dry(&["-v"]).text());
    assert_eq!((named(&short), named(&long)), (10, 20), "{short}");
    assert!(short.contains("  will be able to run: … and 11 more, 21 in all (-v shows all)\n"), "{short}");
    assert!(long.contains("  will be able to run: hooks/run.sh (executable)\n"), "{long}");
    let document = dry(&["--json"]).json();
    assert_eq!(document["components"][0]["plan"]["executes"].as_array().unwrap().len(), 21);

    // Nothing that is there already; and what this machine itself knows to be run.
    world.import(&bundle, &[]).ok();
    assert!(!dry(&[]).text().contains("will be able to run"));
    world.source.write("app/commands/10.md", "run that");
    world.source.write("app/settings.json", "{\"a\": 3}\n");
    let bundle = world.export("c.kbp");
    world.target.write("own.toml", "[component.app]\nkind = \"files\"\nruns = [\"settings.json\"]\n");
    let plan = ["import", bundle.to_str().unwrap(), "--dry-run", "--profile", "own.toml"];
    let text = world.target.kbpack(&plan).ok().text();
    assert_eq!(named(&text), 2, "{text}");
}

#[test]
fn a_root_that_is_a_symlink_to_nothing_is_this_machines_own_matter() {
    let world = World::new();
    furnish(&world.source);
    let bundle = world.export("b.kbp");
    std::os::unix::fs::symlink("gone", world.target.join("app")).unwrap();
    let run = world.import(&bundle, &[]).fails(8, "app: a symlink to nothing");
    assert!(run.stderr.contains(" todo: remove it, or make what it points to"), "{}", run.stderr);
}

#[test]
fn an_absent_source_is_refused_and_told_by_a_dry_run() {
    let world = World::new();
    furnish(&world.source);
    let profile = crate::support::PROFILE.replace("exclude =", "mode = \"mirror\"\nexclude =");
    world.source.profile(&profile.replace("~/app\"", "~/appp\""));
    // The whole survey, and the end that an export would come to.
    let survey = world.source.kbpack(&["export", "--dry-run"]).fails(8, "appp: it does not exist");
    assert!(survey.text().contains("refused: ") && survey.text().contains("appp: it does not exist"));
    assert!(survey.text().contains("todo: mend the path"));
    let out = world.path("b.kbp");
    let args = ["export", "-r", &world.recipient, "-o", out.to_str().unwrap()];
    world.source.kbpack(&args).fails(8, "appp: it does not exist");
    assert!(!out.exists());

    world.source.profile(&profile.replace("path = \"~/app\"", "path = \"~/appp\"\nabsent = \"ok\""));
    let bundle = world.export("b.kbp");
    world.target.write("appp/precious", "x");
    world.import(&bundle, &["--only", "app"]).fails(8, "it did not exist on the source");
    assert_eq!(world.target.read("appp/precious"), b"x");
}

#[test]
fn parts_are_taken_by_several_paths_and_mistyped_ones_refused() {
    let world = World::new();
    furnish(&world.source);
    let out = world.path("part.kbp");
    let export = |paths: &[&str]| {
        let mut args = vec!["export", "-r", &world.recipient, "-o", out.to_str().unwrap()];
        paths.iter().for_each(|path| args.extend(["--only", path]));
        world.source.kbpack(&args)
    };
    export(&["app:hooks", "app:nope"]).fails(2, "there is no 'nope' in component");
    assert!(!out.exists());
    export(&["app:hooks", "app:settings.json"]).ok();
    let names = |home: &Home| {
        let mut names: Vec<_> =
            fs::read_dir(home.join("app")).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        names
    };
    world.import(&out, &[]).ok();
    assert_eq!(names(&world.target), ["hooks", "settings.json"]);

    let world = World::new();
    furnish(&world.source);
    let bundle = world.export("b.kbp");
    let run = world.import(&bundle, &["--only", "app:big.bin", "--only", "app:nope/x"]);
    run.fails(2, "there is no 'nope/x' in component");
    assert!(!world.target.join("app").exists());
    world.import(&bundle, &["--only", "app:big.bin", "--only", "app:hooks"]).ok();
    assert_eq!(names(&world.target), ["big.bin", "hooks"]);
}

#[test]
fn what_is_listed_cannot_disturb_a_terminal() {
    let world = World::new();
    furnish(&world.source);
    world.source.write("app/evil\x1b[31m\nname", "x");
    let bundle = world.export("b.kbp");
    let listed = world.target.kbpack(&["inspect", bundle.to_str().unwrap(), "--files"]).ok().text();
    assert!(listed.contains("evil%1B[31m%0Aname") && !listed.contains('\x1b'), "{listed}");
    for row in ["variable", "$API_KEY in ~/.bashrc", "0600", "~/app/credentials.json", "hooks/run.sh", "0755"]
    {
        assert!(listed.contains(row), "{row}: {listed}");
    }
    assert!(!listed.contains("sk-demo") && !listed.contains("tok-abcdef"));
}

#[test]
fn a_secret_in_a_name_is_reported_where_it_is() {
    let world = World::new();
    furnish(&world.source);
    world.source.write("app/backup-sk-demo-0123456789.txt", "nothing in it");
    std::os::unix::fs::symlink("/x/sk-demo-0123456789", world.source.join("app/pointer")).unwrap();
    let out = world.path("b.kbp");
    let args = ["export", "-r", &world.recipient, "-o", out.to_str().unwrap(), "--json"];
    let report = world.source.kbpack(&args).ok().json();
    let places: Vec<_> = report["misplaced_secrets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["place"].as_str().unwrap())
        .collect();
    assert_eq!(places, ["backup-sk-demo-0123456789.txt", "pointer"]);
}

/// One of everything that can travel.
pub fn rich(home: &Home) {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::FileExt;
    home.write("tree/plain", "plain text\n");
    home.write("tree/dir/one", "1");
    home.write("tree/dir/deep/er/three", "3");
    home.write("tree/secret", "s");
    home.chmod("tree/secret", 0o600);
    home.write("tree/sticky/f", "f");
    home.chmod("tree/sticky", 0o1770);
    fs::create_dir(home.join("tree/emptydir")).unwrap();
    fs::hard_link(home.join("tree/dir/one"), home.join("tree/zz-one")).unwrap();
    std::os::unix::fs::symlink("/nonexistent/target", home.join("tree/dangling")).unwrap();
    fs::write(home.join("tree").join(OsStr::from_bytes(b"latin-\xe9\xff")), "not UTF-8").unwrap();
    let long = "d".repeat(200);
    home.write(&format!("tree/{long}/{long}/{long}/f"), "a long path");
    let sparse = fs::File::create(home.join("tree/sparse")).unwrap();
    sparse.write_all_at(b"middle", 1 << 20).unwrap();
    sparse.set_len(64 << 20).unwrap();
    let tool = |program: &str, args: &[&str], path: &str| {
        Run::of(Command::new(program).args(args).arg(home.join(path))).ok();
    };
    tool("setfacl", &["-m", "u:12345:rw,g:23456:r"], "tree/secret");
    tool("setfacl", &["-d", "-m", "u:12345:rwx"], "tree/emptydir");
    tool("setfattr", &["-n", "user.colour", "-v", "blue"], "tree/plain");
    tool("setfattr", &["-n", "user.note", "-v", "on a directory"], "tree/dir");
    tool("touch", &["-d", "2020-01-02 03:04:05.123456789"], "tree/plain");
    tool("touch", &["-h", "-d", "2019-01-02 03:04:05.000000001"], "tree/dangling");
    tool("touch", &["-d", "2018-01-02 03:04:05.7"], "tree/dir");
    tool("touch", &["-d", "2017-01-02 03:04:05.7"], "tree");
    home.chmod("tree/dir/deep/er", 0o500);
}

fn blocks(path: &std::path::Path) -> u64 {
    std::os::unix::fs::MetadataExt::blocks(&fs::metadata(path).unwrap())
}

#[test]
fn everything_arrives_as_rsync_would_bring_it() {
    let world = World::new();
    rich(&world.source);
    world.source.profile(&tree("tree", "~/tree", "mode = \"mirror\"\nexclude = [\"*.log\"]"));
    let bundle = world.export("b.kbp");
    world.import(&bundle, &[]).ok();
    let (from, to) = (world.source.join("tree"), world.target.join("tree"));
    assert_eq!(differences(&from, &to), "");
    assert!(blocks(&to.join("sparse")) < 1024, "the holes are gone");
    // A mirror takes away what the bundle does not have, but for what is excluded.
    world.target.write("tree/extra/file", "goes");
    world.target.write("tree/x.log", "stays");
    fs::remove_file(to.join("plain")).unwrap();
    world.import(&bundle, &[]).ok();
    assert_eq!(differences(&from, &to), "*deleting   x.log\n");
}

#[test]
fn an_overlay_keeps_what_it_does_not_have() {
    let world = World::new();
    rich(&world.source);
    world.source.write("tree/x.log", "of the source");
    world.source.profile(&tree("tree", "~/tree", "exclude = [\"*.log\"]"));
    world.target.write("tree/x.log", "of the target");
    world.target.write("tree/dir/mine", "mine");
    world.import(&world.export("b.kbp"), &[]).ok();
    assert_eq!(world.target.read("tree/x.log"), b"of the target");
    assert_eq!(world.target.read("tree/dir/mine"), b"mine");
    assert_eq!(world.target.read("tree/plain"), b"plain text\n");
}

#[test]
fn a_file_that_grows_meanwhile_is_reported() {
    let world = World::new();
    let log = world.source.write("tree/log", vec![b'x'; 8 << 20]);
    world.source.profile(&tree("tree", "~/tree", ""));
    let stop = std::sync::atomic::AtomicBool::new(false);
    let report = std::thread::scope(|scope| {
        scope.spawn(|| {
            use std::io::Write;
            let mut log = fs::OpenOptions::new().append(true).open(&log).unwrap();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                log.write_all(b"more").unwrap();
                std::thread::sleep(std::time::Duration::from_micros(200));
            }
        });
        let out = world.path("b.kbp");
        let args = ["export", "-r", &world.recipient, "-o", out.to_str().unwrap(), "--json"];
        let run = world.source.kbpack(&args);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        run.ok().json()
    });
    let finding = report["components"][0]["findings"][0]["what"].as_str().unwrap().to_owned();
    assert!(finding.ends_with("tree/log: it changed while it was read; the bundle has what was read"));
    world.import(&world.path("b.kbp"), &[]).ok();
    assert!(world.target.read("tree/log").len() >= 8 << 20);
}

/// The whole way as a user who is not root. Where the tests run as root, the user is nobody.
#[test]
fn another_user_than_root_moves_a_tree_too() {
    let world = World::new();
    rich(&world.source);
    world.source.profile(&tree("tree", "~/tree", "mode = \"mirror\""));
    let is_root = rustix::process::geteuid().is_root();
    let binary = world.path("kbpack");
    if is_root {
        fs::copy(crate::support::KBPACK, &binary).unwrap();
        fs::set_permissions(world.dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        for home in [&world.source, &world.target] {
            Run::of(Command::new("chown").args(["-hR", "65534:65534"]).arg(&home.path)).ok();
        }
    }
    let kbpack = |home: &Home, args: &[&str]| {
        let mut command = match is_root {
            true => Command::new("setpriv"),
            false => Command::new(crate::support::KBPACK),
        };
        if is_root {
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&binary);
        }
        command.args(args).env_clear().env("HOME", &home.path).env("PATH", "/usr/bin:/bin");
        command.current_dir(&home.path);
        Run::of(&mut command)
    };
    let bundle = world.source.join("b.kbp");
    let bundle = bundle.to_str().unwrap();
    kbpack(&world.source, &["export", "-r", &world.recipient, "-o", bundle]).ok();
    Run::of(Command::new("chmod").args(["644", bundle])).ok();
    kbpack(&world.target, &["import", bundle, "--yes"]).ok();
    let (from, to) = (world.source.join("tree"), world.target.join("tree"));
    assert_eq!(differences(&from, &to), "");
    // And onto what is there, in directories that may not be written to.
    world.target.chmod("tree/dir/deep/er", 0o700);
    world.target.write("tree/dir/deep/er/three", "other");
    world.target.write("tree/dir/deep/er/goes", "goes");
    if is_root {
        Run::of(Command::new("chown").args(["-hR", "65534:65534"]).arg(&world.target.path)).ok();
    }
    world.target.chmod("tree/dir/deep/er", 0o500);
    kbpack(&world.target, &["import", bundle, "--yes"]).ok();
    assert_eq!(differences(&from, &to), "");
}

/// What stock python reads out of a JSON file.
fn python_json(home: &Home, path: &str) -> serde_json::Value {
    let script = "import json, sys; print(json.dumps(json.load(open(sys.argv[1]))))";
    let out = Command::new("python3").args(["-c", script]).arg(home.join(path)).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

#[test]
fn settings_that_name_their_home_work_in_another_one() {
    let world = World::new();
    let (source, target) = (&world.source, &world.target);
    let (from, to) = (source.path.to_str().unwrap(), target.path.to_str().unwrap());
    let settings = |home: &str| {
        format!(
            "{{\n  \"hooks\": {{\"Stop\": [{{\"command\": \"bash \\\"{home}/.claude/hooks/stop.sh\\\" --log={home}/log\"}}]}},\n\
            \t\"projects\": {{ \"{home}/p\" : {{\"n\": 1.50, \"mnt\": \"/mnt{home}/p\", \"late\": \"{home}2\"}} }}\r\n}}"
        )
    };
    source.write(".claude/settings.json", settings(from));
    source.write(".claude/plugins/known.json", format!("[\"{}\"]", from.replace('/', "\\/")));
    source.write(".claude/hooks/stop.sh", format!("#!/bin/sh\nPATH=$PATH:{from}/bin\n"));
    source.write(".claude/hooks/stop.py", format!("# {from}\n"));
    source.chmod(".claude/hooks/stop.sh", 0o600);
    source.chmod(".claude/hooks/stop.py", 0o775);
    source.write(".bashrc", format!("export TOOLS=\"{from}/tools\"\n"));
    let more = "rewrite-home = [\"settings.json\", \"plugins/*.json\", \"hooks/*.sh\"]\n\
        modes = [{ match = \"hooks/*.sh\", mode = \"755\" }, { match = \"hooks/*.py\", mode = \"644\" }, { match = \"*.rb\", mode = \"755\" }]";
    source.profile(
        &(tree("claude", "~/.claude", more) + &tree("rc", "~/.bashrc", "rewrite-home = [\".bashrc\"]")),
    );
    target.write(".claude/settings.json", "{\"mine\": 1}\n");
    let before = crate::support::snapshot_but_state(target);

    // The source says what will happen, and packs what it has.
    let bundle = world.path("b.kbp");
    let export = source.kbpack(&["export", "-r", &world.recipient, "-o", bundle.to_str().unwrap()]).ok();
    let noted = "paths of this home in hooks/stop.sh (1), plugins/known.json (1), settings.json (3) become paths of the target's";
    let survey = source.kbpack(&["export", "--dry-run"]).ok().text();
    assert!(survey.contains(noted), "{survey}");
    assert!(export.stderr.contains("claude: modes: no file matches \"*.rb\""), "{}", export.stderr);
    let out = world.path("out");
    target.kbpack(&["extract", bundle.to_str().unwrap(), "claude", "-C", out.to_str().unwrap()]).ok();

    // The plan shows it, for people and for programs.
    let dry = ["import", bundle.to_str().unwrap(), "--dry-run"];
    let text = target.kbpack(&dry).ok().text();
    let line = format!("  rewritten for this home: settings.json (3 paths, {from} -> {to})\n");
    assert!(text.contains(&line), "{text}");
    let plan = target.kbpack(&[&dry[..], &["--json"]].concat()).ok().json();
    let rewrites = plan["components"][0]["plan"]["rewrites"].as_array().unwrap().clone();
    assert_eq!(rewrites.len(), 3);
    let sha256 = |bytes: &[u8]| kbpack::base::digest::Digest::of(bytes).to_string();
    assert_eq!(
        rewrites[2],
        serde_json::json!({
            "what": "settings.json", "places": 3, "from": [from], "to": to,
            "packed": sha256(settings(from).as_bytes()),
            "written": sha256(settings(from).replace(&format!("\"{from}"), &format!("\"{to}")).replace(&format!("={from}"), &format!("={to}")).replace(&format!("{to}2"), &format!("{from}2")).as_bytes()),
        })
    );
    assert_eq!(crate::support::snapshot_but_state(target), before);

    let imported = world.import(&bundle, &[]).ok();
    assert!(imported.stderr.contains("in place: rewritten for this home (3)"), "{}", imported.stderr);
    assert_eq!(sha256(&target.read(".claude/settings.json")), rewrites[2]["written"].as_str().unwrap());
    let read = python_json(target, ".claude/settings.json");
    assert_eq!(
        read["hooks"]["Stop"][0]["command"],
        format!("bash \"{to}/.claude/hooks/stop.sh\" --log={to}/log")
    );
    let project = &read["projects"][format!("{to}/p")];
    assert_eq!(project["mnt"], format!("/mnt{from}/p"));
    assert_eq!(project["late"], format!("{from}2"));
    assert_eq!(python_json(target, ".claude/plugins/known.json")[0], to);
    let script = String::from_utf8(target.read(".claude/hooks/stop.sh")).unwrap();
    assert_eq!(script, format!("#!/bin/sh\nPATH=$PATH:{to}/bin\n"));
    assert_eq!(target.read(".claude/hooks/stop.py"), format!("# {from}\n").into_bytes());
    assert_eq!(target.read(".bashrc"), format!("export TOOLS=\"{to}/tools\"\n").into_bytes());
    assert_eq!((target.mode(".claude/hooks/stop.sh"), target.mode(".claude/hooks/stop.py")), (0o755, 0o644));
    // The history has both digests.
    let history = target.kbpack(&["history", "--json"]).ok().json();
    let mut noted = history["imports"][0]["rewrites"].as_array().unwrap().clone();
    assert_eq!(noted.len(), 4);
    assert_eq!(noted[2].as_object_mut().unwrap().remove("component").unwrap(), "claude");
    assert_eq!(noted[2], rewrites[2]);

    // It knows its own work again, and notices another's.
    target.kbpack(&["check", bundle.to_str().unwrap()]).ok();
    target.kbpack(&["diff", "--exit-code", bundle.to_str().unwrap()]).ok();
    for home in [source, target] {
        home.kbpack(&["status", "--exit-code"]).ok();
    }
    let again = world.import(&bundle, &["--json"]).ok();
    assert_eq!(changes(&again), [("claude".to_owned(), 0), ("rc".to_owned(), 0)], "{}", again.text());
    // What was in place already holds what was written, too.
    target.kbpack(&["status", "--exit-code"]).ok();
    let own = target.read(".claude/settings.json");
    target.write(".claude/settings.json", settings(from));
    let drifted = target.kbpack(&["check", bundle.to_str().unwrap()]);
    assert_eq!(drifted.code, 8);
    let said = drifted.text();
    assert!(said.contains(" an import would change 1, the first is settings.json"), "{said}");
    for look in [&["status", "--exit-code"][..], &["diff", "--exit-code", bundle.to_str().unwrap()]] {
        let drifted = target.kbpack(look);
        assert_eq!(drifted.code, 8);
        assert!(drifted.text().contains("1 changed"), "{}", drifted.text());
    }
    target.write(".claude/settings.json", own);

    // This machine can want the files as they were packed.
    target.write("own.toml", "[component.claude]\nkind = \"files\"\nrewrite-home = []\n");
    world.import(&bundle, &["--profile", "own.toml"]).ok();
    assert_eq!(target.read(".claude/settings.json"), settings(from).into_bytes());
    target.kbpack(&["rollback", "--yes"]).ok();
    assert_eq!(python_json(target, ".claude/settings.json"), read);
    target.kbpack(&["rollback", "--yes"]).ok();
    assert_eq!(crate::support::snapshot_but_state(target).len(), before.len() + 1, "own.toml");
    assert_eq!(target.read(".claude/settings.json"), b"{\"mine\": 1}\n");
}
