use std::collections::BTreeSet;
use std::sync::Arc;

use super::context::split_name;
use super::functions::compute;
use super::*;
use crate::arrow::DatumBuilder;
use crate::catalog::{
    Catalog, CheckDescriptor, ColumnDescriptor, DatabaseDescriptor, Descriptor, Identity, IndexColumn, IndexDescriptor,
    SchemaDescriptor, SequenceDescriptor, TableDescriptor,
};
use crate::session::{RowIds, SessionBase, SessionView};
use crate::types::{Datum, Names, PgType, TypeSettings, to_text};

fn column(id: u32, name: &str, ty: PgType) -> ColumnDescriptor {
    ColumnDescriptor {
        id,
        name: name.into(),
        ty,
        typmod: -1,
        nullable: true,
        default: None,
        missing: None,
        identity: None,
        sequence_id: None,
        hidden: false,
    }
}

fn index(id: u32, name: &str, columns: &[(u32, bool, bool)]) -> IndexDescriptor {
    let columns = columns.iter().map(|(column_id, descending, nulls_first)| IndexColumn {
        column_id: *column_id,
        descending: *descending,
        nulls_first: *nulls_first,
    });
    IndexDescriptor {
        id,
        index_id: id,
        name: name.into(),
        columns: columns.collect(),
        unique: false,
        constraint: false,
    }
}

fn table(id: u32, schema_id: u32, name: &str, columns: Vec<ColumnDescriptor>) -> TableDescriptor {
    TableDescriptor {
        id,
        version: 1,
        schema_id,
        name: name.into(),
        owner: "postgres".into(),
        next_column_id: columns.len() as u32 + 1,
        columns,
        primary: index(id + 1, &format!("{name}_pkey"), &[(1, false, false)]),
        has_primary_key: true,
        indexes: Vec::new(),
        checks: Vec::new(),
        options: Vec::new(),
        lock: None,
    }
}

/// Orders with everything a table can have, one without a key, one out of sight, one in another database.
fn catalog() -> Catalog {
    let mut catalog = Catalog::default();
    for (id, name, public) in [(5, "postgres", 2200), (4, "defaultdb", 2201)] {
        let owner = || "postgres".to_owned();
        catalog.insert(Descriptor::Database(DatabaseDescriptor { id, name: name.into(), owner: owner() }));
        let schema = SchemaDescriptor { id: public, database_id: id, name: "public".into(), owner: owner() };
        catalog.insert(Descriptor::Schema(schema));
    }
    let other = SchemaDescriptor { id: 16_384, database_id: 5, name: "Other".into(), owner: "root".into() };
    catalog.insert(Descriptor::Schema(other));

    let mut id = column(1, "id", PgType::Int4);
    (id.nullable, id.default, id.sequence_id) =
        (false, Some("nextval('orders_id_seq'::regclass)".into()), Some(16_410));
    let mut price = column(2, "price", PgType::Numeric);
    price.typmod = crate::types::numeric::numeric_typmod(10, 2);
    let mut number = column(4, "number", PgType::Int8);
    (number.nullable, number.identity, number.sequence_id) = (false, Some(Identity::Always), Some(16_411));
    let columns = vec![id, price, column(3, "at", PgType::TimestampTz), number, column(5, "tags", PgType::TextArray)];
    let mut orders = table(16_400, 2200, "orders", columns);
    orders.primary.unique = true;
    let mut unique = index(16_403, "orders_number_key", &[(4, false, false)]);
    (unique.unique, unique.constraint) = (true, true);
    orders.indexes = vec![index(16_402, "orders_at", &[(3, true, true), (2, false, true), (1, true, false)]), unique];
    orders.checks = vec![CheckDescriptor {
        id: 16_404,
        name: "orders_price_check".into(),
        expression: "price > 0".into(),
        not_valid: false,
    }];
    orders.options = vec![("fillfactor".into(), "100".into())];
    catalog.insert(Descriptor::Table(Box::new(orders)));
    for (id, name, column_id) in [(16_410, "orders_id_seq", 1), (16_411, "orders_number_seq", 4)] {
        catalog.insert(Descriptor::Sequence(SequenceDescriptor {
            id,
            schema_id: 2200,
            name: name.into(),
            owner: "postgres".into(),
            ty: PgType::Int8,
            start: 1,
            increment: 1,
            min: 1,
            max: i64::MAX,
            cycle: false,
            cache: 0,
            owned_by: Some((16_400, column_id)),
        }));
    }
    let mut row_id = column(2, "rowid", PgType::Int8);
    (row_id.hidden, row_id.nullable) = (true, false);
    let mut keyless = table(16_420, 2200, "keyless", vec![column(1, "a", PgType::Bpchar), row_id]);
    (keyless.has_primary_key, keyless.primary) = (false, index(16_421, "keyless_rowid", &[(2, false, false)]));
    catalog.insert(Descriptor::Table(Box::new(keyless)));
    catalog.insert(Descriptor::Table(Box::new(table(16_430, 16_384, "far", vec![column(1, "a", PgType::Int4)]))));
    catalog.insert(Descriptor::Table(Box::new(table(16_440, 2201, "foreign", vec![column(1, "a", PgType::Int4)]))));
    catalog
}

fn context() -> Context {
    let base = SessionBase {
        user: "root".into(),
        database: "postgres".into(),
        database_id: 5,
        search_path: vec!["root".into(), "public".into()],
        timezone: crate::types::TimeZone::UTC,
        backend_pid: 7,
        settings: [("server_version".to_owned(), "15.0".to_owned())].into(),
        random: clock::Random::from_seed(1),
        row_ids: Arc::new(RowIds::new(1, 0)),
        timeouts: crate::session::Timeouts::default(),
        asked_settings: crate::session::AskedSettings::default(),
    };
    let session = SessionView { base: Arc::new(base), types: TypeSettings::default() };
    Context { catalog: Arc::new(catalog()), session: Arc::new(session) }
}

/// The rows of a table as text, `column=value` for the columns wanted.
fn shown(context: &Context, name: &str, wanted: &[&str], keep: impl Fn(&str) -> bool) -> Vec<String> {
    let (schema, name) = name.split_once('.').unwrap_or(("pg_catalog", name));
    let table = super::table(schema, name).expect("a system table");
    let settings = TypeSettings { names: Some(Arc::new(context.clone())), ..TypeSettings::default() };
    let place = |name: &&str| table.columns.iter().position(|column| column.name == *name).expect("a column");
    let places: Vec<usize> = wanted.iter().map(place).collect();
    let text = |row: &crate::session::Row| {
        let value = |place: &usize| match &row[*place] {
            Datum::Null => "NULL".to_owned(),
            datum => to_text(datum, table.columns[*place].ty, -1, &settings),
        };
        places.iter().map(value).collect::<Vec<_>>().join("|")
    };
    table.rows(context).iter().map(text).filter(|row| keep(row)).collect()
}

fn call(context: &Context, name: &str, arguments: &[Datum]) -> String {
    match compute(name, context, arguments) {
        Datum::Null => "NULL".to_owned(),
        datum => to_text(&datum, datum.natural_type().expect("not NULL"), -1, &TypeSettings::default()),
    }
}

#[test]
fn every_row_has_its_tables_columns() {
    let context = context();
    for table in tables() {
        for row in table.rows(&context) {
            assert_eq!(row.len(), table.columns.len(), "{}", table.name);
            for (datum, column) in row.iter().zip(&table.columns) {
                let built = DatumBuilder::new(column.ty, 1).push(datum);
                assert!(built.is_ok(), "{}.{} is {datum:?}", table.name, column.name);
            }
        }
    }
}

#[test]
fn oids_are_unique_in_each_catalog() {
    let context = context();
    for table in tables().filter(|table| table.columns[0].name == "oid") {
        let mut seen = BTreeSet::new();
        for row in table.rows(&context) {
            assert!(seen.insert(row[0].as_i64()), "{} has {:?} twice", table.name, row[0]);
        }
    }
}

#[test]
fn types_are_those_there_are() {
    let context = context();
    let rows =
        shown(&context, "pg_type", &["oid", "typname", "typelem", "typarray", "typcategory", "typlen"], |_| true);
    for row in &rows {
        let fields: Vec<&str> = row.split('|').collect();
        let ty = PgType::from_oid(fields[0].parse().expect("an OID")).expect("a known type");
        assert_eq!(fields[1], ty.typname());
        // record[] is a pseudo-type too.
        let category = if ty == PgType::RecordArray { 'P' } else { ty.category() };
        assert_eq!(fields[4], category.to_string(), "{ty:?}");
        assert_eq!(fields[5], ty.typlen().to_string(), "{ty:?}");
        if ty.is_array() {
            assert_eq!(fields[2], ty.element().map_or(0, PgType::oid).to_string(), "{ty:?}");
        }
    }
    let functions: BTreeSet<String> = shown(&context, "pg_proc", &["oid"], |_| true).into_iter().collect();
    let receive = super::table("pg_catalog", "pg_type").expect("it is there");
    let place = receive.columns.iter().position(|column| column.name == "typreceive").expect("a column");
    for row in receive.rows(&context) {
        let oid = row[place].as_i64().expect("an OID");
        assert!(oid == 0 || functions.contains(&oid.to_string()), "{row:?}");
    }
    assert_eq!(
        shown(&context, "pg_type", &["typname", "typinput"], |row| row.starts_with("_int4")),
        ["_int4|array_in"]
    );
}

#[test]
fn relations_are_those_of_the_database() {
    let context = context();
    let user =
        |row: &str| row.split('|').next().and_then(|oid| oid.parse::<u32>().ok()).is_some_and(|oid| oid >= 16_384);
    assert_eq!(
        shown(&context, "pg_class", &["oid", "relname", "relkind", "relnatts", "relchecks", "reloptions"], user),
        [
            "16400|orders|r|5|1|{fillfactor=100}",
            "16401|orders_pkey|i|1|0|NULL",
            "16402|orders_at|i|3|0|NULL",
            "16403|orders_number_key|i|1|0|NULL",
            "16420|keyless|r|1|0|NULL",
            "16430|far|r|1|0|NULL",
            "16431|far_pkey|i|1|0|NULL",
            "16410|orders_id_seq|S|3|0|NULL",
            "16411|orders_number_seq|S|3|0|NULL",
        ]
    );
    assert_eq!(
        shown(&context, "pg_attribute", &["attrelid", "attnum", "attname", "atthasdef", "attidentity"], |row| {
            row.starts_with("16400|") || row.starts_with("16420|")
        }),
        ["16400|1|id|t|", "16400|2|price|f|", "16400|3|at|f|", "16400|4|number|f|a", "16400|5|tags|f|", "16420|1|a|f|",]
    );
    assert_eq!(
        shown(&context, "pg_index", &["indexrelid", "indkey", "indoption", "indisprimary", "indclass"], user),
        ["16401|1|0|t|1978", "16402|3 2 1|3 2 1|f|3127 3125 1978", "16403|4|0|f|3124", "16431|1|0|t|1978",]
    );
    assert_eq!(
        shown(&context, "pg_constraint", &["oid", "conname", "contype", "conkey", "conindid"], user),
        [
            "16401|orders_pkey|p|{1}|16401",
            "16403|orders_number_key|u|{4}|16403",
            "16404|orders_price_check|c|{2}|0",
            "16431|far_pkey|p|{1}|16431",
        ]
    );
    assert_eq!(
        shown(&context, "pg_depend", &["objid", "refobjid", "refobjsubid", "deptype"], |row| row.starts_with("1641")),
        ["16410|16400|1|a", "16411|16400|4|i"]
    );
}

#[test]
fn information_schema_speaks_the_standard() {
    let context = context();
    let names = [
        "table_name",
        "column_name",
        "data_type",
        "numeric_precision",
        "numeric_scale",
        "column_default",
        "is_nullable",
    ];
    assert_eq!(
        shown(&context, "information_schema.columns", &names, |row| row.starts_with("orders|")),
        [
            "orders|id|integer|32|0|nextval('orders_id_seq'::regclass)|NO",
            "orders|price|numeric|10|2|NULL|YES",
            "orders|at|timestamp with time zone|NULL|NULL|NULL|YES",
            "orders|number|bigint|64|0|NULL|NO",
            "orders|tags|ARRAY|NULL|NULL|NULL|YES",
        ]
    );
    let names = ["constraint_name", "table_name", "constraint_type"];
    assert_eq!(
        shown(&context, "information_schema.table_constraints", &names, |row| row.contains("|orders|")),
        [
            "orders_pkey|orders|PRIMARY KEY",
            "orders_number_key|orders|UNIQUE",
            "orders_price_check|orders|CHECK",
            "2200_16400_1_not_null|orders|CHECK",
            "2200_16400_4_not_null|orders|CHECK",
        ]
    );
    let sequences = shown(&context, "information_schema.sequences", &["sequence_name"], |_| true);
    assert_eq!(sequences, ["orders_id_seq"]);
}

#[test]
fn definitions_are_written_as_postgresql_writes_them() {
    let context = context();
    let oid = Datum::Oid;
    let cases = [
        ("pg_get_indexdef", vec![oid(16_401)], "CREATE UNIQUE INDEX orders_pkey ON public.orders USING btree (id)"),
        (
            "pg_get_indexdef",
            vec![oid(16_402), Datum::Int4(0), Datum::Bool(true)],
            "CREATE INDEX orders_at ON public.orders USING btree (at DESC, price NULLS FIRST, id DESC NULLS LAST)",
        ),
        ("pg_get_indexdef", vec![oid(16_402), Datum::Int8(2), Datum::Bool(true)], "price"),
        ("pg_get_constraintdef", vec![oid(16_401)], "PRIMARY KEY (id)"),
        ("pg_get_constraintdef", vec![oid(16_403), Datum::Bool(true)], "UNIQUE (number)"),
        ("pg_get_constraintdef", vec![oid(16_404), Datum::Bool(true)], "CHECK (price > 0)"),
        ("pg_get_constraintdef", vec![oid(16_404)], "CHECK ((price > 0))"),
        ("pg_get_serial_sequence", vec!["orders".into(), "id".into()], "public.orders_id_seq"),
        ("pg_get_userbyid", vec![oid(10)], "postgres"),
        ("pg_get_userbyid", vec![oid(99)], "unknown (OID=99)"),
        ("format_type", vec![oid(1700), Datum::Int4(crate::types::numeric::numeric_typmod(10, 2))], "numeric(10,2)"),
        ("format_type", vec![oid(1042), Datum::Null], "character"),
        ("format_type", vec![oid(1042), Datum::Int4(-1)], "bpchar"),
        ("format_type", vec![oid(77), Datum::Null], "???"),
        ("pg_get_function_arguments", vec![oid(2108)], "integer"),
        ("current_schemas", vec![Datum::Bool(true)], "{pg_catalog,public}"),
        ("current_schemas", vec![Datum::Bool(false)], "{public}"),
        ("pg_size_pretty", vec![Datum::Int8(10_239)], "10239 bytes"),
        ("pg_size_pretty", vec![Datum::Int8(10_240)], "10 kB"),
        ("pg_size_pretty", vec![Datum::Int8(7_822_648)], "7639 kB"),
        ("pg_size_pretty", vec![Datum::Int8(-123_456_789_012)], "-115 GB"),
        ("current_setting", vec!["SERVER_VERSION".into()], "15.0"),
        ("quote_ident", vec!["select".into()], "\"select\""),
    ];
    for (name, arguments, expected) in cases {
        assert_eq!(call(&context, name, &arguments), expected, "{name}{arguments:?}");
    }
}

#[test]
fn the_search_path_decides_what_a_name_means() {
    let context = context();
    let visible = |oid| call(&context, "pg_table_is_visible", &[Datum::Oid(oid)]);
    assert_eq!(
        [visible(16_400), visible(16_430), visible(1259), visible(16_440), visible(9)],
        ["t", "f", "t", "f", "NULL"]
    );
    assert_eq!(context.relation_oid("ORDERS"), Some(16_400));
    assert_eq!(context.relation_oid("\"ORDERS\""), None);
    assert_eq!(context.relation_oid("\"Other\".far"), Some(16_430));
    assert_eq!(context.relation_oid("postgres.public.orders_at"), Some(16_402));
    assert_eq!(context.relation_oid("pg_class"), Some(1259));
    assert_eq!(context.relation_oid("foreign"), None);
    assert_eq!(context.relation_name(16_430).as_deref(), Some("\"Other\".far"));
    assert_eq!(context.relation_name(16_400).as_deref(), Some("orders"));
    assert_eq!(context.function_oid("array_in"), Some(750));
    assert_eq!(split_name("a.\"b\"\"c.d\""), Some(vec!["a".into(), "b\"c.d".into()]));
    assert_eq!(split_name("a..b"), None);
    assert_eq!(split_name("\"a"), None);
}
