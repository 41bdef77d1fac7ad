-- One of everything that a role can have which owns neither the database nor an extension.

CREATE TYPE mood AS ENUM ('sad', 'ok', 'very happy');
CREATE TYPE point3 AS (x int, y int, label text);
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE COLLATION german (provider = libc, locale = 'C');
CREATE FUNCTION double(i int) RETURNS int LANGUAGE sql IMMUTABLE RETURN i * 2;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.touched := 'by trigger'; RETURN NEW; END $$;
CREATE PROCEDURE nothing() LANGUAGE plpgsql AS $$ BEGIN NULL; END $$;
CREATE AGGREGATE product(int) (sfunc = int4mul, stype = int, initcond = '1');
CREATE AGGREGATE starred(*) (sfunc = int8inc, stype = int8, initcond = '0');
CREATE CAST (point3 AS text) WITH INOUT;
CREATE TEXT SEARCH CONFIGURATION plain (COPY = simple);
CREATE TEXT SEARCH DICTIONARY dict (TEMPLATE = simple);

CREATE TABLE kinds (
    id int GENERATED ALWAYS AS IDENTITY (START 100 INCREMENT 5) PRIMARY KEY,
    twice int GENERATED ALWAYS AS (double(base)) STORED,
    base positive DEFAULT 7, m mood, p point3, ps point3[], h hstore, f8 double precision, n numeric, t timestamptz, b bytea,
    x xml, j jsonb, money money, r regclass, touched text
);
INSERT INTO kinds (base, m, p, ps, h, f8, n, t, b, x, j, money, r)
SELECT g, (enum_range(NULL::mood))[1 + g % 3], ROW(g, -g, E'a"b\\c,\n' || g)::point3, ARRAY[ROW(1, 2, NULL)::point3],
    hstore('k', g::text), 1.0 / g, 'NaN', 'infinity', decode(lpad(to_hex(g), 8, '0'), 'hex'), '<a b="c">text</a>', '{"a": [1, null]}', 12.34, 'kinds'
FROM generate_series(1, 500) g;
CREATE TRIGGER touching BEFORE INSERT ON kinds FOR EACH ROW EXECUTE FUNCTION touch();
CREATE FUNCTION of_kind(k kinds, VARIADIC more mood[]) RETURNS int LANGUAGE sql AS 'SELECT k.id';
CREATE TABLE bytes (n int PRIMARY KEY, raw bytea, txt text);
INSERT INTO bytes SELECT g, decode(lpad(to_hex(g), 2, '0'), 'hex'), CASE WHEN g = 0 THEN '' ELSE chr(g) END FROM generate_series(0, 255) g;
INSERT INTO bytes VALUES (256, '\x', '\N'), (258, '', E'\\.\n\t\r\b\f\v\\N'), (259, NULL, E'\\.'), (260, NULL, '𝄞 ﷽');
CREATE TABLE "a ""quoted"" table
with a line" ("col ""q""" int, "select" int);
INSERT INTO "a ""quoted"" table
with a line" VALUES (1, 2);
CREATE TABLE "with spaces and a long name up to the limit of sixty three bytes" (x serial);
CREATE TABLE no_columns ();
INSERT INTO no_columns DEFAULT VALUES;
CREATE UNLOGGED TABLE unlogged (x int);
INSERT INTO unlogged SELECT generate_series(1, 10);

CREATE TABLE events (at date NOT NULL, what text, n int) PARTITION BY RANGE (at);
CREATE TABLE events_2025 PARTITION OF events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE events_2026 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01') PARTITION BY LIST (what);
CREATE TABLE events_2026_a PARTITION OF events_2026 FOR VALUES IN ('a');
CREATE TABLE events_2026_rest PARTITION OF events_2026 DEFAULT;
INSERT INTO events SELECT '2025-06-01'::date + g, chr(97 + g % 5), g FROM generate_series(1, 400) g;
CREATE INDEX ON events (what);
CREATE TABLE parent (a int, b text);
CREATE TABLE child (c int) INHERITS (parent);
INSERT INTO child VALUES (2, 'child', 3);
CREATE TABLE by_mood (m mood, n int) PARTITION BY HASH (m);
CREATE TABLE by_mood_0 PARTITION OF by_mood FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE by_mood_1 PARTITION OF by_mood FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO by_mood SELECT (enum_range(NULL::mood))[1 + g % 3], g FROM generate_series(1, 30) g;

CREATE TABLE chicken (id int PRIMARY KEY, egg int);
CREATE TABLE egg (id int PRIMARY KEY, chicken int REFERENCES chicken DEFERRABLE INITIALLY DEFERRED);
INSERT INTO chicken VALUES (1, 1);
INSERT INTO egg VALUES (1, 1);
ALTER TABLE chicken ADD FOREIGN KEY (egg) REFERENCES egg DEFERRABLE;
CREATE TABLE tree (id int PRIMARY KEY, up int REFERENCES tree);
INSERT INTO tree VALUES (1, NULL), (2, 1), (3, 2);
CREATE INDEX partial ON bytes (lower(txt)) WHERE n > 5;
CREATE INDEX trigrams ON bytes USING gin (txt gin_trgm_ops);
CREATE STATISTICS together ON what, n FROM events;
ALTER TABLE bytes CLUSTER ON bytes_pkey;
ALTER TABLE tree REPLICA IDENTITY FULL;

-- A check that reads another table, and one that finds its function by the path.
CREATE TABLE zz_allowed (code text PRIMARY KEY);
INSERT INTO zz_allowed VALUES ('yes');
CREATE FUNCTION allowed(code text) RETURNS bool LANGUAGE plpgsql AS
    $$ BEGIN RETURN EXISTS (SELECT FROM zz_allowed a WHERE a.code = allowed.code); END $$;
CREATE TABLE aa_checked (code text CHECK (allowed(code)));
INSERT INTO aa_checked SELECT 'yes' FROM generate_series(1, 100);

CREATE VIEW v1 AS SELECT id, base, m FROM kinds WHERE base > 10 WITH CHECK OPTION;
CREATE VIEW v2 WITH (security_barrier) AS SELECT v1.*, double(base) FROM v1;
CREATE MATERIALIZED VIEW counts AS SELECT what, count(*) FROM events GROUP BY 1;
CREATE UNIQUE INDEX ON counts (what);
CREATE MATERIALIZED VIEW stale AS SELECT 1 AS x WITH NO DATA;
CREATE RULE log_it AS ON DELETE TO tree DO INSTEAD NOTHING;
CREATE TABLE private (owner text, note text);
INSERT INTO private VALUES ('reader', 'mine'), ('eve', 'hers');
ALTER TABLE private ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON private FOR SELECT TO reader USING (owner = current_user);

CREATE SEQUENCE unused;
CREATE SEQUENCE down INCREMENT -3 MAXVALUE 100 MINVALUE -100 CYCLE;
SELECT nextval('down'), nextval('down');

GRANT SELECT, UPDATE (txt) ON bytes TO reader WITH GRANT OPTION;
REVOKE EXECUTE ON FUNCTION allowed(text) FROM PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT USAGE ON SEQUENCES TO reader;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
COMMENT ON COLUMN bytes.raw IS 'every byte';
COMMENT ON INDEX partial IS E'a comment\nof two lines; \\unrestrict nothing';
SELECT lo_from_bytea(4711, '\x00ff10'), lo_from_bytea(4712, ''), lo_from_bytea(4713, decode(repeat('0123456789abcdef', 60000), 'hex'));
GRANT SELECT ON LARGE OBJECT 4711 TO reader;
COMMENT ON LARGE OBJECT 4713 IS 'big';
