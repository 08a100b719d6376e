CREATE TABLE rt (id int PRIMARY KEY, n int);
INSERT INTO rt VALUES (1, 1), (2, 2);
CREATE SEQUENCE sq;
ALTER TABLE rt ADD COLUMN z1 int, ADD COLUMN z2 text DEFAULT 'q';
ALTER TABLE IF EXISTS ONLY rt ADD COLUMN IF NOT EXISTS z3 int;
ALTER TABLE rt DROP COLUMN z1, DROP COLUMN z2, DROP COLUMN z3;
-- refused: users define tables, indexes and sequences only
DO $$ BEGIN NULL; END $$;
-- refused: users define tables, indexes and sequences only
CREATE OR REPLACE FUNCTION fx(int) RETURNS int AS 'SELECT $1' LANGUAGE sql;
-- refused: users define tables, indexes and sequences only
CREATE PROCEDURE px() LANGUAGE sql AS 'SELECT 1';
-- refused: users define tables, indexes and sequences only
CALL px();
-- refused: users define tables, indexes and sequences only
CREATE TRIGGER tr BEFORE INSERT ON rt FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
-- refused: users define tables, indexes and sequences only
CREATE RULE ru AS ON INSERT TO rt DO NOTHING;
-- refused: users define tables, indexes and sequences only
CREATE DOMAIN dom AS int CHECK (VALUE > 0);
-- refused: users define tables, indexes and sequences only
CREATE TYPE comp AS (a int, b text);
-- refused: users define tables, indexes and sequences only
CREATE AGGREGATE agg (int) (sfunc = int4pl, stype = int);
-- refused: users define tables, indexes and sequences only
CREATE CAST (text AS date) WITH INOUT;
-- refused: users define tables, indexes and sequences only
CREATE COLLATION coll FROM "C";
-- refused: there are no views
CREATE MATERIALIZED VIEW mv AS SELECT 1 AS x;
-- refused: there are no views
REFRESH MATERIALIZED VIEW mv;
-- refused: users define tables, indexes and sequences only
CREATE POLICY pol ON rt USING (true);
-- refused: users define tables, indexes and sequences only
CREATE PUBLICATION pub;
-- refused: users define tables, indexes and sequences only
CREATE STATISTICS st ON id, n FROM rt;
-- refused: users define tables, indexes and sequences only
CREATE OPERATOR === (leftarg = int, rightarg = int, procedure = int4eq);
-- refused: users define tables, indexes and sequences only
CREATE TEXT SEARCH CONFIGURATION tsc (COPY = simple);
-- refused: users define tables, indexes and sequences only
CREATE ACCESS METHOD am TYPE INDEX HANDLER bthandler;
-- refused: users define tables, indexes and sequences only
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO public;
-- refused: users define tables, indexes and sequences only
SECURITY LABEL ON TABLE rt IS 'x';
-- refused: there are no notifications
NOTIFY chan;
-- refused: there are no notifications
UNLISTEN *;
-- refused: there are no cursors in SQL
MOVE c;
-- refused: there are no cursors in SQL
FETCH c;
-- refused: there are no cursors in SQL
CLOSE c;
-- refused: tables split by themselves
CREATE TABLE part (x int) PARTITION BY RANGE (x);
-- refused: tables split by themselves
CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (1) TO (2);
-- refused: tables split by themselves
CREATE TABLE child (y int) INHERITS (rt);
-- refused: not written yet
CREATE TABLE ex (x int, EXCLUDE USING btree (x WITH =));
-- refused: not written yet
CREATE TABLE like1 (LIKE rt);
CREATE TABLE st (x int) WITH (fillfactor = 70);
CREATE TABLE tsp (x int) TABLESPACE pg_default;
CREATE UNLOGGED TABLE ul (x int);
-- refused: there are no temporary tables
CREATE TABLE oc (x int) ON COMMIT DROP;
-- refused: not written yet
CREATE TABLE gen (x int, y int GENERATED ALWAYS AS (x + 1) STORED);
CREATE TABLE coltab (x text COLLATE "C");
CREATE TABLE deft (x int, y int DEFAULT 1 + 1, z timestamptz DEFAULT CURRENT_TIMESTAMP);
-- refused: constraints are checked as each statement writes
CREATE TABLE defer (x int UNIQUE DEFERRABLE INITIALLY DEFERRED);
-- refused: not written yet
CREATE TABLE nn (x int UNIQUE NULLS NOT DISTINCT);
CREATE INDEX CONCURRENTLY ic ON rt (n);
-- refused: rows are kept otherwise than PostgreSQL keeps them
CREATE INDEX ih ON rt USING hash (n);
-- refused: not written yet
CREATE INDEX ip ON rt (n) WHERE n > 0;
-- refused: not written yet
CREATE INDEX ie ON rt ((n + 1));
-- refused: not written yet
CREATE INDEX ii ON rt (n) INCLUDE (id);
CREATE INDEX iw ON rt (n) WITH (fillfactor = 70);
DROP INDEX CONCURRENTLY ic;
-- refused: users define tables, indexes and sequences only
ALTER TABLE rt ALTER COLUMN n SET STATISTICS 100;
-- refused: rows are kept otherwise than PostgreSQL keeps them
ALTER TABLE rt ALTER COLUMN n SET STORAGE plain;
-- refused: not written yet
ALTER TABLE rt ALTER COLUMN n ADD GENERATED ALWAYS AS IDENTITY;
ALTER TABLE rt ADD CONSTRAINT c1 CHECK (n > 0) NOT VALID;
ALTER TABLE rt VALIDATE CONSTRAINT c1;
-- refused: there are no foreign keys
ALTER TABLE rt ADD FOREIGN KEY (n) REFERENCES rt (id);
-- refused: not written yet
ALTER TABLE rt RENAME CONSTRAINT c1 TO c2;
-- refused: users define tables, indexes and sequences only
ALTER TABLE rt ENABLE ROW LEVEL SECURITY;
-- refused: users define tables, indexes and sequences only
ALTER TABLE rt DISABLE TRIGGER ALL;
ALTER TABLE rt OWNER TO postgres;
-- refused: rows are kept otherwise than PostgreSQL keeps them
ALTER TABLE rt CLUSTER ON rt_pkey;
ALTER TABLE rt SET (fillfactor = 70);
-- refused: tables split by themselves
ALTER TABLE rt INHERIT child;
-- refused: there is no logical replication
ALTER TABLE rt REPLICA IDENTITY FULL;
-- refused: rows are kept otherwise than PostgreSQL keeps them
ALTER TABLE rt SET LOGGED;
ALTER INDEX rt_pkey RENAME TO rt_pk;
-- refused: not written yet
ALTER SEQUENCE sq RESTART WITH 5;
-- refused: not written yet
ALTER SEQUENCE sq INCREMENT BY 2;
-- refused: not written yet
ALTER SEQUENCE sq OWNED BY NONE;
-- refused: there are no views
ALTER VIEW v RENAME TO v2;
-- refused: users define tables, indexes and sequences only
ALTER TYPE comp ADD ATTRIBUTE c int;
-- refused: every role may do everything, and nothing is noted beside tables
COMMENT ON COLUMN rt.n IS 'x';
-- refused: not written yet
SET CONSTRAINTS ALL DEFERRED;
SHOW TIME ZONE;
DISCARD PLANS;
-- refused: transactions are prepared by nobody but the cluster itself
PREPARE TRANSACTION 'x';
-- refused: transactions are prepared by nobody but the cluster itself
COMMIT PREPARED 'x';
BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE;
COMMIT AND CHAIN;
ROLLBACK;
START TRANSACTION READ WRITE;
SAVEPOINT s1;
RELEASE SAVEPOINT s1;
END;
ABORT;
-- refused: rows are locked, not tables
LOCK TABLE rt IN SHARE MODE;
VACUUM (ANALYZE) rt;
ANALYZE rt (n);
REINDEX TABLE rt;
CHECKPOINT;
-- refused: every role may do everything, and nothing is noted beside tables
GRANT ALL ON SCHEMA public TO public;
-- refused: every role may do everything, and nothing is noted beside tables
REVOKE ALL ON rt FROM public;
TRUNCATE rt CASCADE;
-- refused: a transaction is serializable without it
SELECT * FROM rt FOR NO KEY UPDATE;
-- refused: a transaction is serializable without it
SELECT * FROM rt FOR KEY SHARE;
-- refused: a transaction is serializable without it
SELECT * FROM rt FOR UPDATE SKIP LOCKED;
SELECT * FROM ONLY rt;
-- refused: not written yet
SELECT * FROM ROWS FROM (generate_series(1, 2), generate_series(1, 3)) x;
-- refused: not written yet
SELECT * FROM generate_series(1, 2) WITH ORDINALITY;
-- refused: there are no composite values
SELECT * FROM json_to_recordset('[{"a":1}]') AS x(a int);
SELECT DISTINCT ON (n) n, id FROM rt ORDER BY n, id;
SELECT n FROM rt GROUP BY ROLLUP (n);
SELECT n FROM rt GROUP BY GROUPING SETS ((n), ());
-- refused: not written yet
SELECT n FROM rt GROUP BY DISTINCT n;
SELECT count(*) FILTER (WHERE n > 0) FROM rt;
-- refused: not written yet
SELECT sum(n) OVER (ORDER BY id GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW EXCLUDE TIES) FROM rt;
-- refused: not written yet
SELECT n FROM rt FETCH FIRST 2 ROWS WITH TIES;
SELECT n FROM rt ORDER BY n FETCH FIRST ROW ONLY;
SELECT n FROM rt OFFSET 1 ROWS;
SELECT n FROM rt LIMIT ALL;
-- refused: not written yet
SELECT n FROM rt ORDER BY n USING <;
SELECT n FROM rt NATURAL JOIN rt r2;
SELECT 1 UNION ALL BY NAME SELECT 2;
-- refused: there are no composite values
SELECT n FROM rt WHERE (id, n) IN (SELECT 1, 2);
SELECT (SELECT 1, 2);
SELECT EXISTS (SELECT 1), NOT EXISTS (SELECT 1 WHERE false);
SELECT n IS JSON FROM rt;
-- differs: the parser does not take a collation behind a cast
SELECT n::text COLLATE "de_DE" FROM rt;
-- refused: not written yet
SELECT xmlelement(name a);
-- refused: not written yet
SELECT 'a' IS NORMALIZED;
-- differs: the parser takes a subscript behind an array's brackets too
SELECT ARRAY[1,2,3][1:2];
-- refused: there are no composite values
SELECT ROW(1, 'a');
-- refused: there are no composite values
SELECT ROW(rt.*) FROM rt;
-- refused: there are no composite values
SELECT (ROW(1,2)).f1;
SELECT CAST('1' AS int), int4 '1', int4('1');
SELECT 1 OPERATOR(pg_catalog.+) 2;
-- refused: not written yet
SELECT @ -5, |/ 4, ||/ 27, 5 !;
-- refused: not written yet
SELECT 'a' LIKE ANY (ARRAY['a']), 'a' ~ ANY (ARRAY['a']);
SELECT 1 = SOME (ARRAY[1]);
-- refused: not written yet
SELECT timestamp(0) '2024-01-01 00:00:00.6', time with time zone '12:00+00';
SELECT date '2024-01-01' AT TIME ZONE 'UTC';
SELECT 1 ISNULL, 1 NOTNULL;
SELECT nullif(1, 1) IS NULL IS TRUE;
SELECT * FROM rt AS x (a, b);
SELECT x.* FROM (VALUES (1, 2)) AS x (a, b);
SELECT FROM rt;
SELECT ALL n FROM rt;
SELECT count(DISTINCT n), count(ALL n) FROM rt;
SELECT string_agg(DISTINCT n::text, ',' ORDER BY n::text) FROM rt;
WITH RECURSIVE t(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM t WHERE n < 3) SELECT * FROM t;
-- refused: not written yet
WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 3) SEARCH DEPTH FIRST BY n SET o SELECT * FROM t;
WITH x AS MATERIALIZED (SELECT 1 AS a) SELECT * FROM x;
WITH x AS NOT MATERIALIZED (SELECT 1 AS a) SELECT * FROM x;
-- refused: not written yet
WITH x AS (INSERT INTO rt VALUES (50, 50) RETURNING id) SELECT * FROM x;
INSERT INTO rt AS r (id, n) VALUES (60, 1) ON CONFLICT (id) DO UPDATE SET n = r.n + 1 RETURNING r.n;
INSERT INTO rt VALUES (61, DEFAULT);
INSERT INTO rt (id) SELECT 62 ON CONFLICT DO NOTHING;
-- refused: not written yet
INSERT INTO rt (id, n) VALUES (63, 1) ON CONFLICT (id) WHERE n > 0 DO NOTHING;
UPDATE ONLY rt SET n = 5 WHERE id = 60;
-- refused: there are no composite values
UPDATE rt SET (n) = ROW(6) WHERE id = 60;
-- refused: there are no cursors in SQL
UPDATE rt SET n = 1 WHERE CURRENT OF c;
DELETE FROM ONLY rt WHERE id = 60;
DELETE FROM rt r WHERE r.id = 61;
VALUES (1, 2) ORDER BY 1 LIMIT 1;
(SELECT 1) UNION (SELECT 2) ORDER BY 1 DESC;
SELECT 1 INTERSECT ALL SELECT 1;
SELECT 1 EXCEPT ALL SELECT 2;
EXECUTE nothing;
PREPARE pr (int) AS SELECT $1 + 1;
EXECUTE pr (2);
DEALLOCATE pr;
DEALLOCATE ALL;
-- differs: the parser drops the digits of an interval literal
SELECT interval(0) '1.5 s';
