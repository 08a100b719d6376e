CREATE TABLE p (id int PRIMARY KEY, name text, boss int, pay numeric(8,2), since date, tags text[], doc jsonb);
INSERT INTO p VALUES (1, 'ann', NULL, 100.50, '2020-01-01', '{a,b}', '{"k": 1, "l": [1, 2]}'), (2, 'bob', 1, 50, '2021-06-01', '{}', '{"k": "x"}'), (3, 'cat', 1, NULL, NULL, NULL, NULL), (4, 'dan', 2, 75.25, '2019-03-03', '{c,NULL}', '{}'), (5, NULL, 2, 75.25, '2022-02-02', '{a}', '[1, null, true]');
SELECT * FROM p ORDER BY id;
SELECT * FROM p ORDER BY boss, id DESC;
SELECT id FROM p ORDER BY name NULLS FIRST;
SELECT id FROM p ORDER BY name DESC;
SELECT id FROM p ORDER BY pay DESC NULLS LAST, id;
SELECT id, pay FROM p ORDER BY 2, 1 LIMIT 3 OFFSET 1;
SELECT id FROM p ORDER BY id FETCH FIRST 2 ROWS ONLY;
SELECT id FROM p ORDER BY id LIMIT ALL OFFSET 3;
SELECT id FROM p LIMIT -1;
SELECT id FROM p ORDER BY id + 1 DESC LIMIT 2;
SELECT id AS x FROM p ORDER BY x LIMIT 1;
SELECT id FROM p ORDER BY 9;
SELECT count(*), count(name), count(DISTINCT boss), sum(pay), avg(pay), min(name), max(since) FROM p;
SELECT sum(pay), avg(id), min(id) FROM p WHERE FALSE;
SELECT boss, count(*), sum(pay) FROM p GROUP BY boss ORDER BY boss;
SELECT boss, count(*) FROM p GROUP BY boss HAVING count(*) > 1 ORDER BY 1;
SELECT boss, name FROM p GROUP BY boss;
SELECT name FROM p WHERE count(*) > 1;
SELECT boss, count(*) FROM p GROUP BY ROLLUP (boss) ORDER BY 1, 2;
SELECT boss, id % 2, count(*) FROM p GROUP BY GROUPING SETS ((boss), (id % 2), ()) ORDER BY 1, 2, 3;
SELECT DISTINCT boss FROM p ORDER BY boss;
SELECT DISTINCT ON (boss) boss, id, name FROM p ORDER BY boss, id DESC;
SELECT DISTINCT ON (boss) boss, id FROM p ORDER BY id;
SELECT string_agg(name, ', ' ORDER BY name), array_agg(id ORDER BY id DESC), bool_and(id > 0), bool_or(id > 4), every(id < 3) FROM p;
SELECT array_agg(name ORDER BY id), json_agg(id ORDER BY id), jsonb_agg(name ORDER BY id) FROM p;
-- refused: not written yet
SELECT jsonb_object_agg(id, name) FROM p;
SELECT sum(id) FILTER (WHERE boss = 1), count(*) FILTER (WHERE pay > 60) FROM p;
SELECT stddev(id), variance(id), stddev_pop(id), var_pop(pay) FROM p;
-- refused: not written yet
SELECT corr(id, pay) FROM p;
-- refused: not written yet
SELECT mode() WITHIN GROUP (ORDER BY boss) FROM p;
SELECT a.name, b.name FROM p a JOIN p b ON a.boss = b.id ORDER BY a.id;
SELECT a.id, b.id FROM p a LEFT JOIN p b ON a.boss = b.id ORDER BY 1;
SELECT a.id, b.id FROM p a RIGHT JOIN p b ON a.boss = b.id ORDER BY 1, 2;
SELECT a.id, b.id FROM p a FULL JOIN p b ON a.boss = b.id AND b.id = 1 ORDER BY 1, 2;
SELECT count(*) FROM p a CROSS JOIN p b;
SELECT count(*) FROM p a, p b WHERE a.id < b.id;
SELECT id FROM p JOIN (SELECT id FROM p WHERE pay > 60) q USING (id) ORDER BY id;
SELECT * FROM (VALUES (1, 'x'), (2, 'y')) v (a, b) NATURAL JOIN (VALUES (1, 10), (3, 30)) w (a, c);
SELECT id FROM p a JOIN p b ON a.id = b.id;
SELECT z.id FROM p;
SELECT p.nothing FROM p;
SELECT name FROM p WHERE boss = (SELECT id FROM p WHERE name = 'ann') ORDER BY id;
SELECT name FROM p WHERE boss = (SELECT id FROM p);
SELECT id, (SELECT count(*) FROM p q WHERE q.boss = p.id) FROM p ORDER BY id;
SELECT id FROM p WHERE EXISTS (SELECT 1 FROM p q WHERE q.boss = p.id) ORDER BY id;
SELECT id FROM p WHERE id NOT IN (SELECT boss FROM p WHERE boss IS NOT NULL) ORDER BY id;
SELECT id FROM p WHERE id NOT IN (SELECT boss FROM p);
-- refused: rows are compared column by column, and a subquery has none of its own
SELECT id FROM p WHERE (id, boss) IN (SELECT id, boss FROM p WHERE boss = 2) ORDER BY 1;
SELECT id FROM p WHERE pay > ALL (SELECT pay FROM p WHERE id IN (2, 4)) ORDER BY 1;
SELECT id FROM p WHERE pay = ANY (SELECT pay FROM p WHERE id > 3) ORDER BY 1;
-- refused: the planner has no join with what depends on its other side
SELECT p.id, l.x FROM p, LATERAL (SELECT p.id * 10 AS x) l ORDER BY 1;
-- refused: the planner has no join with what depends on its other side
SELECT p.id, q.id FROM p LEFT JOIN LATERAL (SELECT id FROM p q WHERE q.boss = p.id ORDER BY id LIMIT 1) q ON TRUE ORDER BY 1;
WITH t AS (SELECT id, boss FROM p WHERE id < 4) SELECT * FROM t WHERE boss = 1 ORDER BY id;
WITH RECURSIVE chain AS (SELECT id, name, 0 AS depth FROM p WHERE boss IS NULL UNION ALL SELECT p.id, p.name, depth + 1 FROM p JOIN chain ON p.boss = chain.id) SELECT * FROM chain ORDER BY depth, id;
WITH RECURSIVE n AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM n WHERE x < 10) SELECT sum(x), max(x) FROM n;
WITH RECURSIVE n(x) AS (VALUES (1) UNION SELECT (x + 1) % 5 FROM n) SELECT x FROM n ORDER BY x;
WITH RECURSIVE fib(a, b) AS (SELECT 0, 1 UNION ALL SELECT b, a + b FROM fib WHERE b < 100) SELECT a FROM fib ORDER BY a;
WITH a AS MATERIALIZED (SELECT 1 AS x), b AS NOT MATERIALIZED (SELECT x + 1 AS y FROM a) SELECT * FROM a, b;
SELECT id, row_number() OVER (ORDER BY pay DESC, id), rank() OVER (ORDER BY pay), dense_rank() OVER (ORDER BY pay), sum(pay) OVER (ORDER BY id) FROM p ORDER BY id;
SELECT id, lag(id) OVER w, lead(id, 2, -1) OVER w, first_value(id) OVER w, last_value(id) OVER w, nth_value(id, 2) OVER w FROM p WINDOW w AS (PARTITION BY boss ORDER BY id) ORDER BY id;
SELECT id, sum(id) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING), avg(id) OVER (ORDER BY id RANGE UNBOUNDED PRECEDING), ntile(2) OVER (ORDER BY id), percent_rank() OVER (ORDER BY id), cume_dist() OVER (ORDER BY id) FROM p ORDER BY id;
SELECT boss, sum(count(*)) OVER (ORDER BY boss) FROM p GROUP BY boss ORDER BY boss;
SELECT 1 UNION SELECT 2 UNION SELECT 1 ORDER BY 1;
SELECT 1 UNION ALL SELECT 2.5 ORDER BY 1;
SELECT 1 UNION SELECT 'x';
SELECT 1 UNION SELECT NULL ORDER BY 1;
SELECT id FROM p INTERSECT SELECT boss FROM p ORDER BY 1;
SELECT id FROM p EXCEPT SELECT boss FROM p ORDER BY 1;
SELECT 1, 2 UNION SELECT 1;
(SELECT id FROM p ORDER BY id DESC LIMIT 1) UNION ALL (SELECT id FROM p ORDER BY id LIMIT 1) ORDER BY 1;
VALUES (1, 'a'), (2, 'b');
VALUES (1), ('x');
TABLE p;
SELECT generate_series(1, 3);
SELECT * FROM generate_series(1, 10, 4);
SELECT * FROM generate_series(3, 1, -1) AS g(x);
SELECT unnest(ARRAY[1, 2, 3]);
-- refused: not written yet
SELECT * FROM unnest(ARRAY['a', 'b']) WITH ORDINALITY AS u(x, n);
SELECT id, unnest(tags) FROM p WHERE id IN (1, 4) ORDER BY 1, 2;
-- refused: the planner has no join with what depends on its other side
SELECT id, t FROM p, unnest(tags) t ORDER BY 1, 2;
-- differs: the parser takes a subscript behind an array's brackets too
SELECT ARRAY[1, 2][1];
SELECT ARRAY[1, 2] || 3, 0 || ARRAY[1], ARRAY[1] || ARRAY[2, 3], (ARRAY['a', 'b'])[3], array_length(ARRAY[1, 2], 1), cardinality(ARRAY[]::int[]), '{1,2}'::int[];
SELECT ARRAY[1, 2] @> ARRAY[1], ARRAY[1] <@ ARRAY[1, 2], ARRAY[1, 2] && ARRAY[2, 3], 1 = ANY (ARRAY[1, 2]), 3 <> ALL (ARRAY[1, 2]), ARRAY[1, 2] = ARRAY[1, 2], ARRAY[1, 2] < ARRAY[1, 3];
SELECT array_append(ARRAY[1], 2), array_prepend(0, ARRAY[1]), array_cat(ARRAY[1], ARRAY[2]), array_remove(ARRAY[1, 2, 1], 1), array_replace(ARRAY[1, 2], 1, 9), array_position(ARRAY['a', 'b'], 'b'), array_to_string(ARRAY[1, 2], '-');
SELECT (ARRAY[1, 2, 3, 4])[2:3];
-- refused: arrays are of one dimension
SELECT ARRAY[[1, 2], [3, 4]];
SELECT ARRAY[1, 'x'];
SELECT '{1,x}'::int[];
SELECT '{"a b",NULL,"NULL","c\"d"}'::text[];
SELECT ARRAY(SELECT id FROM p ORDER BY id);
SELECT doc->'k', doc->>'k', doc->'l'->0, doc#>'{l,1}', doc#>>'{l,1}', doc ? 'k', doc @> '{"k": 1}' FROM p ORDER BY id;
SELECT '{"a": 1}'::jsonb || '{"b": 2}', '{"a": 1, "b": 2}'::jsonb - 'a', '[1, 2, 3]'::jsonb - 1, '{"a": {"b": 1}}'::jsonb #- '{a,b}', '{"a": 1}'::jsonb ?| ARRAY['a', 'x'], '{"a": 1}'::jsonb ?& ARRAY['a', 'x'];
SELECT jsonb_build_object('a', 1, 'b', NULL), jsonb_build_array(1, 'x', TRUE), to_jsonb('x'::text), to_json(1.5), json_build_object('a', ARRAY[1, 2]), jsonb_set('{"a": 1}', '{a}', '2'), jsonb_set('{}', '{b}', '"x"');
SELECT jsonb_typeof('[]'), jsonb_array_length('[1, 2]'), jsonb_pretty('{"a": 1}'), jsonb_strip_nulls('{"a": null, "b": 1}'), '{"b": 1, "a": 2, "b": 3}'::jsonb, '{"b": 1, "a": 2}'::json;
SELECT * FROM jsonb_each('{"a": 1, "b": "x"}');
SELECT * FROM jsonb_array_elements('[1, {"a": 2}]');
SELECT jsonb_object_keys('{"a": 1, "b": 2}');
SELECT '{bad'::jsonb;
SELECT '1'::jsonb = '1.0'::jsonb, '"a"'::jsonb < '"b"'::jsonb, 'null'::jsonb IS NULL, '{"a":1}'::jsonb->'b' IS NULL;
-- refused: there are no composite values
SELECT row_to_json(t) FROM (SELECT id, name FROM p WHERE id = 1) t;
-- refused: there are no composite values
SELECT p FROM p WHERE id = 2;
-- refused: there are no composite values
SELECT (p).name FROM p WHERE id = 2;
SELECT id, CASE WHEN pay > 70 THEN 'high' WHEN pay IS NULL THEN 'none' ELSE 'low' END AS level FROM p ORDER BY id;
SELECT id FROM p WHERE since BETWEEN '2020-01-01' AND '2021-12-31' ORDER BY id;
SELECT id FROM p WHERE name LIKE '%a%' ORDER BY id;
SELECT id FROM p WHERE name IN ('ann', 'bob') AND NOT boss IS NULL;
SELECT id FROM p WHERE boss IS DISTINCT FROM 1 ORDER BY id;
SELECT extract(year FROM since) y, count(*) FROM p GROUP BY y ORDER BY y;
SELECT id FROM p WHERE id = '3';
SELECT id FROM p WHERE id = 'x';
SELECT id FROM p WHERE name = 5;
SELECT id FROM p WHERE id = 3.0;
SELECT id FROM p WHERE id = 3.5;
SELECT id FROM p WHERE id > 3000000000;
SELECT id FROM p WHERE name;
SELECT p.* FROM p WHERE id = 1;
SELECT q.* FROM p WHERE id = 1;
SELECT id id2, id id2 FROM p WHERE id = 1;
SELECT sum(1 / (id - 3)) FROM p;
SELECT max(pay) FILTER (WHERE id < 0), coalesce(sum(pay), 0) FROM p WHERE id < 0;
SELECT sum(9223372036854775807::int8 * 1) FROM generate_series(1, 3);
SELECT sum(2147483647) FROM generate_series(1, 3);
-- refused: not written yet
SELECT count(*) FROM p TABLESAMPLE BERNOULLI (100);
-- refused: lock_timeout says how long to wait
SELECT id FROM p FOR UPDATE NOWAIT;
-- refused: as CREATE TABLE AS
SELECT 1 INTO newtable;
-- refused: a transaction is serializable without it
SELECT * FROM p WHERE id = 1 FOR SHARE;
SELECT now() - now() = interval '0', pg_backend_pid() > 0, current_user, current_database(), current_schema();
SELECT to_char(pay, '999.99') FROM p ORDER BY id;
SELECT name COLLATE "C" FROM p ORDER BY name COLLATE "C" LIMIT 1;
SELECT NULL::int + 1, NULL || 'a', NULL AND FALSE;
SELECT coalesce(name, 'none') || '!' FROM p ORDER BY id;
SELECT greatest(pay, 60), least(since, '2020-06-01') FROM p ORDER BY id;
SELECT grouping(boss), boss, count(*) FROM p GROUP BY CUBE (boss) ORDER BY 1, 2;
CREATE TABLE ja (y int, x int);
CREATE TABLE jb (x int, z int);
INSERT INTO ja VALUES (1, 10), (2, 20);
INSERT INTO jb VALUES (20, 200), (30, 300);
SELECT * FROM ja JOIN jb USING (x);
SELECT * FROM ja RIGHT JOIN jb USING (x) ORDER BY x;
SELECT * FROM ja FULL JOIN jb USING (x) ORDER BY x;
SELECT * FROM ja NATURAL FULL JOIN jb ORDER BY x;
SELECT * FROM ja a JOIN jb b USING (x) JOIN ja c USING (x, y) ORDER BY x;
SELECT a.*, b.* FROM ja a FULL JOIN jb b USING (x) ORDER BY 2, 3;
SELECT x, count(*), max(z) FROM ja FULL JOIN jb USING (x) WHERE x > 10 GROUP BY x ORDER BY x;
SELECT x::text, sum(x) OVER (ORDER BY x) FROM ja FULL JOIN jb USING (x) ORDER BY x;
SELECT y, x IN (SELECT x FROM jb), x NOT IN (SELECT x FROM jb), x = ANY (SELECT x FROM jb), x IN (SELECT NULL::int) FROM ja ORDER BY y;
SELECT (SELECT 1 WHERE false), (SELECT x FROM jb WHERE x = 99 GROUP BY x) IS NULL, (SELECT DISTINCT x FROM jb WHERE x = 99) IS NULL, (SELECT count(*) FROM jb WHERE x = 99);
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY x) FROM jb;
SELECT max(max(x)) FROM jb;
