use super::*;

fn simplified(text: &str) -> String {
    let query = parse(text, |parser| parser.parse_query()).expect("the query parses");
    simplify(&query).to_string()
}

#[test]
fn what_can_only_be_empty_is_taken_out() {
    let cases = [
        ("SELECT a, array_length(b, 1) FROM t", "SELECT a, array_length(b, 1) FROM t"),
        (
            "SELECT polname, CASE WHEN true THEN array_to_string(ARRAY(SELECT 1), ',') END FROM pg_catalog.pg_policy p WHERE p.oid = 1 ORDER BY 1",
            "SELECT polname, CAST(NULL AS TEXT) AS case FROM pg_catalog.pg_policy p WHERE false",
        ),
        ("SELECT count(*) FROM pg_policy", "SELECT count(*) FROM pg_policy"),
        (
            "WITH pg_policy AS (SELECT 1 AS x) SELECT x + 1 FROM pg_policy",
            "WITH pg_policy AS (SELECT 1 AS x) SELECT x + 1 FROM pg_policy",
        ),
        (
            "SELECT f(i.inhparent) FROM pg_class c LEFT JOIN pg_inherits i ON c.oid = i.inhparent",
            "SELECT f(i.inhparent) FROM pg_class c LEFT JOIN pg_inherits i ON c.oid = i.inhparent",
        ),
        (
            "SELECT ARRAY(SELECT b.rolname FROM pg_auth_members m JOIN pg_roles b ON m.roleid = b.oid) AS m FROM pg_roles",
            "SELECT CAST('{}' AS TEXT[]) AS m FROM pg_roles",
        ),
        (
            "SELECT pubname, (CASE WHEN true THEN (SELECT string_agg(a, b) FROM x) END) FROM pg_publication",
            "SELECT pubname, CAST(NULL AS TEXT) FROM pg_publication WHERE false",
        ),
        (
            "SELECT (SELECT d.adbin FROM pg_attrdef d WHERE d.adrelid = a.attrelid AND a.atthasdef) FROM pg_attribute a",
            "SELECT CASE WHEN (a.atthasdef) THEN (SELECT first_value(d.adbin) AS adbin FROM pg_attrdef d \
             WHERE d.adrelid = a.attrelid) END FROM pg_attribute a",
        ),
        (
            "SELECT (SELECT c.collname FROM pg_collation c, pg_type t WHERE c.oid = a.attcollation AND \
             a.attcollation <> t.typcollation) FROM pg_attribute a",
            "SELECT (SELECT first_value(c.collname) AS collname FROM pg_collation c, pg_type t \
             WHERE c.oid = a.attcollation AND c.oid <> t.typcollation) FROM pg_attribute a",
        ),
        (
            "SELECT (SELECT f(d.x, o.relname) FROM pg_attrdef d WHERE d.adrelid = o.oid) FROM pg_class o",
            "SELECT CASE WHEN ((SELECT count(*) FROM pg_attrdef d WHERE d.adrelid = o.oid) > 0) THEN \
             f((SELECT first_value(d.x) AS x FROM pg_attrdef d WHERE d.adrelid = o.oid), o.relname) END FROM pg_class o",
        ),
        (
            "SELECT nspname NOT LIKE 'pg/_%' ESCAPE '/' FROM pg_namespace",
            "SELECT nspname NOT LIKE replace(replace('pg/_%', '\\', '\\\\'), '/', '\\') FROM pg_namespace",
        ),
        (
            "SELECT NOT EXISTS (SELECT 1 FROM pg_index x WHERE x.indrelid = c.oid) FROM pg_class c",
            "SELECT (NOT ((SELECT count(*) FROM pg_index x WHERE x.indrelid = c.oid) > 0)) FROM pg_class c",
        ),
        (
            "SELECT 1 FROM pg_class c WHERE 1 = ANY (SELECT i.indkey FROM pg_index i WHERE i.indrelid = c.oid)",
            "SELECT 1 FROM pg_class c WHERE 1 = ANY(SELECT i.indkey FROM pg_index i WHERE i.indrelid = c.oid)",
        ),
        (
            "SELECT ARRAY(SELECT rolname FROM pg_roles ORDER BY 1)",
            "SELECT (SELECT array_agg(rolname ORDER BY rolname) FROM pg_roles)",
        ),
        (
            "SELECT o.n, count(*) FROM pg_class c CROSS JOIN LATERAL (SELECT f(c.oid)) AS o(n) WHERE o.n IS NOT NULL GROUP BY 1",
            "SELECT f(c.oid) AS n, count(*) FROM pg_class c WHERE f(c.oid) IS NOT NULL GROUP BY 1",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(simplified(text), expected);
    }
}

#[test]
fn the_type_tree_needs_no_recursion() {
    let text = "WITH RECURSIVE typeinfo_tree(oid, depth) AS (SELECT 1, 2 FROM pg_type UNION ALL SELECT 3, 4) \
                SELECT DISTINCT * FROM typeinfo_tree ORDER BY depth DESC";
    let simple = simplified(text);
    assert!(simple.starts_with("WITH typeinfo_tree (oid, depth) AS (SELECT t.oid AS oid"), "{simple}");
    assert!(simple.ends_with("SELECT DISTINCT * FROM typeinfo_tree ORDER BY depth DESC"), "{simple}");
}
