//! The types Meridian knows, with PostgreSQL's names and OIDs.
//!
//! One table holds every fact; each line makes a scalar type and its array type.

macro_rules! pg_types {
    ($($variant:ident, $array:ident: $name:literal, $oid:literal, $array_oid:literal, $len:literal, $category:literal;)*) => {
        /// A type of PostgreSQL's, without its modifier (length, precision), which travels beside it as a `typmod`.
        #[allow(missing_docs)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum PgType { $($variant, $array,)* }

        impl PgType {
            /// Every type.
            pub const ALL: &'static [PgType] = &[$(PgType::$variant, PgType::$array,)*];

            /// The OID in `pg_type`.
            pub const fn oid(self) -> u32 {
                match self { $(PgType::$variant => $oid, PgType::$array => $array_oid,)* }
            }

            /// The type with this OID.
            pub const fn from_oid(oid: u32) -> Option<PgType> {
                match oid { $($oid => Some(PgType::$variant), $array_oid => Some(PgType::$array),)* _ => None }
            }

            /// `pg_type.typname`: the internal name, such as `int4` or `_int4`.
            pub const fn typname(self) -> &'static str {
                match self { $(PgType::$variant => $name, PgType::$array => concat!("_", $name),)* }
            }

            /// `pg_type.typlen`: bytes of the fixed-length binary form, -1 when it varies, -2 for C strings.
            pub const fn typlen(self) -> i16 {
                match self { $(PgType::$variant => $len, PgType::$array => -1,)* }
            }

            /// `pg_type.typcategory`.
            pub const fn category(self) -> char {
                match self { $(PgType::$variant => $category, PgType::$array => 'A',)* }
            }

            /// The type of an array of this one; none for arrays themselves.
            pub const fn array(self) -> Option<PgType> {
                match self { $(PgType::$variant => Some(PgType::$array),)* _ => None }
            }

            /// The type of this array's elements; none for scalars (`int2vector` and `oidvector` count as arrays).
            pub const fn element(self) -> Option<PgType> {
                match self {
                    PgType::Int2Vector => Some(PgType::Int2),
                    PgType::OidVector => Some(PgType::Oid),
                    $(PgType::$array => Some(PgType::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

pg_types! {
    Bool, BoolArray: "bool", 16, 1000, 1, 'B';
    Bytea, ByteaArray: "bytea", 17, 1001, -1, 'U';
    QChar, QCharArray: "char", 18, 1002, 1, 'Z';
    Name, NameArray: "name", 19, 1003, 64, 'S';
    Int8, Int8Array: "int8", 20, 1016, 8, 'N';
    Int2, Int2Array: "int2", 21, 1005, 2, 'N';
    Int2Vector, Int2VectorArray: "int2vector", 22, 1006, -1, 'A';
    Int4, Int4Array: "int4", 23, 1007, 4, 'N';
    Regproc, RegprocArray: "regproc", 24, 1008, 4, 'N';
    Text, TextArray: "text", 25, 1009, -1, 'S';
    Oid, OidArray: "oid", 26, 1028, 4, 'N';
    Xid, XidArray: "xid", 28, 1011, 4, 'U';
    OidVector, OidVectorArray: "oidvector", 30, 1013, -1, 'A';
    Json, JsonArray: "json", 114, 199, -1, 'U';
    Float4, Float4Array: "float4", 700, 1021, 4, 'N';
    Float8, Float8Array: "float8", 701, 1022, 8, 'N';
    Bpchar, BpcharArray: "bpchar", 1042, 1014, -1, 'S';
    Varchar, VarcharArray: "varchar", 1043, 1015, -1, 'S';
    Date, DateArray: "date", 1082, 1182, 4, 'D';
    Time, TimeArray: "time", 1083, 1183, 8, 'D';
    Timestamp, TimestampArray: "timestamp", 1114, 1115, 8, 'D';
    TimestampTz, TimestampTzArray: "timestamptz", 1184, 1185, 8, 'D';
    Interval, IntervalArray: "interval", 1186, 1187, 16, 'T';
    Numeric, NumericArray: "numeric", 1700, 1231, -1, 'N';
    Regclass, RegclassArray: "regclass", 2205, 2210, 4, 'N';
    Regtype, RegtypeArray: "regtype", 2206, 2211, 4, 'N';
    Uuid, UuidArray: "uuid", 2950, 2951, 16, 'U';
    Jsonb, JsonbArray: "jsonb", 3802, 3807, -1, 'U';
    Regnamespace, RegnamespaceArray: "regnamespace", 4089, 4090, 4, 'N';
    Regrole, RegroleArray: "regrole", 4096, 4097, 4, 'N';
    Record, RecordArray: "record", 2249, 2287, -1, 'P';
    Void, VoidArray: "void", 2278, 0x7fff_ff01, 4, 'P';
    Unknown, UnknownArray: "unknown", 705, 0x7fff_ff02, -2, 'X';
}

impl PgType {
    /// The type with this `typname`, such as `int4` or `_int4`.
    pub fn from_typname(name: &str) -> Option<PgType> {
        PgType::ALL.iter().copied().find(|ty| ty.typname() == name && !ty.is_pseudo_array())
    }

    /// Whether values are `Datum::Text`: text, varchar, bpchar, name, "char", and literals not yet typed.
    pub const fn is_string(self) -> bool {
        matches!(self, PgType::Text | PgType::Varchar | PgType::Bpchar | PgType::Name | PgType::QChar | PgType::Unknown)
    }

    /// Whether values are `Datum::Oid`: oid and its aliases that print as names.
    pub const fn is_oid(self) -> bool {
        matches!(
            self,
            PgType::Oid
                | PgType::Regclass
                | PgType::Regtype
                | PgType::Regproc
                | PgType::Regnamespace
                | PgType::Regrole
                | PgType::Xid
        )
    }

    /// Whether the type is int2, int4 or int8.
    pub const fn is_integer(self) -> bool {
        matches!(self, PgType::Int2 | PgType::Int4 | PgType::Int8)
    }

    /// Whether the type is a number one computes with.
    pub const fn is_number(self) -> bool {
        self.is_integer() || matches!(self, PgType::Float4 | PgType::Float8 | PgType::Numeric)
    }

    /// Whether this is an array type.
    pub const fn is_array(self) -> bool {
        self.element().is_some()
    }

    /// `pg_type.typispreferred`.
    pub const fn is_preferred(self) -> bool {
        matches!(
            self,
            PgType::Bool | PgType::Text | PgType::Oid | PgType::Float8 | PgType::TimestampTz | PgType::Interval
        )
    }

    /// The array types that PostgreSQL does not have, made by the table above for uniformity.
    const fn is_pseudo_array(self) -> bool {
        matches!(self, PgType::VoidArray | PgType::UnknownArray)
    }
}
