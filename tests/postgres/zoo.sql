-- One of everything that a database can hold and that a move could lose.

CREATE EXTENSION pg_trgm;
CREATE EXTENSION hstore;
CREATE EXTENSION citext;
CREATE SCHEMA "Mixed Case";
CREATE SCHEMA empty_schema AUTHORIZATION zoo_keeper;
COMMENT ON SCHEMA "Mixed Case" IS 'it''s a comment';

-- Types.
CREATE TYPE mood AS ENUM ('sad', 'ok', 'very happy');
CREATE TYPE point3 AS (x int, y int, label text);
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TYPE span AS RANGE (subtype = float8, subtype_diff = float8mi);
CREATE COLLATION german (provider = libc, locale = 'C');

CREATE FUNCTION double(i int) RETURNS int LANGUAGE sql IMMUTABLE RETURN i * 2;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.touched := 'by trigger'; RETURN NEW; END $$;
CREATE PROCEDURE nothing() LANGUAGE plpgsql AS $$ BEGIN NULL; END $$;
CREATE AGGREGATE product(int) (sfunc = int4mul, stype = int, initcond = '1');
CREATE OPERATOR === (leftarg = text, rightarg = text, function = texteq);
CREATE CAST (point3 AS text) WITH INOUT;

CREATE TABLE kinds (
    id int GENERATED ALWAYS AS IDENTITY (START 100 INCREMENT 5),
    twice int GENERATED ALWAYS AS (double(base)) STORED,
    base positive DEFAULT 7,
    m mood, p point3, ps point3[], s span, h hstore, c citext, matrix int[][],
    f4 real, f8 double precision, n numeric, d date, t timestamptz, i interval, b bytea, x xml, j jsonb, bits bit varying,
    money money, net inet, u uuid, tsv tsvector, r regclass, touched text
);
INSERT INTO kinds (base, m, p, ps, s, h, c, matrix, f4, f8, n, d, t, i, b, x, j, bits, money, net, u, tsv, r)
SELECT g, (enum_range(NULL::mood))[1 + g % 3], ROW(g, -g, E'a"b\\c,\n' || g)::point3, ARRAY[ROW(1, 2, NULL)::point3],
    span(g, g + 0.1), hstore('k', g::text), 'CiText', ARRAY[[g, NULL], [3, 4]], 0.1 * g, 1.0 / g, 'NaN', '4713-01-01 BC',
    'infinity', '1 mon -2 days 03:04:05.678', decode(lpad(to_hex(g), 8, '0'), 'hex'), '<a b="c">text</a>', '{"a": [1, null, "x"]}',
    B'10101', 12.34, '10.0.0.0/8', md5(g::text)::uuid, to_tsvector('simple', 'fat cats ' || g), 'kinds'::regclass
FROM generate_series(1, 500) g;
INSERT INTO kinds (f4, f8, t) VALUES ('NaN', '-Infinity', '2000-01-01 00:00:00.123456+05:30'), (1.17549435e-38, 5e-324, '-infinity');
CREATE TRIGGER touching BEFORE INSERT ON kinds FOR EACH ROW EXECUTE FUNCTION touch();
ALTER TABLE kinds DISABLE TRIGGER touching;

-- Every byte.
CREATE TABLE bytes (n int PRIMARY KEY, raw bytea, txt text);
INSERT INTO bytes SELECT g, decode(lpad(to_hex(g), 2, '0'), 'hex'), CASE WHEN g = 0 THEN '' ELSE chr(g) END FROM generate_series(0, 255) g;
INSERT INTO bytes VALUES (256, '\x', '\N'), (257, NULL, NULL), (258, '', E'\\.\n\t\r\b\f\v\\N'), (259, NULL, E'\\.'), (260, NULL, '𝄞 ﷽');

-- Names.
CREATE TABLE "Mixed Case"."a ""quoted"" table
with a line" ("col ""q""" int, "UPPER" text, "select" int);
INSERT INTO "Mixed Case"."a ""quoted"" table
with a line" VALUES (1, 'x', 2);
CREATE TABLE sixty_three_bytes_of_a_name_are_the_longest_that_a_server_takes (x int);
INSERT INTO sixty_three_bytes_of_a_name_are_the_longest_that_a_server_takes VALUES (1);
CREATE TABLE "t.*|(a)$^" (x serial);
INSERT INTO "t.*|(a)$^" DEFAULT VALUES;
CREATE TABLE no_columns ();
INSERT INTO no_columns DEFAULT VALUES;
INSERT INTO no_columns DEFAULT VALUES;
CREATE TABLE only_generated (x int GENERATED ALWAYS AS (1) STORED);
INSERT INTO only_generated DEFAULT VALUES;
CREATE TABLE dropped_columns (a int, b int, c text);
INSERT INTO dropped_columns VALUES (1, 2, 'c');
ALTER TABLE dropped_columns DROP COLUMN b;
SELECT format('CREATE TABLE wide (%s)', string_agg('c' || g || ' int', ', ')) FROM generate_series(1, 1600) g \gexec
INSERT INTO wide (c1, c800, c1600) VALUES (1, 800, 1600);
CREATE UNLOGGED TABLE unlogged (x int);
INSERT INTO unlogged SELECT generate_series(1, 10);

-- Partitions and inheritance.
CREATE TABLE events (at date NOT NULL, what text, n int) PARTITION BY RANGE (at);
CREATE TABLE events_2025 PARTITION OF events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE events_2026 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01') PARTITION BY LIST (what);
CREATE TABLE events_2026_a PARTITION OF events_2026 FOR VALUES IN ('a');
CREATE TABLE events_2026_rest PARTITION OF events_2026 DEFAULT PARTITION BY HASH (n);
CREATE TABLE events_2026_rest_0 PARTITION OF events_2026_rest FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE events_2026_rest_1 (n int, what text, at date NOT NULL);
ALTER TABLE events_2026_rest ATTACH PARTITION events_2026_rest_1 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO events SELECT '2025-06-01'::date + g, chr(97 + g % 5), g FROM generate_series(1, 400) g;
CREATE INDEX ON events (what);
CREATE TABLE parent (a int, b text);
CREATE TABLE child (c int) INHERITS (parent);
INSERT INTO parent VALUES (1, 'parent');
INSERT INTO child VALUES (2, 'child', 3);
CREATE TABLE by_mood (m mood, n int) PARTITION BY HASH (m);
CREATE TABLE by_mood_0 PARTITION OF by_mood FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE by_mood_1 PARTITION OF by_mood FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO by_mood SELECT (enum_range(NULL::mood))[1 + g % 3], g FROM generate_series(1, 30) g;

-- Keys and constraints.
CREATE TABLE chicken (id int PRIMARY KEY, egg int);
CREATE TABLE egg (id int PRIMARY KEY, chicken int REFERENCES chicken DEFERRABLE INITIALLY DEFERRED);
INSERT INTO chicken VALUES (1, 1);
INSERT INTO egg VALUES (1, 1);
ALTER TABLE chicken ADD FOREIGN KEY (egg) REFERENCES egg DEFERRABLE;
CREATE TABLE tree (id int PRIMARY KEY, up int REFERENCES tree);
INSERT INTO tree VALUES (1, NULL), (2, 1), (3, 2);
CREATE EXTENSION btree_gist;
CREATE TABLE rooms (room int, during tstzrange, EXCLUDE USING gist (room WITH =, during WITH &&));
INSERT INTO rooms VALUES (1, '[2026-01-01, 2026-01-02)');
ALTER TABLE rooms ADD CONSTRAINT small CHECK (room < 1000) NOT VALID;
CREATE INDEX partial ON bytes (lower(txt)) WHERE n > 5;
CREATE INDEX trigrams ON bytes USING gin (txt gin_trgm_ops);
CREATE UNIQUE INDEX nulls ON bytes (txt) INCLUDE (n) NULLS NOT DISTINCT WHERE n < 200;
CREATE STATISTICS together ON what, n FROM events;
ALTER TABLE bytes CLUSTER ON bytes_pkey;
ALTER TABLE tree REPLICA IDENTITY FULL;
ALTER TABLE bytes ALTER COLUMN txt SET STORAGE EXTERNAL, ALTER COLUMN n SET STATISTICS 500;

-- A check that reads another table, and one that finds its function by the path: a plain restore loses both.
CREATE TABLE zz_allowed (code text PRIMARY KEY);
INSERT INTO zz_allowed VALUES ('yes');
CREATE FUNCTION allowed(code text) RETURNS bool LANGUAGE plpgsql AS
    $$ BEGIN RETURN EXISTS (SELECT FROM zz_allowed a WHERE a.code = allowed.code); END $$;
CREATE TABLE aa_checked (code text CHECK (allowed(code)));
INSERT INTO aa_checked SELECT 'yes' FROM generate_series(1, 100);
CREATE DOMAIN allowed_code AS text CHECK (allowed(VALUE));
CREATE TABLE aa_domain (code allowed_code);
INSERT INTO aa_domain VALUES ('yes');

-- Views, rules, policies, event triggers, publications.
CREATE VIEW v1 AS SELECT id, base, m FROM kinds WHERE base > 10 WITH CHECK OPTION;
CREATE VIEW v2 WITH (security_barrier) AS SELECT v1.*, double(base) FROM v1;
CREATE MATERIALIZED VIEW counts AS SELECT what, count(*) FROM events GROUP BY 1;
CREATE UNIQUE INDEX ON counts (what);
CREATE MATERIALIZED VIEW stale AS SELECT 1 AS x WITH NO DATA;
CREATE RULE log_it AS ON DELETE TO tree DO INSTEAD NOTHING;
CREATE TABLE private (owner text, note text);
INSERT INTO private VALUES ('zoo_reader', 'mine'), ('eve', 'hers');
ALTER TABLE private ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON private FOR SELECT TO zoo_reader USING (owner = current_user);
CREATE FUNCTION on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RETURN; END $$;
CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION on_ddl();
CREATE PUBLICATION everything FOR TABLE tree, bytes;
CREATE FOREIGN DATA WRAPPER nowhere;
CREATE SERVER elsewhere FOREIGN DATA WRAPPER nowhere;
CREATE FOREIGN TABLE far_away (x int) SERVER elsewhere;
CREATE TEXT SEARCH CONFIGURATION plain (COPY = simple);

-- Sequences.
CREATE SEQUENCE unused;
CREATE SEQUENCE down INCREMENT -3 MAXVALUE 100 MINVALUE -100 CYCLE;
SELECT nextval('down'), nextval('down');
CREATE SEQUENCE set_back;
SELECT setval('set_back', 42, false);

-- Owners and privileges.
ALTER TABLE tree OWNER TO zoo_keeper;
ALTER FUNCTION double(int) OWNER TO zoo_keeper;
GRANT SELECT, UPDATE (txt) ON bytes TO zoo_reader WITH GRANT OPTION;
GRANT USAGE ON SCHEMA "Mixed Case" TO zoo_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA "Mixed Case" TO PUBLIC;
REVOKE EXECUTE ON FUNCTION allowed(text) FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE zoo_keeper IN SCHEMA public GRANT SELECT ON TABLES TO zoo_reader;
COMMENT ON COLUMN bytes.raw IS 'every byte';
COMMENT ON INDEX partial IS E'a comment\nof two lines';

-- Large objects.
SELECT lo_from_bytea(4711, '\x00ff10'), lo_from_bytea(4712, ''), lo_from_bytea(4713, decode(repeat('0123456789abcdef', 60000), 'hex'));
ALTER LARGE OBJECT 4711 OWNER TO zoo_keeper;
GRANT SELECT ON LARGE OBJECT 4711 TO zoo_reader;
COMMENT ON LARGE OBJECT 4713 IS 'big';

-- The database itself.
COMMENT ON DATABASE app IS 'the zoo';
ALTER DATABASE app SET search_path TO public, "Mixed Case", "$user";
ALTER DATABASE app SET work_mem = '5MB';
ALTER DATABASE app CONNECTION LIMIT 33;
ALTER ROLE zoo_reader IN DATABASE app SET statement_timeout = '7s';
REVOKE CONNECT ON DATABASE app FROM PUBLIC;
GRANT CONNECT, TEMPORARY ON DATABASE app TO zoo_reader;
ALTER DATABASE app OWNER TO zoo_keeper;
