SELECT length('héllo'), char_length('héllo'), octet_length('héllo'), bit_length('a');
SELECT upper('héllo'), lower('HÉLLO'), initcap('hello wORLD');
SELECT substring('hello' FROM 2 FOR 3), substring('hello', 2), substr('hello', -1, 3), substring('hello' FROM 0 FOR 2), substring('hello' FROM 'l+');
SELECT substring('hello', 2, -1);
SELECT left('hello', 2), left('hello', -2), right('hello', 2), right('hello', -2);
SELECT position('l' IN 'hello'), strpos('hello', 'z'), strpos('hello', 'lo');
SELECT trim('  a '), ltrim('xxa', 'x'), rtrim('axx', 'x'), btrim('xax', 'x'), trim(BOTH 'x' FROM 'xax'), trim(LEADING FROM '  a');
SELECT lpad('5', 3, '0'), rpad('5', 3, 'ab'), lpad('hello', 2), lpad('a', 3);
SELECT replace('hello', 'l', 'L'), translate('hello', 'el', 'ip'), reverse('abc'), repeat('ab', 3), repeat('a', -1);
SELECT split_part('a,b,c', ',', 2), split_part('a,b,c', ',', -1), split_part('a,b', ',', 5);
SELECT split_part('a,b', ',', 0);
SELECT concat('a', 1, NULL, TRUE), concat_ws(',', 'a', NULL, 'b', 3), concat();
SELECT ascii('A'), chr(65), chr(233), md5('hello'), to_hex(255), quote_literal('it''s'), quote_ident('a b'), quote_nullable(NULL);
SELECT chr(0);
SELECT format('%s is %I = %L', 'x', 'my col', 'it''s'), format('%2$s %1$s', 'a', 'b'), format('%%'), format('%5s|%-5s|', 'a', 'b');
SELECT overlay('hello' PLACING 'XX' FROM 2 FOR 3), overlay('hello' placing 'YY' from 3);
SELECT starts_with('hello', 'he'), 'hello' ^@ 'he';
SELECT 'hello' LIKE 'h%', 'hello' LIKE '_ello', 'hello' NOT LIKE 'x%', 'HELLO' ILIKE 'h%', 'a%b' LIKE 'a\%b', 'a%b' LIKE 'a#%b' ESCAPE '#';
SELECT 'hello' ~ '^h.*o$', 'HELLO' ~* 'hello', 'hello' !~ 'z', 'hello' !~* 'HELLO';
SELECT regexp_replace('hello world', 'o', '0'), regexp_replace('hello world', 'o', '0', 'g'), regexp_replace('abc', '(b)', '[\1]'), regexp_match('foobar', 'o+'), regexp_match('x', 'y');
SELECT regexp_split_to_array('a1b2c', '\d'), regexp_count('banana', 'a'), regexp_substr('foobar', 'o+');
SELECT string_to_array('a,b,c', ','), array_to_string(ARRAY[1, 2, NULL, 3], ','), array_to_string(ARRAY[1, NULL], ',', '*');
SELECT encode('abc'::bytea, 'hex'), encode('abc'::bytea, 'base64'), decode('616263', 'hex'), encode('\x00ff'::bytea, 'escape'), '\xdeadbeef'::bytea, 'abc'::bytea;
SELECT decode('zz', 'hex');
SELECT '\xzz'::bytea;
SELECT length('\x0011'::bytea), 'a'::bytea || 'b'::bytea, get_byte('\x0102'::bytea, 1), substring('\x010203'::bytea FROM 2 FOR 1);
SELECT sha256('abc'::bytea), md5('abc'::bytea);
SELECT to_char(1234.5, '9999.99'), to_char(1234.5, 'FM9,999.00'), to_char(-5, '999'), to_char(0.5, '0.00'), to_char(12, '0000'), to_char(5, 'RN');
SELECT to_number('1,234.5', '9,999.9'), to_number('-12', 'S99');
SELECT string_agg(x, ',' ORDER BY x DESC) FROM (VALUES ('a'), ('c'), ('b')) v(x);
SELECT 'abc' COLLATE "C" < 'abd';
SELECT 'a' < 'B', 'a' COLLATE "C" < 'B';
SELECT ('x' || generate_series)::text FROM generate_series(1, 3);
SELECT string_to_table('a,b', ',');
-- refused: not written yet
SELECT 'hello' SIMILAR TO 'h(e|a)llo';
-- refused: its rows are arrays
SELECT regexp_matches('foobar', '(o)(b)');
-- refused: not written yet
SELECT unistr('\0041');
SELECT 'abc'::name, 'abc'::"char";
SELECT 'foo' AS a UNION ALL SELECT 'bar' ORDER BY 1;
-- refused: not written yet
SELECT parse_ident('a.b');
-- refused: values are kept otherwise than PostgreSQL keeps them
SELECT pg_column_size(1) > 0, octet_length('abc'::text);
-- refused: there are no tables of Unicode's normal forms
SELECT normalize('é') = 'é';
SELECT gen_random_uuid() IS NOT NULL, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid, 'A0EEBC999C0B4EF8BB6D6BB9BD380A11'::uuid, '{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}'::uuid;
SELECT 'nope'::uuid;
