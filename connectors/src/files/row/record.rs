//! A record's fields as serde sees them: a struct, a tuple, a map of names, or a single value.

use std::cell::Cell;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::fields::FieldsOf;
use super::value::ValueReader;

/// What is wrong with a field or a record.
#[derive(Debug)]
pub(super) struct FieldError(pub(super) String);

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for FieldError {}

impl de::Error for FieldError {
    fn custom<M: fmt::Display>(message: M) -> Self {
        Self(message.to_string())
    }
}

/// Where the fields of the type are found.
#[derive(Clone, Copy)]
pub(super) enum Layout<'a> {
    InOrder,
    Named(&'a [String]),
    Arranged(&'a [u32]),
}

/// Reads a record.
#[derive(Clone, Copy)]
pub(super) struct RecordReader<'a> {
    pub(super) fields: FieldsOf<'a>,
    pub(super) layout: Layout<'a>,
    /// The column being read, for the report of an error.
    pub(super) column: &'a Cell<usize>,
}

impl<'a> RecordReader<'a> {
    fn value(&self, column: usize) -> Result<ValueReader<'a>, FieldError> {
        let field = self.fields.field(column);
        let field = field.ok_or_else(|| FieldError("the record has too few fields".to_owned()))?;
        self.column.set(column);
        Ok(ValueReader(field))
    }

    fn only_value(&self) -> Result<ValueReader<'a>, FieldError> {
        match self.fields.len() {
            1 => self.value(0),
            fields => Err(FieldError(format!("{fields} columns can't be read as one value"))),
        }
    }

    fn in_order(self) -> InOrder<'a> {
        let columns = match self.layout {
            Layout::Arranged(columns) => columns.len(),
            _ => self.fields.len(),
        };
        InOrder { reader: self, next: 0, columns }
    }

    fn visit<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        match self.layout {
            Layout::Named(names) => visitor.visit_map(Named { reader: self, names, next: 0 }),
            Layout::InOrder | Layout::Arranged(_) => visitor.visit_seq(self.in_order()),
        }
    }
}

macro_rules! only_value {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
            self.only_value()?.$method(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for RecordReader<'_> {
    type Error = FieldError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        self.visit(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, FieldError> {
        self.visit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, FieldError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        visitor.visit_seq(Self { layout: Layout::InOrder, ..self }.in_order())
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, FieldError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, FieldError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        visitor.visit_some(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, FieldError> {
        self.only_value()?.deserialize_enum(name, variants, visitor)
    }

    only_value! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32
        deserialize_f64 deserialize_char deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf
        deserialize_unit
    }

    forward_to_deserialize_any! { unit_struct map identifier ignored_any }
}

/// The fields one after another, as the type's fields come or as the record's do.
struct InOrder<'a> {
    reader: RecordReader<'a>,
    next: usize,
    columns: usize,
}

impl<'de> SeqAccess<'de> for InOrder<'_> {
    type Error = FieldError;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, FieldError> {
        if self.next >= self.columns {
            self.reader.column.set(usize::MAX);
            return Ok(None);
        }
        let column = match self.reader.layout {
            Layout::Arranged(columns) => columns[self.next] as usize,
            _ => self.next,
        };
        self.next += 1;
        seed.deserialize(self.reader.value(column)?).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.columns - self.next)
    }
}

/// The fields with their names.
struct Named<'a> {
    reader: RecordReader<'a>,
    names: &'a [String],
    next: usize,
}

impl<'de> MapAccess<'de> for Named<'_> {
    type Error = FieldError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, FieldError> {
        self.reader.column.set(usize::MAX);
        match self.names.get(self.next) {
            Some(name) => seed.deserialize(ValueReader(name.as_bytes())).map(Some),
            None => Ok(None),
        }
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, FieldError> {
        let column = self.next;
        self.next += 1;
        seed.deserialize(self.reader.value(column)?)
    }
}
