//! What an export takes, and what it takes while others write.

use crate::server::{binary, Pair};
use crate::support::Run;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Money moves between accounts, in one transaction each: whatever moment is exported, the sum is 0, and each transfer
/// has its log line.
const BANK: &str = "CREATE TABLE accounts (id int PRIMARY KEY, balance int NOT NULL); \
    INSERT INTO accounts SELECT g, 0 FROM generate_series(1, 5000) g; \
    CREATE TABLE log (id serial PRIMARY KEY, a int REFERENCES accounts, b int REFERENCES accounts, n int)";

const TRANSFER: &str = "DO $$ DECLARE a int; b int; n int; BEGIN FOR i IN 1..20 LOOP \
    a := 1 + random() * 4998; b := a + 1; n := random() * 100; \
    UPDATE accounts SET balance = balance - n WHERE id = a; UPDATE accounts SET balance = balance + n WHERE id = b; \
    INSERT INTO log (a, b, n) VALUES (a, b, n); COMMIT; END LOOP; END $$";

/// Ends the writers, also where an assertion fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_moment_of_a_busy_database() {
    let pair = Pair::new();
    pair.source.sql("postgres", "CREATE DATABASE app");
    pair.source.sql("app", BANK);
    pair.profiles("postgres", "", "");
    let stop = AtomicBool::new(false);
    let again = |sql: &str| {
        while !stop.load(Ordering::Relaxed) {
            let run = pair.source.sql_as("postgres", "app", sql);
            assert!(run.code == 0 || run.stderr.contains("deadlock"), "{}", run.stderr);
        }
    };
    thread::scope(|scope| {
        let _end = End(&stop);
        scope.spawn(|| again(TRANSFER));
        scope.spawn(|| again(TRANSFER));
        scope.spawn(|| again("VACUUM FULL log; SELECT pg_sleep(2)"));
        scope.spawn(|| {
            again(
                "CREATE TABLE IF NOT EXISTS passing (x int); INSERT INTO passing VALUES (1); \
            TRUNCATE passing; SELECT pg_sleep(2); DROP TABLE passing",
            )
        });
        for n in 0..3 {
            let bundle = pair.export(&format!("{n}.kbp"));
            pair.import(&bundle).ok();
            let sums = "SELECT sum(balance), (SELECT bool_and(x.s = coalesce(y.s, 0)) FROM (SELECT id, balance s FROM accounts) x \
                LEFT JOIN (SELECT id, sum(n) s FROM (SELECT a id, -n n FROM log UNION ALL SELECT b, n FROM log) l GROUP BY id) y \
                USING (id)) FROM accounts";
            assert_eq!(pair.target.sql("app", sums), "0|t");
        }
    });
}

/// A TRUNCATE after the snapshot would give no rows, silently. Here it comes while the export waits for its lock.
#[test]
fn a_truncated_table_is_never_exported_as_if_it_had_been_empty_before() {
    let pair = Pair::new();
    pair.source.sql("postgres", "CREATE DATABASE app");
    pair.source.sql(
        "app",
        "CREATE TABLE a (x int); CREATE TABLE b (x int); INSERT INTO a VALUES (1); INSERT INTO b VALUES (1)",
    );
    pair.profiles("postgres", "", "");
    // Rows move from one table to the other: a moment has either.
    let moving = "BEGIN; TRUNCATE a; INSERT INTO b SELECT 2; SELECT pg_sleep(0.3); COMMIT; \
        BEGIN; DELETE FROM b WHERE x = 2; INSERT INTO a VALUES (1); COMMIT; SELECT pg_sleep(1)";
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _end = End(&stop);
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                pair.source.sql("app", moving);
            }
        });
        for n in 0..3 {
            pair.import(&pair.export(&format!("{n}.kbp"))).ok();
            assert_eq!(
                pair.target.sql("app", "SELECT (SELECT count(*) FROM a) + (SELECT count(*) FROM b)"),
                "2"
            );
        }
    });
}

/// Whoever asks for the size of a table that is being truncated waits, and hears of the new, empty file: of the snapshot, taken
/// before, that says nothing.
#[test]
fn a_table_that_is_truncated_while_its_size_is_asked_is_not_taken_for_an_empty_one() {
    let pair = Pair::new();
    pair.source.sql("postgres", "CREATE DATABASE app");
    pair.source.sql("app", "CREATE TABLE a (x int); CREATE TABLE b (x int); INSERT INTO a VALUES (1)");
    pair.profiles("postgres", "", "");
    thread::scope(|scope| {
        scope.spawn(|| {
            pair.source.sql("app", "BEGIN; TRUNCATE a; INSERT INTO b VALUES (1); SELECT pg_sleep(5); COMMIT");
        });
        let locks =
            "SELECT count(*) FROM pg_locks WHERE relation = 'a'::regclass AND mode = 'AccessExclusiveLock'";
        while pair.source.sql("app", locks) == "0" {
            thread::sleep(Duration::from_millis(20));
        }
        pair.import(&pair.export("1.kbp")).ok();
    });
    let rows = "SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM b)";
    assert_eq!(pair.target.sql("app", rows), "0|1");
}

#[test]
fn what_is_left_out_and_what_stops_an_export() {
    let pair = Pair::new();
    pair.source.sql("postgres", "CREATE DATABASE app");
    pair.source.sql(
        "app",
        "CREATE TABLE tasks (x serial, status text); INSERT INTO tasks (status) VALUES ('done'); CREATE SCHEMA tmp_1; \
         CREATE TABLE tmp_1.junk (x int); CREATE TABLE log_1 (x serial); INSERT INTO log_1 SELECT 1; \
         CREATE TABLE prolog_1 (x int); INSERT INTO prolog_1 VALUES (1); SELECT nextval('log_1_x_seq')",
    );
    let more = "exclude-schema = [\"tmp_*\"]\nexclude-table-data = [\"log_*\"]\n\
        refuse-when = \"SELECT count(*) FROM public.tasks WHERE status = 'running'\"\n\
        assert = { tasks = \"SELECT count(*) FROM tasks\" }";
    pair.profiles("postgres", more, "");
    let bundle = pair.export("1.kbp");
    pair.import(&bundle).ok();
    let counts = "SELECT (SELECT count(*) FROM tasks), (SELECT count(*) FROM log_1), (SELECT count(*) FROM prolog_1), \
        to_regclass('tmp_1.junk') IS NULL, (SELECT last_value FROM log_1_x_seq)";
    assert_eq!(pair.target.sql("app", counts), "1|0|1|t|1");
    let listed = pair.world.target.kbpack(&["inspect", bundle.to_str().unwrap(), "--files"]).ok().text();
    assert!(listed.contains("public.tasks") && listed.contains("public.log_1"), "{listed}");

    pair.source.sql("app", "INSERT INTO tasks (status) VALUES ('running')");
    let export = ["export", "-r", &pair.world.recipient, "-o", "x.kbp"];
    pair.world.source.kbpack(&export).fails(8, "the query of refuse-when answers '1'");
    pair.profiles("postgres", "", "");
    pair.source.sql("postgres", "ALTER DATABASE app RENAME TO other");
    pair.world.source.kbpack(&export).fails(8, "database \"app\" does not exist");
}

/// Where absence is a state, it is packed, and an import of it removes the database: if the target says so, too.
#[test]
fn a_database_is_removed_only_where_the_target_agrees() {
    let pair = Pair::new();
    pair.profiles("postgres", "absent = \"ok\"", "");
    let dry = pair.world.source.kbpack(&["export", "-r", &pair.world.recipient, "--dry-run"]).ok();
    assert!(
        dry.text().contains("there is no database app") || dry.stderr.contains("there is no database app")
    );
    let bundle = pair.export("absent.kbp");
    // Where there is none, there is nothing to agree to.
    pair.import(&bundle).ok();
    pair.target.sql("postgres", "CREATE DATABASE app");
    let refused =
        pair.import(&bundle).fails(8, "the bundle says that there is no database, and would remove");
    assert!(refused.stderr.contains("set absent = \"remove\""), "{}", refused.stderr);
    assert_eq!(pair.target.databases(), ["app"]);
    let plan = ["import", bundle.to_str().unwrap(), "--dry-run"];
    let plan = pair.world.target.kbpack(&plan).fails(8, "would remove").text();
    assert!(plan.contains("- postgresql://") && plan.contains("1 removed"), "{plan}");

    pair.profiles("postgres", "absent = \"ok\"", "absent = \"ok\"");
    pair.import(&bundle).ok();
    assert_eq!(pair.target.databases(), ["app"]);
    pair.profiles("postgres", "absent = \"ok\"", "absent = \"remove\"");
    pair.import(&bundle).ok();
    assert_eq!(pair.target.databases(), [""; 0]);
    pair.import(&pair.export("absent2.kbp")).ok();
    // The rollback of the one that removed it brings it back.
    let history = pair.world.target.kbpack(&["history", "--json"]).ok().json();
    let removal = history["imports"].as_array().unwrap().iter().find(|import| import["backup"] == "kept");
    let run = removal.unwrap()["run"].as_str().unwrap().to_owned();
    pair.world.target.kbpack(&["rollback", "--yes", &run]).ok();
    assert_eq!(pair.target.databases(), ["app"]);
}

/// A component's streams are files for pg_restore and psql.
#[test]
fn stock_tools_restore_what_was_extracted() {
    let pair = Pair::new();
    pair.source.sql("postgres", "CREATE DATABASE app");
    pair.source.sql("app", BANK);
    pair.source.sql("app", "INSERT INTO log (a, b, n) VALUES (1, 2, 3); SELECT lo_from_bytea(17, 'large')");
    pair.profiles("postgres", "", "");
    let bundle = pair.export("1.kbp");
    let dir = pair.world.path("out");
    pair.world.target.kbpack(&["extract", bundle.to_str().unwrap(), "db", "-C", dir.to_str().unwrap()]).ok();
    let dir = dir.join("db");
    pair.target.sql("postgres", "CREATE DATABASE app");
    let restore = |section: &str| {
        let mut command = Command::new(binary("pg_restore"));
        command.args(["-h", pair.target.folder(), "-U", "postgres", "-d", "app", "--exit-on-error", section]);
        Run::of(command.arg(dir.join("dump"))).ok();
    };
    restore("--section=pre-data");
    for line in std::fs::read_to_string(dir.join("index")).unwrap().lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        for stream in row["streams"].as_array().into_iter().flatten() {
            let file = dir.join(stream.as_str().unwrap());
            let (schema, name) = (row["schema"].as_str().unwrap(), row["name"].as_str().unwrap());
            pair.target.sql("app", &format!("\\copy {schema}.{name} from '{}'", file.display()));
        }
    }
    let objects = dir.join("objects/000001");
    pair.target.sql(
        "app",
        &format!(
            "CREATE TABLE chunks (oid oid, at bigint, bytes bytea);\n\\copy chunks from '{}'\n\
             SELECT lo_create(oid) FROM (SELECT DISTINCT oid FROM chunks) o; \
             SELECT lo_put(oid, at, bytes) FROM chunks; DROP TABLE chunks",
            objects.display()
        ),
    );
    restore("--section=data");
    restore("--section=post-data");
    assert_eq!(pair.target.dump("app"), pair.source.dump("app"));
}
