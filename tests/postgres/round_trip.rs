//! From one server to another, and back.

use crate::server::Pair;

const SMALL: &str =
    "CREATE TABLE accounts (id bigserial PRIMARY KEY, name text NOT NULL, balance numeric DEFAULT 0);
INSERT INTO accounts (name, balance) SELECT 'n' || g, g FROM generate_series(1, 1000) g;
INSERT INTO accounts (name, balance) VALUES (repeat('wide', 200000), 1);
CREATE INDEX ON accounts (balance);
CREATE VIEW rich AS SELECT * FROM accounts WHERE balance > 500;";

#[test]
fn onto_a_server_without_it_and_over_an_older_one() {
    let pair = Pair::new();
    pair.source.sql("postgres", "CREATE DATABASE app");
    pair.source.sql("app", SMALL);
    pair.profiles("postgres", "assert = { rich = \"SELECT count(*) FROM rich\" }", "");
    let bundle = pair.export("1.kbp");
    pair.import(&bundle).ok();
    assert_eq!(pair.target.databases(), ["app"]);
    assert_eq!(pair.target.dump("app"), pair.source.dump("app"));

    pair.source
        .sql("app", "UPDATE accounts SET balance = balance + 1; DROP VIEW rich; CREATE TABLE more (x int)");
    pair.profiles("postgres", "", "");
    pair.import(&pair.export("2.kbp")).ok();
    assert_eq!(pair.target.databases(), ["app"]);
    assert_eq!(pair.target.dump("app"), pair.source.dump("app"));
    // Every session said farewell.
    for server in [&pair.source, &pair.target] {
        assert!(!server.log().contains("unexpected EOF"), "{}", server.log());
    }
}
