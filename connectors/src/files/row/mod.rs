//! A CSV record as a serde input: fields, the columns they stand in, and their values.

mod columns;
mod fields;
mod record;
#[cfg(test)]
mod tests;
mod value;

pub(crate) use columns::Columns;
pub(crate) use fields::{Fields, FieldsOf};
