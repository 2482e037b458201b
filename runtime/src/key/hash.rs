//! The hash of a key: specified here, the same on every platform and for ever, because state is ordered by it.
//!
//! # Specification (version 1; never changed, only added to)
//! A key is hashed through its serde form, streamed, without a buffer. The hasher's state is one 64-bit word,
//! at first `SEED`. It absorbs words:
//! `absorb(w)`: `state = fold((state ^ w) * ABSORB)`; the product has 128 bits, `fold` is its high half xor its
//! low half. The hash is `fold((state ^ ABSORB) * FINISH)` after the last word. Words of a value:
//!
//! | serde form | words |
//! |---|---|
//! | `bool`, integers up to 64 bits, `char` | the value, zero- or sign-extended to 64 bits (`usize` is a `u64` in serde) |
//! | `i128`, `u128` | low half, high half |
//! | `f32`, `f64` | the bits (such a key can't be `Eq`, so this is met only through wrappers) |
//! | string, bytes | length in bytes, then blocks of 8 bytes little-endian, the last filled up with zeros |
//! | `None` / `Some(v)` | `0` / `1`, then `v` |
//! | unit, unit struct | none |
//! | enum variant | its index, then its content |
//! | sequence, map of known length | the length, then the elements (key, value, key, value ...) |
//! | sequence, map of unknown length | the elements, then their number |
//! | tuple, struct, newtype | the fields |
//!
//! Two keys with different serde forms of one type have different words, so ("ab", "c") differs from ("a", "bc").
//! A set or map as a key must iterate in a fixed order (`BTreeMap`, `BTreeSet`): a hash map's order differs between
//! equal values, and the hash and the encoded key would too.

use serde::Deserialize;
use serde::ser::{self, Serialize, Serializer};

/// Start of every hash: the first fractional digits of pi.
const SEED: u64 = 0x243f_6a88_85a3_08d3;
/// Multiplier of `absorb`: an odd constant with no pattern.
const ABSORB: u64 = 0x9e6c_63d0_676a_9a99;
/// Multiplier of the last step.
const FINISH: u64 = 0xd6d0_e7f7_a5d3_9b4f;

/// Hash of a key's serde form. Its top bits are the key group, the next ones the place in a table.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, Deserialize,
)]
#[repr(transparent)]
#[serde(transparent)]
pub struct KeyHash(pub u64);

/// The hash of a key; a `u64` costs two multiplications.
///
/// ```
/// use tidegate_runtime::key::{KeyHash, hash_key};
/// assert_eq!(hash_key(&7u64), KeyHash(0xc55a_8206_7317_9ba4));
/// assert_ne!(hash_key(&("ab", "c")), hash_key(&("a", "bc")));
/// ```
///
/// # Panics
/// If the key's own `Serialize` reports an error: such a value can't be encoded either, and the panic is reported
/// as the user function's.
#[inline]
pub fn hash_key<K: Serialize + ?Sized>(key: &K) -> KeyHash {
    let mut hasher = KeyHasher::new();
    match key.serialize(&mut hasher) {
        Ok(()) => hasher.finish(),
        Err(refused) => refused_by::<K>(&refused),
    }
}

#[cold]
fn refused_by<K: ?Sized>(refused: &Refused) -> ! {
    panic!("a key of type `{}` refuses to be serialized: {}", std::any::type_name::<K>(), refused.0)
}

/// The streaming hasher, as a serde serializer; see the specification in this module's source.
#[derive(Clone, Copy, Debug)]
pub struct KeyHasher(u64);

impl Default for KeyHasher {
    fn default() -> Self {
        Self::new()
    }
}

impl KeyHasher {
    /// A hasher that has absorbed nothing.
    #[inline]
    pub fn new() -> Self {
        Self(SEED)
    }

    /// Absorbs one word.
    #[inline]
    pub fn absorb(&mut self, word: u64) {
        self.0 = fold(self.0 ^ word, ABSORB);
    }

    /// Absorbs the length and then the blocks of `bytes`.
    #[inline]
    pub fn absorb_bytes(&mut self, bytes: &[u8]) {
        self.absorb(bytes.len() as u64);
        let (blocks, rest) = bytes.as_chunks::<8>();
        for block in blocks {
            self.absorb(u64::from_le_bytes(*block));
        }
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.absorb(u64::from_le_bytes(last));
        }
    }

    /// The hash of all that was absorbed.
    #[inline]
    pub fn finish(self) -> KeyHash {
        KeyHash(fold(self.0 ^ ABSORB, FINISH))
    }
}

#[inline(always)]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product >> 64) as u64 ^ product as u64
}

/// What a key's `Serialize` said.
#[derive(Debug)]
pub struct Refused(String);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

impl ser::Error for Refused {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Refused(message.to_string())
    }
}

type Absorbed = Result<(), Refused>;

macro_rules! words {
    ($($name:ident($type:ty) => |$value:ident| $word:expr;)*) => {
        $(#[inline]
        fn $name(self, $value: $type) -> Absorbed {
            self.absorb($word);
            Ok(())
        })*
    };
}

impl<'h> Serializer for &'h mut KeyHasher {
    type Ok = ();
    type Error = Refused;
    type SerializeSeq = Elements<'h>;
    type SerializeTuple = Elements<'h>;
    type SerializeTupleStruct = Elements<'h>;
    type SerializeTupleVariant = Elements<'h>;
    type SerializeMap = Elements<'h>;
    type SerializeStruct = Elements<'h>;
    type SerializeStructVariant = Elements<'h>;

    words! {
        serialize_bool(bool) => |v| u64::from(v);
        serialize_i8(i8) => |v| i64::from(v) as u64;
        serialize_i16(i16) => |v| i64::from(v) as u64;
        serialize_i32(i32) => |v| i64::from(v) as u64;
        serialize_i64(i64) => |v| v as u64;
        serialize_u8(u8) => |v| u64::from(v);
        serialize_u16(u16) => |v| u64::from(v);
        serialize_u32(u32) => |v| u64::from(v);
        serialize_u64(u64) => |v| v;
        serialize_char(char) => |v| u64::from(u32::from(v));
        serialize_f32(f32) => |v| u64::from(v.to_bits());
        serialize_f64(f64) => |v| v.to_bits();
    }

    #[inline]
    fn serialize_i128(self, v: i128) -> Absorbed {
        self.serialize_u128(v as u128)
    }

    #[inline]
    fn serialize_u128(self, v: u128) -> Absorbed {
        self.absorb(v as u64);
        self.absorb((v >> 64) as u64);
        Ok(())
    }

    #[inline]
    fn serialize_str(self, v: &str) -> Absorbed {
        self.absorb_bytes(v.as_bytes());
        Ok(())
    }

    #[inline]
    fn serialize_bytes(self, v: &[u8]) -> Absorbed {
        self.absorb_bytes(v);
        Ok(())
    }

    #[inline]
    fn serialize_none(self) -> Absorbed {
        self.absorb(0);
        Ok(())
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Absorbed {
        self.absorb(1);
        value.serialize(self)
    }

    #[inline]
    fn serialize_unit(self) -> Absorbed {
        Ok(())
    }

    #[inline]
    fn serialize_unit_struct(self, _name: &'static str) -> Absorbed {
        Ok(())
    }

    #[inline]
    fn serialize_unit_variant(self, _name: &'static str, index: u32, _variant: &'static str) -> Absorbed {
        self.absorb(u64::from(index));
        Ok(())
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _name: &'static str, value: &T) -> Absorbed {
        value.serialize(self)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        index: u32,
        _variant: &'static str,
        value: &T,
    ) -> Absorbed {
        self.absorb(u64::from(index));
        value.serialize(self)
    }

    #[inline]
    fn serialize_seq(self, len: Option<usize>) -> Result<Elements<'h>, Refused> {
        Ok(Elements::of_length(self, len))
    }

    #[inline]
    fn serialize_tuple(self, _len: usize) -> Result<Elements<'h>, Refused> {
        Ok(Elements::fixed(self))
    }

    #[inline]
    fn serialize_tuple_struct(self, _name: &'static str, _len: usize) -> Result<Elements<'h>, Refused> {
        Ok(Elements::fixed(self))
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Elements<'h>, Refused> {
        self.absorb(u64::from(index));
        Ok(Elements::fixed(self))
    }

    #[inline]
    fn serialize_map(self, len: Option<usize>) -> Result<Elements<'h>, Refused> {
        Ok(Elements::of_length(self, len))
    }

    #[inline]
    fn serialize_struct(self, _name: &'static str, _len: usize) -> Result<Elements<'h>, Refused> {
        Ok(Elements::fixed(self))
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        _name: &'static str,
        index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Elements<'h>, Refused> {
        self.absorb(u64::from(index));
        Ok(Elements::fixed(self))
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }
}

/// The elements of a compound value.
pub struct Elements<'h> {
    hasher: &'h mut KeyHasher,
    /// Elements so far, where their number was not known before.
    counted: Option<u64>,
}

impl<'h> Elements<'h> {
    #[inline]
    fn fixed(hasher: &'h mut KeyHasher) -> Self {
        Self { hasher, counted: None }
    }

    #[inline]
    fn of_length(hasher: &'h mut KeyHasher, len: Option<usize>) -> Self {
        match len {
            Some(len) => {
                hasher.absorb(len as u64);
                Self { hasher, counted: None }
            }
            None => Self { hasher, counted: Some(0) },
        }
    }

    #[inline]
    fn next<T: Serialize + ?Sized>(&mut self, value: &T) -> Absorbed {
        if let Some(count) = &mut self.counted {
            *count += 1;
        }
        value.serialize(&mut *self.hasher)
    }

    #[inline]
    fn finish(self) -> Absorbed {
        if let Some(count) = self.counted {
            self.hasher.absorb(count);
        }
        Ok(())
    }
}

macro_rules! elements {
    ($($trait:ident::$method:ident $(($name:ty))?),*) => {
        $(impl ser::$trait for Elements<'_> {
            type Ok = ();
            type Error = Refused;

            #[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, $(_name: $name,)? value: &T) -> Absorbed {
                self.next(value)
            }

            #[inline]
            fn end(self) -> Absorbed {
                self.finish()
            }
        })*
    };
}

elements!(
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field,
    SerializeStruct::serialize_field(&'static str),
    SerializeStructVariant::serialize_field(&'static str)
);

impl ser::SerializeMap for Elements<'_> {
    type Ok = ();
    type Error = Refused;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Absorbed {
        self.next(key)
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Absorbed {
        value.serialize(&mut *self.hasher)
    }

    #[inline]
    fn end(self) -> Absorbed {
        self.finish()
    }
}

#[cfg(test)]
mod tests;
