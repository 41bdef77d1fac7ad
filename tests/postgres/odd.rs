//! Databases that are odd, or large in an odd way.

use crate::server::{Pair, Server};
use crate::zoo::same;

/// Its order is its own, so that indexes and hash partitions depend on it.
#[test]
fn a_database_with_a_locale_of_icu() {
    let pair = Pair::new();
    pair.source.sql(
        "postgres",
        "CREATE DATABASE app TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'sv-SE-x-icu' LOCALE 'C.UTF-8'",
    );
    pair.source.sql(
        "app",
        "CREATE TABLE words (w text PRIMARY KEY); INSERT INTO words VALUES ('z'), ('ä'), ('a'), ('ö'), ('å'); \
         CREATE COLLATION german (provider = icu, locale = 'de-u-co-phonebk'); \
         CREATE TABLE names (n text COLLATE german) PARTITION BY HASH (n); \
         CREATE TABLE names_0 PARTITION OF names FOR VALUES WITH (MODULUS 2, REMAINDER 0); \
         CREATE TABLE names_1 PARTITION OF names FOR VALUES WITH (MODULUS 2, REMAINDER 1); \
         INSERT INTO names SELECT 'Ä' || g FROM generate_series(1, 100) g; CREATE INDEX ON names (n)",
    );
    pair.profiles("postgres", "", "");
    pair.import(&pair.export("1.kbp")).ok();
    same(&pair.source, &pair.target);
    let order = "SELECT string_agg(w, '' ORDER BY w) FROM words";
    assert_eq!(pair.target.sql("app", order), "azåäö");
    let provider = "SELECT datlocprovider, daticulocale FROM pg_database WHERE datname = 'app'";
    assert_eq!(pair.target.sql("postgres", provider), pair.source.sql("postgres", provider));
    pair.world.target.kbpack(&["rollback", "--yes"]).ok();
}

const MANY: &str = "DO $$ BEGIN FOR i IN 1..2100 LOOP \
    EXECUTE format('CREATE TABLE t%s AS SELECT %s AS x', i, i); END LOOP; END $$";

/// More tables than are held from the beginning.
#[test]
fn more_tables_than_are_locked_ahead() {
    let pair = Pair::new();
    pair.source.sql("postgres", "CREATE DATABASE app");
    // All of it in one statement would fill the table of locks here, too.
    for part in 0..7 {
        let part = MANY.replace("1..2100", &format!("{}..{}", part * 300 + 1, (part + 1) * 300));
        pair.source.sql("app", &part);
    }
    pair.profiles("postgres", "", "");
    pair.import(&pair.export("1.kbp")).ok();
    assert_eq!(pair.source.dump("app"), pair.target.dump("app"));

    // A server whose table of locks is too small says what to set.
    let few = |server: &Server| {
        server.sql(
            "postgres",
            "ALTER SYSTEM SET max_locks_per_transaction = 10; ALTER SYSTEM SET max_connections = 20",
        );
        server.crash();
        server.up();
    };
    few(&pair.source);
    let export = pair.world.source.kbpack(&["export", "-r", &pair.world.recipient, "-o", "few.kbp"]);
    let export = export.fails(7, "out of shared memory");
    assert!(export.stderr.contains("max_locks_per_transaction"), "{}", export.stderr);
    assert!(!pair.world.source.join("few.kbp").exists());
    // Where it goes, each table is loaded for itself, and the late backup is what fails.
    few(&pair.target);
    let undone = pair.import(&pair.world.path("1.kbp")).fails(9, "out of shared memory");
    assert!(undone.stderr.contains("everything was put back"), "{}", undone.stderr);
    assert_eq!(pair.target.databases(), ["app"]);
    assert_eq!(pair.target.sql("app", "SELECT count(*) FROM pg_stat_user_tables"), "2100");
}
