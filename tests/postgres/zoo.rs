//! One of everything there and back: stock pg_dump sees no difference.

use crate::server::{Pair, Server};

const ZOO: &str = include_str!("zoo.sql");
const ROLES: &str = "CREATE ROLE zoo_keeper; CREATE ROLE zoo_reader";

/// What pg_dump of one database does not show.
const DATABASE: &str = "SELECT pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype, datconnlimit, \
    datacl, shobj_description(oid, 'pg_database'), (SELECT array_agg((coalesce((SELECT rolname FROM pg_roles r WHERE \
    r.oid = setrole), ''), setconfig) ORDER BY setrole) FROM pg_db_role_setting WHERE setdatabase = d.oid) \
    FROM pg_database d WHERE datname = 'app'";

#[track_caller]
pub fn same(source: &Server, target: &Server) {
    let (left, right) = (source.dump("app"), target.dump("app"));
    let only = |a: &[String], b: &[String]| -> Vec<String> {
        a.iter().filter(|line| !b.contains(line)).take(20).cloned().collect()
    };
    assert!(left == right, "source: {:#?}\ntarget: {:#?}", only(&left, &right), only(&right, &left));
    assert_eq!(source.sql("postgres", DATABASE), target.sql("postgres", DATABASE));
}

#[test]
fn a_zoo_of_schemas() {
    let pair = Pair::new();
    pair.source.sql("postgres", ROLES);
    pair.target.sql("postgres", ROLES);
    pair.source.sql("postgres", "CREATE DATABASE app");
    pair.source.sql("app", ZOO);
    pair.profiles("postgres", "", "");
    pair.import(&pair.export("1.kbp")).ok();
    same(&pair.source, &pair.target);
}

#[test]
fn encodings() {
    for encoding in ["SQL_ASCII", "LATIN1"] {
        let pair = Pair::new();
        pair.source.sql(
            "postgres",
            &format!("CREATE DATABASE app TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'"),
        );
        let fill = "SET client_encoding = 'LATIN1'; CREATE TABLE t (n int, x text); INSERT INTO t SELECT g, \
            convert_from(decode(lpad(to_hex(g), 2, '0'), 'hex'), 'LATIN1') FROM generate_series(1, 255) g";
        let bytes = "CREATE TABLE t (n int, x text); INSERT INTO t VALUES (1, E'\\351'), (2, E'\\377\\200x')";
        pair.source.sql("app", if encoding == "LATIN1" { fill } else { bytes });
        pair.profiles("postgres", "", "");
        pair.import(&pair.export("1.kbp")).ok();
        let raw = "SELECT n, convert_to(x, getdatabaseencoding()) FROM t ORDER BY n";
        assert_eq!(pair.source.sql("app", raw), pair.target.sql("app", raw));
        assert_eq!(pair.target.sql("app", "SHOW server_encoding"), encoding);
    }
}
