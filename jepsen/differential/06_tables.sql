CREATE TABLE a (id int PRIMARY KEY, b text);
CREATE TABLE a (id int);
CREATE TABLE IF NOT EXISTS a (id int);
CREATE TABLE b (id int, id int);
CREATE TABLE b (id nothing);
CREATE TABLE b (id int PRIMARY KEY, x int PRIMARY KEY);
CREATE TABLE b (x int, PRIMARY KEY (y));
CREATE TABLE b (x int DEFAULT 'abc');
CREATE TABLE b (x int CHECK (y > 1));
CREATE TABLE b (x int NOT NULL, y numeric(5,2) DEFAULT 1.5, z varchar(3), CONSTRAINT xy UNIQUE (x, y), CHECK (x < 100));
INSERT INTO b VALUES (1, 2.345, 'abc'), (1, 2.349, 'd');
INSERT INTO b VALUES (1, 2.35, 'abc');
INSERT INTO b VALUES (200);
INSERT INTO a VALUES (1, 'one'), (2, 'two');
ALTER TABLE a ADD COLUMN c int;
ALTER TABLE a ADD COLUMN c int;
ALTER TABLE a ADD COLUMN IF NOT EXISTS c int;
ALTER TABLE a ADD COLUMN d int NOT NULL DEFAULT 7;
ALTER TABLE a ADD COLUMN e int NOT NULL;
SELECT * FROM a ORDER BY id;
ALTER TABLE a ALTER COLUMN c SET DEFAULT 3;
INSERT INTO a (id) VALUES (3);
SELECT * FROM a ORDER BY id;
ALTER TABLE a ALTER COLUMN c DROP DEFAULT;
ALTER TABLE a ALTER COLUMN b SET NOT NULL;
UPDATE a SET b = 'x' WHERE b IS NULL;
ALTER TABLE a ALTER COLUMN b SET NOT NULL;
INSERT INTO a (id) VALUES (4);
ALTER TABLE a ALTER COLUMN b DROP NOT NULL;
ALTER TABLE a ADD CONSTRAINT positive CHECK (d > 0);
ALTER TABLE a ADD CONSTRAINT negative CHECK (d < 0);
ALTER TABLE a ADD CONSTRAINT positive CHECK (d > 0);
INSERT INTO a VALUES (5, 'x', 1, -1);
ALTER TABLE a DROP CONSTRAINT positive;
ALTER TABLE a DROP CONSTRAINT positive;
ALTER TABLE a RENAME COLUMN c TO cc;
ALTER TABLE a RENAME COLUMN nothing TO x;
ALTER TABLE a RENAME TO aa;
SELECT * FROM a;
ALTER TABLE aa RENAME TO a;
ALTER TABLE a DROP COLUMN d;
ALTER TABLE a DROP COLUMN d;
ALTER TABLE a DROP COLUMN IF EXISTS d;
CREATE TABLE key (id int PRIMARY KEY, x int);
-- refused: rows lie by the primary key
ALTER TABLE key DROP COLUMN id;
DROP TABLE key;
SELECT * FROM a ORDER BY b;
ALTER TABLE nothing ADD COLUMN x int;
ALTER TABLE IF EXISTS nothing ADD COLUMN x int;
CREATE INDEX a_b ON a (b);
CREATE INDEX a_b ON a (b);
CREATE INDEX IF NOT EXISTS a_b ON a (b);
CREATE UNIQUE INDEX a_cc ON a (cc);
INSERT INTO a (id, b, cc) VALUES (9, 'y', 3);
CREATE INDEX ON a (b, cc DESC NULLS LAST);
CREATE UNIQUE INDEX dup ON b (x);
CREATE INDEX nothing ON a (nothing);
SELECT indexname FROM pg_indexes WHERE schemaname = 'differential' ORDER BY 1;
DROP INDEX a_b;
DROP INDEX a_b;
DROP INDEX IF EXISTS a_b;
DROP INDEX b_pkey;
CREATE TABLE k (x int, y int);
ALTER TABLE k ADD PRIMARY KEY (x);
ALTER TABLE k ADD PRIMARY KEY (y);
INSERT INTO k VALUES (1, 1);
INSERT INTO k VALUES (1, 2);
INSERT INTO k VALUES (NULL, 2);
-- refused: not written yet
CREATE TABLE l (LIKE k INCLUDING ALL);
-- refused: not written yet
CREATE TABLE q AS SELECT 1 AS x;
-- refused: there are no views
CREATE VIEW v AS SELECT * FROM k;
-- refused: there are no foreign keys
CREATE TABLE f (x int REFERENCES k (x));
-- refused: there are no temporary tables
CREATE TEMP TABLE tt (x int);
CREATE SEQUENCE s START 5 INCREMENT 2 MAXVALUE 9;
SELECT nextval('s'), nextval('s'), nextval('s');
SELECT nextval('s');
DROP SEQUENCE s;
DROP SEQUENCE s;
CREATE SCHEMA inner_schema;
CREATE TABLE inner_schema.t (x int);
INSERT INTO inner_schema.t VALUES (1);
SELECT * FROM inner_schema.t;
DROP SCHEMA inner_schema;
DROP SCHEMA inner_schema CASCADE;
SELECT * FROM inner_schema.t;
SELECT column_name, data_type, is_nullable, column_default, character_maximum_length, numeric_precision FROM information_schema.columns WHERE table_schema = 'differential' AND table_name = 'b' ORDER BY ordinal_position;
-- differs: of the refused tables
SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = 'differential' ORDER BY 1;
SELECT constraint_name, constraint_type FROM information_schema.table_constraints WHERE table_schema = 'differential' AND table_name = 'b' AND constraint_type <> 'CHECK' ORDER BY 1;
SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'b'::regclass ORDER BY conname;
SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = 'a'::regclass ORDER BY 1;
SELECT attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute WHERE attrelid = 'b'::regclass AND attnum > 0 ORDER BY attnum;
SELECT 'k'::regclass, 'differential.k'::regclass::oid = 'k'::regclass::oid, 'nothing'::regclass;
SELECT to_regclass('k'), to_regclass('nothing');
DROP VIEW IF EXISTS v;
DROP TABLE IF EXISTS f, l, q, tt;
DROP TABLE k;
DROP TABLE k;
DROP TABLE IF EXISTS k;
DROP TABLE a, b;
CREATE TABLE types (a smallint, b bigint, c real, d double precision, e decimal(10,3), f char(4), g varchar, h text, i bytea, j date, k time, l timestamp, m timestamptz, n interval, o uuid, p json, q jsonb, r int[], s boolean, t timestamp(3));
INSERT INTO types VALUES (1, 2, 3.5, 4.25, 5.1234, 'ab', 'cd', 'ef', '\x00ff', '2024-01-01', '12:00', '2024-01-01 12:00', '2024-01-01 12:00+00', '1 day', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"a" : 1}', '{"a" : 1}', '{1,2}', true, '2024-01-01 12:00:00.12345');
SELECT * FROM types;
INSERT INTO types (a) VALUES (40000);
INSERT INTO types (b) VALUES (9223372036854775808);
INSERT INTO types (c) VALUES (1e39);
INSERT INTO types (e) VALUES (12345678.1);
INSERT INTO types (f) VALUES ('abcde');
INSERT INTO types (j) VALUES ('2024-02-30');
INSERT INTO types (o) VALUES ('x');
INSERT INTO types (q) VALUES ('{');
INSERT INTO types (r) VALUES ('{a}');
INSERT INTO types (s) VALUES ('maybe');
SELECT f, length(f), f || '|' FROM types;
SELECT * FROM types WHERE f = 'ab' AND f = 'ab  ' AND c = 3.5 AND e = 5.123 AND r = '{1,2}' AND q = '{"a":1}' AND o = 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11';
-- refused: there are no types of users' own
CREATE TYPE mood AS ENUM ('sad', 'ok');
-- refused: there are no functions of users' own
CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';
-- refused: there are no extensions
CREATE EXTENSION pgcrypto;
-- refused: there are no notifications
LISTEN x;
-- refused: there are no cursors in SQL
DECLARE c CURSOR FOR SELECT 1;
-- refused: rows are locked, not tables
LOCK TABLE types;
-- refused: plans are told as text
EXPLAIN (FORMAT json) SELECT 1;
VACUUM types;
ANALYZE types;
-- refused: every role may do everything, and nothing is noted beside tables
COMMENT ON TABLE types IS 'x';
-- refused: every role may do everything, and nothing is noted beside tables
GRANT SELECT ON types TO postgres;
