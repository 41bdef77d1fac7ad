//! The suite that every kind passes.

use super::cluster::{binary, Server};
use super::run::Run;
use crate::base::digest::Digest;
use crate::component::{Host, Kind};
use crate::components::conformance::{suite, State, Streams, Subject, EDIT};
use crate::components::postgres::PostgresKind;
use serde_json::{json, Value};
use std::process::Command;

const SOURCE: &str = "CREATE TABLE accounts (id bigserial PRIMARY KEY, name text, balance numeric DEFAULT 0); \
    INSERT INTO accounts (name) SELECT 'n' || g FROM generate_series(1, 500) g; CREATE INDEX ON accounts (name); \
    CREATE VIEW rich AS SELECT * FROM accounts WHERE balance > 5; CREATE TABLE empty (x int); \
    SELECT lo_from_bytea(17, 'a large object')";
const OTHER: &str = "CREATE TABLE accounts (id int, old text); INSERT INTO accounts VALUES (1, 'mine'); \
    CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; SELECT lo_from_bytea(18, 'another one')";

/// One server for all machines, on which each has databases of its own.
struct Databases(Server);

impl Databases {
    /// Letters and digits that all names of a machine's databases have in them.
    fn id(host: &Host) -> String {
        let name = host.home.file_name().unwrap().to_string_lossy().into_owned();
        name.chars().filter(char::is_ascii_alphanumeric).collect()
    }

    fn name(host: &Host) -> String {
        format!("app {}", Databases::id(host))
    }

    fn url(&self, host: &Host) -> Value {
        json!({ "url": self.0.url("postgres", &Databases::name(host).replace(' ', "%20")) })
    }

    /// All of a machine's databases.
    fn all(&self, host: &Host) -> Vec<String> {
        let id = Databases::id(host);
        self.0.databases().into_iter().filter(|name| name.contains(&id)).collect()
    }

    fn create(&self, host: &Host) {
        if !self.all(host).contains(&Databases::name(host)) {
            self.0.sql("postgres", &format!("CREATE DATABASE \"{}\"", Databases::name(host)));
        }
    }
}

impl Subject for Databases {
    fn kind(&self) -> &'static dyn Kind {
        &PostgresKind
    }

    fn options(&self, host: &Host) -> Value {
        self.url(host)
    }

    fn overrides(&self, host: &Host) -> Option<Value> {
        Some(self.url(host))
    }

    fn furnish(&self, host: &Host, state: State) {
        let (sql, comment) = match state {
            State::Absent => return,
            State::Source => (SOURCE, "what travels"),
            State::Other => (OTHER, "what was there"),
        };
        let name = Databases::name(host);
        self.create(host);
        self.0.sql(&name, sql);
        self.0.sql(
            "postgres",
            &format!("COMMENT ON DATABASE \"{name}\" IS '{comment}'; ALTER DATABASE \"{name}\" SET work_mem = '8MB'"),
        );
    }

    fn edit(&self, host: &Host) {
        self.create(host);
        let sql = format!("CREATE TABLE IF NOT EXISTS notes (x text); INSERT INTO notes VALUES ('{EDIT}')");
        self.0.sql(&Databases::name(host), &sql);
    }

    fn edit_survives(&self, host: &Host) -> bool {
        let has = |name: &String| {
            let run = self.0.sql_as("postgres", name, &format!("SELECT 1 FROM notes WHERE x = '{EDIT}'"));
            run.code == 0 && run.text().starts_with('1')
        };
        self.all(host).iter().any(has)
    }

    fn world(&self, host: &Host) -> Vec<String> {
        let properties =
            "SELECT pg_get_userbyid(datdba), datconnlimit, datacl, shobj_description(oid, 'pg_database'), \
            (SELECT setconfig FROM pg_db_role_setting WHERE setdatabase = d.oid) FROM pg_database d \
            WHERE datname = current_database()";
        let line = |name: &String| {
            let dump = Digest::of(self.0.dump(name).join("\n").as_bytes());
            format!("database {name} {} {dump}", self.0.sql(name, properties))
        };
        self.all(host).iter().map(line).collect()
    }

    /// The archive has the time at which it was made, and numbers of the server's.
    fn content(&self, facts: &Value, streams: &Streams) -> Vec<(String, Vec<u8>)> {
        let mut command = Command::new(binary("pg_restore"));
        let archive = Run::with_input(command.args(["-f", "-"]), &streams.get("dump")).ok().text();
        let lines: Vec<&str> = archive.lines().filter(|line| !line.contains("restrict ")).collect();
        let database = &facts["database"];
        let said = ["comment", "settings", "acl", "connection-limit", "owner", "encoding", "rows", "tables"];
        let said: Vec<String> = said.iter().map(|key| database[key].to_string()).collect();
        vec![
            ("the index".to_owned(), streams.get("index")),
            ("the archive".to_owned(), lines.join("\n").into_bytes()),
            ("the facts".to_owned(), said.join(" ").into_bytes()),
        ]
    }
}

#[test]
fn a_database_passes() {
    suite(&Databases(Server::start()));
}
