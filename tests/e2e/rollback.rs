//! The backup before an import, and the way back.

use crate::support::{furnish, snapshot_but_state, snapshot_but_times_of_folders, Run, World, PROFILE};
use std::fs;
use std::path::PathBuf;

/// A target with things of its own where the bundle goes.
fn lived_in() -> World {
    let world = World::new();
    furnish(&world.source);
    let target = &world.target;
    target.write("app/settings.json", "{\"mine\": true}\n");
    target.write("app/mine.txt", "mine\n");
    target.write(".bashrc", "alias ll='ls -l'\nexport API_KEY=old\n");
    target.chmod("app/settings.json", 0o640);
    world
}

fn backups(world: &World) -> Vec<PathBuf> {
    let dir = world.target.join(".local/state/kbpack/backups");
    let mut all: Vec<_> = fs::read_dir(dir).into_iter().flatten().map(|e| e.unwrap().path()).collect();
    all.sort();
    all
}

fn history(world: &World) -> Vec<serde_json::Value> {
    world.target.kbpack(&["history", "--json"]).ok().json()["imports"].as_array().unwrap().clone()
}

#[test]
fn an_import_is_backed_up_and_taken_back() {
    let world = lived_in();
    let bundle = world.export("b.kbp");
    let before = snapshot_but_times_of_folders(&world.target);
    let import = world.import(&bundle, &["--json"]).ok().json();
    let backup = import["backup"]["path"].as_str().unwrap();
    assert_eq!(backups(&world), [PathBuf::from(backup)]);
    assert_ne!(snapshot_but_times_of_folders(&world.target), before);
    let imported = snapshot_but_times_of_folders(&world.target);

    // It is a bundle like others, but no peer's: it cannot be imported.
    world
        .target
        .kbpack(&["import", backup, "--yes"])
        .fails(4, "its signature was made for kbpack-backup, not for kbpack-bundle");

    let plan = world.target.kbpack(&["rollback", "--dry-run"]).ok();
    assert!(plan.text().contains("takes the import "), "{}", plan.text());
    assert_eq!(snapshot_but_times_of_folders(&world.target), imported);
    world.target.kbpack(&["rollback"]).fails(2, "nobody can be asked");
    world.target.kbpack(&["rollback", "--yes"]).ok();
    assert_eq!(snapshot_but_times_of_folders(&world.target), before);

    // The rollback is an entry of its own, and can be taken back by its name.
    let entries = history(&world);
    assert_eq!(entries[1]["rolls_back"], entries[0]["run"]);
    assert_eq!(entries[0]["rolled_back_by"], entries[1]["run"]);
    world.target.kbpack(&["rollback", "--yes"]).fails(8, "there is no import to take back");
    let run = entries[1]["run"].as_str().unwrap();
    world.target.kbpack(&["rollback", "--yes", &run[..6]]).ok();
    assert_eq!(snapshot_but_times_of_folders(&world.target), imported);

    // The mark of the sequence stays where it was: the same bundle may come again, an older one may not.
    world.import(&bundle, &[]).ok();
}

#[test]
fn a_backup_is_read_where_it_was_made_and_nowhere_else_unasked() {
    let world = lived_in();
    let bundle = world.export("b.kbp");
    let import = world.import(&bundle, &["--json"]).ok().json();
    let backup = import["backup"]["path"].as_str().unwrap();
    let files = world.target.kbpack(&["inspect", backup, "--files"]).ok().text();
    assert!(files.contains("app  file ") && files.contains("  settings.json"), "{files}");
    assert!(!files.contains("mine.txt"), "what is not touched is not in it: {files}");
    world.target.kbpack(&["verify", backup, "--deep"]).ok();
    world.target.kbpack(&["extract", backup, "app", "-C", "out"]).ok();
    let tar = world.target.join("out/app/tree/000001");
    let out =
        std::process::Command::new("tar").args(["-xOf", tar.to_str().unwrap(), "settings.json"]).output();
    assert_eq!(out.unwrap().stdout, b"{\"mine\": true}\n");
    world
        .target
        .kbpack(&["rekey", backup, "-r", &world.recipient, "-o", "new.kbp"])
        .fails(4, "kbpack-backup");
    world.source.kbpack(&["verify", backup]).fails(4, "a backup that another machine made for itself");
}

#[test]
fn a_bare_target_is_bare_again() {
    let world = World::new();
    furnish(&world.source);
    let bundle = world.export("b.kbp");
    let before = snapshot_but_times_of_folders(&world.target);
    world.import(&bundle, &[]).ok();
    world.target.kbpack(&["rollback", "--yes"]).ok();
    assert_eq!(snapshot_but_times_of_folders(&world.target), before);
}

#[test]
fn edits_since_the_import_are_kept_and_named() {
    let world = lived_in();
    let bundle = world.export("b.kbp");
    let import = world.import(&bundle, &["--json"]).ok().json();
    world.target.write("app/settings.json", "{\"edited\": 1}\n");
    let mut bashrc = world.target.read(".bashrc");
    bashrc.extend(b"alias later=true\n");
    world.target.write(".bashrc", &bashrc);
    let rollback = world.target.kbpack(&["rollback", "--yes"]).ok();
    assert_eq!(world.target.read("app/settings.json"), b"{\"mine\": true}\n");
    assert_eq!(world.target.read(".bashrc"), b"alias ll='ls -l'\nexport API_KEY=old\n");
    let kept: Vec<PathBuf> = ["app", "."]
        .iter()
        .flat_map(|dir| fs::read_dir(world.target.join(dir)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_str().unwrap().contains(".kbpack-kept-"))
        .collect();
    assert_eq!(kept.len(), 2, "{kept:?}\n{}\n{import}", rollback.stderr);
    for path in &kept {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(rollback.stderr.contains(name), "{name} is not in: {}", rollback.stderr);
    }
    assert_eq!(fs::read(&kept[0]).unwrap(), b"{\"edited\": 1}\n");
    assert_eq!(fs::read(&kept[1]).unwrap(), bashrc);
}

#[test]
fn without_a_key_nothing_starts_and_without_a_backup_there_is_no_way_back() {
    let world = lived_in();
    let bundle = world.export("b.kbp");
    let identity = world.target.read(".config/kbpack/identity.txt");
    let elsewhere = world.target.write("elsewhere.txt", identity);
    fs::remove_file(world.target.join(".config/kbpack/identity.txt")).unwrap();
    let before = snapshot_but_state(&world.target);
    let with_key = ["-i", elsewhere.to_str().unwrap()];
    world.import(&bundle, &with_key).fails(8, "a backup of what is replaced is made first");
    assert_eq!(snapshot_but_state(&world.target), before);
    let import = world.import(&bundle, &[&with_key[..], &["--no-backup"]].concat()).ok();
    assert!(import.stderr.contains("warning: backup: no backup is made"), "{}", import.stderr);
    assert!(backups(&world).is_empty());
    world.target.kbpack(&["rollback", "--yes"]).fails(8, "it was made without a backup");
    assert_eq!(history(&world)[0]["backup"], "none");
}

#[test]
fn what_changes_nothing_needs_no_backup_and_is_passed_over() {
    let world = lived_in();
    let bundle = world.export("b.kbp");
    let before = snapshot_but_times_of_folders(&world.target);
    world.import(&bundle, &[]).ok();
    world.import(&bundle, &[]).ok();
    assert_eq!(backups(&world).len(), 1);
    assert_eq!(history(&world)[1]["backup"], "unneeded");
    world.target.kbpack(&["rollback", "--yes"]).ok();
    assert_eq!(snapshot_but_times_of_folders(&world.target), before);
}

#[test]
fn only_the_backup_that_was_made_will_do() {
    let world = lived_in();
    let first = world.export("1.kbp");
    world.import(&first, &[]).ok();
    world.source.write("app/settings.json", "{\"a\": 2}\n");
    let second = world.export("2.kbp");
    world.import(&second, &[]).ok();
    let runs: Vec<String> =
        history(&world).iter().map(|entry| entry["run"].as_str().unwrap().to_owned()).collect();
    let path = |n: usize| world.target.join(&format!(".local/state/kbpack/backups/{}.kbp", runs[n]));
    let (one, two) = (fs::read(path(0)).unwrap(), fs::read(path(1)).unwrap());

    // Another backup of this very machine, under the name of the one that is wanted.
    fs::write(path(1), &one).unwrap();
    world.target.kbpack(&["rollback", "--yes"]).fails(3, "it is not the backup that was made");
    let mut damaged = two.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(path(1), &damaged).unwrap();
    let run = world.target.kbpack(&["rollback", "--yes"]);
    assert_eq!(run.code, 3, "{}", run.stderr);
    fs::remove_file(path(1)).unwrap();
    world.target.kbpack(&["rollback", "--yes"]).fails(8, "is gone");
    assert_eq!(history(&world)[1]["backup"], "gone");

    // The older one by its name: what the later one put in the same place is kept.
    fs::write(path(1), &two).unwrap();
    let older = world.target.kbpack(&["rollback", "--yes", &runs[0]]).ok();
    assert!(older.stderr.contains("came after it"), "{}", older.stderr);
    assert_eq!(world.target.read("app/settings.json"), b"{\"mine\": true}\n");
    world.target.kbpack(&["rollback", "--yes", &runs[0]]).fails(8, "did so already");
    world.target.kbpack(&["rollback", "--yes", "zz"]).fails(2, "there is no import 'zz'");
}

#[test]
fn a_backup_that_cannot_be_written_stops_the_import() {
    let world = lived_in();
    let bundle = world.export("b.kbp");
    let before = snapshot_but_state(&world.target);
    // strace lets the write of the backup fail as a full disk would.
    let mut full = std::process::Command::new("strace");
    full.args(["-qq", "-f", "-o", "/dev/null", "-e", "trace=linkat", "-e", "inject=linkat:error=ENOSPC"]);
    full.arg(crate::support::KBPACK).args(["import", bundle.to_str().unwrap(), "--yes"]);
    full.env_clear().env("HOME", &world.target.path).env("PATH", std::env::var_os("PATH").unwrap());
    Run::of(full.current_dir(&world.target.path))
        .fails(7, "the backup of what would be replaced cannot be made");
    assert_eq!(snapshot_but_state(&world.target), before);
    assert!(backups(&world).is_empty());
    world.target.kbpack(&["recover"]).ok();
    assert!(history(&world).is_empty());
}

#[test]
fn old_backups_are_pruned_and_the_newest_still_takes_back() {
    let world = lived_in();
    for n in 0..3 {
        world.source.write("app/settings.json", format!("{{\"a\": {n}00}}\n"));
        let bundle = world.export(&format!("{n}.kbp"));
        world.import(&bundle, &[]).ok();
    }
    assert_eq!(backups(&world).len(), 3);
    world.target.kbpack(&["prune", "--backups", "--keep-last", "1", "--yes"]).ok();
    assert_eq!(backups(&world).len(), 1);
    let kept = |n: usize| history(&world)[n]["backup"].clone();
    assert_eq!((kept(0), kept(1), kept(2)), ("gone".into(), "gone".into(), "kept".into()));
    world.target.kbpack(&["rollback", "--yes"]).ok();
    assert_eq!(world.target.read("app/settings.json"), b"{\"a\": 100}\n");
}

/// The components of a tree nest, and the inner one removes the folders that it finds empty before the outer one is done.
#[test]
fn what_is_kept_has_a_folder_to_be_kept_in() {
    for (there, new) in [("", "app/mine.txt"), ("", "app/keys/mine.txt"), ("app/x", "app/keys/mine.txt")] {
        let world = World::new();
        furnish(&world.source);
        world.source.write("app/keys/token", "tok-abcdef-012345\n");
        world.source.profile(&PROFILE.replace("~/app/credentials.json", "~/app/keys/token"));
        if !there.is_empty() {
            world.target.write(there, "x\n");
        }
        let bundle = world.export("b.kbp");
        world.import(&bundle, &[]).ok();
        let folder = world.target.join(new).parent().unwrap().to_owned();
        world.target.write(new, "mine\n");
        world.target.kbpack(&["rollback", "--yes"]).ok();
        assert_eq!(world.target.kbpack(&["recover"]).ok().stderr, "there is nothing to recover\n");
        let left: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        let [kept] = &left[..] else { panic!("{left:?}") };
        assert!(kept.to_str().unwrap().contains("mine.txt.kbpack-kept-"), "{kept:?}");
        assert_eq!(fs::read(kept).unwrap(), b"mine\n");
        let mode = world.target.mode(folder.strip_prefix(&world.target.path).unwrap().to_str().unwrap());
        assert_eq!(mode, 0o755, "{folder:?}");
        assert!(!world
            .target
            .path
            .read_dir()
            .unwrap()
            .any(|entry| { entry.unwrap().file_name().to_str().unwrap().starts_with(".kbpack-stage") }));
    }
}

#[test]
fn an_import_whose_rollback_was_taken_back_can_be_taken_back_again() {
    let world = lived_in();
    let before = snapshot_but_times_of_folders(&world.target);
    for n in 1..3 {
        world.source.write("app/settings.json", format!("{{\"a\": {n}00}}\n"));
        let bundle = world.export(&format!("{n}.kbp"));
        world.import(&bundle, &[]).ok();
    }
    let run = |n: usize| history(&world)[n]["run"].as_str().unwrap().to_owned();
    world.target.kbpack(&["rollback", "--yes"]).ok();
    assert_eq!(world.target.read("app/settings.json"), b"{\"a\": 100}\n");
    world.target.kbpack(&["rollback", "--yes", &run(2)]).ok();
    assert_eq!(world.target.read("app/settings.json"), b"{\"a\": 200}\n");
    assert!(history(&world)[1].get("rolled_back_by").is_none(), "{:?}", history(&world)[1]);
    // The second import holds again, so it is the last one, and not the first.
    world.target.kbpack(&["rollback", "--yes"]).ok();
    assert_eq!(world.target.read("app/settings.json"), b"{\"a\": 100}\n");
    assert_eq!(history(&world)[4]["rolls_back"], run(1));
    assert_eq!(history(&world)[1]["rolled_back_by"], run(4));
    world.target.kbpack(&["rollback", "--yes"]).ok();
    assert_eq!(snapshot_but_times_of_folders(&world.target), before);
}

#[test]
fn an_older_import_is_not_taken_for_the_last_one() {
    let world = lived_in();
    for n in 1..3 {
        world.source.write("app/settings.json", format!("{{\"a\": {n}00}}\n"));
        let bundle = world.export(&format!("{n}.kbp"));
        world.import(&bundle, &[]).ok();
    }
    let runs: Vec<String> = history(&world).iter().map(|e| e["run"].as_str().unwrap().to_owned()).collect();
    let over = world.target.join(&format!(".local/state/kbpack/history/{}.jsonl", runs[1]));
    let whole = fs::read_to_string(&over).unwrap();
    let before = snapshot_but_state(&world.target);

    // A line that is not what was written; a last one that is torn; none.
    for damaged in [&whole.replacen("small", "smell", 1), &whole[..whole.len() - 3], ""] {
        fs::write(&over, damaged).unwrap();
        world.target.kbpack(&["rollback", "--yes"]).fails(1, "damaged");
        assert_eq!(snapshot_but_state(&world.target), before);
    }
}

#[test]
fn an_import_that_is_not_over_is_still_the_last_one() {
    let world = lived_in();
    let first = world.export("1.kbp");
    world.import(&first, &[]).ok();
    world.source.write("app/settings.json", "{\"a\": 2}\n");
    let second = world.export("2.kbp");
    let args = ["import", second.to_str().unwrap(), "--yes"];
    // What it replaced cannot be removed: it holds, and its journal stays.
    let refused = |args: &[&str]| {
        let mut command = std::process::Command::new("strace");
        command.args(["-qq", "-f", "-o", "/dev/null", "-e", "trace=unlinkat"]);
        command.args(["-e", "inject=unlinkat:error=EPERM", crate::support::KBPACK]).args(args).env_clear();
        command.env("HOME", &world.target.path).env("PATH", std::env::var_os("PATH").unwrap());
        Run::of(command.current_dir(&world.target.path))
    };
    let import = refused(&args).ok();
    assert!(import.stderr.contains("what was replaced could not be removed"), "{}", import.stderr);
    refused(&["rollback", "--yes"]).fails(8, "it is not over");
    assert_eq!(world.target.read("app/settings.json"), b"{\"a\": 2}\n");
    world.target.kbpack(&["rollback", "--yes"]).ok();
    assert_eq!(world.target.read("app/settings.json"), b"{\"a\": 1}\n");
}

#[test]
fn an_edit_under_a_long_name_is_kept_under_the_name_that_is_told() {
    let world = World::new();
    furnish(&world.source);
    let (secret, file) = ("s".repeat(250), "f".repeat(250));
    world.source.write(&format!("app/{secret}"), "tok-abcdef-012345\n");
    world.source.write(&format!("app/{file}"), "file\n");
    world.source.profile(&PROFILE.replace("credentials.json", &secret));
    let bundle = world.export("b.kbp");
    world.import(&bundle, &[]).ok();
    world.target.write(&format!("app/{secret}"), "mine\n");
    world.target.write(&format!("app/{file}"), "mine\n");
    let rollback = world.target.kbpack(&["rollback", "--yes"]).ok();
    assert_eq!(world.target.kbpack(&["recover"]).ok().stderr, "there is nothing to recover\n");
    let mut kept = 0;
    for entry in fs::read_dir(world.target.join("app")).unwrap().map(Result::unwrap) {
        assert_eq!(fs::read(entry.path()).unwrap(), b"mine\n");
        let name = entry.file_name().into_string().unwrap();
        assert!(rollback.stderr.contains(&name), "{name} is not in: {}", rollback.stderr);
        kept += 1;
    }
    assert_eq!(kept, 2, "{}", rollback.stderr);
}
