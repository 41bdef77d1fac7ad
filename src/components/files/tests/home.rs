//! Files in which paths of the source's home become paths of this one's, and modes by name.

use super::super::FilesKind;
use super::world::*;
use crate::base::digest::Digest;
use crate::base::name::ComponentName;
use crate::component::{Captured, Kind, Severity};
use serde_json::{json, Value};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

const THEIRS: &str = "/home/ada";

/// A bundle of `~/src` that comes from the home of [`THEIRS`].
fn from_elsewhere(world: &World) -> (Streams, Value) {
    let (streams, Captured { mut facts, .. }) = world.capture();
    let homes = facts["homes"].as_array().unwrap();
    assert_eq!(homes, &[json!(world.host.home.to_str().unwrap())]);
    facts["homes"] = json!([THEIRS]);
    (streams, facts)
}

fn plugins() -> World {
    let world = World::with(json!({"rewrite-home": ["*.json", "*.sh", "!plain.json"]}));
    write(world.src("settings.json"), &format!("{{\"a\": \"{THEIRS}/x\", \"b\":1.0}}\n"));
    touch(world.src("settings.json"), 1_600_000_000, 999_999_500);
    write(world.src("dir/run.sh"), &format!("#!/bin/sh\ncd {THEIRS} && exec {THEIRS}/bin/x\n"));
    chmod(world.src("dir/run.sh"), 0o755);
    touch(world.src("dir/run.sh"), 1_600_000_000, 0);
    write(world.src("none.json"), "[\"/home/adam\"]");
    write(world.src("plain.json"), &format!("not JSON: {THEIRS}"));
    std::fs::hard_link(world.src("settings.json"), world.src("zz.json")).unwrap();
    world
}

fn read(path: impl AsRef<std::path::Path>) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn it_is_planned_written_known_again_and_taken_back() {
    let world = plugins();
    let home = world.host.home.to_str().unwrap();
    write(world.dst("settings.json"), "old");
    let (streams, facts) = from_elsewhere(&world);
    let mut job = world.job(streams, &facts).unwrap();
    assert_eq!(job.refusals(), Vec::<String>::new());
    let rewrites = job.plan.rewrites.clone();
    let seen: Vec<_> =
        rewrites.iter().map(|r| (r.what.as_str(), r.places, &r.from[..], r.to.as_str())).collect();
    let from = [THEIRS.to_owned()];
    assert_eq!(seen, [("dir/run.sh", 2, &from[..], home), ("settings.json", 1, &from[..], home)]);
    let want = format!("{{\"a\": \"{home}/x\", \"b\":1.0}}\n");
    assert_eq!(rewrites[1].packed, Digest::of(&std::fs::read(world.src("settings.json")).unwrap()));
    assert_eq!(rewrites[1].written, Digest::of(want.as_bytes()));

    let before = snapshot(&world.dst(""));
    job.stage().unwrap();
    job.commit().unwrap();
    let results = job.target.check(&world.scope(), &job.plan).unwrap();
    assert!(results.iter().all(|result| result.passed()), "{results:?}");
    assert!(
        results.iter().any(|result| result.name == "in place: rewritten for this home (2)"),
        "{results:?}"
    );

    assert_eq!(read(world.dst("settings.json")), want);
    assert_eq!(read(world.dst("dir/run.sh")), format!("#!/bin/sh\ncd {home} && exec {home}/bin/x\n"));
    assert_eq!(read(world.dst("none.json")), "[\"/home/adam\"]");
    assert_eq!(read(world.dst("plain.json")), format!("not JSON: {THEIRS}"));
    let stat = |name: &str| std::fs::metadata(world.dst(name)).unwrap();
    assert_eq!(stat("dir/run.sh").permissions().mode() & 0o7777, 0o755);
    assert_eq!((stat("dir/run.sh").mtime(), stat("dir/run.sh").mtime_nsec()), (1_600_000_000, 0));
    // A microsecond after the packed one.
    assert_eq!((stat("settings.json").mtime(), stat("settings.json").mtime_nsec()), (1_600_000_001, 500));
    assert_eq!(stat("settings.json").ino(), stat("zz.json").ino());

    assert_eq!(job.undo(&job.journal.acts), []);
    assert_eq!(snapshot(&world.dst("")), before);
    job.run().unwrap();
    let again = world.job(job.streams, &facts).unwrap();
    assert_eq!((again.changes(), again.plan.rewrites.len()), (vec![], 0));
    // What was packed is not what should be there, also with its size and time.
    std::fs::copy(world.src("settings.json"), world.dst("settings.json")).unwrap();
    touch(world.dst("settings.json"), 1_600_000_001, 500);
    assert_eq!(
        world.job(again.streams, &facts).unwrap().changes(),
        ["Changed settings.json", "Changed zz.json"]
    );
}

#[test]
fn at_home_and_where_it_is_switched_off_files_stay_as_they_were_packed() {
    let mut world = plugins();
    let home = world.host.home.to_str().unwrap().to_owned();
    // As long as the other one: only the content tells the two files apart.
    let theirs = format!("/{}", "h".repeat(home.len() - 1));
    write(world.src("settings.json"), &format!("[\"{theirs}\"]"));
    touch(world.src("settings.json"), 1_600_000_000, 7);
    std::fs::remove_file(world.src("zz.json")).unwrap();
    let (streams, mut facts) = from_elsewhere(&world);
    let known = world.job(streams, &facts).unwrap();
    facts["homes"] = json!([theirs]);
    let (packed, written) = (format!("[\"{theirs}\"]"), format!("[\"{home}\"]"));
    let mut streams = known.streams;
    for (rewrite, want) in [
        (None, &written),
        (Some(json!([])), &packed),
        (Some(json!(["settings.json"])), &written),
        (Some(json!(["nothing.json"])), &packed),
    ] {
        world.overrides = json!({"path": "~/dst"});
        if let Some(rewrite) = rewrite {
            world.overrides["rewrite-home"] = rewrite;
        }
        let mut job = world.job(streams, &facts).unwrap();
        job.run().unwrap();
        assert_eq!(&read(world.dst("settings.json")), want, "{}", world.overrides);
        streams = job.streams;
        let again = world.job(streams, &facts).unwrap();
        assert_eq!(again.changes(), Vec::<String>::new(), "{}", world.overrides);
        streams = again.streams;
    }
    facts["homes"] = json!([home]);
    let job = world.job(streams, &facts).unwrap();
    assert_eq!(job.changes(), Vec::<String>::new());

    // A bundle that does not say where it comes from.
    let plain = World::new();
    write(plain.src("a.json"), "[]");
    let (streams, captured) = plain.capture();
    assert!(captured.facts.get("homes").is_none());
    let mut asking = plain;
    asking.overrides = json!({"path": "~/dst", "rewrite-home": ["a.json"]});
    let job = asking.job(streams, &captured.facts).unwrap();
    let warned =
        job.plan.findings.iter().filter(|f| f.severity == Severity::Warning).map(|f| f.what.as_str());
    let warned: Vec<_> = warned.collect();
    assert_eq!(
        warned,
        ["rewrite-home does nothing: the bundle does not say what the source's home is called"]
    );
}

#[test]
fn where_there_is_nothing_to_be_rewritten_the_facts_do_not_speak_of_it() {
    let absent = World::with(json!({"path": "~/none", "absent": "ok", "rewrite-home": ["a.json"]}));
    let comment = World::with(json!({"rewrite-home": ["# a.json"]}));
    write(comment.src("a.json"), "not JSON");
    for world in [absent, comment] {
        let (streams, captured) = world.capture();
        assert!(captured.facts.get("homes").is_none());
        assert_eq!(world.job(streams, &captured.facts).unwrap().refusals(), Vec::<String>::new());
    }
}

#[test]
fn what_cannot_be_rewritten_stops_the_export() {
    let world = World::with(json!({"rewrite-home": ["*.json", "x.*"]}));
    write(world.src("good.json"), "{}");
    let refused = |content: &[u8], name: &str| {
        std::fs::write(world.src(name), content).unwrap();
        let survey = world.source().survey(&world.scope()).unwrap();
        let captured = world.source().capture(&world.scope(), &Streams::default()).unwrap();
        std::fs::remove_file(world.src(name)).unwrap();
        let refused = |all: Vec<crate::component::Finding>| {
            let mut refused = all.into_iter().filter(|f| f.severity == Severity::Refusal);
            let first = refused.next().unwrap().what;
            assert_eq!(refused.next(), None);
            first
        };
        let (first, second) = (refused(survey.findings), refused(captured.findings));
        assert_eq!(first, second);
        first.strip_prefix(world.src("").to_str().unwrap()).unwrap().to_owned()
    };
    let unknown = "x.xyz: rewrite-home knows no such files; it knows .json, .toml and shell files";
    assert!(refused(b"", "x.xyz").starts_with(unknown));
    assert_eq!(
        refused(b"{a}", "bad.json"),
        "bad.json: it is not JSON: key must be a string at line 1 column 2"
    );
    let large = vec![b' '; (16 << 20) + 1];
    assert_eq!(
        refused(&large, "large.json"),
        "large.json: it is larger than the 16777216 bytes that rewrite-home takes"
    );
}

#[test]
fn facts_and_files_that_break_a_rule() {
    let world = plugins();
    let (streams, facts) = from_elsewhere(&world);
    let name = ComponentName::new("tree").unwrap();
    let long = format!("/{}", "x".repeat(2000));
    let homes = |homes: Value| {
        let mut facts = facts.clone();
        facts["homes"] = homes;
        FilesKind.from_facts(&name, &facts, None, &world.host).err().map(|e| e.to_string())
    };
    for bad in [
        json!([]),
        json!("/home/ada"),
        json!(["/"]),
        json!(["home"]),
        json!(["/a/../b"]),
        json!(["/a b"]),
        json!(["/a\""]),
        json!(["/a/"]),
        json!(["/a", "/b", "/c", "/d", "/e"]),
        json!([""]),
        json!([long]),
        json!(["/a\u{1b}[2J"]),
        json!(null),
    ] {
        let error = homes(bad.clone()).unwrap_or_else(|| panic!("{bad} is taken"));
        assert!(error.contains("(rule F1)"), "{bad}: {error}");
    }
    assert_eq!(homes(json!(["/home/ada", "/data/ada"])), None);
    let mut without = facts.clone();
    without["options"].as_object_mut().unwrap().remove("rewrite-home");
    assert!(FilesKind.from_facts(&name, &without, None, &world.host).is_err());

    // Files that a good source would not have packed so.
    let mut streams = streams;
    for pattern in ["plain.json", "dir", "*"] {
        let mut facts = facts.clone();
        facts["options"]["rewrite-home"] = json!([pattern]);
        if pattern == "dir" {
            let job = world.job(streams, &facts).unwrap();
            assert_eq!(job.plan.rewrites.len(), 1);
            streams = job.streams;
            continue;
        }
        let target = world.target(&facts);
        let error = target.plan(&world.scope(), &streams).err().unwrap().to_string();
        assert!(
            error.starts_with("plain.json: it is not JSON: ") && error.ends_with("(rule F11)"),
            "{error}"
        );
    }
    // What this machine asks for is its own mistake.
    let mut world = world;
    world.overrides = json!({"path": "~/dst", "rewrite-home": ["plain.json"]});
    let job = world.job(streams, &facts).unwrap();
    assert!(job.refusals()[0].contains("plain.json: it is not JSON: "), "{:?}", job.refusals());
}

#[test]
fn files_get_the_modes_that_the_profile_says() {
    let rules = json!([
        {"match": "hooks/*.sh", "mode": "755"},
        {"match": "hooks/*.py", "mode": "644"},
        {"match": "secret.sh", "mode": "0600"},
        {"match": "nothing/", "mode": "600"},
    ]);
    let mut world = World::with(json!({"modes": rules}));
    for (name, mode) in
        [("hooks/a.sh", 0o644), ("hooks/b.py", 0o775), ("hooks/deep/c.sh", 0o640), ("hooks/secret.sh", 0o666)]
    {
        write(world.src(name), name);
        chmod(world.src(name), mode);
    }
    run("setfacl", &["-m", "u:12345:rw", world.src("hooks/secret.sh").to_str().unwrap()]);
    std::os::unix::fs::symlink("a.sh", world.src("hooks/link.sh")).unwrap();
    let (streams, captured) = world.capture();
    let findings: Vec<_> = captured.findings.iter().map(|f| f.what.as_str()).collect();
    let acl = format!(
        "{}: its ACL does not travel: its mode is the one that modes says",
        world.src("hooks/secret.sh").display()
    );
    assert_eq!(findings, [acl.as_str(), "modes: no file matches \"nothing/\""]);
    assert_eq!(world.source().survey(&world.scope()).unwrap().findings.len(), 1);
    let mode = |name: &str| std::fs::metadata(world.dst(name)).unwrap().permissions().mode() & 0o7777;
    let mut job = world.job(streams, &captured.facts).unwrap();
    job.run().unwrap();
    let modes = || ["hooks/a.sh", "hooks/b.py", "hooks/deep/c.sh", "hooks/secret.sh"].map(mode);
    assert_eq!(modes(), [0o755, 0o644, 0o640, 0o600]);
    let again = world.job(job.streams, &captured.facts).unwrap();
    assert_eq!(again.changes(), Vec::<String>::new());

    // What this machine says comes after, and its backup has what was there.
    let streams = again.streams;
    world.overrides = json!({"path": "~/dst", "modes": [{"match": "*.py", "mode": "700"}]});
    let mut job = world.job(streams, &captured.facts).unwrap();
    assert_eq!(job.changes(), ["Changed hooks/b.py"]);
    let mut backup = Streams::default();
    let back = job.target.back_up(&world.scope(), &job.plan, &backup).unwrap();
    backup.seal();
    job.run().unwrap();
    let mode = |name: &str| std::fs::metadata(world.dst(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode("hooks/b.py"), 0o700);
    assert_eq!(world.job(job.streams, &captured.facts).unwrap().changes(), Vec::<String>::new());
    let target =
        FilesKind.from_backup(&ComponentName::new("tree").unwrap(), &back.facts, None, &world.host).unwrap();
    let plan = target.plan(&world.scope(), &backup).unwrap();
    world.planned(target, backup, plan).run().unwrap();
    assert_eq!(mode("hooks/b.py"), 0o644);
}
