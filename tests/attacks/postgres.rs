//! Databases that are not what they say (chapter D), sealed by a trusted signer: refused, with the live database as it was, and
//! nothing of the attempt on the server.

use crate::cluster::Server;
use crate::forge::Inside;
use crate::kit::{Kit, Random, Trial};
use serde_json::{json, Value};
use std::fs;

const NAME: &str = "db";
/// What a forger puts something else in the place of, of the same length.
const ROOM: &str = "a comment that is long enough for whatever somebody may want to have run in its place, and then for some more of it, too";

/// A kit whose good bundle has a database, and a server on which the target has another one.
struct Place {
    kit: Kit,
    server: Server,
}

impl Place {
    fn new() -> Place {
        let server = Server::start();
        server.sql("postgres", "CREATE ROLE ada LOGIN CREATEDB; CREATE DATABASE source OWNER ada");
        server.sql(
            "source",
            &format!(
                "SET ROLE ada; CREATE TABLE t (a int PRIMARY KEY, b text CHECK (b <> 'bad')); INSERT INTO t VALUES (1, 'some text'), (2, 'more'); \
                 COMMENT ON TABLE t IS '{ROOM}'; CREATE SEQUENCE s; SELECT nextval('s'); CREATE VIEW v AS SELECT a FROM t; \
                 SELECT lo_from_bytea(17, 'a large object')"
            ),
        );
        let mut kit = Kit::new();
        let profile = |database: &str| {
            format!(
                "{}\n[component.{NAME}]\nkind = \"postgres\"\nurl = \"{}\"\n",
                crate::support::PROFILE,
                server.url("ada", database)
            )
        };
        kit.world.source.profile(&profile("source"));
        kit.world.target.profile(&profile("app"));
        kit.bundle = fs::read(kit.world.export("with-database.kbp")).unwrap();
        kit.inside = Inside::open(&kit.bundle, &kit.identity);
        let place = Place { kit, server };
        place.furnish();
        place
    }

    fn furnish(&self) {
        self.server.sql("postgres", "DROP DATABASE IF EXISTS app");
        self.server.sql("postgres", "CREATE DATABASE app OWNER ada");
        self.server.sql("app", "SET ROLE ada; CREATE TABLE mine AS SELECT 1 x");
    }

    /// A complaint, if the import of `inside` is not refused with one of `codes`, or the server has changed. With `may_pass`, it
    /// may also be imported.
    fn attempt(
        &self,
        name: &str,
        inside: &Inside,
        codes: &[i32],
        words: &str,
        may_pass: bool,
    ) -> Option<String> {
        let file = self.kit.world.path("attack.kbp");
        fs::write(&file, inside.clone().sealed(&self.kit.source)).unwrap();
        let trial = Trial::of(&self.kit, &file, &["import", "--yes", "--accept-new", "--only", NAME], |_| {});
        let complain = |what: String| Some(format!("{name}: {what}"));
        if trial.run.code == 0 && may_pass {
            self.furnish();
            return trial.manners().err().and_then(complain);
        }
        if !codes.contains(&trial.run.code) {
            return complain(format!("exit {}: {}", trial.run.code, trial.run.stderr));
        }
        if let Err(what) = trial.refused(trial.run.code, words) {
            return complain(what);
        }
        if self.server.databases() != ["app", "source"] {
            return complain(format!("databases {:?}", self.server.databases()));
        }
        let there = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace";
        let there = self.server.sql("app", there);
        if there != "mine" {
            return complain(format!("the live database has {there}"));
        }
        None
    }

    fn with(&self, stream: &str, change: impl FnOnce(&mut Vec<u8>)) -> Inside {
        let mut plain = self.kit.inside.stream(NAME, stream).plain.clone();
        change(&mut plain);
        self.kit.inside.clone().with_plain(NAME, stream, plain)
    }

    fn with_index(&self, change: impl FnOnce(String) -> String) -> Inside {
        self.with("index", |bytes| *bytes = change(String::from_utf8(bytes.clone()).unwrap()).into_bytes())
    }

    fn with_facts(&self, change: impl FnOnce(&mut Value)) -> Inside {
        let mut inside = self.kit.inside.clone();
        change(inside.facts(NAME));
        inside
    }
}

/// Puts `with`, and spaces, in the place of `what`, wherever it stands.
fn replace(bytes: &mut [u8], what: &str, with: &str) {
    assert!(with.len() <= what.len());
    let padded = format!("{with:width$}", width = what.len());
    let mut found = false;
    for at in 0..bytes.len() - what.len() {
        if bytes[at..].starts_with(what.as_bytes()) {
            bytes[at..at + what.len()].copy_from_slice(padded.as_bytes());
            found = true;
        }
    }
    assert!(found, "{what}");
}

#[test]
fn streams_and_facts() {
    let place = Place::new();
    let proof = place.kit.world.path("proof");
    let statement = format!("COMMENT ON TABLE public.t IS '{ROOM}';");
    let program = format!("COPY (SELECT 1) TO PROGRAM 'touch {}';", proof.display());
    let rows = "rows/000001";
    let table: Vec<(&str, Inside, i32, &str)> = vec![
        // Code goes no further than the role that restores.
        (
            "archive-runs-a-program",
            place.with("dump", |b| replace(b, &statement, &program)),
            8,
            "COPY to or from an external program",
        ),
        (
            "archive-becomes-superuser",
            place.with("dump", |b| replace(b, &statement, "SET ROLE postgres; ALTER ROLE ada SUPERUSER;")),
            8,
            "permission denied",
        ),
        (
            "archive-other-sql",
            place.with("dump", |b| replace(b, &statement, "CREATE TABEL x;")),
            8,
            "syntax error",
        ),
        (
            "archive-more-tables",
            place.with("dump", |b| replace(b, &statement, "CREATE TABLE public.hidden AS SELECT 1 x;")),
            6,
            "table public.hidden is not in the bundle",
        ),
        ("archive-empty", place.with("dump", Vec::clear), 6, "rule D4"),
        ("archive-cut-off", place.with("dump", |b| b.truncate(b.len() / 2)), 6, "rule D4"),
        ("archive-no-magic", place.with("dump", |b| b[..5].copy_from_slice(b"PGDMQ")), 6, "rule D4"),
        ("archive-plain-sql", place.with("dump", |b| *b = b"DROP DATABASE app;\n".to_vec()), 6, "rule D4"),
        ("rows-cut-off", place.with(rows, |b| b.truncate(b.len() - 3)), 6, "rows"),
        (
            "rows-missing",
            place.with(rows, |b| b.truncate(b.iter().position(|c| *c == b'\n').unwrap() + 1)),
            6,
            "rows",
        ),
        ("rows-other", place.with(rows, |b| replace(b, "some text", "same text")), 6, "other rows"),
        ("rows-that-a-check-refuses", place.with(rows, |b| replace(b, "some text", "bad")), 6, "other rows"),
        ("rows-end-early", place.with(rows, |b| b.splice(0..0, *b"\\.\n").for_each(drop)), 6, ""),
        ("rows-one-column", place.with(rows, |b| *b = b"1\n".to_vec()), 6, "rule D5"),
        ("rows-are-bytes", place.with(rows, |b| *b = vec![0xff, 0, b'\n']), 6, "rule D5"),
        ("objects-cut-off", place.with("objects/000001", |b| b.truncate(b.len() - 1)), 6, "rule D6"),
        (
            "objects-huge-offset",
            place.with("objects/000001", |b| *b = b"17\t9000000000000000000\t\\\\x00\n".to_vec()),
            6,
            "",
        ),
        ("objects-of-nobody", place.with("objects/000001", |b| b[0] = b'2'), 6, "rule D6"),
        ("index-empty", place.with_index(|_| String::new()), 6, "rule D2"),
        ("index-without-end", place.with_index(|t| t.trim_end().to_owned()), 6, "rule D3"),
        (
            "index-unknown-key",
            place.with_index(|t| t.replacen("\"rows\"", "\"run\":1,\"rows\"", 1)),
            6,
            "rule D3",
        ),
        (
            "index-other-table",
            place.with_index(|t| t.replacen("\"name\":\"t\"", "\"name\":\"pg_authid\"", 1)),
            6,
            "",
        ),
        (
            "index-system-table",
            place.with_index(|t| {
                t.replacen(
                    "\"schema\":\"public\",\"name\":\"t\"",
                    "\"schema\":\"pg_catalog\",\"name\":\"pg_authid\"",
                    1,
                )
            }),
            8,
            "permission denied",
        ),
        (
            "facts-other-database-by-name",
            place.with_facts(|f| f["address"]["database"] = json!("")),
            6,
            "rule D1",
        ),
        (
            "facts-privilege",
            place.with_facts(|f| {
                f["database"]["acl"] = json!([{"privilege": "ALL; DROP", "grantable": false}])
            }),
            6,
            "rule D1",
        ),
        (
            "facts-setting",
            place.with_facts(|f| f["database"]["settings"] = json!([{"name": "a; DROP", "value": ""}])),
            6,
            "rule D1",
        ),
        (
            "facts-superuser-setting",
            place.with_facts(|f| {
                f["database"]["settings"] = json!([{"name": "session_preload_libraries", "value": "evil"}])
            }),
            8,
            "permission denied",
        ),
        (
            "facts-owner",
            place.with_facts(|f| f["database"]["owner"] = json!("postgres")),
            8,
            "must be member",
        ),
        (
            "facts-encoding",
            place.with_facts(|f| f["database"]["encoding"] = json!("UTF8' TEMPLATE app --")),
            8,
            "",
        ),
        // To have another database of the target's put in the place of this one.
        (
            "facts-kept",
            place.with_facts(|f| f["kept"] = json!({"name": "source", "number": 1})),
            6,
            "those of a backup (rule D1)",
        ),
        // To take away a database that the target has.
        (
            "facts-absent",
            place.with_facts(|f| drop(f.as_object_mut().unwrap().remove("database"))),
            6,
            "rule D2",
        ),
    ];
    let count = table.len();
    let mut complaints: Vec<String> = table
        .iter()
        .filter_map(|(name, inside, code, words)| place.attempt(name, inside, &[*code], words, false))
        .collect();
    if proof.exists() {
        complaints.push("the program ran".to_owned());
    }
    let superuser = place.server.sql("postgres", "SELECT rolsuper FROM pg_roles WHERE rolname = 'ada'");
    assert_eq!(superuser, "f");
    assert!(complaints.is_empty(), "{} of {count}:\n{}", complaints.len(), complaints.join("\n"));
    // And what was changed in all of them is imported as it is.
    assert_eq!(place.attempt("control", &place.kit.inside, &[], "", true), None);
}

/// Bytes changed, cut off, doubled and moved, anywhere. `KBPACK_CAMPAIGN=1` tries more.
#[test]
fn damaged_at_random() {
    let place = Place::new();
    let tries = if std::env::var_os("KBPACK_CAMPAIGN").is_some() { 600 } else { 40 };
    let mut random = Random(20_261_124);
    let mut complaints = Vec::new();
    for n in 0..tries {
        let stream = ["dump", "dump", "dump", "rows/000001", "objects/000001", "index"][random.below(6)];
        let mut what = String::new();
        let inside = place.with(stream, |bytes| {
            for _ in 0..1 + random.below(3) {
                let at = random.below(bytes.len());
                let length = 1 + random.below(8.min(bytes.len() - at));
                match random.below(5) {
                    0 => bytes.truncate(at.max(1)),
                    1 => bytes[at] ^= 1 << random.below(8),
                    2 => bytes[at..at + length].fill(0xff),
                    3 => drop(bytes.drain(at..at + length)),
                    _ => bytes.splice(at..at, bytes[at..at + length].to_vec()).for_each(drop),
                }
                what += &format!(" at {at}");
            }
        });
        let name = format!("number {n}: {stream}{what}");
        complaints.extend(place.attempt(&name, &inside, &[6, 7, 8], "", true));
    }
    assert!(complaints.is_empty(), "{} of {tries}:\n{}", complaints.len(), complaints.join("\n"));
}
