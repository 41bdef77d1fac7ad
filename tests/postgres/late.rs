//! The late backup: of the old database, when the new one is in place and checked.

use crate::pair::{profile, Pair};
use crate::safety::{content, half_way, state};
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

/// `keep-previous`: the way back is a rename, as long as the old database is there and as it was.
#[test]
fn a_database_that_was_kept_is_renamed_and_not_restored() {
    let (pair, bundle) = half_way();
    let target = &pair.world.target;
    profile(target, &pair.target.url("postgres", "app"), "keep-previous = true");
    let number = || pair.target.sql("postgres", "SELECT oid FROM pg_database WHERE datname = 'app'");
    let aside = || {
        let databases = pair.target.databases();
        assert!(databases.len() == 2 && databases[0] == "app", "{databases:?}");
        assert!(databases[1].starts_with("kbpack_old_"), "{databases:?}");
        databases[1].clone()
    };
    let last_run = || history(target).last().unwrap()["run"].as_str().unwrap().to_owned();
    let old = number();
    pair.import(&bundle).ok();
    let new = number();
    aside();
    let run = target.kbpack(&["rollback", "--yes"]).ok();
    assert!(run.stderr.contains("the old database is still there, as kbpack_old_"), "{}", run.stderr);
    assert_eq!((number(), content(&pair.target).as_str()), (old.clone(), "old"));
    // And forth again.
    let rolled_back = last_run();
    target.kbpack(&["rollback", "--yes", &rolled_back]).ok();
    assert_eq!((number(), content(&pair.target).as_str()), (new, "new"));

    // One that was changed is not taken for what it was.
    let forth = last_run();
    let kept = aside();
    pair.target.sql(&kept, "INSERT INTO old VALUES (2)");
    let refused =
        target.kbpack(&["rollback", "--yes", &forth]).fails(6, "was changed since it was moved aside");
    assert!(
        refused.stderr.contains("table public.old has 2 rows, and 1 on the source"),
        "{}",
        refused.stderr
    );
    assert_eq!(content(&pair.target), "new");
    assert_eq!(aside(), kept);
    // Under another name, or gone, it does not stand in the way of the backup.
    pair.target.sql("postgres", &format!("DROP DATABASE \"{kept}\""));
    let run = target.kbpack(&["rollback", "--yes", &forth]).ok();
    assert!(run.stderr.contains("is restored from its backup"), "{}", run.stderr);
    assert_eq!(content(&pair.target), "old");
    assert_ne!(number(), old);
}

/// A rollback by renames that fails puts both back under the names that they had.
#[test]
fn a_rename_of_a_kept_database_is_undone() {
    let (pair, bundle) = half_way();
    let target = &pair.world.target;
    profile(target, &pair.target.url("postgres", "app"), "keep-previous = true");
    pair.import(&bundle).ok();
    let before = pair.target.databases();
    // At the write of the journal's word that all is kept, which comes after the renames and the late backup.
    let killed = {
        let mut command = Command::new("strace");
        command.args([
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            "trace=linkat",
            "-e",
            "inject=linkat:signal=SIGKILL:when=1",
        ]);
        command.arg(crate::support::KBPACK).args(["rollback", "--yes"]);
        command.env_clear().env("HOME", &target.path).env("PATH", std::env::var_os("PATH").unwrap());
        crate::support::Run::of(&mut command)
    };
    assert_ne!(killed.code, 0);
    assert_eq!(content(&pair.target), "old");
    target.kbpack(&["recover"]).ok();
    assert_eq!(content(&pair.target), "new");
    assert_eq!(pair.target.databases(), before);
    target.kbpack(&["rollback", "--yes"]).ok();
    assert_eq!(content(&pair.target), "old");
}
