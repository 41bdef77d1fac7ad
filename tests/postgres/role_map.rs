//! `roles = "map"`: what roles of the source have is had by others on the target, and by nobody else.

use crate::server::{profile, Pair};
use std::collections::BTreeSet;

/// One of each way in which a role can be named, by roles that are mapped and by one that stays.
const NAMED: &str = r#"
CREATE SCHEMA house AUTHORIZATION old_boss;
GRANT USAGE ON SCHEMA house TO "Old, ""Two""", stays, PUBLIC;
CREATE TABLE house.by_boss (a int, b int); ALTER TABLE house.by_boss OWNER TO old_boss;
CREATE TABLE house.by_stays (a int, b int); ALTER TABLE house.by_stays OWNER TO stays;
INSERT INTO house.by_boss VALUES (1, 2); INSERT INTO house.by_stays VALUES (3, 4);
-- A chain of grants: from the owner, to whom hands it on, to whom hands it on.
GRANT SELECT, INSERT ON house.by_stays TO old_boss WITH GRANT OPTION;
SET ROLE old_boss; GRANT SELECT ON house.by_stays TO "Old, ""Two""" WITH GRANT OPTION; RESET ROLE;
SET ROLE "Old, ""Two"""; GRANT SELECT ON house.by_stays TO late, PUBLIC; RESET ROLE;
GRANT INSERT ON house.by_stays TO late WITH GRANT OPTION;
SET ROLE late; GRANT INSERT ON house.by_stays TO "Old, ""Two"""; RESET ROLE;
GRANT UPDATE (b) ON house.by_stays TO "Old, ""Two""" WITH GRANT OPTION;
GRANT UPDATE (a), SELECT ON house.by_boss TO stays WITH GRANT OPTION;
SET ROLE stays; GRANT SELECT ON house.by_boss TO late; RESET ROLE;
REVOKE DELETE ON house.by_boss FROM old_boss;
CREATE VIEW house.v AS SELECT 1 AS x; ALTER VIEW house.v OWNER TO "Old, ""Two""";
CREATE MATERIALIZED VIEW house.m AS SELECT 1 AS x; ALTER MATERIALIZED VIEW house.m OWNER TO old_boss;
CREATE SEQUENCE house.s; ALTER SEQUENCE house.s OWNER TO old_boss; GRANT USAGE ON SEQUENCE house.s TO late;
CREATE FUNCTION house.f(a int, b text) RETURNS int LANGUAGE sql AS 'SELECT 1';
ALTER FUNCTION house.f OWNER TO old_boss; REVOKE ALL ON FUNCTION house.f FROM PUBLIC;
CREATE FUNCTION house.g("Odd Type" text) RETURNS int LANGUAGE sql AS 'SELECT 1';
REVOKE ALL ON FUNCTION house.g FROM PUBLIC; GRANT EXECUTE ON FUNCTION house.g TO "Old, ""Two""";
CREATE PROCEDURE house.p() LANGUAGE sql AS 'SELECT 1'; GRANT EXECUTE ON PROCEDURE house.p TO old_boss;
CREATE AGGREGATE house.agg(int) (sfunc = int4mul, stype = int); GRANT EXECUTE ON FUNCTION house.agg TO old_boss;
CREATE TYPE house.mood AS ENUM ('ok'); ALTER TYPE house.mood OWNER TO old_boss; REVOKE USAGE ON TYPE house.mood FROM PUBLIC;
CREATE DOMAIN house.nat AS int; GRANT USAGE ON DOMAIN house.nat TO "Old, ""Two""";
CREATE COLLATION house.c (provider = libc, locale = 'C'); ALTER COLLATION house.c OWNER TO old_boss;
CREATE TEXT SEARCH CONFIGURATION house.ts (COPY = simple); ALTER TEXT SEARCH CONFIGURATION house.ts OWNER TO old_boss;
CREATE OPERATOR house.=== (leftarg = text, rightarg = text, function = texteq); ALTER OPERATOR house.=== (text, text) OWNER TO old_boss;
CREATE STATISTICS house.together ON a, b FROM house.by_stays; ALTER STATISTICS house.together OWNER TO "Old, ""Two""";
CREATE PUBLICATION pub FOR TABLE house.by_boss; ALTER PUBLICATION pub OWNER TO old_boss;
CREATE EXTENSION postgres_fdw;
GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO old_boss;
CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'h'); ALTER SERVER elsewhere OWNER TO old_boss;
GRANT USAGE ON FOREIGN SERVER elsewhere TO "Old, ""Two""", late;
CREATE USER MAPPING FOR "Old, ""Two""" SERVER elsewhere OPTIONS (user 'me', password 'it''s \ one');
CREATE USER MAPPING FOR old_boss SERVER elsewhere;
CREATE USER MAPPING FOR PUBLIC SERVER elsewhere OPTIONS (user 'all');
ALTER TABLE house.by_stays ENABLE ROW LEVEL SECURITY;
CREATE POLICY p1 ON house.by_stays TO "Old, ""Two""", stays USING (a > 0);
CREATE POLICY p2 ON house.by_stays FOR SELECT USING (true);
CREATE POLICY "p 3" ON house.by_boss TO old_boss USING (true);
SELECT lo_from_bytea(17, '\x01'), lo_from_bytea(18, '\x02');
ALTER LARGE OBJECT 17 OWNER TO old_boss; GRANT SELECT ON LARGE OBJECT 17 TO late;
GRANT SELECT, UPDATE ON LARGE OBJECT 18 TO "Old, ""Two""" WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES FOR ROLE old_boss REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE old_boss REVOKE USAGE ON TYPES FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE old_boss GRANT SELECT ON TABLES TO "Old, ""Two""" WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES FOR ROLE "Old, ""Two""" IN SCHEMA house GRANT USAGE ON SEQUENCES TO PUBLIC, old_boss;
ALTER DEFAULT PRIVILEGES FOR ROLE stays GRANT ALL ON TABLES TO old_boss;
ALTER DEFAULT PRIVILEGES FOR ROLE stays GRANT USAGE ON SCHEMAS TO old_boss;
ALTER DATABASE app OWNER TO old_boss;
REVOKE CONNECT ON DATABASE app FROM PUBLIC;
GRANT CONNECT ON DATABASE app TO "Old, ""Two""", late WITH GRANT OPTION;
ALTER ROLE "Old, ""Two""" IN DATABASE app SET work_mem = '7MB';
"#;

const OLD: &str =
    "CREATE ROLE old_boss; CREATE ROLE \"Old, \"\"Two\"\"\"; CREATE ROLE stays; CREATE ROLE late";
const NEW: &str = "CREATE ROLE new_boss; CREATE ROLE \"New 'Two'\"; CREATE ROLE stays; CREATE ROLE late; \
    CREATE DATABASE other OWNER new_boss; CREATE ROLE bystander";
const MAP: &str =
    "roles = \"map\"\nrole-map = { old_boss = \"new_boss\", \"Old, \\\"Two\\\"\" = \"New 'Two'\" }";

/// What pg_dump does not show: owner, privileges and settings of the database, a line each.
const DATABASE: &str = "SELECT 'owner ' || pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'app' UNION ALL \
    SELECT 'acl ' || coalesce((SELECT rolname FROM pg_roles r WHERE r.oid = grantee), '') || ' ' || privilege_type || is_grantable \
    FROM pg_database, aclexplode(datacl) WHERE datname = 'app' UNION ALL \
    SELECT 'set ' || rolname || setconfig::text FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = setrole \
    JOIN pg_database d ON d.oid = setdatabase WHERE datname = 'app'";

fn renamed(text: &str) -> String {
    // In a comment of pg_dump, names stand without quotes.
    let text = text.replace("old_boss", "new_boss").replace("\"Old, \"\"Two\"\"\"", "\"New 'Two'\"");
    text.replace("Old, \"Two\"", "New 'Two'")
}

fn pair() -> Pair {
    let pair = Pair::new();
    pair.source.sql("postgres", OLD);
    pair.source.sql("postgres", "CREATE DATABASE app");
    pair.source.sql("app", NAMED);
    for sql in NEW.split(';') {
        pair.target.sql("postgres", sql);
    }
    profile(&pair.world.source, &pair.source.url("postgres", "app"), "");
    pair
}

#[test]
fn everything_is_as_it_was_under_other_names() {
    let pair = pair();
    let bundle = pair.export("1.kbp");
    profile(&pair.world.target, &pair.target.url("postgres", "app"), MAP);
    let run = pair.import(&bundle).ok();
    assert!(run.stderr.contains("what belongs or is granted to role old_boss will be role new_boss's"));
    let mut wanted: Vec<String> = pair.source.dump("app").iter().map(|line| renamed(line)).collect();
    wanted.sort();
    let found = pair.target.dump("app");
    let only = |a: &[String], b: &[String]| -> Vec<String> {
        a.iter().filter(|line| !b.contains(line)).take(30).cloned().collect()
    };
    assert!(wanted == found, "wanted: {:#?}\nfound: {:#?}", only(&wanted, &found), only(&found, &wanted));
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    let wanted = renamed(&pair.source.sql("postgres", DATABASE));
    assert_eq!(lines(&wanted), lines(&pair.target.sql("postgres", DATABASE)));
    // Nothing is left of the old ones, and what the new ones had before they still have.
    let roles = "SELECT count(*) FROM pg_roles WHERE rolname LIKE '%old%' OR rolname LIKE '%Old%'";
    assert_eq!(pair.target.sql("postgres", roles), "0");
    let other = "SELECT datdba::regrole FROM pg_database WHERE datname = 'other'";
    assert_eq!(pair.target.sql("postgres", other), "new_boss");
    // It can be taken back, though the map names what is not there any more.
    pair.world.target.kbpack(&["rollback", "--yes"]).ok();
    assert_eq!(pair.target.databases(), ["other"]);
}

/// What both had is had once, by the one that both become.
#[test]
fn two_roles_become_one() {
    let pair = pair();
    let map = "role-map = { old_boss = \"stays\", \"Old, \\\"Two\\\"\" = \"stays\" }";
    pair.source.sql("app", "DROP USER MAPPING FOR old_boss SERVER elsewhere");
    profile(&pair.world.target, &pair.target.url("postgres", "app"), map);
    pair.import(&pair.export("1.kbp")).ok();
    let acl = "SELECT grantor::regrole, grantee::regrole, privilege_type, is_grantable FROM pg_class, aclexplode(relacl) \
        WHERE relname = 'by_stays' AND privilege_type = 'SELECT' ORDER BY 1, 2";
    let acl = pair.target.sql("app", acl);
    let rows: Vec<&str> = acl.lines().collect();
    assert!(rows.contains(&"stays|late|SELECT|f") && rows.contains(&"stays|-|SELECT|f"), "{rows:?}");
    assert_eq!(rows.len(), 3, "{rows:?}");
    let policy = "SELECT polroles::regrole[] FROM pg_policy WHERE polname = 'p1'";
    assert_eq!(pair.target.sql("app", policy), "{stays}");
}

#[test]
fn what_cannot_be_mapped_is_refused() {
    let pair = pair();
    let bundle = pair.export("1.kbp");
    let refused = |own: &str, why: &str, remedy: &str| {
        profile(&pair.world.target, &pair.target.url("postgres", "app"), own);
        let run = pair.import(&bundle).fails(8, why);
        assert!(run.stderr.contains(remedy), "{}", run.stderr);
        assert_eq!(pair.target.databases(), ["other"]);
    };
    refused(
        "roles = \"map\"\nrole-map = { old_boss = \"new_boss\" }",
        "no other is named for them: Old, \"Two\"",
        "add to role-map in this machine's profile: \"Old, \"\"Two\"\"\" = \"...\"",
    );
    refused(
        &MAP.replace("\"new_boss\"", "\"nobody_here\""),
        "role nobody_here, to which role-map hands over what old_boss has, is not on",
        "CREATE ROLE \"nobody_here\";",
    );
    refused(
        &MAP.replace("{", "{ stays = \"late\","),
        "role stays of role-map is on",
        "leave it out of role-map",
    );
    let both = MAP.replace("\"map\"", "\"create\"");
    profile(&pair.world.target, &pair.target.url("postgres", "app"), &both);
    pair.import(&bundle).fails(2, "it has a role-map, and roles is not \"map\"");
    // Only a superuser hands over what others have, also where it is but privileges.
    pair.target.sql("postgres", "CREATE ROLE plain LOGIN CREATEDB");
    profile(&pair.world.target, &pair.target.url("plain", "app"), &format!("no-owner = true\n{MAP}"));
    let run = pair.import(&bundle).fails(8, "role plain cannot restore app");
    assert!(run.stderr.contains("name a superuser with admin-url"), "{}", run.stderr);
    assert!(!run.stderr.contains("GRANT \"old_boss\""), "{}", run.stderr);
    // A server that refuses the new owner: of an event trigger it wants a superuser. Nothing is left of the old roles.
    pair.source.sql(
        "app",
        "CREATE FUNCTION house.ev() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; \
         CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION house.ev(); \
         ALTER ROLE old_boss SUPERUSER; ALTER EVENT TRIGGER watch OWNER TO old_boss",
    );
    profile(&pair.world.target, &pair.target.url("postgres", "app"), MAP);
    let run = pair.import(&pair.export("2.kbp"));
    assert!(run.code != 0 && run.stderr.contains("event trigger"), "{}", run.stderr);
    assert_eq!(pair.target.databases(), ["other"]);
    assert_eq!(pair.target.sql("postgres", "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'old%'"), "0");
}
