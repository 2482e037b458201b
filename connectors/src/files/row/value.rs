//! One field of a CSV record as serde sees it: text that is read as what the type asks for.

use std::str::FromStr;

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, VariantAccess, Visitor};

use super::record::FieldError;

/// Reads one field.
#[derive(Clone, Copy)]
pub(super) struct ValueReader<'a>(pub(super) &'a [u8]);

impl<'a> ValueReader<'a> {
    fn text(self) -> Result<&'a str, FieldError> {
        std::str::from_utf8(self.0).map_err(|_| FieldError(format!("`{}` is not UTF-8", self.shown())))
    }

    fn parse<P: FromStr>(self, what: &str) -> Result<P, FieldError> {
        let parsed = std::str::from_utf8(self.0).ok().and_then(|text| text.parse().ok());
        parsed.ok_or_else(|| self.mismatch(what))
    }

    #[cold]
    fn mismatch(self, what: &str) -> FieldError {
        FieldError(format!("`{}` is not {what}", self.shown()))
    }

    #[cold]
    fn shown(self) -> String {
        /// Enough to find it by, not so much that it hides the rest of the message.
        const SHOWN_MAX: usize = 60;
        let text = String::from_utf8_lossy(self.0);
        match text.char_indices().nth(SHOWN_MAX) {
            Some((cut, _)) => format!("{}...", &text[..cut]),
            None => text.into_owned(),
        }
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident $what:literal)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
            visitor.$visit(self.parse($what)?)
        })*
    };
}

impl<'de> Deserializer<'de> for ValueReader<'_> {
    type Error = FieldError;

    numbers! {
        deserialize_bool visit_bool "true or false"
        deserialize_i8 visit_i8 "a whole number of 8 bits"
        deserialize_i16 visit_i16 "a whole number of 16 bits"
        deserialize_i32 visit_i32 "a whole number of 32 bits"
        deserialize_i64 visit_i64 "a whole number of 64 bits"
        deserialize_i128 visit_i128 "a whole number of 128 bits"
        deserialize_u8 visit_u8 "a whole number from 0 of 8 bits"
        deserialize_u16 visit_u16 "a whole number from 0 of 16 bits"
        deserialize_u32 visit_u32 "a whole number from 0 of 32 bits"
        deserialize_u64 visit_u64 "a whole number from 0 of 64 bits"
        deserialize_u128 visit_u128 "a whole number from 0 of 128 bits"
        deserialize_f32 visit_f32 "a number"
        deserialize_f64 visit_f64 "a number"
        deserialize_char visit_char "one character"
    }

    /// For types that take what comes, such as flattened ones: the narrowest kind that the text is of.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        let text = self.text()?;
        if let Ok(value) = text.parse::<bool>() {
            return visitor.visit_bool(value);
        }
        if let Ok(value) = text.parse::<u64>() {
            return visitor.visit_u64(value);
        }
        if let Ok(value) = text.parse::<i64>() {
            return visitor.visit_i64(value);
        }
        match text.parse::<f64>() {
            Ok(value) => visitor.visit_f64(value),
            Err(_) => visitor.visit_str(text),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        visitor.visit_str(self.text()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        visitor.visit_str(self.text()?)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        visitor.visit_str(self.text()?)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        visitor.visit_bytes(self.0)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        visitor.visit_bytes(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        if self.0.is_empty() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        if self.0.is_empty() { visitor.visit_unit() } else { Err(self.mismatch("empty")) }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, FieldError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, FieldError> {
        visitor.visit_enum(self)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, FieldError> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, FieldError> {
        Err(holds_one_value())
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _len: usize, _visitor: V) -> Result<V::Value, FieldError> {
        Err(holds_one_value())
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _len: usize,
        _visitor: V,
    ) -> Result<V::Value, FieldError> {
        Err(holds_one_value())
    }

    fn deserialize_map<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, FieldError> {
        Err(holds_one_value())
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, FieldError> {
        Err(holds_one_value())
    }
}

fn holds_one_value() -> FieldError {
    FieldError("a column holds one value; a struct within the record needs `#[serde(flatten)]`".to_owned())
}

/// A field is the name of a variant without content.
impl<'de> EnumAccess<'de> for ValueReader<'_> {
    type Error = FieldError;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), FieldError> {
        seed.deserialize(self).map(|variant| (variant, self))
    }
}

impl<'de> VariantAccess<'de> for ValueReader<'_> {
    type Error = FieldError;

    fn unit_variant(self) -> Result<(), FieldError> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, _seed: S) -> Result<S::Value, FieldError> {
        Err(holds_one_value())
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, _visitor: V) -> Result<V::Value, FieldError> {
        Err(holds_one_value())
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, FieldError> {
        Err(holds_one_value())
    }
}
