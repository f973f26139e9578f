//! Columns of many rows, each bound as one array: what they are called, and what of a value they have.

use std::borrow::Cow;

use sqlx::Postgres;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;

/// A column of rows that are made of an `R`.
pub(super) struct Column<R> {
    pub(super) name: &'static str,
    pub(super) of: Of<R>,
}

/// What of it, by its type.
pub(super) enum Of<R> {
    Id(fn(&R) -> String),
    Int(fn(&R) -> i64),
    IntOrNull(fn(&R) -> Option<i64>),
    Text(fn(&R) -> Cow<'_, str>),
    TextOrNull(fn(&R) -> Option<Cow<'_, str>>),
    Bytes(fn(&R) -> Option<&[u8]>),
    Flag(fn(&R) -> bool),
}

impl<R> Column<R> {
    fn type_name(&self) -> &'static str {
        match self.of {
            Of::Id(_) => "uuid",
            Of::Int(_) | Of::IntOrNull(_) => "bigint",
            Of::Text(_) | Of::TextOrNull(_) => "text",
            Of::Bytes(_) => "bytea",
            Of::Flag(_) => "boolean",
        }
    }
}

/// Columns that are bound from this place on, as a table of this name.
pub(super) fn table<R>(name: &str, columns: &[Column<R>], first: usize) -> String {
    let types = columns.iter().enumerate().map(|(at, column)| {
        let place = first + at;
        format!("${place}::{}[]", column.type_name())
    });
    let types: Vec<_> = types.collect();
    format!("unnest({}) AS {name} ({})", types.join(", "), names(columns, ""))
}

/// Their names, each behind `of`.
pub(super) fn names<R>(columns: &[Column<R>], of: &str) -> String {
    let names: Vec<_> = columns.iter().map(|column| format!("{of}{}", column.name)).collect();
    names.join(", ")
}

pub(super) type Bound<'q> = Query<'q, Postgres, PgArguments>;

/// Binds the columns of these rows.
pub(super) fn bind<'q, R>(query: Bound<'q>, columns: &[Column<R>], rows: &[R]) -> Bound<'q> {
    columns.iter().fold(query, |query, column| match column.of {
        Of::Id(of) => query.bind(rows.iter().map(of).collect::<Vec<_>>()),
        Of::Int(of) => query.bind(rows.iter().map(of).collect::<Vec<_>>()),
        Of::IntOrNull(of) => query.bind(rows.iter().map(of).collect::<Vec<_>>()),
        Of::Text(of) => query.bind(rows.iter().map(|row| of(row).into_owned()).collect::<Vec<_>>()),
        Of::TextOrNull(of) => {
            query.bind(rows.iter().map(|row| of(row).map(Cow::into_owned)).collect::<Vec<_>>())
        }
        Of::Bytes(of) => query.bind(rows.iter().map(|row| of(row).map(<[u8]>::to_vec)).collect::<Vec<_>>()),
        Of::Flag(of) => query.bind(rows.iter().map(of).collect::<Vec<_>>()),
    })
}
