//! Many tables, most of them empty, with names alike.

use crate::server::Pair;

const TABLES: usize = 250;

#[test]
fn rows_are_left_out_of_the_archive_and_sequences_are_not() {
    let pair = Pair::new();
    pair.source.sql("postgres", "CREATE DATABASE app");
    // Sequences are called as tables are, but for their ends: what leaves out the rows of one must not leave out the other.
    let mut sql =
        String::from("CREATE SCHEMA a; CREATE SCHEMA \"b*\"; CREATE SCHEMA \"b\"; CREATE SEQUENCE b.t250;\n");
    for n in 0..TABLES {
        let schema = ["public", "a", "\"b*\"", "b"][n % 4];
        sql += &format!("CREATE TABLE {schema}.t{n} (x serial, y serial, z text);\n");
        match n % 25 {
            0 => sql += &format!("INSERT INTO {schema}.t{n} (z) VALUES ('{n}');\n"),
            // Nothing is in it any more, or nothing that was committed: it has pages all the same.
            1 => {
                sql += &format!("INSERT INTO {schema}.t{n} (z) VALUES ('{n}'); DELETE FROM {schema}.t{n};\n")
            }
            2 => sql += &format!("BEGIN; INSERT INTO {schema}.t{n} (z) VALUES ('{n}'); ROLLBACK;\n"),
            3 => sql += &format!("SELECT setval('{schema}.t{n}_x_seq', {n} + 1, false);\n"),
            _ => {}
        }
    }
    pair.source.sql("app", &(sql + "SELECT setval('b.t250', 7)"));
    pair.profiles("postgres", "", "");
    pair.import(&pair.export("1.kbp")).ok();
    assert_eq!(pair.target.dump("app"), pair.source.dump("app"));
    assert_eq!(pair.target.sql("app", "SELECT last_value FROM b.t250"), "7");
}
