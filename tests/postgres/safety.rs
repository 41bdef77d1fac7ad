//! What can go wrong, and what is there then.

use crate::server::{profile, Pair, Server};
use crate::support::{Home, Run, KBPACK};
use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

pub const OLD: &str = "CREATE TABLE old (x int); INSERT INTO old VALUES (1)";
const NEW: &str = "CREATE TABLE new (x int PRIMARY KEY); INSERT INTO new SELECT generate_series(1, 20000)";

/// A source with the new state and a target with the old one, and the bundle between them.
pub fn half_way() -> (Pair, std::path::PathBuf) {
    let pair = Pair::new();
    for (server, sql) in [(&pair.source, NEW), (&pair.target, OLD)] {
        server.sql("postgres", "CREATE DATABASE app");
        server.sql("app", sql);
    }
    pair.profiles("postgres", "", "");
    let bundle = pair.export("b.kbp");
    (pair, bundle)
}

/// `old` or `new`: what the database has, wholly, and nothing lies about.
#[track_caller]
pub fn state(server: &Server) -> String {
    assert_eq!(server.databases(), ["app"]);
    content(server)
}

/// `old` or `new`: what the database has, wholly.
#[track_caller]
pub fn content(server: &Server) -> String {
    let tables = server
        .sql("app", "SELECT relname, (SELECT count(*) FROM pg_stat_user_tables) FROM pg_stat_user_tables");
    let name = tables.split('|').next().unwrap().to_owned();
    let rows = server.sql("app", &format!("SELECT count(*) FROM {name}"));
    assert_eq!(
        (tables.as_str(), rows.as_str()),
        if name == "old" { ("old|1", "1") } else { ("new|1", "20000") }
    );
    name
}

#[test]
fn a_rollback_brings_the_old_database_back_by_its_backup() {
    let (pair, bundle) = half_way();
    let target = &pair.world.target;
    pair.import(&bundle).ok();
    assert_eq!(state(&pair.target), "new");
    target.kbpack(&["rollback", "--yes"]).ok();
    assert_eq!(state(&pair.target), "old");
    // And where there was none, none is left. The role may not make databases: the administrator of the import does it.
    pair.target.sql("postgres", "DROP DATABASE app");
    pair.target.sql("postgres", "CREATE ROLE ada LOGIN");
    pair.source.sql("postgres", "CREATE ROLE ada LOGIN; ALTER DATABASE app OWNER TO ada");
    pair.source.sql("app", "ALTER TABLE new OWNER TO ada");
    let own = format!("admin-url = \"{}\"", pair.target.url("postgres", "postgres"));
    profile(target, &pair.target.url("ada", "app"), &own);
    pair.import(&pair.export("2.kbp")).ok();
    assert_eq!(pair.target.databases(), ["app"]);
    target.kbpack(&["rollback", "--yes"]).ok();
    assert_eq!(pair.target.databases(), [""; 0]);
}

#[test]
fn a_crash_of_the_server_in_the_middle_leaves_the_old_database() {
    let (pair, bundle) = half_way();
    // It takes a while to load: each row waits.
    pair.source.sql(
        "app",
        "CREATE FUNCTION slow(int) RETURNS bool LANGUAGE sql AS 'SELECT true'; \
         CREATE TABLE waits (x int CHECK (slow(x))); INSERT INTO waits SELECT generate_series(1, 400); \
         CREATE OR REPLACE FUNCTION slow(int) RETURNS bool LANGUAGE plpgsql AS \
         $$ BEGIN PERFORM pg_sleep(0.05); RETURN true; END $$",
    );
    drop(bundle);
    let bundle = pair.export("slow.kbp");
    let mut import =
        start(&pair.world.target, &["import", bundle.to_str().unwrap(), "--yes", "--accept-new"]);
    wait_for(|| pair.target.databases().len() == 2);
    thread::sleep(Duration::from_millis(1500));
    pair.target.crash();
    assert_eq!(import.wait().unwrap().code(), Some(10));
    pair.target.up();
    pair.world.target.kbpack(&["recover"]).ok();
    assert_eq!(state(&pair.target), "old");
}

pub fn start(home: &Home, args: &[&str]) -> Child {
    home.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[track_caller]
pub fn wait_for(mut what: impl FnMut() -> bool) {
    let start = Instant::now();
    while !what() {
        assert!(start.elapsed() < Duration::from_secs(60), "it never came");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn clients_that_reconnect_all_the_time_do_not_stop_the_swap() {
    let (pair, bundle) = half_way();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    pair.target.sql_as("postgres", "app", "SELECT pg_sleep(10)");
                }
            });
        }
        wait_for(|| {
            pair.target.sql("postgres", "SELECT count(*) FROM pg_stat_activity WHERE datname = 'app'") == "3"
        });
        let run = pair.import(&bundle);
        stop.store(true, Ordering::Relaxed);
        // They sit in the new one now.
        wait_for(|| {
            pair.target.sql(
                "postgres",
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'app'",
            );
            pair.target.sql("postgres", "SELECT count(*) FROM pg_stat_activity WHERE datname = 'app'") == "0"
        });
        let run = run.ok();
        assert!(run.stderr.contains("sessions in app will be ended: postgres (3)"), "{}", run.stderr);
    });
    assert_eq!(state(&pair.target), "new");
}

#[test]
fn a_failed_check_after_the_swap_brings_the_old_database_back() {
    let (pair, bundle) = half_way();
    drop(bundle);
    for server in [&pair.source, &pair.target] {
        server.sql("postgres", "CREATE ROLE guest LOGIN");
    }
    // The new one does not let the user in.
    pair.source.sql("postgres", "REVOKE CONNECT ON DATABASE app FROM PUBLIC");
    let own = format!("admin-url = \"{}\"", pair.target.url("postgres", "postgres"));
    pair.profiles("guest", "", &own);
    profile(&pair.world.source, &pair.source.url("postgres", "app"), "");
    let bundle = pair.export("2.kbp");
    pair.import(&bundle).fails(9, "guest logs in");
    assert_eq!(state(&pair.target), "old");
    // Where there was none, none is left.
    pair.target.sql("postgres", "DROP DATABASE app");
    pair.import(&bundle).fails(9, "guest logs in");
    assert_eq!(pair.target.databases(), [""; 0]);
}

/// The user of the guide: it may not create databases, and the one it works in is not its own.
#[test]
fn a_user_without_rights_is_told_what_it_lacks_and_an_administrator_helps() {
    let pair = Pair::new();
    let role = "CREATE ROLE locked LOGIN PASSWORD 'a:pass\\word'; CREATE DATABASE app";
    for server in [&pair.source, &pair.target] {
        server.sql("postgres", role.split(';').next().unwrap());
        server.sql("postgres", "CREATE DATABASE app");
        server.sql("app", "CREATE EXTENSION pg_trgm; GRANT CREATE ON SCHEMA public TO locked");
    }
    pair.source.sql("app", "SET ROLE locked; CREATE TABLE notes (x text); INSERT INTO notes VALUES ('hi')");
    pair.profiles("locked", "", "");
    let export = pair.world.source.kbpack(&["export", "-r", &pair.world.recipient, "-o", "x.kbp"]);
    export.fails(8, "password");
    for (home, server) in [(&pair.world.source, &pair.source), (&pair.world.target, &pair.target)] {
        home.write(".pgpass", format!("{}:5432:app:locked:a\\:pass\\\\word\n", server.folder()));
        home.chmod(".pgpass", 0o600);
    }
    let bundle = pair.export("1.kbp");
    let trace = pair.world.path("exec");
    // The maintenance database has no line of its own in .pgpass.
    pair.world.target.write(".pgpass", format!("{}:5432:*:locked:a\\:pass\\\\word\n", pair.target.folder()));
    let refused = pair.import(&bundle).fails(8, "role locked may not create databases");
    assert!(refused.stderr.contains("ALTER ROLE \"locked\" CREATEDB;"), "{}", refused.stderr);
    assert!(refused.stderr.contains("mode = \"in-place\""), "{}", refused.stderr);
    let own = format!("admin-url = \"{}\"", pair.target.url("postgres", "postgres"));
    profile(&pair.world.target, &pair.target.url("locked", "app"), &own);
    let mut strace = Command::new("strace");
    strace
        .args(["-f", "-qq", "-v", "-s", "4096", "-e", "trace=execve", "-o", trace.to_str().unwrap()])
        .arg(KBPACK);
    strace.args(["import", bundle.to_str().unwrap(), "--yes"]).env_clear();
    strace.env("HOME", &pair.world.target.path).env("PATH", std::env::var_os("PATH").unwrap());
    // Where the password is put into a file: a folder that nobody else uses.
    let runtime = pair.world.path("runtime");
    fs::create_dir(&runtime).unwrap();
    strace.env("XDG_RUNTIME_DIR", &runtime);
    Run::of(&mut strace).ok();
    let calls = fs::read_to_string(&trace).unwrap();
    assert!(
        calls.contains("PGPASSFILE=") && !calls.contains("pass\\"),
        "a password is in a child's arguments or environment"
    );
    assert_eq!(pair.target.dump("app"), pair.source.dump("app"));
    assert_eq!(
        pair.target.sql("app", "SELECT relowner::regrole FROM pg_class WHERE relname = 'notes'"),
        "locked"
    );
    assert_eq!(fs::read_dir(&runtime).unwrap().count(), 0);
}

#[test]
fn code_in_a_bundle_has_no_more_rights_than_the_role_that_restores() {
    let pair = Pair::new();
    let proof = pair.world.path("proof");
    for server in [&pair.source, &pair.target] {
        server.sql("postgres", "CREATE ROLE ada LOGIN CREATEDB; CREATE DATABASE app OWNER ada");
    }
    // A check that does what it can do, but did not yet on the source.
    let sql = format!(
        "SET ROLE ada; CREATE FUNCTION evil() RETURNS bool LANGUAGE sql AS 'SELECT true'; \
         CREATE TABLE t (x int CHECK (evil())); INSERT INTO t VALUES (1); \
         CREATE OR REPLACE FUNCTION evil() RETURNS bool LANGUAGE plpgsql AS $$ BEGIN \
         COPY (SELECT 1) TO PROGRAM 'touch {}'; RETURN true; END $$",
        proof.display()
    );
    pair.source.sql("app", &sql);
    pair.profiles("ada", "", "");
    let admin = format!("admin-url = \"{}\"", pair.target.url("postgres", "postgres"));
    profile(&pair.world.target, &pair.target.url("ada", "app"), &admin);
    pair.import(&pair.export("1.kbp")).fails(8, "COPY to or from an external program");
    assert!(!proof.exists());
    assert_eq!(pair.target.databases(), ["app"]);
}

#[test]
fn what_a_swap_would_lose_is_refused() {
    let (pair, bundle) = half_way();
    pair.target.sql("app", "SELECT pg_create_logical_replication_slot('feed', 'pgoutput')");
    pair.import(&bundle).fails(8, "replication slots, which would be lost with it: feed");
    pair.target.sql(
        "app",
        "SELECT pg_drop_replication_slot('feed'); BEGIN; INSERT INTO old VALUES (2); \
        PREPARE TRANSACTION 'half'",
    );
    pair.import(&bundle).fails(8, "prepared transactions, which would be lost with it: half");
    pair.target.sql("app", "ROLLBACK PREPARED 'half'");
    pair.source.sql("app", "CREATE ROLE boss; ALTER TABLE new OWNER TO boss");
    let refused = pair.import(&pair.export("2.kbp")).fails(8, "roles are missing");
    assert!(refused.stderr.contains("CREATE ROLE \"boss\";"), "{}", refused.stderr);
    assert_eq!(state(&pair.target), "old");

    // Made where that is wished, and gone again with an import that fails.
    pair.source
        .sql("postgres", "ALTER DATABASE app SET kbpack.x = 'y'; REVOKE CONNECT ON DATABASE app FROM PUBLIC");
    let bundle = pair.export("3.kbp");
    let own = format!("roles = \"create\"\nadmin-url = \"{}\"", pair.target.url("postgres", "postgres"));
    pair.target.sql("postgres", "CREATE ROLE guest LOGIN");
    profile(&pair.world.target, &pair.target.url("guest", "app"), &own);
    pair.import(&bundle).fails(9, "guest logs in");
    let boss =
        "SELECT count(*), max(shobj_description(oid, 'pg_authid')) FROM pg_roles WHERE rolname = 'boss'";
    assert_eq!((pair.target.sql("postgres", boss).as_str(), state(&pair.target).as_str()), ("0|", "old"));
    profile(
        &pair.world.target,
        &pair.target.url("postgres", "app"),
        "roles = \"create\"\nkeep-previous = true",
    );
    pair.import(&bundle).ok();
    assert_eq!(pair.target.sql("postgres", boss), "1|");
    let databases = pair.target.databases();
    assert!(databases.len() == 2 && databases[1].starts_with("kbpack_old_"), "{databases:?}");
    assert_eq!(pair.target.sql("app", "SHOW kbpack.x"), "y");
}
