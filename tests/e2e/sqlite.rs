//! The kind sqlite, with the stock `sqlite3` and Python's module as oracles and as the other programs that use a database.

use crate::kills::Kills;
use crate::support::{snapshot, snapshot_but_times_of_folders, World};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

const PROFILE: &str = r#"
[bundle]
name = "db"

[component.state]
kind = "sqlite"
path = "~/app/state.db"
busy-timeout = 20
"#;

const ZOO: &str = r#"
CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, weight REAL, data BLOB);
INSERT INTO t VALUES (1, 'one', 1.5, x'00ff'), (2, 'zwölf', -0.0, NULL), (3, NULL, 1e300, zeroblob(9000));
CREATE TABLE "a ""b" (k PRIMARY KEY, v, twice AS (v * 2)) WITHOUT ROWID;
INSERT INTO "a ""b" VALUES ('x', 1), ('y', 2);
CREATE VIRTUAL TABLE words USING fts5(body);
INSERT INTO words VALUES ('to be or not to be');
CREATE INDEX i ON t (name) WHERE name IS NOT NULL;
CREATE VIEW v AS SELECT name FROM t;
CREATE TRIGGER g AFTER DELETE ON t BEGIN DELETE FROM "a ""b"; END;
PRAGMA user_version = 3;
"#;

/// Runs SQL in the stock tool and returns what it prints.
#[track_caller]
fn sqlite3(db: &Path, sql: &str) -> String {
    fs::create_dir_all(db.parent().unwrap()).unwrap();
    let output = Command::new("sqlite3").arg("-bail").arg(db).arg(sql).output().unwrap();
    assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn dump(db: &Path) -> String {
    assert_eq!(sqlite3(db, "PRAGMA integrity_check"), "ok\n");
    sqlite3(db, ".dump")
}

/// A Python program with `con`, a connection to `db` in autocommit mode; what it prints is read line by line.
struct Program {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Program {
    fn start(db: &Path, code: &str) -> Program {
        let head = "import sqlite3, sys, random, time\n\
                    con = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)\n\
                    def say(x): print(x, flush=True)\n";
        let mut command = Command::new("python3");
        command.arg("-c").arg(format!("{head}{code}")).arg(db).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Program { child, input, output }
    }

    #[track_caller]
    fn hears(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.input, "{line}").unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn world(sql: &str) -> World {
    let world = World::new();
    world.source.profile(PROFILE);
    sqlite3(&world.source.join("app/state.db"), sql);
    world
}

#[test]
fn a_database_arrives_and_stock_sqlite_reads_it_out_of_the_bundle() {
    for mode in ["WAL", "DELETE"] {
        let world = world(&format!("PRAGMA journal_mode = {mode}; {ZOO}"));
        let source = world.source.join("app/state.db");
        // The first row is the folder: SQLite makes a log in it in order to read, and takes it away again.
        let files = || snapshot(&world.source.join("app")).split_off(1);
        let before = files();
        let bundle = world.export("b.kbp");
        assert_eq!(files(), before, "an export leaves the source as it was");
        world.import(&bundle, &[]).ok();
        let target = world.target.join("app/state.db");
        assert_eq!(dump(&target), dump(&source));
        assert_eq!(sqlite3(&target, "PRAGMA journal_mode").to_uppercase().trim(), mode);
        assert_eq!(sqlite3(&target, "SELECT count(*) FROM words WHERE words MATCH 'not'"), "1\n");

        let out = world.path("out");
        let args = ["extract", bundle.to_str().unwrap(), "state", "-C", out.to_str().unwrap()];
        world.target.kbpack(&args).ok();
        assert_eq!(dump(&out.join("state/database")), dump(&source));
        let listed = world.target.kbpack(&["inspect", bundle.to_str().unwrap(), "--files"]).ok().text();
        assert!(listed.contains("words_data") && listed.contains("a \"b"), "{listed}");
        // A second import finds nothing to do.
        let again = world.import(&bundle, &["--json"]).ok().json();
        assert_eq!(again["components"][0]["plan"]["changed"], 0, "{again}");
    }
}

#[test]
fn the_hashes_are_those_that_the_format_describes() {
    let world = world(ZOO);
    let bundle = world.export("b.kbp");
    let out = world.path("out");
    let args = ["extract", bundle.to_str().unwrap(), "state", "-C", out.to_str().unwrap()];
    world.target.kbpack(&args).ok();
    // Written from docs/FORMAT.md, rule L5.
    let script = r#"
import hashlib, json, sqlite3, struct, sys
con = sqlite3.connect(sys.argv[1] + "/database")
con.text_factory = bytes
def value(v):
    if v is None: tag, data = 0, b""
    elif isinstance(v, int): tag, data = 1, struct.pack(">q", v)
    elif isinstance(v, float): tag, data = 2, struct.pack(">d", v)
    elif isinstance(v, bytes) and v.__class__ is bytes: tag, data = None, v
    return tag, data
def row_bytes(row, types):
    out = b""
    for v, t in zip(row, types):
        tag, data = value(v)
        if tag is None: tag = 3 if t == b"text" else 4
        out += bytes([tag]) + struct.pack(">Q", len(data)) + data
    return out
names = ["sqlite_schema"] + sorted((n.decode() for (n,) in con.execute(
    "SELECT name FROM pragma_table_list WHERE schema='main' AND type IN ('table','shadow') AND name<>'sqlite_schema'")),
    key=lambda n: n.encode())
for name in names:
    q = lambda s: '"' + s.replace('"', '""') + '"'
    if name == "sqlite_schema": cols = ["type", "name", "tbl_name", "sql"]
    else: cols = [c.decode() for (c,) in con.execute("SELECT name FROM pragma_table_xinfo(?) WHERE hidden=0 ORDER BY cid", (name,))]
    n, total = 0, 0
    select = ", ".join(q(c) for c in cols) + ", " + ", ".join("typeof(%s)" % q(c) for c in cols)
    for row in con.execute("SELECT %s FROM %s" % (select, q(name))):
        values, types = row[:len(cols)], row[len(cols):]
        total += int.from_bytes(hashlib.sha256(row_bytes(values, types)).digest(), "big")
        n += 1
    print(json.dumps({"name": name, "rows": n, "hash": "%064x" % (total % 2**256)}))
"#;
    let output = Command::new("python3").arg("-c").arg(script).arg(out.join("state")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rows = |text: &str| -> Vec<serde_json::Value> {
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let theirs = rows(&String::from_utf8(output.stdout).unwrap());
    let ours = rows(&fs::read_to_string(out.join("state/tables")).unwrap());
    assert!(ours.len() > 6);
    assert_eq!(ours, theirs);
}

/// Moves money between accounts for ever, so that the sum stays.
const TRANSFERS: &str = "
say('ready')
while True:
    a, b, n = random.randrange(500), random.randrange(500), random.randrange(100)
    con.execute('BEGIN IMMEDIATE')
    con.execute('UPDATE account SET balance = balance - ? WHERE id = ?', (n, a))
    con.execute('INSERT INTO log VALUES (?, ?, ?, randomblob(500))', (a, b, n))
    con.execute('UPDATE account SET balance = balance + ? WHERE id = ?', (n, b))
    con.execute('COMMIT')
";

#[test]
fn what_is_exported_while_others_write_is_one_moment() {
    for mode in ["WAL", "DELETE"] {
        let accounts =
            "CREATE TABLE account (id INTEGER PRIMARY KEY, balance INT); CREATE TABLE log (a, b, n, d);
            WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 499)
            INSERT INTO account SELECT i, 1000 FROM n;";
        let world = world(&format!("PRAGMA journal_mode = {mode}; {accounts}"));
        let mut writer = Program::start(&world.source.join("app/state.db"), TRANSFERS);
        assert_eq!(writer.hears(), "ready");
        let mut before = 0;
        for n in 0..3 {
            let bundle = world.export(&format!("{n}.kbp"));
            world.import(&bundle, &[]).ok();
            let target = world.target.join("app/state.db");
            assert_eq!(sqlite3(&target, "PRAGMA integrity_check"), "ok\n");
            assert_eq!(sqlite3(&target, "SELECT sum(balance), count(*) FROM account"), "500000|500\n");
            // The log tells the same as the balances.
            let differ = "SELECT count(*) FROM account WHERE balance <> 1000
                + (SELECT coalesce(sum(n), 0) FROM log WHERE b = id) - (SELECT coalesce(sum(n), 0) FROM log WHERE a = id)";
            assert_eq!(sqlite3(&target, differ), "0\n");
            let log: u64 = sqlite3(&target, "SELECT count(*) FROM log").trim().parse().unwrap();
            assert!(log > before, "{mode}: the writer stood still");
            before = log;
        }
    }
}

#[test]
fn a_program_that_has_it_open_sees_the_new_content_and_can_write_on() {
    for mode in ["WAL", "DELETE"] {
        let world = world("CREATE TABLE t (x); INSERT INTO t VALUES ('new');");
        let target = world.target.join("app/state.db");
        sqlite3(
            &target,
            &format!("PRAGMA journal_mode = {mode}; CREATE TABLE t (x); INSERT INTO t VALUES ('old');"),
        );
        let code = "
for line in sys.stdin:
    say(con.execute(line).fetchall())
";
        let mut program = Program::start(&target, code);
        program.tell("SELECT x FROM t");
        assert_eq!(program.hears(), "[('old',)]");
        world.import(&world.export("b.kbp"), &[]).ok();
        program.tell("SELECT x FROM t");
        assert_eq!(program.hears(), "[('new',)]", "{mode}");
        program.tell("INSERT INTO t VALUES ('more')");
        assert_eq!(program.hears(), "[]");
        assert_eq!(sqlite3(&target, "SELECT count(*) FROM t; PRAGMA integrity_check"), "2\nok\n");
    }
}

#[test]
fn a_busy_database_is_waited_for_and_then_refused() {
    let world = world("CREATE TABLE t (x); INSERT INTO t VALUES ('new');");
    let bundle = world.export("b.kbp");
    let (source, target) = (world.source.join("app/state.db"), world.target.join("app/state.db"));
    sqlite3(&target, "PRAGMA journal_mode = WAL; CREATE TABLE t (x); INSERT INTO t VALUES ('old');");
    let hold = "
con.execute(sys.stdin.readline())
say('held')
sys.stdin.readline()
con.execute('ROLLBACK')
con.close()
say('free')
";
    let held = |db: &Path, how: &str| {
        let mut program = Program::start(db, hold);
        program.tell(how);
        assert_eq!(program.hears(), "held");
        program
    };
    let profile = |seconds: u32| PROFILE.replace("busy-timeout = 20", &format!("busy-timeout = {seconds}"));

    // A writer in WAL mode is in the way of the commit only.
    world.target.profile(&profile(1));
    let before = snapshot_but_times_of_folders(&world.target);
    let mut writer = held(&target, "BEGIN IMMEDIATE");
    world.import(&bundle, &[]).fails(8, "another program keeps it locked");
    writer.tell("go");
    assert_eq!(writer.hears(), "free");
    drop(writer);
    let rows = |rows: &[String]| rows.iter().filter(|r| r.contains("kbpack-")).cloned().collect::<Vec<_>>();
    assert_eq!(rows(&snapshot_but_times_of_folders(&world.target)), rows(&before));
    assert_eq!(sqlite3(&target, "SELECT x FROM t"), "old\n");

    // One that ends in time is waited for.
    world.target.profile(&profile(30));
    let mut writer = held(&target, "BEGIN IMMEDIATE");
    let import = world.target.command(&["import", bundle.to_str().unwrap(), "--yes"]).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_secs(2));
    writer.tell("go");
    let output = import.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(sqlite3(&target, "SELECT x FROM t"), "new\n");

    // The source, locked by a writer with a rollback journal.
    world.source.profile(&profile(1));
    let _writer = held(&source, "BEGIN EXCLUSIVE");
    let out = world.path("c.kbp");
    let args = ["export", "-r", &world.recipient, "-o", out.to_str().unwrap()];
    world.source.kbpack(&args).fails(8, "another program keeps it locked");
    assert!(!out.exists());
}

#[test]
fn a_tree_around_a_database_leaves_it_and_its_side_files_out() {
    let world = world(&format!("PRAGMA journal_mode = WAL; {ZOO}"));
    let around = format!("{PROFILE}\n[component.app]\nkind = \"files\"\npath = \"~/app\"\n");
    world.source.profile(&around);
    world.source.write("app/readme.txt", "hello");
    let mut reader = Program::start(
        &world.source.join("app/state.db"),
        "
con.execute('CREATE TABLE more (x)')
say('open')
sys.stdin.readline()
",
    );
    assert_eq!(reader.hears(), "open");
    assert!(world.source.join("app/state.db-wal").exists());
    let bundle = world.export("b.kbp");
    let listed = world.target.kbpack(&["inspect", bundle.to_str().unwrap(), "--files"]).ok().text();
    assert!(listed.contains("readme.txt") && !listed.contains("state.db-"), "{listed}");
    world.import(&bundle, &[]).ok();
    assert_eq!(world.target.read("app/readme.txt"), b"hello");
    assert_eq!(dump(&world.target.join("app/state.db")), dump(&world.source.join("app/state.db")));
    assert_eq!(sqlite3(&world.target.join("app/state.db"), "SELECT count(*) FROM more"), "0\n");
}

#[test]
fn a_secret_in_a_database_is_found() {
    let world = world("CREATE TABLE t (x); INSERT INTO t VALUES ('the key is sk-demo-0123456789');");
    world.source.write(".env", "API_KEY=sk-demo-0123456789\n");
    world.source.profile(&format!(
        "{PROFILE}\n[component.keys]\nkind = \"secrets\"\nenv = {{ file = \"~/.env\", names = [\"API_KEY\"] }}\n"
    ));
    let out = world.path("b.kbp");
    let args = ["export", "-r", &world.recipient, "-o", out.to_str().unwrap(), "--json"];
    let report = world.source.kbpack(&args).ok().json();
    assert_eq!(report["misplaced_secrets"][0]["component"], "state", "{report}");
    assert!(!report.to_string().contains("sk-demo"));
}

#[test]
fn killed_anywhere_the_database_is_the_old_or_the_new_one() {
    for mode in ["WAL", "DELETE", "nothing there"] {
        let world = world(ZOO);
        let target = world.target.join("app/state.db");
        if mode != "nothing there" {
            let old = "CREATE TABLE t (x); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)
                       INSERT INTO t SELECT randomblob(300) FROM n;";
            sqlite3(&target, &format!("PRAGMA journal_mode = {mode}; {old}"));
        }
        let state = || target.exists().then(|| dump(&target));
        let bundle = world.export("b.kbp");
        let args = ["import", bundle.to_str().unwrap(), "--yes", "-q"];
        Kills { world: &world, args: &args, sample: 12, state: &state, sound: &|_| () }.run();
        assert_eq!(state(), Some(dump(&world.source.join("app/state.db"))));
    }
}
