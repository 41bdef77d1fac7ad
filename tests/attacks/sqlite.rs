//! Databases that are not what they say (chapter L), sealed by a trusted signer.

use crate::forge::Inside;
use crate::kit::{attack, run, Attack, Kit, Seen};
use serde_json::{json, Value};
use std::fs;
use std::process::Command;

const NAME: &str = "state";

/// A kit whose good bundle has a database in it.
fn kit() -> Kit {
    let mut kit = Kit::new();
    let db = kit.world.source.join("app/state.db");
    let sql = "CREATE TABLE t (a, b CHECK (b <> 9)); CREATE INDEX i ON t (a); INSERT INTO t VALUES (1, 'some text'), (2, x'00');
               CREATE TRIGGER g AFTER INSERT ON t BEGIN DELETE FROM t; END;";
    assert!(Command::new("sqlite3").arg(db).arg(sql).status().unwrap().success());
    let profile = format!(
        "{}\n[component.{NAME}]\nkind = \"sqlite\"\npath = \"~/app/state.db\"\n",
        crate::support::PROFILE
    );
    kit.world.source.profile(&profile);
    kit.bundle = fs::read(kit.world.export("with-database.kbp")).unwrap();
    kit.inside = Inside::open(&kit.bundle, &kit.identity);
    kit
}

#[test]
fn facts() {
    let kit = kit();
    let f = |name, words, change: &dyn Fn(&mut Value)| {
        let mut inside = kit.inside.clone();
        change(inside.facts(NAME));
        attack(name, inside.sealed(&kit.source), 6, words, Seen::ByImport)
    };
    let set = |name, words, key: &'static str, value: Value| {
        f(name, words, &|facts| facts["database"][key] = value.clone())
    };
    run(
        &kit,
        vec![
            Attack { code: 0, seen: Seen::ByNone, ..f("control", "", &|_| {}) },
            f("path-climbs", "rule L1", &|f| f["path"] = json!("~/../x.db")),
            f("path-relative", "rule L1", &|f| f["path"] = json!("x.db")),
            f("path-with-nul", "rule L1", &|f| f["path"] = json!("~/a\0b")),
            f("path-is-the-root", "rule L1", &|f| f["path"] = json!("/")),
            f("facts-unknown-key", "rule L1", &|f| f["run"] = json!("touch pwned")),
            f("facts-null", "rule L1", &|f| *f = Value::Null),
            f("facts-file-without-database", "rule L1", &|f| {
                drop(f.as_object_mut().unwrap().remove("database"))
            }),
            f("facts-absent-with-database", "rule L1", &|f| f["state"] = json!("absent")),
            // To take away a database that the target has, with streams that nobody reads.
            f("facts-absent-with-streams", "those of a backup (rule L1)", &|f| {
                *f = json!({"path": f["path"], "state": "absent"})
            }),
            set("mode-setuid", "rule L1", "mode", json!("4755")),
            set("mode-without-owner", "rule L1", "mode", json!("066")),
            set("user-with-newline", "rule L1", "user", json!("root\nx")),
            set("page-size-zero", "rule L2", "page-size", json!(0)),
            set("page-size-huge", "rule L2", "page-size", json!(1 << 30)),
            set("size-not-pages", "rule L2", "size", json!(4097)),
            set("size-other", "rule L3", "size", json!(4096)),
            set("journal-mode-other", "rule L3", "journal-mode", json!("wal")),
            set("page-size-other", "rule L3", "page-size", json!(1024)),
            set("tables-too-many", "rule L4", "tables", json!(u64::MAX)),
            set("tables-one-more", "rule L4", "tables", json!(3)),
        ],
    );
}

#[test]
fn streams() {
    let kit = kit();
    let plain = |stream: &str| kit.inside.stream(NAME, stream).plain.clone();
    let with = |name: &str, stream: &str, code: i32, words: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = plain(stream);
        change(&mut bytes);
        let inside = kit.inside.clone().with_plain(NAME, stream, bytes);
        attack(name, inside.sealed(&kit.source), code, words, Seen::ByImport)
    };
    let db = |name: &str, code, words: &str, change: &dyn Fn(&mut Vec<u8>)| {
        with(name, "database", code, words, change)
    };
    let list = |name: &str, words: &str, change: &dyn Fn(String) -> String| {
        with(name, "tables", 6, words, &|bytes| {
            *bytes = change(String::from_utf8(bytes.clone()).unwrap()).into_bytes();
        })
    };
    let at = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).position(|w| w == what).unwrap();
    run(
        &kit,
        vec![
            db("database-encrypted", 6, "rule L3", &|b| b[..100].fill(0xa7)),
            db("database-other-page-size", 6, "rule L3", &|b| b[16..18].copy_from_slice(&[2, 0])),
            db("database-no-journal-mode", 6, "rule L3", &|b| b[18] = 9),
            db("database-cut-off", 6, "rule L3", &|b| b.truncate(4096)),
            db("database-longer", 6, "rule L3", &|b| b.extend([0; 4096])),
            db("database-empty", 6, "rule L3", &|b| b.clear()),
            db("database-other-row", 6, "table t differs", &|b| {
                let place = at(b, b"some text");
                b[place] = b'S';
            }),
            db("database-damaged", 6, "SQLite finds nothing wrong", &|b| b[4096..8192].fill(0)),
            db("database-other-schema", 6, "state.db", &|b| {
                let place = at(b, b"DELETE FROM t");
                b[place..place + 6].copy_from_slice(b"delete");
            }),
            db("database-schema-runs-a-function", 6, "state.db", &|b| {
                let place = at(b, b"b <> 9");
                b[place..place + 6].copy_from_slice(b"zzz(b)");
            }),
            list("tables-out-of-order", "rule L4", &|t| t.lines().rev().map(|l| format!("{l}\n")).collect()),
            list("tables-repeated", "rule L4", &|t| format!("{t}{t}")),
            list("tables-unknown-key", "rule L4", &|t| t.replacen("\"rows\"", "\"run\":1,\"rows\"", 1)),
            list("tables-repeated-key", "rule L4", &|t| t.replacen("\"rows\"", "\"rows\":0,\"rows\"", 1)),
            list("tables-without-end", "rule L4", &|t| t.trim_end().to_owned()),
            list("tables-empty", "rule L4", &|_| String::new()),
            list("tables-long-line", "rule L4", &|_| "x".repeat(3 << 20)),
        ],
    );
}
