//! The main job: from one home to another.

use crate::support::{furnish, World};
use std::fs;
use std::process::Command;

#[test]
fn from_one_home_to_another() {
    let world = World::new();
    furnish(&world.source);
    let bundle = world.export("b.kbp");
    world.import(&bundle, &[]).ok();
    let target = &world.target;
    assert_eq!(target.read("app/settings.json"), b"{\"a\": 1}\n");
    assert_eq!(target.mode("app/hooks/run.sh"), 0o755);
    assert_eq!(fs::read_link(target.join("app/link")).unwrap().to_str(), Some("settings.json"));
    assert!(target.join("app/empty").is_dir());
    assert!(!target.join("app/debug").exists());
    assert_eq!(target.mode("app/credentials.json"), 0o600);
    assert_eq!(target.read("app/credentials.json"), world.source.read("app/credentials.json"));

    let mut shell = Command::new("bash");
    shell.args(["--norc", "-c", ". ~/.bashrc; printf %s \"$API_KEY/$MODE\""]).env_clear();
    shell.env("HOME", &target.path).env("PATH", "/usr/bin:/bin");
    assert_eq!(shell.output().unwrap().stdout, b"sk-demo-0123456789/plain");
}

#[test]
fn through_pipes() {
    let world = World::new();
    furnish(&world.source);
    let export = world.source.kbpack(&["export", "-r", &world.recipient, "-o", "-"]).ok();
    assert!(export.stdout.starts_with(b"kbpack-"));
    let mut import = world.target.command(&["import", "-", "--yes"]);
    crate::support::Run::with_input(&mut import, &export.stdout).ok();
    assert_eq!(world.target.read("app/settings.json"), b"{\"a\": 1}\n");
    let state: Vec<_> = fs::read_dir(world.target.join(".local/state/kbpack"))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    // Nothing of the spooled bundle is left.
    let known =
        ["lock", "signers", "journals", "history", "held", "backups", "logs", "receipts", "checks.json"];
    assert!(state.iter().all(|name| known.iter().any(|known| name == known)), "{state:?}");
}

#[test]
fn dry_runs_change_nothing_and_show_what_would_change() {
    let world = World::new();
    furnish(&world.source);
    let survey = world.source.kbpack(&["export", "--dry-run", "--json"]).ok().json();
    assert_eq!(survey["components"][0]["name"], "app");
    assert!(survey["components"][0]["left_out"][0].as_str().unwrap().ends_with("app/credentials.json"));

    let bundle = world.export("b.kbp");
    world.target.write("app/settings.json", "{\"a\": 0}\n");
    let before = crate::support::snapshot_but_state(&world.target);
    let plan = world.target.kbpack(&["import", bundle.to_str().unwrap(), "--dry-run", "--json"]).ok().json();
    assert_eq!(crate::support::snapshot_but_state(&world.target), before);
    let app = plan["components"].as_array().unwrap().iter().find(|c| c["name"] == "app").unwrap();
    assert!(app["plan"]["added"].as_u64().unwrap() >= 4, "{app}");
    assert_eq!(plan["dry_run"], true);
}

#[test]
fn only_map_and_skip() {
    let world = World::new();
    furnish(&world.source);
    let bundle = world.export("b.kbp");
    // A map that moves nothing would let all go where it is not meant to go.
    for from in ["~/apps", "~/app/hooks", "/home/nobody/app"] {
        let map = format!("{from}=~/elsewhere");
        world.import(&bundle, &["--map", &map]).fails(2, "nothing that is imported belongs there");
    }
    world.import(&bundle, &["--only", "app:hooks", "--map", "~/app=~/elsewhere"]).ok();
    assert!(world.target.join("elsewhere/hooks/run.sh").is_file());
    assert!(!world.target.join("elsewhere/settings.json").exists());
    assert!(!world.target.join("app").exists());
    world.import(&bundle, &["--skip", "keys", "--accept-new"]).ok();
    assert!(world.target.join("app/settings.json").is_file());
    assert!(!world.target.join(".bashrc").exists());
    world
        .import(&bundle, &["--only", "nosuch"])
        .fails(2, "there is no component 'nosuch'; there are: app, keys");
}

#[test]
fn the_targets_own_profile_wins() {
    let world = World::new();
    furnish(&world.source);
    let bundle = world.export("b.kbp");
    world.target.profile("[component.app]\nkind = \"files\"\npath = \"~/mine\"\n");
    world.import(&bundle, &["--only", "app"]).ok();
    assert!(world.target.join("mine/settings.json").is_file());
    assert!(!world.target.join("app").exists());
}

#[test]
fn new_destinations_need_a_person_or_a_flag() {
    let world = World::new();
    furnish(&world.source);
    world.import(&world.export("1.kbp"), &[]).ok();
    world.source.write("other/x", "x");
    let more =
        format!("{}\n[component.other]\nkind = \"files\"\npath = \"~/other\"\n", crate::support::PROFILE);
    world.source.profile(&more);
    let second = world.export("2.kbp");
    world.import(&second, &[]).fails(4, "writes where no earlier one");
    assert!(!world.target.join("other").exists());
    world.import(&second, &["--accept-new"]).ok();
    assert!(world.target.join("other/x").is_file());
}

#[test]
fn misplaced_secrets_are_reported_and_refused_on_request() {
    let world = World::new();
    furnish(&world.source);
    world.source.write("app/notes.txt", "the key is sk-demo-0123456789, keep it\n");
    let bundle = world.path("b.kbp");
    let report = world
        .source
        .kbpack(&["export", "-r", &world.recipient, "-o", bundle.to_str().unwrap(), "--json"])
        .ok()
        .json();
    let found = &report["misplaced_secrets"];
    assert_eq!(found.as_array().unwrap().len(), 1, "{found}");
    assert_eq!(found[0]["component"], "app");
    assert_eq!(found[0]["place"], "notes.txt");
    assert!(found[0]["secret"].as_str().unwrap().contains("API_KEY"));
    assert!(!report.to_string().contains("sk-demo"));

    let strict = world.path("strict.kbp");
    let refused = world.source.kbpack(&[
        "export",
        "-r",
        &world.recipient,
        "-o",
        strict.to_str().unwrap(),
        "--strict-secrets",
    ]);
    assert!(refused.stderr.contains("notes.txt"));
    assert!(!refused.stderr.contains("sk-demo"));
    refused.fails(6, "outside the secrets components: 1");
    assert!(!strict.exists());
}

#[test]
fn a_refusal_in_the_plan_fails_the_dry_run_too() {
    let world = World::new();
    furnish(&world.source);
    let bundle = world.export("b.kbp");
    world.target.write("app/link/in/the/way", "x");
    let run = world.target.kbpack(&["import", bundle.to_str().unwrap(), "--dry-run", "--json"]);
    assert_eq!(run.json()["dry_run"], true);
    run.fails(8, "component 'app'");
}

#[test]
fn interrupted_while_unpacking_it_leaves_nothing() {
    let world = World::new();
    world.source.write("app/big", vec![1u8; 200 << 20]);
    world.source.profile("[component.app]\nkind = \"files\"\npath = \"~/app\"\n");
    let bundle = world.export("b.kbp");
    let before = crate::support::snapshot_but_state(&world.target);
    let mut child = world.target.command(&["import", bundle.to_str().unwrap(), "--yes", "-v"]);
    let mut child = child.stderr(std::process::Stdio::piped()).spawn().unwrap();
    // As soon as it says that it unpacks.
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
    assert!(lines.any(|line| line.unwrap().starts_with("unpacking")));
    let pid = child.id().to_string();
    Command::new("kill").args(["-INT", &pid]).status().unwrap();
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{rest:?}");
    assert!(rest.iter().any(|line| line.contains("interrupted")), "{rest:?}");
    assert_eq!(crate::support::snapshot_but_state(&world.target), before);
    world.import(&bundle, &[]).ok();
}

#[test]
fn a_state_that_cannot_be_written_undoes_the_import() {
    let world = World::new();
    furnish(&world.source);
    let bundle = world.export("b.kbp");
    // A folder stands where the mark's new version would go.
    let signers = world.target.join(".local/state/kbpack/signers");
    let mark = fs::read_dir(&signers).unwrap().next().unwrap().unwrap().path();
    let before = crate::support::snapshot_but_times_of_folders(&world.target);
    let mut attributes = Command::new("chattr");
    if !attributes.arg("+i").arg(&mark).status().is_ok_and(|status| status.success()) {
        return; // Only root, on a file system that has the attribute.
    }
    let run = world.import(&bundle, &[]);
    Command::new("chattr").arg("-i").arg(&mark).status().unwrap();
    assert_eq!(run.code, 9, "{}", run.stderr);
    assert_eq!(crate::support::snapshot_but_times_of_folders(&world.target), before);
    world.import(&bundle, &[]).ok();
}

#[test]
fn a_full_file_system_is_noticed_before_anything_is_written() {
    let world = World::new();
    world.source.write("app/big", noise(3 << 20));
    world.source.profile("[component.app]\nkind = \"files\"\npath = \"~/app\"\n");
    let bundle = world.export("b.kbp");
    let small = world.target.join("small");
    fs::create_dir(&small).unwrap();
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "none"]).arg(&small).output();
    if !mount.is_ok_and(|output| output.status.success()) {
        return; // Only root may mount.
    }
    let run = world.import(&bundle, &["--map", "~/app=~/small/app"]);
    let left = fs::read_dir(&small).unwrap().count();
    Command::new("umount").arg(&small).status().unwrap();
    run.fails(7, "bytes free");
    assert_eq!(left, 0);
}

/// Bytes that do not compress, the same each time.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..len).map(|_| next()).collect()
}
