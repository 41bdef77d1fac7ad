//! The late backup: of the old database, when the new one is in place and checked.

use crate::pair::{profile, Pair};
use crate::safety::{half_way, state};
use crate::support::Home;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

fn backups(home: &Home) -> Vec<PathBuf> {
    let folder = home.join(".local/state/kbpack/backups");
    let mut all: Vec<_> = fs::read_dir(folder).into_iter().flatten().map(|e| e.unwrap().path()).collect();
    all.sort();
    all
}

fn history(home: &Home) -> Vec<Value> {
    home.kbpack(&["history", "--json"]).ok().json()["imports"].as_array().unwrap().clone()
}

/// Whoever was told that a row is written finds it again after a rollback, up to the swap itself.
#[test]
fn what_others_write_until_the_swap_is_in_the_backup() {
    let (pair, bundle) = half_way();
    drop(bundle);
    // Loading takes a second or two: each row waits.
    pair.source.sql(
        "app",
        "CREATE FUNCTION slow(int) RETURNS bool LANGUAGE sql AS 'SELECT true'; \
         CREATE TABLE waits (x int CHECK (slow(x))); INSERT INTO waits SELECT generate_series(1, 60); \
         CREATE OR REPLACE FUNCTION slow(int) RETURNS bool LANGUAGE plpgsql AS \
         $$ BEGIN PERFORM pg_sleep(0.03); RETURN true; END $$",
    );
    let bundle = pair.export("slow.kbp");
    let written = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut written = 0;
            while pair.target.sql_as("postgres", "app", "INSERT INTO old VALUES (2)").code == 0 {
                written += 1;
                thread::sleep(Duration::from_millis(20));
            }
            written
        });
        pair.import(&bundle).ok();
        writer.join().unwrap()
    });
    assert!(written > 5, "{written}");
    pair.world.target.kbpack(&["rollback", "--yes"]).ok();
    let count: usize = pair.target.sql("app", "SELECT count(*) FROM old WHERE x = 2").parse().unwrap();
    // One whose answer got lost with its session may be there too.
    assert!(count == written || count == written + 1, "{written} rows were written, {count} are there");
    assert_eq!(pair.target.databases(), ["app"]);
}

/// Files before the first change, the database after the checks: two bundles of one backup.
#[test]
fn both_parts_of_a_backup_are_read_kept_and_removed_together() {
    let (pair, _) = half_way();
    let both = |home: &Home, url: &str| {
        home.profile(&format!(
            "[bundle]\nname = \"pg\"\n\n[component.app]\nkind = \"files\"\npath = \"~/app\"\n\n\
             [component.db]\nkind = \"postgres\"\nurl = \"{url}\"\n"
        ));
    };
    let (source, target) = (&pair.world.source, &pair.world.target);
    both(source, &pair.source.url("postgres", "app"));
    both(target, &pair.target.url("postgres", "app"));
    source.write("app/a.txt", "new\n");
    target.write("app/a.txt", "older\n");
    let bundle = pair.export("both.kbp");
    let report = target.kbpack(&["import", bundle.to_str().unwrap(), "--yes", "--json"]).ok().json();
    let (early, late) = (&report["backup"]["path"], &report["late_backup"]["path"]);
    let (early, late) = (early.as_str().unwrap(), late.as_str().unwrap());
    assert_eq!(backups(target), [PathBuf::from(late), PathBuf::from(early)]);
    assert_eq!(history(target)[0]["backup"], "kept");

    // Each is a bundle for itself; the database is in it under its own name.
    for backup in [early, late] {
        target.kbpack(&["verify", backup, "--deep"]).ok();
    }
    let manifest = target.kbpack(&["inspect", late, "--json"]).ok().json()["manifest"].clone();
    assert_eq!(manifest["components"][0]["facts"]["address"]["database"], "app");
    target.kbpack(&["extract", late, "db", "-C", "out"]).ok();
    assert!(fs::read_to_string(target.join("out/db/index")).unwrap().contains("\"old\""));

    // They are one for retention: the import before this one goes with both of its parts.
    target.write("app/a.txt", "between\n");
    target.kbpack(&["import", bundle.to_str().unwrap(), "--yes"]).ok();
    assert_eq!(backups(target).len(), 4);
    target.kbpack(&["prune", "--backups", "--keep-last", "1", "--yes"]).ok();
    let left = backups(target);
    let runs: Vec<_> =
        left.iter().map(|path| path.file_name().unwrap().to_string_lossy()[..16].to_owned()).collect();
    assert_eq!((runs.len(), &runs[0]), (2, &runs[1]));
    assert_eq!(history(target)[0]["backup"], "gone");

    // A rollback needs both, and says which is gone.
    let moved = left[0].with_extension("moved");
    fs::rename(&left[0], &moved).unwrap();
    target.kbpack(&["rollback", "--yes"]).fails(8, "its backup ").fails(8, "is gone");
    assert_eq!(history(target)[1]["backup"], "gone");
    fs::rename(&moved, &left[0]).unwrap();
    target.kbpack(&["rollback", "--yes"]).ok();
    assert_eq!(target.read("app/a.txt"), b"between\n");
    assert_eq!(state(&pair.target), "new");
}

/// What is replaced is broken, which may be why it is replaced.
#[test]
fn a_database_that_cannot_be_backed_up_is_put_back() {
    let (pair, bundle) = half_way();
    let target = &pair.world.target;
    let file = pair.target.sql("app", "CHECKPOINT; SELECT pg_relation_filepath('old')");
    fs::remove_file(Path::new(pair.target.folder()).join(file)).unwrap();
    pair.target.crash();
    pair.target.up();
    let failed = pair.import(&bundle).fails(9, "the backup of what would be replaced cannot be made");
    assert!(failed.stderr.contains("everything was put back"), "{}", failed.stderr);
    assert!(failed.stderr.contains("--no-backup"), "{}", failed.stderr);
    assert_eq!(pair.target.databases(), ["app"]);
    assert_eq!(pair.target.sql("app", "SELECT relname FROM pg_class WHERE relname IN ('old', 'new')"), "old");
    assert_eq!(backups(target), [""; 0].map(PathBuf::from));
    target.kbpack(&["import", bundle.to_str().unwrap(), "--yes", "--no-backup"]).ok();
    assert_eq!(state(&pair.target), "new");
    target.kbpack(&["rollback", "--yes"]).fails(8, "without a backup");
}

/// The state directory on a tmpfs. Only where this process may mount.
#[test]
fn a_backup_that_does_not_fit_is_announced_and_undoes_the_import() {
    let (pair, bundle) = half_way();
    let target = &pair.world.target;
    pair.target
        .sql("app", "CREATE TABLE large AS SELECT sha512(g::text::bytea) FROM generate_series(1, 60000) g");
    let folder = target.join(".local/state/kbpack/backups");
    fs::create_dir_all(&folder).unwrap();
    fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", "mode=700,size=2m", "none"]).arg(&folder).output();
    if !mounted.is_ok_and(|out| out.status.success()) {
        return;
    }
    let run = pair.import(&bundle);
    let left = backups(target);
    Command::new("umount").arg("-l").arg(&folder).output().unwrap();
    let run = run.fails(9, "the backup of what would be replaced cannot be made");
    assert!(run.stderr.contains("the backup of what is replaced may take up to"), "{}", run.stderr);
    assert_eq!(left, [""; 0].map(PathBuf::from));
    assert_eq!(pair.target.databases(), ["app"]);
    assert_eq!(pair.target.sql("app", "SELECT count(*) FROM large"), "60000");
}

/// A role that restores, and an administrator: the renamed database is read by the latter.
#[test]
fn it_is_read_by_the_administrator() {
    let pair = Pair::new();
    for server in [&pair.source, &pair.target] {
        server.sql("postgres", "CREATE ROLE ada LOGIN");
        server.sql("postgres", "CREATE DATABASE app OWNER ada");
    }
    pair.source.sql("app", "SET ROLE ada; CREATE TABLE new (x int)");
    pair.target.sql("app", "CREATE TABLE hidden (x int); INSERT INTO hidden VALUES (1)");
    let own = format!("admin-url = \"{}\"", pair.target.url("postgres", "postgres"));
    profile(&pair.world.source, &pair.source.url("ada", "app"), "");
    profile(&pair.world.target, &pair.target.url("ada", "app"), &own);
    pair.import(&pair.export("b.kbp")).ok();
    pair.world.target.kbpack(&["rollback", "--yes"]).ok();
    assert_eq!(pair.target.sql("app", "SELECT x FROM hidden"), "1");
}
