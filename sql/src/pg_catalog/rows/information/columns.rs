//! `information_schema.columns`.

use super::{Context, Datum, Row, Rows, SystemTable, catalog, layout, schema, shown_columns, text, yes_or_no};
use crate::catalog::{ColumnDescriptor, Identity};
use crate::pg_catalog::rows::{has_default, optional, shown_default};
use crate::types::numeric::precision_and_scale;
use crate::types::{PgType, format_type};

const NAMES: [&str; 27] = [
    "table_catalog",
    "table_schema",
    "table_name",
    "column_name",
    "ordinal_position",
    "column_default",
    "is_nullable",
    "data_type",
    "character_maximum_length",
    "character_octet_length",
    "numeric_precision",
    "numeric_precision_radix",
    "numeric_scale",
    "datetime_precision",
    "udt_catalog",
    "udt_schema",
    "udt_name",
    "dtd_identifier",
    "is_self_referencing",
    "is_identity",
    "identity_generation",
    "identity_start",
    "identity_increment",
    "identity_maximum",
    "identity_minimum",
    "is_generated",
    "is_updatable",
];

/// The table a column is of, as far as the rows repeat it.
struct Place<'a> {
    schema: Datum,
    table: &'a str,
    updatable: bool,
}

pub(super) fn columns(table: &SystemTable, context: &Context) -> Vec<Row> {
    let mut rows = Rows::new(table, NAMES);
    for system in layout::tables() {
        let place = Place { schema: text(system.schema), table: system.name, updatable: false };
        for (at, column) in system.columns.iter().enumerate() {
            let plain = ColumnDescriptor {
                id: at as u32 + 1,
                name: column.name.to_owned(),
                ty: column.ty,
                typmod: -1,
                nullable: true,
                default: None,
                missing: None,
                identity: None,
                sequence_id: None,
                hidden: false,
            };
            rows.push(column_row(context, &place, &plain));
        }
    }
    for user in context.tables() {
        let place = Place { schema: schema(context, user.schema_id), table: &user.name, updatable: true };
        for column in shown_columns(user) {
            rows.push(column_row(context, &place, column));
        }
    }
    rows.finish()
}

fn column_row(context: &Context, place: &Place<'_>, column: &ColumnDescriptor) -> [Datum; NAMES.len()] {
    let number = Datum::Int4(column.id as i32);
    let sizes = Sizes::of(column.ty, column.typmod);
    let default = column.default.as_deref().filter(|_| has_default(column));
    let default = default.map(|default| shown_default(column, default));
    let sequence = column.identity.and(column.sequence_id).and_then(|id| context.catalog.sequence(id));
    let bound = |value: fn(&crate::catalog::SequenceDescriptor) -> i64| {
        optional(sequence.map(|sequence| value(sequence).to_string()))
    };
    let generation = column.identity.map(|identity| match identity {
        Identity::Always => "ALWAYS",
        Identity::ByDefault => "BY DEFAULT",
    });
    let of_array = column.ty.is_array() && !matches!(column.ty, PgType::Int2Vector | PgType::OidVector);
    [
        catalog(context),
        place.schema.clone(),
        text(place.table),
        text(column.name.as_str()),
        number.clone(),
        optional(default),
        yes_or_no(column.nullable),
        text(if of_array { "ARRAY".to_owned() } else { format_type(column.ty, -1) }),
        sizes.characters,
        sizes.octets,
        sizes.precision,
        sizes.radix,
        sizes.scale,
        sizes.datetime,
        catalog(context),
        text("pg_catalog"),
        text(column.ty.typname()),
        text(column.id.to_string()),
        yes_or_no(false),
        yes_or_no(column.identity.is_some()),
        optional(generation),
        bound(|sequence| sequence.start),
        bound(|sequence| sequence.increment),
        bound(|sequence| sequence.max),
        bound(|sequence| sequence.min),
        text("NEVER"),
        yes_or_no(place.updatable),
    ]
}

/// How large values of a column can be.
struct Sizes {
    characters: Datum,
    octets: Datum,
    precision: Datum,
    radix: Datum,
    scale: Datum,
    datetime: Datum,
}

impl Sizes {
    fn of(ty: PgType, typmod: i32) -> Self {
        let null = || Datum::Null;
        let mut sizes = Sizes {
            characters: null(),
            octets: null(),
            precision: null(),
            radix: null(),
            scale: null(),
            datetime: null(),
        };
        let int = Datum::Int4;
        match ty {
            PgType::Varchar | PgType::Bpchar if typmod > 4 => {
                sizes.characters = int(typmod - 4);
                sizes.octets = int((typmod - 4).saturating_mul(4));
            }
            PgType::Text | PgType::Varchar | PgType::Bpchar => sizes.octets = int(1 << 30),
            PgType::Int2 | PgType::Int4 | PgType::Int8 => {
                (sizes.precision, sizes.radix, sizes.scale) = (int(i32::from(ty.typlen()) * 8), int(2), int(0));
            }
            PgType::Float4 => (sizes.precision, sizes.radix) = (int(24), int(2)),
            PgType::Float8 => (sizes.precision, sizes.radix) = (int(53), int(2)),
            PgType::Numeric => {
                sizes.radix = int(10);
                if let Some((precision, scale)) = precision_and_scale(typmod) {
                    (sizes.precision, sizes.scale) = (int(precision), int(scale));
                }
            }
            PgType::Date => sizes.datetime = int(0),
            PgType::Time | PgType::Timestamp | PgType::TimestampTz | PgType::Interval => {
                sizes.datetime = int(if (0..=6).contains(&typmod) { typmod } else { 6 });
            }
            _ => {}
        }
        sizes
    }
}
