//! Which field of a record goes to which field of the type, found once a file instead of once a record.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeOwned, Deserializer, Visitor};
use tidegate_runtime::Record;

use super::fields::FieldsOf;
use super::record::{Layout, RecordReader};
use crate::files::format::RecordProblem;

/// The columns of a file, as a type reads them.
#[derive(Clone, Debug)]
pub(crate) struct Columns {
    names: Vec<String>,
    reading: Reading,
}

/// How the fields are handed to the type.
#[derive(Clone, Debug)]
enum Reading {
    /// There are no names: as they come.
    InOrder,
    /// By name, the way that serde defines.
    ByName,
    /// In the order of the type's fields, which needs no name: to be compared with the way by name once, for only
    /// the type knows what aliases and defaults it has.
    Untried(Vec<u32>),
    /// The same, compared.
    Arranged(Vec<u32>),
}

impl Columns {
    /// No header.
    pub(crate) fn in_order() -> Self {
        Self { names: Vec::new(), reading: Reading::InOrder }
    }

    /// As the header names them.
    pub(crate) fn named<T: DeserializeOwned>(names: Vec<String>) -> Self {
        let reading = match arrangement::<T>(&names) {
            Some(columns) => Reading::Untried(columns),
            None => Reading::ByName,
        };
        Self { names, reading }
    }

    /// Reads a record.
    pub(crate) fn read<T: Record>(&mut self, fields: &FieldsOf<'_>) -> Result<T, RecordProblem> {
        if !self.names.is_empty() && fields.len() != self.names.len() {
            let (found, expected) = (fields.len(), self.names.len());
            return Err(RecordProblem::new(format!("{found} fields, but the header has {expected}")));
        }
        match &self.reading {
            Reading::Arranged(columns) => self.read_as(fields, Layout::Arranged(columns)),
            Reading::InOrder => self.read_as(fields, Layout::InOrder),
            Reading::ByName => self.read_as(fields, Layout::Named(&self.names)),
            Reading::Untried(columns) => {
                let by_name: T = self.read_as(fields, Layout::Named(&self.names))?;
                let arranged = self.read_as(fields, Layout::Arranged(columns));
                let is_same = arranged.is_ok_and(|arranged: T| is_same(&arranged, &by_name));
                self.reading = if is_same { Reading::Arranged(columns.clone()) } else { Reading::ByName };
                Ok(by_name)
            }
        }
    }

    fn read_as<T: Record>(&self, fields: &FieldsOf<'_>, layout: Layout<'_>) -> Result<T, RecordProblem> {
        let column = Cell::new(usize::MAX);
        let reader = RecordReader { fields: *fields, layout, column: &column };
        T::deserialize(reader).map_err(|error| {
            let number = column.get();
            let name = match self.names.get(number) {
                Some(name) => Some(format!("`{name}`")),
                None => (number < fields.len()).then(|| (number + 1).to_string()),
            };
            RecordProblem { column: name, cause: error.0 }
        })
    }
}

fn is_same<T: Record>(one: &T, other: &T) -> bool {
    match (postcard::to_stdvec(one), postcard::to_stdvec(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

/// For each field of a struct its column, if each of them has exactly one.
fn arrangement<T: DeserializeOwned>(names: &[String]) -> Option<Vec<u32>> {
    let mut asked = None;
    // The type's answer is an error by design: it only has to name its fields.
    let _ = T::deserialize(FieldNames(&mut asked));
    asked?
        .iter()
        .map(|field| {
            let mut columns = names.iter().enumerate().filter(|(_, name)| name == field);
            let (column, _) = columns.next()?;
            columns.next().is_none().then_some(column as u32)
        })
        .collect()
}

/// Asks a type for the names of its fields.
struct FieldNames<'a>(&'a mut Option<&'static [&'static str]>);

/// That it was asked.
#[derive(Debug)]
struct Asked;

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("only the names of the fields are wanted")
    }
}

impl std::error::Error for Asked {}

impl serde::de::Error for Asked {
    fn custom<M: fmt::Display>(_message: M) -> Self {
        Asked
    }
}

impl<'de> Deserializer<'de> for FieldNames<'_> {
    type Error = Asked;

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Asked> {
        Err(Asked)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Asked> {
        *self.0 = Some(fields);
        Err(Asked)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Asked> {
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        seq tuple tuple_struct map enum identifier ignored_any
    }
}
