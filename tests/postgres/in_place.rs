//! `mode = "in-place"`: a role that may make no database and owns none, on a server that clients use meanwhile.

use crate::crash::{count, killed};
use crate::safety::{start, wait_for};
use crate::server::{binary, profile, Pair};
use crate::support::Run;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::thread;

/// What a plain role can have of everything.
const ZOO: &str = include_str!("in_place.sql");
/// An older state, in which some names are other things.
const OLD: &str = "CREATE TYPE mood AS ENUM ('bad'); CREATE TABLE kinds (id serial PRIMARY KEY, m mood, note text UNIQUE); \
    INSERT INTO kinds (m, note) SELECT 'bad', 'old ' || g FROM generate_series(1, 100) g; CREATE INDEX old_index ON kinds (m); \
    CREATE VIEW tree AS SELECT id FROM kinds; CREATE FUNCTION double(i int) RETURNS int LANGUAGE sql AS 'SELECT i * 3'; \
    CREATE FUNCTION of_kind(k kinds) RETURNS int LANGUAGE sql AS 'SELECT k.id'; CREATE TABLE only_old (x int DEFAULT double(2)); \
    INSERT INTO only_old DEFAULT VALUES; CREATE MATERIALIZED VIEW counts AS SELECT count(*) FROM kinds; \
    CREATE SEQUENCE down START 7; SELECT nextval('down'); CREATE TABLE refers (k int REFERENCES kinds); INSERT INTO refers VALUES (1); \
    CREATE DOMAIN positive AS text; COMMENT ON TABLE kinds IS 'the old one'; GRANT SELECT ON kinds TO reader; \
    ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO reader; ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT INSERT ON TABLES TO reader; \
    SELECT lo_from_bytea(4711, 'old'), lo_from_bytea(99, 'gone'); COMMENT ON LARGE OBJECT 4711 IS 'an old one'; \
    GRANT SELECT ON LARGE OBJECT 4711 TO reader";

/// Two servers with a database `app` that is not the role's own, and the role `ada`, who may make things in `public`.
fn pair(own: &str) -> Pair {
    let pair = Pair::new();
    for server in [&pair.source, &pair.target] {
        server.sql("postgres", "CREATE ROLE ada LOGIN; CREATE ROLE reader");
        server.sql("postgres", "CREATE DATABASE app");
        server.sql(
            "app",
            "CREATE EXTENSION pg_trgm; CREATE EXTENSION hstore; GRANT CREATE ON SCHEMA public TO ada",
        );
    }
    pair.profiles("ada", "", own);
    pair
}

const IN_PLACE: &str = "mode = \"in-place\"";

/// The zoo on the source, the older state on the target, and the bundle between them.
fn half_way() -> (Pair, PathBuf) {
    let pair = pair(IN_PLACE);
    pair.source.sql_as("ada", "app", ZOO).ok();
    pair.target.sql_as("ada", "app", OLD).ok();
    let bundle = pair.export("b.kbp");
    (pair, bundle)
}

#[track_caller]
pub fn same(left: &[String], right: &[String]) {
    let count = |lines: &[String], line: &String| lines.iter().filter(|other| *other == line).count();
    let only = |a: &[String], b: &[String]| -> Vec<String> {
        let empty = |line: &&String| matches!(line.as_str(), "" | "--");
        a.iter().filter(|line| !empty(line) && count(a, line) > count(b, line)).take(30).cloned().collect()
    };
    assert!(left == right, "left: {:#?}\nright: {:#?}", only(left, right), only(right, left));
}

#[test]
fn a_role_that_owns_no_database_replaces_what_it_owns_and_takes_it_back() {
    let (pair, bundle) = half_way();
    let (new, old) = (pair.source.dump("app"), pair.target.dump("app"));
    // A client stays connected, and finds what it looks for all the time: all of the old, or all of the new.
    let queries = "SELECT count(*) || ' ' || min(m::text) FROM kinds; SELECT pg_sleep(0.05);\n".repeat(120);
    let client = thread::scope(|scope| {
        let client = scope.spawn(|| pair.target.sql_as("ada", "app", &queries));
        wait_for(|| {
            !pair.target.sql("app", "SELECT 1 FROM pg_stat_activity WHERE usename = 'ada'").is_empty()
        });
        let run = pair.import(&bundle).ok();
        assert!(
            run.stderr.contains("sessions stay (now ada (1)), but whoever uses what is replaced waits"),
            "{}",
            run.stderr
        );
        assert!(run.stderr.contains("undo: exact until written to"), "{}", run.stderr);
        client.join().unwrap()
    });
    let seen: BTreeSet<String> =
        client.ok().text().lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["100 bad", "500 ok"]);
    same(&new, &pair.target.dump("app"));
    // Again, over itself.
    pair.import(&bundle).ok();
    same(&new, &pair.target.dump("app"));
    // And back, twice.
    pair.world.target.kbpack(&["rollback", "--yes"]).ok();
    same(&new, &pair.target.dump("app"));
    pair.world.target.kbpack(&["rollback", "--yes"]).ok();
    same(&old, &pair.target.dump("app"));
}

#[test]
fn a_dry_run_shows_what_would_be_replaced_and_changes_nothing() {
    let (pair, bundle) = half_way();
    let old = pair.target.dump("app");
    let run = pair.world.target.kbpack(&["import", bundle.to_str().unwrap(), "--dry-run", "-v"]).ok();
    for line in [
        "~ table public.kinds",
        "- table public.only_old",
        "+ table public.bytes",
        "- view public.tree",
        "+ table public.tree",
        "~ routine public.double(integer)",
        "- routine public.of_kind(public.kinds)",
        "~ sequence public.down",
        "~ domain public.positive",
    ] {
        assert!(run.text().lines().any(|shown| shown.trim() == line), "{line} is not in {}", run.stderr);
    }
    same(&old, &pair.target.dump("app"));
}

/// What fails after the commit, and what fails before it.
#[test]
fn a_failed_check_brings_the_old_content_back() {
    let (pair, bundle) = half_way();
    let old = pair.target.dump("app");
    let url = pair.target.url("ada", "app");
    let check = format!(
        "{IN_PLACE}\n[[check]]\nname = \"never\"\nsql = {{ url = \"{url}\", query = \"SELECT count(*) FROM kinds\", equals = \"100\" }}"
    );
    profile(&pair.world.target, &url, &check);
    pair.import(&bundle).fails(9, "never");
    same(&old, &pair.target.dump("app"));

    profile(&pair.world.target, &url, IN_PLACE);
    pair.profiles("ada", "assert = { where = \"SELECT pg_postmaster_start_time()\" }", IN_PLACE);
    pair.import(&pair.export("2.kbp")).fails(6, "assertion 'where'");
    same(&old, &pair.target.dump("app"));

    // A key that rows of the bundle do not fulfil: made by hand on the source, it is only seen in the end.
    pair.profiles("ada", "", IN_PLACE);
    pair.source.sql("app", "ALTER TABLE tree DISABLE TRIGGER ALL; INSERT INTO tree VALUES (9, 99); ALTER TABLE tree ENABLE TRIGGER ALL");
    pair.import(&pair.export("3.kbp")).fails(1, "violates foreign key constraint");
    same(&old, &pair.target.dump("app"));
}

#[test]
fn killed_anywhere_it_is_the_old_or_the_new_content() {
    let (pair, bundle) = half_way();
    let (new, old) = (pair.source.dump("app"), pair.target.dump("app"));
    let target = &pair.world.target;
    let (args, calls) = (["import", bundle.to_str().unwrap(), "--yes", "-q"], "sendto,fsync,fdatasync");
    pair.target.sql("postgres", "CREATE DATABASE pristine TEMPLATE app");
    let counts = count(target, &args, calls, &pair.world.path("calls"));
    same(&new, &pair.target.dump("app"));
    let (mut olds, mut news) = (0, 0);
    for (call, count) in counts {
        // The suite takes some, more of the last, where the commit is; `KBPACK_CAMPAIGN=1` takes all.
        let all = std::env::var_os("KBPACK_CAMPAIGN").is_some();
        let some =
            |n: &u32| all || n.is_multiple_of((count / 2).max(1)) || *n + 70 > count && n.is_multiple_of(15);
        for nth in (1..=count).filter(some) {
            pair.target
                .sql("postgres", "DROP DATABASE app WITH (FORCE); CREATE DATABASE app TEMPLATE pristine");
            killed(target, &args, &call, nth);
            // And killed again in the middle of the recovery, every other time.
            if nth % 2 == 0 {
                killed(target, &["recover", "-q"], "sendto", 20 + nth % 20);
            }
            target.kbpack(&["recover"]).ok();
            let now = pair.target.dump("app");
            match now == old {
                true => olds += 1,
                false => {
                    same(&new, &now);
                    news += 1;
                }
            }
        }
    }
    println!("{olds} times the old content, {news} times the new one");
    assert!(olds > 1 && news > 0);
}

/// A check of the target's own that fails, after it has done `sql` as `role`.
fn meddling(pair: &Pair, role: &str, sql: &str) {
    let psql = binary("psql");
    let run = [
        psql.to_str().unwrap(),
        "-h",
        pair.target.folder(),
        "-U",
        role,
        "-d",
        "app",
        "-c",
        sql,
        "-c",
        "oops",
    ];
    let own = format!("{IN_PLACE}\n[[check]]\nname = \"meddles\"\ncommand = {{ run = {run:?} }}");
    profile(&pair.world.target, &pair.target.url("ada", "app"), &own);
}

#[test]
fn what_others_make_before_the_undo_is_not_lost() {
    let (pair, bundle) = half_way();
    let old = pair.target.dump("app");
    // Under a name that the old content needs.
    meddling(&pair, "ada", "CREATE TABLE only_old (mine text)");
    let run = pair.import(&bundle).fails(9, "meddles");
    assert!(
        run.stderr
            .contains("table public.only_old was made since the import, and is now called kbpack_kept_"),
        "{}",
        run.stderr
    );
    let kept = pair.target.sql(
        "app",
        "SELECT oid::regclass FROM pg_class WHERE relname LIKE 'kbpack_kept_%' AND relkind = 'r'",
    );
    pair.target.sql("app", &format!("SELECT mine FROM {kept}; DROP TABLE {kept}"));
    same(&old, &pair.target.dump("app"));
    // And what would be lost with the new content.
    meddling(&pair, "postgres", "CREATE VIEW theirs AS SELECT * FROM bytes");
    let run = pair.import(&bundle).fails(10, "others depend on what is to be dropped: view public.theirs");
    assert!(run.stderr.contains("kbpack recover"), "{}", run.stderr);
    pair.target.sql("app", "DROP VIEW theirs");
    pair.world.target.kbpack(&["recover"]).ok();
    same(&old, &pair.target.dump("app"));
}

/// With schemas and an extension, by a role that may make them.
#[test]
fn schemas_and_extensions_come_and_go() {
    let (pair, _) = half_way();
    pair.source.sql("postgres", "GRANT CREATE ON DATABASE app TO ada");
    pair.target.sql("postgres", "GRANT CREATE ON DATABASE app TO ada");
    let more = "CREATE SCHEMA more; GRANT USAGE ON SCHEMA more TO reader; COMMENT ON SCHEMA more IS 'new'; CREATE TABLE more.kinds (c citext); \
        INSERT INTO more.kinds VALUES ('x'); CREATE TYPE more.mood AS ENUM ('x'); CREATE SCHEMA empty";
    pair.source.sql_as("ada", "app", &format!("CREATE EXTENSION citext; {more}")).ok();
    pair.target
        .sql_as("ada", "app", "CREATE SCHEMA gone; CREATE TABLE gone.t (x int); CREATE SCHEMA mixed")
        .ok();
    pair.target.sql("app", "GRANT CREATE ON SCHEMA mixed TO postgres; CREATE TABLE mixed.theirs (x int)");
    let old = pair.target.dump("app");
    let bundle = pair.export("1.kbp");
    meddling(&pair, "ada", "SELECT 1");
    pair.import(&bundle).fails(9, "meddles");
    same(&old, &pair.target.dump("app"));
    profile(&pair.world.target, &pair.target.url("ada", "app"), IN_PLACE);
    pair.import(&bundle).ok();
    let schemas =
        "SELECT string_agg(nspname, ' ' ORDER BY nspname) FROM pg_namespace WHERE nspname !~ '^pg_|^info'";
    assert_eq!(pair.target.sql("app", schemas), "empty mixed more public");
    // An extension that came stays; the plan says so.
    let run = pair.world.target.kbpack(&["rollback", "--yes"]).ok();
    assert!(run.stderr.contains("the extension citext stays; it is not in the bundle"), "{}", run.stderr);
    pair.target.sql("app", "DROP EXTENSION citext");
    same(&old, &pair.target.dump("app"));
    pair.import(&bundle).ok();
    pair.target.sql("app", "DROP SCHEMA mixed CASCADE");
    same(&pair.source.dump("app"), &pair.target.dump("app"));
    pair.import(&bundle).ok();
    same(&pair.source.dump("app"), &pair.target.dump("app"));
}

/// Rows of this table take their time.
const SLOW: &str = "CREATE FUNCTION slow(int) RETURNS bool LANGUAGE sql AS 'SELECT true'; \
    CREATE TABLE waits (x int CHECK (slow(x))); INSERT INTO waits SELECT generate_series(1, 400); \
    CREATE OR REPLACE FUNCTION slow(int) RETURNS bool LANGUAGE plpgsql AS \
    $$ BEGIN PERFORM pg_sleep(0.05); RETURN true; END $$";

const STAGING: &str = "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'COPY%waits%'";

#[test]
fn a_crash_of_the_server_or_a_signal_in_the_middle_leaves_the_old_content() {
    let (pair, _) = half_way();
    let old = pair.target.dump("app");
    pair.source.sql_as("ada", "app", SLOW).ok();
    let bundle = pair.export("slow.kbp");
    let args = ["import", bundle.to_str().unwrap(), "--yes", "--accept-new"];
    let begun = || {
        let import = start(&pair.world.target, &args);
        wait_for(|| !pair.target.sql("postgres", STAGING).is_empty());
        import
    };
    // A signal ends it at once, in the middle of a statement of the server.
    let mut import = begun();
    rustix::process::kill_process(rustix::process::Pid::from_child(&import), rustix::process::Signal::TERM)
        .unwrap();
    assert_eq!(import.wait().unwrap().code(), Some(1));
    same(&old, &pair.target.dump("app"));
    // A kill: the server goes on with its statement, and recovery ends that.
    let mut import = begun();
    import.kill().unwrap();
    import.wait().unwrap();
    pair.world.target.kbpack(&["recover"]).ok();
    assert_eq!(pair.target.sql("postgres", STAGING), "");
    same(&old, &pair.target.dump("app"));
    // A power cut.
    let mut import = begun();
    pair.target.crash();
    assert_eq!(import.wait().unwrap().code(), Some(10));
    pair.target.up();
    pair.world.target.kbpack(&["recover"]).ok();
    // A crash lets sequences skip some values, whatever happened.
    let but_sequences = |lines: Vec<String>| -> Vec<String> {
        lines.into_iter().filter(|line| !line.contains("pg_catalog.setval")).collect()
    };
    same(&but_sequences(old), &but_sequences(pair.target.dump("app")));
}

#[test]
fn a_client_that_holds_a_table_is_not_waited_for_and_does_not_wait() {
    let (pair, bundle) = half_way();
    let old = pair.target.dump("app");
    thread::scope(|scope| {
        scope.spawn(|| {
            pair.target.sql_as("ada", "app", "BEGIN; SELECT count(*) FROM kinds; SELECT pg_sleep(600)")
        });
        wait_for(|| {
            !pair
                .target
                .sql("app", "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)'")
                .is_empty()
        });
        pair.import(&bundle).fails(8, "somebody holds a lock");
        pair.target
            .sql("app", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'ada'");
    });
    same(&old, &pair.target.dump("app"));
    pair.import(&bundle).ok();
}

/// Each of these would fail in the middle, or lose something of others.
#[test]
fn what_cannot_be_done_in_place_is_refused_in_the_plan() {
    let (pair, bundle) = half_way();
    let target = &pair.target;
    let old = target.dump("app");
    let refused = |make: &str, what: &str, unmake: &str| {
        target.sql("app", make);
        pair.import(&bundle).fails(8, what);
        target.sql("app", unmake);
    };
    refused(
        "CREATE VIEW theirs AS SELECT * FROM kinds",
        "lose what they depend on: view public.theirs",
        "DROP VIEW theirs",
    );
    refused(
        "CREATE TABLE theirs (x int REFERENCES kinds)",
        "constraint theirs_x_fkey on table public.theirs",
        "DROP TABLE theirs",
    );
    refused(
        "CREATE TABLE bytes (x int)",
        "taken in database app by things of others: table public.bytes",
        "DROP TABLE bytes",
    );
    refused(
        "CREATE FUNCTION allowed(text) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "by things of others: function public.allowed(text)",
        "DROP FUNCTION allowed(text)",
    );
    refused(
        "CREATE TABLE theirs (id int); ALTER TABLE only_old ADD id int; ALTER TABLE only_old INHERIT theirs",
        "table public.theirs, which public.only_old inherits from",
        "ALTER TABLE only_old NO INHERIT theirs; DROP TABLE theirs; ALTER TABLE only_old DROP id",
    );
    refused("CREATE PUBLICATION feed FOR TABLE kinds", "publication feed", "DROP PUBLICATION feed");
    refused(
        "SET ROLE ada; CREATE TYPE span AS RANGE (subtype = float8)",
        "range type public.span",
        "DROP TYPE span",
    );
    refused(
        "SET ROLE ada; CREATE OPERATOR === (leftarg = text, rightarg = text, function = texteq)",
        "operator public.===",
        "DROP OPERATOR === (text, text)",
    );
    refused(
        "REVOKE CREATE ON SCHEMA public FROM ada",
        "role ada may make nothing in schema public",
        "GRANT CREATE ON SCHEMA public TO ada",
    );
    refused(
        "DROP EXTENSION hstore",
        "no extension hstore, and role ada may not make it",
        "CREATE EXTENSION hstore",
    );
    refused(
        "SELECT lo_create(4712)",
        "large objects of others have numbers that the bundle needs: 4712",
        "SELECT lo_unlink(4712)",
    );
    profile(&pair.world.target, &target.url("ada", "app"), &format!("{IN_PLACE}\nkeep-previous = true"));
    refused("SELECT 1", "cannot be kept beside the new one", "SELECT 1");
    profile(&pair.world.target, &target.url("ada", "nowhere"), IN_PLACE);
    refused("SELECT 1", "database \"nowhere\" does not exist", "SELECT 1");
    profile(&pair.world.target, &target.url("ada", "app"), IN_PLACE);

    let comes = |make: &str, what: &str, unmake: &str| {
        pair.source.sql("app", make);
        let run = pair.import(&pair.export("comes.kbp")).fails(8, what);
        std::fs::remove_file(pair.world.path("comes.kbp")).unwrap();
        pair.source.sql("app", unmake);
        run.stderr
    };
    comes("SET ROLE ada; CREATE TYPE span AS RANGE (subtype = float8)", "range type", "DROP TYPE span");
    comes(
        "SET ROLE ada; CREATE OPERATOR === (leftarg = text, rightarg = text, function = texteq)",
        "cannot be replaced in place: OPERATOR",
        "DROP OPERATOR === (text, text)",
    );
    comes(
        "CREATE SCHEMA more AUTHORIZATION ada; SET ROLE ada; CREATE TABLE more.x (x int)",
        "may not make schemas",
        "DROP SCHEMA more CASCADE",
    );
    let todo = comes(
        "CREATE ROLE boss; ALTER TABLE bytes OWNER TO boss; GRANT boss TO ada",
        "roles are missing on the server: boss",
        "SELECT 1",
    );
    assert!(todo.contains("CREATE ROLE \"boss\";"), "{todo}");
    pair.target.sql("postgres", "CREATE ROLE boss");
    let todo = comes("SELECT 1", "cannot make what belongs to boss", "SELECT 1");
    assert!(todo.contains("set no-owner = true"), "{todo}");
    same(&old, &target.dump("app"));
    profile(&pair.world.target, &target.url("ada", "app"), &format!("{IN_PLACE}\nno-owner = true"));
    pair.import(&pair.export("no-owner.kbp")).ok();
    assert_eq!(target.sql("app", "SELECT relowner::regrole FROM pg_class WHERE relname = 'bytes'"), "ada");
}

/// Things of others, which the role may not even read, are neither in its way nor in its backup.
#[test]
fn things_of_others_stay_where_they_are() {
    let (pair, bundle) = half_way();
    pair.target.sql(
        "app",
        "CREATE TABLE theirs (x serial, t text); INSERT INTO theirs VALUES (1, 'secret'); REVOKE ALL ON theirs FROM PUBLIC; \
         CREATE FUNCTION their_own() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE VIEW their_view AS SELECT * FROM theirs; \
         CREATE SCHEMA hidden; CREATE TABLE hidden.t (x int); SELECT lo_create(55)",
    );
    let old = pair.target.dump("app");
    pair.import(&bundle).ok();
    let all = "SELECT (SELECT t FROM theirs), their_own(), (SELECT count(*) FROM their_view), (SELECT count(*) FROM hidden.t), \
        (SELECT count(*) FROM kinds), lo_get(55)";
    assert_eq!(pair.target.sql("app", all), "secret|1|1|0|500|\\x");
    pair.world.target.kbpack(&["rollback", "--yes"]).ok();
    same(&old, &pair.target.dump("app"));
}

/// Our session speaks UTF-8; rows are moved in the database's own encoding, definitions cannot be.
#[test]
fn another_encoding() {
    let pair = Pair::new();
    for server in [&pair.source, &pair.target] {
        server.sql("postgres", "CREATE ROLE ada LOGIN");
        server.sql("postgres", "CREATE DATABASE app TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'");
        server.sql("app", "GRANT CREATE ON SCHEMA public TO ada");
    }
    pair.profiles("ada", "", IN_PLACE);
    let rows = "CREATE TABLE t (n int, x text); INSERT INTO t SELECT g, convert_from(decode(lpad(to_hex(g), 2, '0'), 'hex'), 'LATIN1') \
        FROM generate_series(1, 255) g";
    pair.source.sql_as("ada", "app", rows).ok();
    pair.import(&pair.export("1.kbp")).ok();
    let raw = "SELECT n, convert_to(x, 'LATIN1') FROM t ORDER BY n";
    assert_eq!(pair.source.sql("app", raw), pair.target.sql("app", raw));
    // Two characters, whose bytes are those of one in UTF-8.
    pair.source.sql("app", "SET client_encoding = 'UTF8'; COMMENT ON TABLE t IS 'Ã©'");
    pair.import(&pair.export("2.kbp")).fails(8, "not in UTF8, but in LATIN1");
    assert_eq!(pair.source.sql("app", raw), pair.target.sql("app", raw));
}

/// The archive is SQL that somebody wrote: it could end the transaction.
#[test]
fn definitions_that_commit_are_found_out_and_undone() {
    let pair = pair(IN_PLACE);
    pair.target.sql_as("ada", "app", OLD).ok();
    let old = pair.target.dump("app");
    pair.source
        .sql_as(
            "ada",
            "app",
            "CREATE TABLE kinds (x int); COMMENT ON TABLE kinds IS '-------------------------------'",
        )
        .ok();
    // A pg_dump of the same major version that says it is newer, so that it is chosen.
    let (bin, real) = (pair.world.path("bin"), binary("pg_dump"));
    std::fs::create_dir(&bin).unwrap();
    let script = format!(
        "#!/bin/sh\nif [ \"$1\" = --version ]; then {real} --version | sed 's/[.][0-9]*/.99/'; exit; fi\n\
         {real} \"$@\" | LC_ALL=C sed \"s/IS '-*';/IS ''; COMMIT; SELECT '------------';/\"\n",
        real = real.display()
    );
    let wrapper = bin.join("pg_dump");
    std::fs::write(&wrapper, script).unwrap();
    std::fs::set_permissions(&wrapper, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let bundle = pair.world.path("evil.kbp");
    let mut export =
        pair.world.source.command(&["export", "-r", &pair.world.recipient, "-o", bundle.to_str().unwrap()]);
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    Run::of(export.env("PATH", path)).ok();
    pair.import(&bundle).fails(6, "end the transaction that they are restored in");
    same(&old, &pair.target.dump("app"));
}

#[test]
fn a_server_without_room_for_the_locks_says_so_before() {
    let (pair, bundle) = half_way();
    let tables = "SELECT format('CREATE TABLE many_%s (x text)', g) FROM generate_series(1, 200) g \\gexec";
    pair.source.sql_as("ada", "app", tables).ok();
    drop(bundle);
    let bundle = pair.export("many.kbp");
    pair.target.sql("postgres", "ALTER SYSTEM SET max_locks_per_transaction = 10");
    pair.target.crash();
    pair.target.up();
    let run = pair.import(&bundle).fails(8, "takes about");
    assert!(run.stderr.contains("ALTER SYSTEM SET max_locks_per_transaction = "), "{}", run.stderr);
    pair.target.sql("postgres", "ALTER SYSTEM SET max_locks_per_transaction = 64");
    pair.target.crash();
    pair.target.up();
    pair.import(&bundle).ok();
    same(&pair.source.dump("app"), &pair.target.dump("app"));
}
