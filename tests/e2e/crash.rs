//! An import that is killed, at any system call that changes something, and then recovered, has left the target
//! wholly as it was or wholly as it should be.
//!
//! strace kills the real binary at each such call. The suite takes some of them; `KBPACK_CAMPAIGN=1` takes all.

use crate::support::{furnish, snapshot_but_times_of_folders, Home, Run, World, KBPACK};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// System calls that change the disk. A kill comes as the call is entered, so it does not happen.
const CHANGING: &str = "write,pwrite64,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,link,linkat,\
                        symlinkat,fsync,fdatasync,syncfs,fchmod,fchmodat,fchown,utimensat,ftruncate,fallocate";

/// A target that has all of it already, and all of it different.
pub fn lived_in(home: &Home) {
    home.write("app/settings.json", "{\"a\": 0}\n");
    home.write("app/hooks/run.sh", "#!/bin/sh\necho old\n");
    home.write("app/mine.txt", "only here\n");
    home.write("app/big.bin", vec![9u8; 100_000]);
    home.write(".bashrc", "# mine\nexport API_KEY=old-value-0123\nalias l=ls\n");
    home.chmod(".bashrc", 0o600);
    home.write("app/credentials.json", "{\"token\": \"old\"}\n");
    home.chmod("app/credentials.json", 0o600);
}

/// Such a target, and a bundle that changes it.
fn lived_in_world() -> (World, PathBuf) {
    let world = World::new();
    furnish(&world.source);
    lived_in(&world.target);
    let bundle = world.export("b.kbp");
    (world, bundle)
}

/// A copy of the target as it is.
fn pristine(world: &World) -> PathBuf {
    let pristine = world.path("pristine");
    copy(&world.target.path, &pristine);
    pristine
}

pub fn copy(from: &Path, to: &Path) {
    if to.exists() {
        fs::remove_dir_all(to).unwrap();
    }
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

/// Runs kbpack in `home` under strace with these options, all threads followed.
pub fn strace(home: &Home, options: &[&str], args: &[&str]) -> Run {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq"]).args(options).arg(KBPACK).args(args);
    command.env_clear().env("HOME", &home.path).env("PATH", std::env::var_os("PATH").unwrap());
    Run::of(&mut command)
}

/// Runs kbpack under strace, which does `what` (`signal=SIGKILL`, `error=EIO`) at the `nth` of `calls`, if there are so many.
pub fn injected(home: &Home, args: &[&str], calls: &str, nth: u32, what: &str) -> Run {
    let when = if what.ends_with('+') { String::new() } else { format!(":when={nth}") };
    let inject = format!("-e inject={calls}:{what}{when}");
    let options = ["-o", "/dev/null", "-e", &format!("trace={CHANGING}")];
    strace(home, &[&options[..], &inject.split(' ').collect::<Vec<_>>()].concat(), args)
}

pub fn killed(home: &Home, args: &[&str], calls: &str, nth: u32) -> Run {
    injected(home, args, calls, nth, "signal=SIGKILL")
}

/// Every point at which an undisturbed run could be killed: a call's name and its number among the calls of that name
/// in its thread, which is how strace counts.
pub fn points(home: &Home, args: &[&str], log: &Path) -> Vec<(String, u32)> {
    strace(home, &["-o", log.to_str().unwrap(), "-e", &format!("trace={CHANGING}")], args).ok();
    let mut counts = BTreeMap::new();
    let mut points = BTreeSet::new();
    for line in fs::read_to_string(log).unwrap().lines() {
        let Some((thread, call)) = line.split_once(char::is_whitespace) else { continue };
        let Some((name, _)) = call.trim_start().split_once('(') else { continue };
        let count = counts.entry((thread.to_owned(), name.to_owned())).or_insert(0);
        *count += 1;
        points.insert((name.to_owned(), *count));
    }
    points.into_iter().collect()
}

/// A snapshot without times: what an import writes of its own (a shell file) has the time of the import.
pub fn content(rows: &[String]) -> Vec<String> {
    let without = |row: &String| {
        let fields: Vec<&str> = row.split(' ').collect();
        fields
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != 3)
            .map(|(_, field)| *field)
            .collect::<Vec<_>>()
            .join(" ")
    };
    rows.iter().map(without).collect()
}

/// The rows of a snapshot that are kbpack's leftovers.
pub fn leftovers(rows: &[String]) -> Vec<&String> {
    rows.iter().filter(|row| row.contains(".kbpack-")).collect()
}

#[test]
fn killed_anywhere_it_is_the_old_or_the_new_state() {
    let (world, bundle) = lived_in_world();
    old_or_new_wherever_killed(&world, &["import", bundle.to_str().unwrap(), "--yes", "-q"]);
}

#[test]
fn a_rollback_killed_anywhere_is_the_old_or_the_new_state() {
    let (world, bundle) = lived_in_world();
    world.import(&bundle, &[]).ok();
    world.target.write("app/hooks/run.sh", "#!/bin/sh\necho edited\n");
    let mut bashrc = world.target.read(".bashrc");
    bashrc.extend(b"alias later=l\n");
    world.target.write(".bashrc", bashrc);
    old_or_new_wherever_killed(&world, &["rollback", "--yes", "-q"]);
}

/// Kills `args` at every changing call, or in the suite at some. What `args` does must be there when it is run twice.
#[allow(clippy::print_stdout)] // for who runs a campaign
fn old_or_new_wherever_killed(world: &World, args: &[&str]) {
    let pristine = pristine(world);
    let before = seen(world);
    let points = points(&world.target, args, &world.path("calls"));
    let after = seen(world);
    assert!(points.len() > 80, "{points:?}");
    assert_ne!(before, after);

    let all = std::env::var_os("KBPACK_CAMPAIGN").is_some();
    let step = if all { 1 } else { points.len() / 20 };
    let (mut olds, mut news) = (0, 0);
    for (n, (call, nth)) in points.iter().enumerate().step_by(step) {
        copy(&pristine, &world.target.path);
        let run = killed(&world.target, args, call, *nth);
        // And killed again in the middle of the recovery, every other time.
        if n / step % 2 == 0 {
            killed(
                &world.target,
                &["recover", "-q"],
                "fsync,fdatasync,unlink,unlinkat,renameat2,rename",
                1 + n as u32 % 5,
            );
        }
        world.target.kbpack(&["recover"]).ok();
        let now = seen(world);
        let point = format!("killed at {call} number {nth} ({})", run.code);
        assert_eq!(leftovers(&now), Vec::<&String>::new(), "{point}");
        let is_new = content(&now) == content(&after);
        match (now == before, is_new) {
            (true, _) => olds += 1,
            (_, true) => news += 1,
            _ => panic!("{point}: neither the old nor the new state: {now:#?}"),
        }
        // What was cut off does not stand in the way.
        assert_eq!(world.target.kbpack(&["recover"]).ok().stderr, "there is nothing to recover\n");
        // A rollback that was done has nothing more to do.
        if args[0] == "import" || !is_new {
            world.target.kbpack(args).ok();
        }
        assert_eq!(content(&seen(world)), content(&after), "{point}");
    }
    println!("{}: {} points, {olds} times the old state, {news} times the new one", args[0], points.len());
    assert!(olds > 0 && news > 0);
}

/// The target as it is, with one name for every run's kept files.
fn seen(world: &World) -> Vec<String> {
    let rows = snapshot_but_times_of_folders(&world.target);
    let one_name = |row: String| match row.split_once(".kbpack-kept-") {
        Some((path, rest)) => format!("{path}.kept-RUN{}", &rest[16..]),
        None => row,
    };
    let mut rows: Vec<String> = rows.into_iter().map(one_name).collect();
    rows.sort();
    rows
}

/// Runs an import in which the write that says 'kept' fails, and which is killed in the undo that follows.
fn not_kept(home: &Home, args: &[&str], calls: &[(String, u32)], more: &[&str]) -> Run {
    // The last but one is that of 'kept', the last that of the end.
    let syncs = calls.iter().filter(|(call, _)| call == "fdatasync").count();
    let renames = calls.iter().filter(|(call, _)| call == "renameat2").count();
    let kept = format!("inject=fdatasync:error=EIO:when={}", syncs - 1);
    let undo = format!("inject=renameat2:signal=SIGKILL:when={}", renames + 2);
    let calls = "trace=fdatasync,renameat2,ftruncate";
    let options = ["-o", "/dev/null", "-e", calls, "-e", &kept, "-e", &undo];
    strace(home, &[&options[..], more].concat(), args)
}

#[test]
fn what_a_recovery_finished_is_known_to_status() {
    let world = World::new();
    furnish(&world.source);
    lived_in(&world.target);
    fs::remove_file(world.target.join("app/mine.txt")).unwrap();
    let bundle = world.export("b.kbp");
    let args = ["import", bundle.to_str().unwrap(), "--yes", "-q"];
    let pristine = world.path("pristine");
    copy(&world.target.path, &pristine);
    let points = points(&world.target, &args, &world.path("calls"));
    // The last but one is that of 'kept', the last that of the end.
    let syncs = points.iter().filter(|(call, _)| call == "fdatasync").count() as u32;
    let held = || fs::read_dir(world.target.join(".local/state/kbpack/held")).unwrap().count();
    for nth in [syncs - 1, syncs] {
        copy(&pristine, &world.target.path);
        killed(&world.target, &args, "fdatasync", nth);
        world.target.kbpack(&["recover"]).ok();
        let status = world.target.kbpack(&["status", "--json", "--exit-code"]).ok().json();
        assert_eq!((&status["imports"][0]["state"], held()), (&"same".into(), 1));
    }
    // What is undone, at once or by a recovery, leaves no list.
    copy(&pristine, &world.target.path);
    let undone = injected(&world.target, &args, "fdatasync", syncs - 1, "error=EIO");
    assert_eq!((undone.code == 0, held()), (false, 0), "{}", undone.stderr);
    copy(&pristine, &world.target.path);
    not_kept(&world.target, &args, &points, &[]);
    assert_eq!(held(), 1);
    assert!(world.target.kbpack(&["recover"]).ok().stderr.contains(": undone;"));
    assert_eq!(held(), 0);
}

#[test]
fn what_could_not_be_noted_as_kept_is_not_taken_as_kept_after_a_kill() {
    let (world, bundle) = lived_in_world();
    let args = ["import", bundle.to_str().unwrap(), "--yes", "-q"];
    let pristine = pristine(&world);
    let before = snapshot_but_times_of_folders(&world.target);
    let points = points(&world.target, &args, &world.path("calls"));
    let after = snapshot_but_times_of_folders(&world.target);

    copy(&pristine, &world.target.path);
    let killed = not_kept(&world.target, &args, &points, &[]);
    assert_ne!(killed.code, 9, "{}", killed.stderr);
    world.target.kbpack(&["recover"]).ok();
    assert_eq!(snapshot_but_times_of_folders(&world.target), before);

    // Nor can it be taken away: what may be noted as kept is not undone.
    copy(&pristine, &world.target.path);
    not_kept(&world.target, &args, &points, &["-e", "inject=ftruncate:error=EIO:when=2+"])
        .fails(10, "could not be taken away");
    world.target.kbpack(&["recover"]).ok();
    assert_eq!(content(&snapshot_but_times_of_folders(&world.target)), content(&after));
}

#[test]
fn the_next_import_recovers_by_itself_and_history_tells() {
    let (world, bundle) = lived_in_world();
    let args = ["import", bundle.to_str().unwrap(), "--yes", "-q"];
    let before = snapshot_but_times_of_folders(&world.target);
    // At a rename of the commit: the first ones are those of the state's own files.
    killed(&world.target, &args, "renameat2", 1);
    let history = world.target.kbpack(&["history", "--json"]).ok().json();
    assert_eq!(history["imports"][0]["outcome"], serde_json::Value::Null, "{history}");
    let text = world.target.kbpack(&["history"]).ok().text();
    assert!(text.contains("going on now, or cut off (then run `kbpack recover`)"), "{text}");
    let dry = world.target.kbpack(&["import", bundle.to_str().unwrap(), "--dry-run", "-q"]);
    assert_eq!(dry.code, 0, "{}", dry.stderr);
    assert_eq!(snapshot_but_times_of_folders(&world.target), before);
    world.import(&bundle, &[]).ok();
    let history = world.target.kbpack(&["history", "--json"]).ok().json();
    assert_eq!(
        (&history["imports"][0]["outcome"], &history["imports"][1]["outcome"]),
        (&"undone".into(), &"imported".into()),
        "{history}"
    );
    assert!(world.target.kbpack(&["history"]).ok().text().contains("imported (app, keys)"));
}

#[test]
fn an_error_at_any_call_is_told_and_leaves_the_old_or_the_new_state() {
    let (world, bundle) = lived_in_world();
    let args = ["import", bundle.to_str().unwrap(), "--yes", "-q"];
    let pristine = pristine(&world);
    let before = snapshot_but_times_of_folders(&world.target);
    let points = points(&world.target, &args, &world.path("calls"));
    let after = snapshot_but_times_of_folders(&world.target);

    let all = std::env::var_os("KBPACK_CAMPAIGN").is_some();
    let step = if all { 1 } else { points.len() / 20 };
    for (n, (call, nth)) in points.iter().enumerate().step_by(step) {
        let what = ["error=ENOSPC", "error=EIO", "error=EMFILE"][n / step % 3];
        copy(&pristine, &world.target.path);
        let run = injected(&world.target, &args, call, *nth, what);
        let point = format!("{what} at {call} number {nth}: exit {}, {}", run.code, run.stderr);
        assert!(!run.stderr.contains("panicked"), "{point}");
        world.target.kbpack(&["recover"]).ok();
        let now = snapshot_but_times_of_folders(&world.target);
        assert_eq!(leftovers(&now), Vec::<&String>::new(), "{point}");
        match run.code {
            0 => assert_eq!(content(&now), content(&after), "{point}"),
            _ => assert!(now == before || content(&now) == content(&after), "{point}: {now:#?}"),
        }
        world.target.kbpack(&args).ok();
        assert_eq!(content(&snapshot_but_times_of_folders(&world.target)), content(&after), "{point}");
    }
}

#[test]
fn a_journal_that_cannot_be_put_away_changes_nothing_about_what_became_of_the_import() {
    let (world, bundle) = lived_in_world();
    let args = ["import", bundle.to_str().unwrap(), "--yes", "--json"];
    let pristine = pristine(&world);
    let history = |world: &World| world.target.kbpack(&["history", "--json"]).ok().json();
    let calls = points(&world.target, &args, &world.path("calls"));
    let count = |name: &str| calls.iter().filter(|(call, _)| call == name).count() as u32;
    copy(&pristine, &world.target.path);
    // The last file that is removed is the journal.
    let run = injected(&world.target, &args, "unlink", count("unlink"), "error=EIO").ok();
    let leftovers = run.json()["leftovers"].to_string();
    assert!(leftovers.contains("the import is done, but its journal could not be put away"), "{leftovers}");
    assert_eq!(world.target.kbpack(&["recover", "--json"]).ok().json()[0]["outcome"], "imported");
    assert_eq!(history(&world)["imports"][0]["outcome"], "imported");

    copy(&pristine, &world.target.path);
    // A file cannot be put in place, so that all is undone; and then one of the files that are removed stays.
    let failing = format!("error=EIO:when={} -e inject=unlink:error=EIO", count("rename") - 1);
    let told = (1..20).find_map(|nth| {
        copy(&pristine, &world.target.path);
        let run = injected(&world.target, &args, "rename", nth, &failing);
        world.target.kbpack(&["recover", "-q"]).ok();
        let told = run.text().contains("everything is as it was, but its journal could not be put away");
        told.then_some(run)
    });
    told.expect("the journal's own removal").fails(9, "everything was put back");
    assert_eq!(history(&world)["imports"][0]["outcome"], "undone");
}

#[test]
fn recover_does_not_say_that_it_removed_what_it_could_not_remove() {
    let (world, bundle) = lived_in_world();
    let args = ["import", bundle.to_str().unwrap(), "--yes", "--skip", "keys", "-q"];
    injected(&world.target, &args, "unlinkat", 1, "error=EIO:when=1+").ok();
    let run = injected(&world.target, &["recover"], "unlinkat", 1, "error=EIO:when=1+").ok();
    assert!(run.stderr.contains("not all that it had left over could be removed"), "{}", run.stderr);
    let run = injected(&world.target, &["recover", "--json"], "unlinkat", 1, "error=EIO:when=1+").ok();
    assert_eq!(run.json()[0]["cleared"], false);
    world.target.kbpack(&["recover"]).ok();
    assert_eq!(leftovers(&snapshot_but_times_of_folders(&world.target)), Vec::<&String>::new());
}

#[test]
fn recover_does_not_say_undone_where_the_staging_area_is_gone_or_not_mounted() {
    for component in ["app", "keys"] {
        let (world, bundle) = lived_in_world();
        let args = ["import", bundle.to_str().unwrap(), "--yes", "-q", "--only", component];
        let pristine = pristine(&world);
        let calls = points(&world.target, &args, &world.path("calls"));
        let renames = calls.iter().filter(|(call, _)| call == "renameat").count() as u32;
        copy(&pristine, &world.target.path);
        // At the rename of the mark, when all is in place. After it come those of a tree's staging area, of the history, of the
        // checks, of the list for `status` and of the receipt.
        killed(&world.target, &args, "renameat", renames - if component == "app" { 5 } else { 4 });

        // The file system of the tree is not mounted.
        let away = |from: &str, to: &str| fs::rename(world.target.join(from), world.target.join(to)).unwrap();
        let stage = fs::read_dir(&world.target.path).unwrap().map(|entry| entry.unwrap().file_name());
        let stage =
            stage.map(|name| name.into_string().unwrap()).find(|name| name.starts_with(".kbpack-stage-"));
        let stage = stage.unwrap();
        away(&stage, "elsewhere");
        if component == "app" {
            away("app", "app.volume");
            fs::create_dir(world.target.join("app")).unwrap();
            world.target.kbpack(&["recover"]).fails(10, "is its file system mounted?");
            fs::remove_dir(world.target.join("app")).unwrap();
            away("app.volume", "app");
        }
        // What was replaced is gone.
        world.target.kbpack(&["recover"]).fails(10, "is still there");
        away("elsewhere", &stage);
        world.target.kbpack(&["recover"]).ok();
        assert_eq!(world.target.read("app/settings.json"), b"{\"a\": 0}\n");
        assert_eq!(world.target.read("app/credentials.json"), b"{\"token\": \"old\"}\n");
    }
}

#[test]
fn a_tree_that_was_removed_after_the_import_does_not_keep_its_leftovers() {
    let (world, bundle) = lived_in_world();
    let args = ["import", bundle.to_str().unwrap(), "--yes", "--skip", "keys", "-q"];
    injected(&world.target, &args, "unlinkat", 1, "error=EIO:when=1+").ok();
    fs::remove_dir_all(world.target.join("app")).unwrap();
    let run = world.target.kbpack(&["recover"]).ok();
    assert!(run.stderr.contains("what it had left over is removed"), "{}", run.stderr);
    assert_eq!(leftovers(&snapshot_but_times_of_folders(&world.target)), Vec::<&String>::new());
}

#[test]
fn history_shows_the_others_where_one_is_damaged() {
    let world = World::new();
    furnish(&world.source);
    world.import(&world.export("1.kbp"), &[]).ok();
    world.import(&world.export("2.kbp"), &[]).ok();
    let first = fs::read_dir(world.target.join(".local/state/kbpack/history")).unwrap().next();
    let first = first.unwrap().unwrap().path();
    let text = fs::read_to_string(&first).unwrap();
    fs::write(&first, text.replacen("small", "smell", 1)).unwrap();
    let run = world.target.kbpack(&["history", "--json"]).fails(1, "damaged");
    assert_eq!(run.json()["imports"].as_array().unwrap().len(), 1);
}

#[test]
fn a_signal_puts_everything_back_and_says_what_another_one_would_do() {
    let (world, bundle) = lived_in_world();
    let before = snapshot_but_times_of_folders(&world.target);
    let args = ["import", bundle.to_str().unwrap(), "--yes"];
    let run = injected(&world.target, &args, "renameat2", 1, "signal=SIGINT").fails(9, "interrupted");
    assert!(run.stderr.contains("another signal would stop that at once"), "{}", run.stderr);
    assert_eq!(snapshot_but_times_of_folders(&world.target), before);
    assert_eq!(world.target.kbpack(&["recover"]).ok().stderr, "there is nothing to recover\n");
}

#[test]
fn the_folders_of_the_state_are_on_disk_before_anything_in_them() {
    let world = World::strangers();
    assert!(!world.target.join(".local").exists());
    let log = world.path("log");
    let options = ["-y", "-o", log.to_str().unwrap(), "-e", "trace=fsync"];
    strace(&world.target, &options, &["trust", "add", "source", &world.signer]).ok();
    let log = fs::read_to_string(log).unwrap();
    for folder in ["", "/.local", "/.local/state", "/.local/state/kbpack"] {
        let synced = format!("target{folder}>)");
        assert!(log.contains(&synced), "{folder}: {log}");
    }
}
