//! Databases on a source and a target in one folder, and what becomes of them.
//!
//! What needs another process (locks are a process's) is in `tests/e2e/sqlite.rs`.

use super::check::digest_of;
use super::plan::{of, Todo};
use super::*;
use crate::base::fault::{Fault, Faulty};
use crate::base::name::StreamName;
use crate::component::{ChangeKind, Holds, Nobody, Progress, Severity, StreamInfo, StreamWrite};
use rusqlite::Connection;
use serde_json::json;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

mod conformance;

/// Every sort of table and object that a database can have.
const ZOO: &str = "
    PRAGMA foreign_keys = OFF;
    CREATE TABLE plain (a, b TEXT, c REAL);
    CREATE TABLE \"odd \"\"name\"\"\" (\"a b\" INTEGER PRIMARY KEY AUTOINCREMENT, \"select\" BLOB);
    CREATE TABLE keyed (k TEXT PRIMARY KEY, v) WITHOUT ROWID;
    CREATE TABLE strict (n INT, t TEXT) STRICT;
    CREATE TABLE made (a INT, twice AS (a * 2), thrice AS (a * 3) STORED);
    CREATE VIRTUAL TABLE words USING fts5(body);
    CREATE INDEX by_b ON plain (b, lower(b)) WHERE b IS NOT NULL;
    CREATE VIEW seen AS SELECT a FROM plain;
    CREATE TABLE parent (id INTEGER PRIMARY KEY);
    CREATE TABLE child (p REFERENCES parent);
    CREATE TRIGGER t AFTER INSERT ON strict BEGIN INSERT INTO plain VALUES (new.n, new.t, 0.5); END;
    INSERT INTO plain VALUES (NULL, '', -0.0), (x'00ff', 'caf\u{e9}', 1e300), (9223372036854775807, 'x', 0.1);
    INSERT INTO \"odd \"\"name\"\"\" (\"select\") VALUES (randomblob(10000)), (zeroblob(0)), (NULL);
    INSERT INTO keyed VALUES ('a', 1), ('b', 'value of b');
    INSERT INTO strict VALUES (1, 'one');
    INSERT INTO made (a) VALUES (1), (2);
    INSERT INTO words VALUES ('to be or not to be');
    INSERT INTO child VALUES (77);
    PRAGMA user_version = 7; PRAGMA application_id = 99; ANALYZE;";

struct Quiet;
impl Progress for Quiet {
    fn expect(&self, _: u64) {}
    fn advance(&self, _: u64) {}
}

type Made = Vec<(StreamName, Vec<u8>)>;

#[derive(Debug, Default, Clone)]
struct Streams {
    made: Arc<Mutex<Made>>,
    list: Vec<StreamInfo>,
}

impl Streams {
    /// What was written can be read.
    fn seal(&mut self) {
        let made = self.made.lock().unwrap();
        let info = |(name, bytes): &(StreamName, Vec<u8>)| StreamInfo {
            name: name.clone(),
            size: bytes.len() as u64,
        };
        self.list = made.iter().map(info).collect();
    }
}

struct Writer(StreamName, Vec<u8>, Streams);
impl Write for Writer {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.1.write(buf)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
impl StreamWrite for Writer {
    fn label(&mut self, _: &str) {}
    fn finish(self: Box<Self>) -> Result<()> {
        self.2.made.lock().unwrap().push((self.0, self.1));
        Ok(())
    }
}
impl StreamSink for Streams {
    fn create(&self, name: &StreamName, _: Holds) -> Result<Box<dyn StreamWrite>> {
        Ok(Box::new(Writer(name.clone(), Vec::new(), self.clone())))
    }
}
impl StreamSource for Streams {
    fn list(&self) -> &[StreamInfo] {
        &self.list
    }
    fn open(&self, name: &StreamName) -> Result<Box<dyn Read + Send>> {
        let made = self.made.lock().unwrap();
        let bytes = made.iter().find(|(n, _)| n == name).unwrap().1.clone();
        Ok(Box::new(io::Cursor::new(bytes)))
    }
}

#[derive(Default)]
struct Acts(Vec<Act>);
impl Journal for Acts {
    fn intend(&mut self, acts: &[Act]) -> Result<()> {
        self.0.extend_from_slice(acts);
        Ok(())
    }
}

struct World {
    dir: tempfile::TempDir,
    host: Host,
}

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().canonicalize().unwrap();
        let uid = rustix::process::geteuid().as_raw();
        World { host: Host { home, uid, own: vec![], maps: vec![] }, dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.host.home.join(name)
    }

    fn scope(&self) -> Scope<'_> {
        Scope {
            host: &self.host,
            carved: &[],
            only: &[],
            run: "0123456789abcdef",
            threads: 2,
            progress: &Quiet,
            ask: &Nobody,
            trusted: true,
            logins: &[],
        }
    }

    fn make(&self, name: &str, sql: &str) -> Connection {
        let connection = Connection::open(self.path(name)).unwrap();
        connection.execute_batch(sql).unwrap();
        connection
    }

    fn capture(&self, name: &str) -> Result<(Value, Streams, Vec<Finding>)> {
        let options = json!({ "path": format!("~/{name}"), "busy-timeout": 0 });
        let source = SqliteKind.from_options(&component(), &options, &self.host)?;
        self.capture_of(&*source)
    }

    fn capture_of(&self, source: &dyn Component) -> Result<(Value, Streams, Vec<Finding>)> {
        let mut streams = Streams::default();
        let captured = source.capture(&self.scope(), &streams)?;
        streams.seal();
        Ok((captured.facts, streams, captured.findings))
    }

    /// A backup for an import of `streams`.
    fn back_up(&self, target: &dyn Component, streams: &Streams) -> (Value, Streams) {
        let plan = target.plan(&self.scope(), streams).unwrap();
        let mut made = Streams::default();
        let captured = target.back_up(&self.scope(), &plan, &made).unwrap();
        made.seal();
        (captured.facts, made)
    }

    /// The component on the target, at `name`.
    fn target(&self, facts: &Value, name: &str) -> Box<dyn Component> {
        let own = json!({ "path": format!("~/{name}"), "busy-timeout": 0 });
        SqliteKind.from_facts(&component(), facts, Some(&own), &self.host).unwrap()
    }

    fn rows(&self, name: &str, query: &str) -> i64 {
        let connection = Connection::open(self.path(name)).unwrap();
        connection.query_row(query, [], |row| row.get(0)).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn component() -> ComponentName {
    ComponentName::new("db").unwrap()
}

#[track_caller]
fn passed(results: &[CheckResult]) {
    assert!(!results.is_empty() && results.iter().all(|r| r.failure.is_none()), "{results:?}");
}

/// Plans, stages, checks, commits and checks. Returns the acts.
#[track_caller]
fn import(world: &World, target: &dyn Component, streams: &Streams) -> Vec<Act> {
    let scope = world.scope();
    let plan = target.plan(&scope, streams).unwrap();
    assert!(plan.findings.iter().all(|f| f.severity != Severity::Refusal), "{:?}", plan.findings);
    target.stage(&scope, &plan, streams).unwrap();
    if of(&plan).unwrap().todo.writes() {
        passed(&target.check_staged(&scope, &plan).unwrap());
    }
    let mut acts = Acts::default();
    target.commit(&scope, &plan, &mut acts).unwrap();
    let before = acts.0.len();
    target.commit(&scope, &plan, &mut acts).unwrap();
    assert_eq!(acts.0.len(), before, "a second commit does nothing");
    passed(&target.check(&scope, &plan).unwrap());
    acts.0
}

#[test]
fn this_build_can_read_pages() {
    let connection = Connection::open_in_memory().unwrap();
    let has: bool = connection
        .query_row("SELECT sqlite_compileoption_used('ENABLE_DBPAGE_VTAB')", [], |r| r.get(0))
        .unwrap();
    assert!(has, "build in the project's folder: .cargo/config.toml has the flag");
}

#[test]
fn a_zoo_goes_where_nothing_was_and_back() {
    for mode in ["WAL", "DELETE"] {
        let world = World::new();
        let keep = world.make("a.db", &format!("PRAGMA journal_mode = {mode}; {ZOO}"));
        fs::set_permissions(world.path("a.db"), PermissionsExt::from_mode(0o640)).unwrap();
        if mode == "DELETE" {
            drop(keep);
        } else {
            assert!(world.path("a.db-wal").metadata().unwrap().len() > 0);
            std::mem::forget(keep);
        }
        let (facts, streams, findings) = world.capture("a.db").unwrap();
        assert_eq!(facts["database"]["foreign-key-violations"], 1);
        assert_eq!(findings.len(), 1, "{findings:?}");
        let target = world.target(&facts, "new/deep/b.db");
        let acts = import(&world, &*target, &streams);
        assert_eq!(acts.len(), 3);
        assert_eq!(world.path("new/deep/b.db").metadata().unwrap().permissions().mode() & 0o7777, 0o640);
        let again = target.plan(&world.scope(), &streams).unwrap();
        assert_eq!((again.changes.len(), of(&again).unwrap().todo), (0, Todo::Nothing));
        target.undo(&world.scope(), &acts).unwrap();
        target.undo(&world.scope(), &acts).unwrap();
        assert!(!world.path("new").exists());
        let acts = import(&world, &*target, &streams);
        target.finalise(&world.scope(), &acts).unwrap();
        assert!(world.names().iter().all(|name| !name.starts_with(".kbpack")), "{:?}", world.names());
        assert_eq!(world.rows("new/deep/b.db", "SELECT count(*) FROM words WHERE words MATCH 'not'"), 1);
    }
}

/// A target with another content, and what it says.
fn lived_in(world: &World, mode: &str) -> crate::base::digest::Digest {
    let sql = format!("PRAGMA journal_mode = {mode}; CREATE TABLE plain (x); INSERT INTO plain VALUES (42)");
    drop(world.make("b.db", &sql));
    digest_of(&world.path("b.db"), Duration::ZERO).unwrap()
}

#[test]
fn what_is_there_is_written_over_and_comes_back() {
    for (source, mode) in [("WAL", "WAL"), ("DELETE", "WAL"), ("WAL", "DELETE"), ("DELETE", "TRUNCATE")] {
        let world = World::new();
        drop(world.make("a.db", &format!("PRAGMA journal_mode = {source}; {ZOO}")));
        let old = lived_in(&world, mode);
        let (facts, streams, _) = world.capture("a.db").unwrap();
        let target = world.target(&facts, "b.db");
        let plan = target.plan(&world.scope(), &streams).unwrap();
        let kinds = |kind| plan.changes.iter().filter(|c| c.kind == kind).count();
        assert_eq!(kinds(ChangeKind::Changed), 3, "{:?}", plan.changes);
        assert_eq!(kinds(ChangeKind::Removed), 0);
        let acts = import(&world, &*target, &streams);
        assert_eq!(world.rows("b.db", "SELECT count(*) FROM keyed"), 2);
        let wal: String = Connection::open(world.path("b.db"))
            .unwrap()
            .pragma_query_value(None, "journal_mode", |row| row.get(0))
            .unwrap();
        assert_eq!(wal == "wal", mode == "WAL", "the target's own mode stays");
        for _ in 0..2 {
            assert_eq!(target.undo(&world.scope(), &acts).unwrap(), []);
            assert_eq!(digest_of(&world.path("b.db"), Duration::ZERO).unwrap(), old);
            assert_eq!(world.names(), ["a.db", "b.db"]);
        }
    }
}

#[test]
fn what_was_written_after_the_import_is_kept_aside() {
    for sql in ["DELETE FROM keyed", "DROP TABLE plain"] {
        let world = World::new();
        drop(world.make("a.db", ZOO));
        let old = lived_in(&world, "WAL");
        let (facts, streams, _) = world.capture("a.db").unwrap();
        let target = world.target(&facts, "b.db");
        let acts = import(&world, &*target, &streams);
        drop(world.make("b.db", sql));
        let edited = digest_of(&world.path("b.db"), Duration::ZERO).unwrap();
        let kept = target.undo(&world.scope(), &acts).unwrap();
        assert_eq!(kept.len(), 1);
        assert_eq!(digest_of(&world.path("b.db"), Duration::ZERO).unwrap(), old);
        let name = "b.db.kbpack-kept-0123456789abcdef";
        assert!(kept[0].what.contains(name));
        assert_eq!(digest_of(&world.path(name), Duration::ZERO).unwrap(), edited);
        assert_eq!(target.undo(&world.scope(), &acts).unwrap(), []);
        assert_eq!(world.names(), ["a.db", "b.db", name]);
    }
}

#[test]
fn what_became_no_database_or_went_away_is_put_back_all_the_same() {
    for gone in [true, false] {
        let world = World::new();
        drop(world.make("a.db", ZOO));
        let old = lived_in(&world, "DELETE");
        let (facts, streams, _) = world.capture("a.db").unwrap();
        let target = world.target(&facts, "b.db");
        let acts = import(&world, &*target, &streams);
        match gone {
            true => fs::remove_file(world.path("b.db")).unwrap(),
            false => fs::write(world.path("b.db"), "all your base").unwrap(),
        }
        let kept = target.undo(&world.scope(), &acts).unwrap();
        assert_eq!(kept.len(), usize::from(!gone));
        assert_eq!(digest_of(&world.path("b.db"), Duration::ZERO).unwrap(), old);
    }
}

#[test]
fn a_write_after_the_plan_or_after_staging_is_noticed() {
    let world = World::new();
    drop(world.make("a.db", ZOO));
    lived_in(&world, "WAL");
    let (facts, streams, _) = world.capture("a.db").unwrap();
    let target = world.target(&facts, "b.db");
    let scope = world.scope();
    let plan = target.plan(&scope, &streams).unwrap();
    drop(world.make("b.db", "INSERT INTO plain VALUES (43)"));
    let error = target.stage(&scope, &plan, &streams).unwrap_err();
    assert!(error.to_string().contains("wrote to it since the plan"), "{error}");
    let plan = target.plan(&scope, &streams).unwrap();
    target.stage(&scope, &plan, &streams).unwrap();
    drop(world.make("b.db", "INSERT INTO plain VALUES (44)"));
    let mut acts = Acts::default();
    let error = target.commit(&scope, &plan, &mut acts).unwrap_err();
    assert!(error.to_string().contains("wrote to it since the plan"), "{error}");
    assert!(acts.0.is_empty());
    target.undo(&scope, &acts.0).unwrap();
    assert_eq!(world.rows("b.db", "SELECT count(*) FROM plain"), 3);
    assert_eq!(world.names(), ["a.db", "b.db"]);
}

#[test]
fn only_a_backup_says_what_is_left_and_it_must() {
    let world = World::new();
    drop(world.make("a.db", ZOO));
    let (mut facts, _, _) = world.capture("a.db").unwrap();
    let error = SqliteKind.from_backup(&component(), &facts, None, &world.host).err().unwrap();
    assert!(error.to_string().contains("rule L1"), "{error}");
    facts["left"] = json!("nothing");
    SqliteKind.from_backup(&component(), &facts, None, &world.host).unwrap();
    let error = SqliteKind.from_facts(&component(), &facts, None, &world.host).err().unwrap();
    assert!(error.to_string().contains("rule L1"), "{error}");
}

#[test]
fn a_backup_restores_and_removes() {
    let world = World::new();
    drop(world.make("a.db", ZOO));
    let (facts, streams, _) = world.capture("a.db").unwrap();
    let target = world.target(&facts, "b.db");
    // A backup of nothing: its import takes away what came, and an undo of that brings it again.
    let (absent, nothing) = world.back_up(&*target, &streams);
    assert_eq!(absent["state"], "absent");
    let acts = import(&world, &*target, &streams);
    target.finalise(&world.scope(), &acts).unwrap();
    let new = digest_of(&world.path("b.db"), Duration::ZERO).unwrap();
    // No bundle may say of itself that it is a backup.
    assert!(SqliteKind.from_facts(&component(), &absent, None, &world.host).is_err());
    let backup = |facts: &Value| SqliteKind.from_backup(&component(), facts, None, &world.host).unwrap();
    let remover = backup(&absent);
    let acts = import(&world, &*remover, &nothing);
    assert_eq!(world.names(), [".kbpack-stage-0123456789abcdef", "a.db"]);
    remover.undo(&world.scope(), &acts).unwrap();
    assert_eq!(digest_of(&world.path("b.db"), Duration::ZERO).unwrap(), new);
    // A backup of what is there.
    let (old, there) = world.back_up(&*target, &streams);
    drop(world.make("b.db", "DROP TABLE keyed"));
    let acts = import(&world, &*backup(&old), &there);
    target.finalise(&world.scope(), &acts).unwrap();
    target.finalise(&world.scope(), &acts).unwrap();
    assert_eq!(digest_of(&world.path("b.db"), Duration::ZERO).unwrap(), new);
    // What was written since the import is kept.
    assert_eq!(world.names(), ["a.db", "b.db", "b.db.kbpack-kept-0123456789abcdef"]);
    assert!(Connection::open(world.path("b.db.kbpack-kept-0123456789abcdef"))
        .unwrap()
        .prepare("SELECT * FROM keyed")
        .is_err());
}

#[test]
fn an_act_that_was_only_intended_is_no_harm() {
    for there in [true, false] {
        let world = World::new();
        drop(world.make("a.db", ZOO));
        let old = there.then(|| lived_in(&world, "DELETE"));
        let (facts, streams, _) = world.capture("a.db").unwrap();
        let target = world.target(&facts, "b.db");
        let acts = import(&world, &*target, &streams);
        target.undo(&world.scope(), &acts).unwrap();
        let plan = target.plan(&world.scope(), &streams).unwrap();
        target.stage(&world.scope(), &plan, &streams).unwrap();
        assert_eq!(target.undo(&world.scope(), &acts).unwrap(), []);
        assert_eq!(world.path("b.db").exists(), there);
        if let Some(old) = old {
            assert_eq!(digest_of(&world.path("b.db"), Duration::ZERO).unwrap(), old);
        }
    }
}

#[test]
fn a_staging_area_that_is_gone_is_not_an_undo_that_is_done() {
    for there in [true, false] {
        let world = World::new();
        drop(world.make("a.db", ZOO));
        if there {
            lived_in(&world, "DELETE");
        }
        let (facts, streams, _) = world.capture("a.db").unwrap();
        let target = world.target(&facts, "b.db");
        let acts = import(&world, &*target, &streams);
        fs::remove_dir_all(world.path(".kbpack-stage-0123456789abcdef")).unwrap();
        let error = target.undo(&world.scope(), &acts).unwrap_err();
        assert!(error.to_string().contains("is still there"), "{error}");
    }
}

#[test]
fn databases_without_a_page_go_both_ways() {
    let world = World::new();
    fs::write(world.path("a.db"), "").unwrap();
    lived_in(&world, "DELETE");
    let (facts, streams, _) = world.capture("a.db").unwrap();
    assert_eq!(facts["database"]["size"], 0);
    let target = world.target(&facts, "b.db");
    let acts = import(&world, &*target, &streams);
    assert_eq!(world.rows("b.db", "SELECT count(*) FROM sqlite_schema"), 0);
    target.undo(&world.scope(), &acts).unwrap();
    assert_eq!(world.rows("b.db", "SELECT count(*) FROM plain"), 1);
    // And one over such a one.
    let (facts, streams, _) = world.capture("b.db").unwrap();
    let target = world.target(&facts, "a.db");
    let acts = import(&world, &*target, &streams);
    assert_eq!(world.rows("a.db", "SELECT count(*) FROM plain"), 1);
    target.undo(&world.scope(), &acts).unwrap();
    assert_eq!(world.rows("a.db", "SELECT count(*) FROM sqlite_schema"), 0);
}

#[test]
fn another_page_size_is_taken_on_but_in_wal_mode() {
    let world = World::new();
    drop(world.make("a.db", &format!("PRAGMA page_size = 1024; {ZOO}")));
    let (facts, streams, _) = world.capture("a.db").unwrap();
    let old = lived_in(&world, "DELETE");
    let target = world.target(&facts, "b.db");
    let acts = import(&world, &*target, &streams);
    target.undo(&world.scope(), &acts).unwrap();
    assert_eq!(digest_of(&world.path("b.db"), Duration::ZERO).unwrap(), old);
    drop(world.make("b.db", "PRAGMA journal_mode = WAL"));
    let plan = target.plan(&world.scope(), &streams).unwrap();
    let refusal = plan.findings.iter().find(|f| f.severity == Severity::Refusal).unwrap();
    assert!(refusal.what.contains("page size"), "{}", refusal.what);
}

#[test]
fn what_is_no_database_is_refused_on_both_sides() {
    let world = World::new();
    drop(world.make("good.db", ZOO));
    let (facts, streams, _) = world.capture("good.db").unwrap();
    // As SQLCipher's files look: no header at all.
    fs::write(world.path("a.db"), [0xa7; 8192]).unwrap();
    let error = world.capture("a.db").unwrap_err();
    assert_eq!(error.fault(), Fault::NotReady);
    assert!(error.to_string().contains("encrypted"), "{error}");
    let plan = world.target(&facts, "a.db").plan(&world.scope(), &streams).unwrap();
    assert!(plan.findings.iter().any(|f| f.severity == Severity::Refusal && f.what.contains("encrypted")));
    assert_eq!(world.capture("nothing.db").unwrap_err().fault(), Fault::NotReady);
    fs::create_dir(world.path("dir.db")).unwrap();
    assert_eq!(world.capture("dir.db").unwrap_err().fault(), Fault::NotReady);
}

#[test]
fn a_damaged_database_is_not_exported() {
    let world = World::new();
    drop(world.make("a.db", ZOO));
    let mut bytes = fs::read(world.path("a.db")).unwrap();
    // The second page and those after it: roots of tables.
    bytes[4096..4096 * 4].fill(0xff);
    fs::write(world.path("a.db"), bytes).unwrap();
    let error = world.capture("a.db").unwrap_err();
    assert_eq!(error.fault(), Fault::NotReady);
    assert!(error.to_string().contains("a.db: damaged"), "{error}");
    // But another one can be put in its place.
    drop(world.make("b.db", ZOO));
    let (facts, streams, _) = world.capture("b.db").unwrap();
    let target = world.target(&facts, "a.db");
    import(&world, &*target, &streams);
}

#[test]
fn streams_are_held_to_their_rules() {
    let world = World::new();
    drop(world.make("a.db", ZOO));
    let (facts, streams, _) = world.capture("a.db").unwrap();
    let refused = |facts: &Value, change: &dyn Fn(&mut Vec<u8>), rule: &str| {
        let changed = Streams { made: Arc::default(), list: streams.list.clone() };
        for (name, bytes) in streams.made.lock().unwrap().iter() {
            let mut bytes = bytes.clone();
            if name.as_str() == DATABASE {
                change(&mut bytes);
            }
            changed.made.lock().unwrap().push((name.clone(), bytes));
        }
        let target = world.target(facts, "b.db");
        let scope = world.scope();
        let outcome = target.plan(&scope, &changed).and_then(|plan| {
            target.stage(&scope, &plan, &changed)?;
            target.check_staged(&scope, &plan)
        });
        match outcome {
            Err(error) => assert!(error.to_string().contains(rule), "{error}"),
            Ok(results) => {
                let failures: Vec<_> = results.iter().filter_map(|r| r.failure.as_deref()).collect();
                assert!(failures.iter().any(|f| f.contains(rule)), "{rule}: {results:?}");
            }
        }
        target.undo(&scope, &[]).unwrap();
        assert_eq!(world.names(), ["a.db"]);
    };
    refused(&facts, &|bytes| bytes[0] = b'X', "rule L3");
    refused(&facts, &|bytes| bytes[16..18].copy_from_slice(&[2, 0]), "rule L3");
    refused(&facts, &|bytes| bytes[18] = 7, "rule L3");
    refused(&facts, &|bytes| bytes[60] ^= 1, "user_version differs");
    let with = |key: &str, value: Value| {
        let mut facts = facts.clone();
        facts["database"][key] = value;
        facts
    };
    refused(&with("journal-mode", json!("wal")), &|_| {}, "rule L3");
    refused(&with("size", json!(4096)), &|_| {}, "rule L3");
    refused(&with("tables", json!(3)), &|_| {}, "rule L4");
    refused(&with("application-id", json!(5)), &|_| {}, "application_id differs");
    refused(&with("foreign-key-violations", json!(0)), &|_| {}, "foreign key");
    // One letter of one row.
    let one = |bytes: &mut Vec<u8>| {
        let at = bytes.windows(9).position(|w| w == b"value of ").unwrap();
        bytes[at] = b'V';
    };
    refused(&facts, &one, "differs");
}

#[test]
fn hashes_do_not_depend_on_order_and_see_types() {
    let world = World::new();
    let hash = |sql: &str| {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(sql).unwrap();
        let snapshot = snapshot::Snapshot::begin(&connection, Path::new("memory")).unwrap();
        let tables = content::tables(&snapshot).unwrap();
        tables.into_iter().find(|table| table.name == "t").unwrap().hash
    };
    let table = "CREATE TABLE t (a, b);";
    let with = |values: &str| hash(&format!("{table} INSERT INTO t VALUES {values}"));
    assert_eq!(with("(1, 2), (3, 4)"), with("(3, 4), (1, 2)"));
    let all = [
        "(1, 2)",
        "(2, 1)",
        "('1', 2)",
        "(1.0, 2)",
        "(x'31', 2)",
        "(NULL, 2)",
        "('', 2)",
        "('12', '')",
        "('1', '2')",
    ];
    for (n, a) in all.iter().enumerate() {
        all[..n].iter().for_each(|b| assert_ne!(with(a), with(b), "{a} {b}"));
    }
    assert_ne!(with("(1, 1), (2, 2)"), with("(1, 2), (2, 1)"));
    assert_ne!(with("(1, 1), (1, 1)"), with("(2, 2), (2, 2)"));
    drop(world);
}

#[test]
fn an_app_of_its_own_functions_and_collations_travels_with_a_warning() {
    let world = World::new();
    drop(world.make(
        "a.db",
        "CREATE TABLE t (a TEXT COLLATE nocase PRIMARY KEY, b INT CHECK (b > 0)); INSERT INTO t VALUES ('x', 1), ('y', 2);
         PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET sql = replace(replace(sql, 'nocase', 'mine'), 'b > 0', 'own(b)')",
    ));
    let (facts, streams, findings) = world.capture("a.db").unwrap();
    assert!(
        findings.iter().any(|f| f.severity == Severity::Warning && f.what.contains("own check")),
        "{findings:?}"
    );
    let target = world.target(&facts, "b.db");
    import(&world, &*target, &streams);
}

#[test]
fn claims_cover_what_sqlite_keeps_beside() {
    let world = World::new();
    std::os::unix::fs::symlink("real.db", world.path("link.db")).unwrap();
    drop(world.make("real.db", ZOO));
    let options = json!({ "path": "~/link.db" });
    let component = SqliteKind.from_options(&component(), &options, &world.host).unwrap();
    let claims = component.claims().unwrap();
    for name in ["link.db", "real.db", "real.db-wal", "real.db-shm", "real.db-journal"] {
        assert!(claims.contains(&Claim::Path(world.path(name))), "{name}");
    }
}

/// Whoever opens a log in use needs room for its shared part.
#[test]
fn a_full_disk_is_called_so() {
    let io = |code| rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
    let error = open::sql(std::path::Path::new("/a.db"), &io(rusqlite::ffi::SQLITE_IOERR_SHMSIZE));
    assert_eq!(
        (error.fault(), error.to_string().as_str()),
        (Fault::Limit, "/a.db: no room for its -shm file")
    );
    assert!(error.remedy().is_some_and(|remedy| remedy.contains("make room")));
    let error = open::sql(std::path::Path::new("/a.db"), &io(rusqlite::ffi::SQLITE_IOERR_READ));
    assert_eq!(error.fault(), Fault::Unexpected);
}
