//! Columns of our tables, with the type each engine gives them.

use crate::db::Engine;
use crate::db::Kind;

/// A type as the schema names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// Text up to so many characters.
    Varchar(u16),
    /// 32 bits.
    Int,
    /// 32 bits, unsigned where the engine can.
    UnsignedInt,
    /// 16 bits.
    SmallInt,
    /// 16 bits, unsigned where the engine can.
    UnsignedSmallInt,
    /// 8 bits where the engine can.
    TinyInt,
    /// 8 bits, unsigned where the engine can.
    UnsignedTinyInt,
    /// Single precision.
    Float,
    /// Single precision with two decimals where the engine can.
    Float2,
    /// Single precision with three decimals where the engine can.
    Float3,
    /// Date and time.
    DateTime,
    /// Long text.
    Text,
    /// Longer text.
    MediumText,
    /// Bytes.
    Blob,
    /// More bytes.
    MediumBlob,
}

/// A column of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: ColumnType,
    /// Whether NULL may stand in it.
    pub null: bool,
    /// Its default as an SQL literal.
    pub default: Option<&'static str>,
}

impl Column {
    pub(super) const fn null(mut self) -> Self {
        self.null = true;
        self
    }

    pub(super) const fn or(mut self, literal: &'static str) -> Self {
        self.default = Some(literal);
        self
    }

    pub(super) const fn empty(self) -> Self {
        self.or("''")
    }
}

impl ColumnType {
    /// The type in an engine's SQL.
    pub fn sql(self, engine: Engine) -> String {
        let (mysql, others) = match self {
            Self::Varchar(length) => return format!("VARCHAR({length})"),
            Self::Int => ("INT", "INTEGER"),
            Self::UnsignedInt => ("INT UNSIGNED", "INTEGER"),
            Self::SmallInt => ("SMALLINT", "SMALLINT"),
            Self::UnsignedSmallInt => ("SMALLINT UNSIGNED", "SMALLINT"),
            Self::TinyInt => ("TINYINT", "SMALLINT"),
            Self::UnsignedTinyInt => ("TINYINT UNSIGNED", "SMALLINT"),
            Self::Float => ("FLOAT", "REAL"),
            Self::Float2 => ("FLOAT(10,2)", "REAL"),
            Self::Float3 => ("FLOAT(10,3)", "REAL"),
            Self::DateTime => ("DATETIME", "TIMESTAMP WITHOUT TIME ZONE"),
            Self::Text => ("TEXT", "TEXT"),
            Self::MediumText => ("MEDIUMTEXT", "TEXT"),
            Self::Blob if engine == Engine::Postgres => return "BYTEA".to_owned(),
            Self::MediumBlob if engine == Engine::Postgres => return "BYTEA".to_owned(),
            Self::Blob => ("BLOB", "BLOB"),
            Self::MediumBlob => ("MEDIUMBLOB", "BLOB"),
        };
        if engine == Engine::MySql {
            mysql.to_owned()
        } else {
            others.to_owned()
        }
    }

    /// What a cell of it holds.
    pub fn kind(self) -> Kind {
        match self {
            Self::Varchar(_) | Self::Text | Self::MediumText => Kind::Text,
            Self::Int
            | Self::UnsignedInt
            | Self::SmallInt
            | Self::UnsignedSmallInt
            | Self::TinyInt
            | Self::UnsignedTinyInt => Kind::Int,
            Self::Float | Self::Float2 | Self::Float3 => Kind::Double,
            Self::DateTime => Kind::DateTime,
            Self::Blob | Self::MediumBlob => Kind::Blob,
        }
    }
}

pub(super) const fn varchar(name: &'static str, length: u16) -> Column {
    column(name, ColumnType::Varchar(length))
}

pub(super) const fn int(name: &'static str) -> Column {
    column(name, ColumnType::Int)
}

pub(super) const fn uint(name: &'static str) -> Column {
    column(name, ColumnType::UnsignedInt)
}

pub(super) const fn smallint(name: &'static str) -> Column {
    column(name, ColumnType::SmallInt)
}

pub(super) const fn usmallint(name: &'static str) -> Column {
    column(name, ColumnType::UnsignedSmallInt)
}

pub(super) const fn tinyint(name: &'static str) -> Column {
    column(name, ColumnType::TinyInt)
}

pub(super) const fn utinyint(name: &'static str) -> Column {
    column(name, ColumnType::UnsignedTinyInt)
}

pub(super) const fn float(name: &'static str) -> Column {
    column(name, ColumnType::Float)
}

pub(super) const fn float2(name: &'static str) -> Column {
    column(name, ColumnType::Float2)
}

pub(super) const fn float3(name: &'static str) -> Column {
    column(name, ColumnType::Float3)
}

pub(super) const fn datetime(name: &'static str) -> Column {
    column(name, ColumnType::DateTime)
}

pub(super) const fn text(name: &'static str) -> Column {
    column(name, ColumnType::Text)
}

pub(super) const fn medium_text(name: &'static str) -> Column {
    column(name, ColumnType::MediumText)
}

pub(super) const fn blob(name: &'static str) -> Column {
    column(name, ColumnType::Blob)
}

pub(super) const fn medium_blob(name: &'static str) -> Column {
    column(name, ColumnType::MediumBlob)
}

const fn column(name: &'static str, kind: ColumnType) -> Column {
    Column {
        name,
        kind,
        null: false,
        default: None,
    }
}
