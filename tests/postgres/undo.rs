//! An undo after the swap: what somebody wrote to the new database is not lost with it; and signals.

use crate::pair::profile;
use crate::safety::{content, half_way, start, state, wait_for};
use crate::server::Pair;
use std::path::Path;
use std::time::{Duration, Instant};

/// A check that does `sql` in the new database, and fails.
fn failing_check(pair: &Pair, sql: &str) {
    let psql = crate::server::binary("psql");
    let check = format!(
        "\n[[check]]\nname = \"the application\"\ncommand = {{ run = [\"/bin/sh\", \"-c\", \"{} -Xq -h {} -U postgres -d app -c \\\"{sql}\\\"; exit 1\"] }}\n",
        psql.display(),
        pair.target.folder(),
    );
    profile(&pair.world.target, &pair.target.url("postgres", "app"), &check);
}

#[test]
fn the_new_database_is_kept_if_it_was_written_to_before_a_check_failed() {
    let (pair, bundle) = half_way();
    for (sql, written) in [
        ("SELECT 1", false),
        ("INSERT INTO new VALUES (-1)", true),
        ("CREATE TABLE later (x int)", true),
        ("TRUNCATE new", true),
        ("SELECT lo_from_bytea(0, 'x')", true),
        ("ANALYZE", false),
        ("VACUUM new", false),
    ] {
        failing_check(&pair, sql);
        let run = pair.import(&bundle).fails(9, "the application");
        let databases = pair.target.databases();
        assert_eq!(content(&pair.target), "old", "{sql}");
        match written {
            false => assert_eq!(databases, ["app"], "{sql}: {}", run.stderr),
            true => {
                let kept = databases[1].clone();
                assert!(databases.len() == 2 && kept.starts_with("kbpack_kept_"), "{sql}: {databases:?}");
                let said =
                    format!("database app was written to after it was put in place, so it is kept as {kept}");
                assert!(run.stderr.contains(&said), "{sql}: {}", run.stderr);
                pair.target.sql("postgres", &format!("DROP DATABASE \"{kept}\""));
            }
        }
    }
    // A row that came just before the undo is there.
    failing_check(&pair, "INSERT INTO new VALUES (-7)");
    pair.import(&bundle).fails(9, "the application");
    let kept = pair.target.databases()[1].clone();
    assert_eq!(pair.target.sql(&kept, "SELECT count(*) FROM new WHERE x = -7"), "1");
}

/// An import that waits in a check, after the swap, and is killed there.
fn killed_after_the_swap(pair: &Pair, bundle: &Path) {
    let check = "\n[[check]]\nname = \"slow\"\ncommand = { run = [\"/bin/sleep\", \"60\"] }\n";
    profile(&pair.world.target, &pair.target.url("postgres", "app"), check);
    let mut import = start(&pair.world.target, &["import", bundle.to_str().unwrap(), "--yes"]);
    wait_for(|| {
        let swapped = "SELECT count(*) FROM pg_database WHERE datname LIKE 'kbpack_old_%'";
        pair.target.sql("postgres", swapped) == "1"
    });
    import.kill().unwrap();
    import.wait().unwrap();
}

#[test]
fn recover_keeps_what_was_written_since_and_what_it_cannot_tell() {
    let (pair, bundle) = half_way();
    let recover = || pair.world.target.kbpack(&["recover"]).ok().stderr;

    killed_after_the_swap(&pair, &bundle);
    recover();
    assert_eq!(state(&pair.target), "old");

    killed_after_the_swap(&pair, &bundle);
    pair.target.sql("app", "INSERT INTO new VALUES (-1)");
    let said = recover();
    assert!(
        said.contains("was written to after it was put in place, so it is kept as kbpack_kept_"),
        "{said}"
    );
    assert_eq!(content(&pair.target), "old");
    let kept = pair.target.databases()[1].clone();
    assert_eq!(pair.target.sql(&kept, "SELECT count(*) FROM new"), "20001");
    pair.target.sql("postgres", &format!("DROP DATABASE \"{kept}\""));

    // Counters do not survive a crash of the server.
    killed_after_the_swap(&pair, &bundle);
    pair.target.sql("app", "INSERT INTO new VALUES (-1)");
    pair.target.crash();
    pair.target.up();
    let said = recover();
    assert!(said.contains("cannot be told, so it is kept as kbpack_kept_"), "{said}");
    assert_eq!(content(&pair.target), "old");
    assert_eq!(pair.target.databases().len(), 2);
    assert_eq!(recover(), "there is nothing to recover\n");
}

/// What is kept has need of the roles that were made for it.
#[test]
fn roles_of_a_database_that_is_kept_stay() {
    let (pair, _) = half_way();
    pair.source.sql("app", "CREATE ROLE boss; ALTER TABLE new OWNER TO boss");
    let bundle = pair.export("2.kbp");
    let check = "roles = \"create\"\n\n[[check]]\nname = \"slow\"\ncommand = { run = [\"/bin/false\"] }\n";
    profile(&pair.world.target, &pair.target.url("postgres", "app"), check);
    pair.import(&bundle).fails(9, "slow");
    let boss = "SELECT count(*) FROM pg_roles WHERE rolname = 'boss'";
    assert_eq!((pair.target.sql("postgres", boss).as_str(), state(&pair.target).as_str()), ("0", "old"));
    let psql = crate::server::binary("psql");
    let run = format!(
        "[\"/bin/sh\", \"-c\", \"{} -Xq -h {} -U postgres -d app -c 'INSERT INTO new VALUES (-1)'; exit 1\"]",
        psql.display(),
        pair.target.folder()
    );
    let check = check.replace("[\"/bin/false\"]", &run);
    profile(&pair.world.target, &pair.target.url("postgres", "app"), &check);
    let failed = pair.import(&bundle).fails(9, "slow");
    assert_eq!((pair.target.sql("postgres", boss).as_str(), content(&pair.target).as_str()), ("1", "old"));
    assert!(pair.target.databases()[1].starts_with("kbpack_kept_"), "{}", failed.stderr);
}

/// In whatever the server or pg_restore is busy with: a COPY, an index.
#[test]
fn a_signal_is_seen_at_once_while_the_server_is_busy() {
    for (table, index) in [("CHECK (slow(x))", ""), ("", "CREATE INDEX slowly ON waits ((slow(x)));")] {
        let (pair, _) = half_way();
        pair.source.sql(
            "app",
            &format!(
                "CREATE FUNCTION slow(int) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT true'; \
                 CREATE TABLE waits (x int {table}); INSERT INTO waits SELECT generate_series(1, 600); {index} \
                 CREATE OR REPLACE FUNCTION slow(int) RETURNS bool IMMUTABLE LANGUAGE plpgsql AS \
                 $$ BEGIN PERFORM pg_sleep(0.05); RETURN true; END $$"
            ),
        );
        let bundle = pair.export("slow.kbp");
        for signal in ["INT", "TERM"] {
            let mut import = start(&pair.world.target, &["import", bundle.to_str().unwrap(), "--yes"]);
            let busy = "SELECT count(*) FROM pg_stat_activity WHERE datname LIKE 'kbpack_new_%' AND state = 'active' \
                AND (query LIKE 'COPY%waits%' OR query LIKE 'CREATE INDEX%')";
            wait_for(|| pair.target.sql("postgres", busy) != "0");
            std::thread::sleep(Duration::from_millis(300));
            let id = import.id().to_string();
            std::process::Command::new("kill").args(["-s", signal, &id]).status().unwrap();
            let sent = Instant::now();
            let code = import.wait().unwrap().code();
            assert!(sent.elapsed() < Duration::from_secs(5), "{signal}: it took {:?}", sent.elapsed());
            assert_ne!(code, Some(0));
            assert_eq!(state(&pair.target), "old");
            assert_eq!(pair.world.target.kbpack(&["recover"]).ok().stderr, "there is nothing to recover\n");
        }
    }
}

/// `check BUNDLE` compares what is there, and changes nothing.
#[test]
fn check_compares_the_database_with_the_bundle() {
    let (pair, _) = half_way();
    pair.profiles("postgres", "assert = { rows = \"SELECT count(*) FROM new\" }", "");
    let bundle = pair.export("checked.kbp");
    let check = |code: i32, what: &str| {
        let run = pair.world.target.kbpack(&["check", bundle.to_str().unwrap()]);
        assert_eq!(run.code, code, "{}{}", run.text(), run.stderr);
        assert!(run.text().contains(what), "{what}: {}", run.text());
    };
    check(8, "table public.new is missing");
    pair.import(&bundle).ok();
    check(0, "rows");
    pair.target.sql("app", "UPDATE new SET x = -5 WHERE x = 5");
    check(8, "table public.new has other rows than on the source");
    pair.target.sql("app", "DELETE FROM new WHERE x = -5");
    check(8, "table public.new has 19999 rows, and 20000 on the source");
    check(8, "assertion 'rows'");
    pair.target.sql("app", "INSERT INTO new VALUES (5); CREATE TABLE more (x int)");
    check(8, "table public.more is not in the bundle");
    pair.target.sql("postgres", "DROP DATABASE app");
    check(8, "it is not there");
    assert_eq!(pair.target.databases(), [""; 0]);
}
