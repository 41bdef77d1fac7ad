//! `kbpack diff` and `kbpack status` of a database.

use crate::pair::Pair;
use serde_json::Value;

/// Each difference as `+name`, `-name`, or `~name LEFT>RIGHT` with rows or value.
fn differences(component: &Value) -> Vec<String> {
    let rows = component["differences"].as_array().unwrap();
    let told = |side: &Value| match &side["rows"] {
        Value::Null => side["value"].as_str().unwrap_or_default().to_owned(),
        rows => rows.to_string(),
    };
    rows.iter()
        .map(|row| {
            let name = row["name"].as_str().unwrap();
            match row["change"].as_str().unwrap() {
                "added" => format!("+{name}"),
                "removed" => format!("-{name}"),
                _ => format!("~{name} {}>{}", told(&row["left"]), told(&row["right"])),
            }
        })
        .collect()
}

#[test]
fn rows_sequences_and_tables_that_differ_are_named() {
    let pair = Pair::new();
    pair.source.sql("postgres", "CREATE DATABASE app");
    pair.source.sql(
        "app",
        "CREATE TABLE t (id bigserial PRIMARY KEY, x text); INSERT INTO t (x) SELECT g FROM generate_series(1, 100) g; \
         CREATE TABLE gone (x int); CREATE TABLE same (x int); INSERT INTO same VALUES (1), (2); \
         CREATE TABLE edited (x int); INSERT INTO edited VALUES (1), (2); CREATE TABLE wider (x int); \
         CREATE TABLE log (x int); INSERT INTO log VALUES (1); SELECT lo_from_bytea(70000, 'abc'); \
         CREATE SCHEMA scratch; CREATE TABLE scratch.s (x int); \
         CREATE TYPE mood AS ENUM ('a', 'b'); CREATE TABLE p (m mood) PARTITION BY HASH (m); \
         CREATE TABLE p0 PARTITION OF p FOR VALUES WITH (MODULUS 2, REMAINDER 0); \
         CREATE TABLE p1 PARTITION OF p FOR VALUES WITH (MODULUS 2, REMAINDER 1); INSERT INTO p VALUES ('a'), ('b')",
    );
    let left_out = "exclude-table-data = [\"log\"]\nexclude-schema = [\"scratch\"]";
    pair.profiles("postgres", left_out, "");
    let bundle = pair.export("1.kbp");
    let path = bundle.to_str().unwrap();
    let target = &pair.world.target;
    let component = |args: &[&str]| target.kbpack(args).ok().json()["components"][0].clone();
    assert_eq!(component(&["diff", path, "--json"])["state"], "only-left");

    // What stays behind on the source is no difference there; nor what was imported, on the target.
    let source =
        |args: &[&str]| pair.world.source.kbpack(args).ok().json()["exports"][0]["components"][0].clone();
    let there = source(&["status", "--json", "--exit-code"]);
    assert_eq!((&there["state"], differences(&there)), (&"same".into(), vec![]));
    pair.import(&bundle).ok();
    let here = component(&["diff", path, "--json", "--exit-code"]);
    assert_eq!((&here["state"], differences(&here)), (&"same".into(), vec![]));
    target.kbpack(&["status", "--exit-code"]).ok();

    let change = "INSERT INTO t (x) VALUES ('more'); DROP TABLE gone; CREATE TABLE new (x int); UPDATE edited SET x = x + 1; \
        ALTER TABLE wider ADD y int; INSERT INTO log VALUES (2); SELECT lo_put(70000, 0, 'xyz'); INSERT INTO p VALUES ('a')";
    pair.target.sql("app", change);
    let expected = [
        "~large object 70000 >",
        "~public.edited 2>2",
        "-public.gone",
        "+public.new",
        "~public.p 2>3",
        "~public.t 100>101",
        "~public.t_id_seq 100>101",
        "~public.wider 0>0",
    ];
    assert_eq!(differences(&component(&["diff", path, "--json"])), expected);
    let drift = target.kbpack(&["status", "--json"]).ok().json()["imports"][0]["components"][0].clone();
    assert_eq!(differences(&drift), expected);
    let said = target.kbpack(&["diff", path]).ok().text();
    assert!(said.contains("100 rows -> 101 rows") && said.contains("other rows or columns"), "{said}");

    pair.source.sql("app", change);
    assert_eq!(differences(&source(&["status", "--json"])), expected);
    let two = pair.export("2.kbp");
    assert_eq!(differences(&component(&["diff", path, two.to_str().unwrap(), "--json"])), expected);

    // A server that is down: it is said, and nothing is made of it.
    pair.target.crash();
    let run = target.kbpack(&["diff", path, "--json"]);
    assert_eq!((run.code, &run.json()["components"][0]["state"]), (8, &"unknown".into()));
    pair.target.up();
}
