//! Roles that the target lacks: made, with a login where a password for them is known.

use crate::server::{Pair, Server};
use crate::support::Home;
use std::fs;

const PASSWORD: &str = "a:pass\\word";
const LINE: &str = "*:5432:app:locked:a\\:pass\\\\word\n";
const ROLE: &str =
    "SELECT rolcanlogin, rolpassword LIKE 'SCRAM-SHA-256$%', shobj_description(oid, 'pg_authid') \
    FROM pg_authid WHERE rolname = 'locked'";

/// A profile for the database `app` and, with `keys`, for the password of the role `locked`.
fn profile(home: &Home, server: &Server, role: &str, more: &str, keys: bool) {
    let keys = match keys {
        true => "[component.keys]\nkind = \"secrets\"\npgpass = [\"*:5432:app:locked\"]\n",
        false => "",
    };
    home.profile(&format!(
        "[bundle]\nname = \"pg\"\n\n{keys}\n[component.db]\nkind = \"postgres\"\nurl = \"{}\"\n{more}\n",
        server.url(role, "app")
    ));
}

fn pgpass(home: &Home, text: &str) {
    home.write(".pgpass", text);
    home.chmod(".pgpass", 0o600);
}

/// The role `locked`, which needs a password on both servers, owns the database on the source and is not on the target.
fn pair() -> Pair {
    let pair = Pair::new();
    pair.source.sql("postgres", "CREATE ROLE locked LOGIN; CREATE DATABASE app OWNER locked");
    pair.source.sql("app", "CREATE TABLE t (x int); ALTER TABLE t OWNER TO locked; INSERT INTO t VALUES (1)");
    pair
}

#[test]
fn a_role_that_is_made_logs_in_with_the_password_that_comes_along() {
    let pair = pair();
    let (source, target) = (&pair.world.source, &pair.world.target);
    pgpass(source, LINE);
    let failing = "roles = \"create\"\n[[check]]\nname = \"no\"\nfile = { path = \"~/nothing\" }";
    profile(source, &pair.source, "postgres", failing, true);
    let own = format!("admin-url = \"{}\"", pair.target.url("postgres", "postgres"));
    profile(target, &pair.target, "locked", &own, false);
    pair.target.sql("postgres", "ALTER SYSTEM SET log_statement = 'all'; SELECT pg_reload_conf()");
    // An import that does not hold leaves no role.
    pair.import(&pair.export("failing.kbp")).fails(9, "the check 'no' failed");
    assert_eq!(pair.target.sql("postgres", ROLE), "");

    profile(source, &pair.source, "postgres", "roles = \"create\"", true);
    let run = pair.import(&pair.export("1.kbp")).ok();
    let made = "role locked: may log in, with the password that this import brings to .pgpass";
    assert!(run.stderr.contains(made) && run.stderr.contains("✓ locked logs in"), "{}", run.stderr);
    assert_eq!(pair.target.sql("postgres", ROLE), "t|t|");
    assert_eq!(
        pair.target.sql("app", "SELECT relowner::regrole FROM pg_class WHERE relname = 't'"),
        "locked"
    );
    let log = fs::read_to_string(format!("{}/log", pair.target.folder())).unwrap();
    assert!(log.contains("CREATE ROLE \"locked\" LOGIN PASSWORD 'SCRAM-SHA-256$"), "{log}");
    assert!(!log.contains(PASSWORD) && !log.contains("pass\\\\word"));
}

#[test]
fn or_with_that_of_this_machines_own_file_or_not_at_all() {
    let pair = pair();
    let target = &pair.world.target;
    profile(&pair.world.source, &pair.source, "postgres", "roles = \"create\"", false);
    let bundle = pair.export("1.kbp");
    let own = format!("admin-url = \"{}\"", pair.target.url("postgres", "postgres"));
    // Nobody's line: the plan says so, and who is to log in cannot.
    profile(target, &pair.target, "locked", &own, false);
    let run = pair.import(&bundle).fails(9, "locked logs in");
    assert!(run.stderr.contains("role locked: may not log in: no line of .pgpass"), "{}", run.stderr);
    assert_eq!(pair.target.sql("postgres", ROLE), "");
    profile(target, &pair.target, "postgres", "", false);
    // A line for any role names none.
    pgpass(target, &format!("{}:*:*:*:{PASSWORD}\n", pair.target.folder()));
    pair.import(&bundle).ok();
    assert_eq!(pair.target.sql("postgres", ROLE), "f||");

    pair.target.sql("postgres", "DROP DATABASE app");
    pair.target.sql("postgres", "DROP ROLE locked");
    profile(target, &pair.target, "locked", &own, false);
    pgpass(target, &format!("{}:5432:*:locked:a\\:pass\\\\word\n", pair.target.folder()));
    let run = pair.import(&bundle).ok();
    assert!(run.stderr.contains("with its password of this machine's .pgpass"), "{}", run.stderr);
    assert_eq!(pair.target.sql("postgres", ROLE), "t|t|");
}
