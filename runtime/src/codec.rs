//! The encoded form of records, and of keys and values in rows, and the check that a type survives it.
//!
//! A value is one tag byte and then its postcard form. Tag 0 is a plain value; other tags are reserved (a time to
//! live will prefix the value with a timestamp under tag 1), so such a change needs no new row format. A key is its
//! postcard form alone: its bytes are its identity. Rows are length-framed by the run, so bytes left over after a
//! value are an error and not the next value's.

use std::any::type_name;

use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// A value with nothing before it.
const PLAIN: u8 = 0;

/// Appends a value row's bytes.
pub(crate) fn encode_value<V: Serialize + ?Sized>(value: &V, into: &mut Vec<u8>) -> Result<()> {
    into.push(PLAIN);
    encode_bare(value, into)
}

/// Reads a value row's bytes; all of them.
pub(crate) fn decode_value<V: DeserializeOwned>(bytes: &[u8]) -> Result<V> {
    match bytes.split_first() {
        Some((&PLAIN, rest)) => decode_bare(rest),
        Some((tag, _)) => Err(codec::<V>(format!(
            "its row has tag {tag}, which this version doesn't know: the state was written by a newer one"
        ))),
        None => Err(codec::<V>("its row is empty, without even a tag".to_owned())),
    }
}

/// Appends the postcard form.
pub(crate) fn encode_bare<V: Serialize + ?Sized>(value: &V, into: &mut Vec<u8>) -> Result<()> {
    match postcard::serialize_with_flavor(value, Append(into)) {
        Ok(()) => Ok(()),
        Err(error) => Err(codec::<V>(format!("encoding: {error}{}", hint_of(&error)))),
    }
}

/// Reads the postcard form; all of `bytes`.
pub(crate) fn decode_bare<V: DeserializeOwned>(bytes: &[u8]) -> Result<V> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(codec::<V>(format!(
            "{} of its {} bytes are left over after decoding: a field was added, removed or skipped",
            rest.len(),
            bytes.len()
        ))),
        Err(error) => Err(codec::<V>(format!("decoding: {error}{}", hint_of(&error)))),
    }
}

/// How many are checked of the records of a lane, the keys of a stream and the cells of a state: the first that come,
/// so that a type which does not survive its encoding fails the job now, and not when one is kept or sent.
pub const CHECKED: usize = 16;

/// Encodes a value, decodes it and encodes it again: postcard writes some serde shapes that it can't read back.
///
/// A field with `#[serde(skip)]` leaves no trace in the bytes, so nothing is found wrong with it: it comes back as its
/// default.
///
/// # Errors
/// `Error::Codec`, naming the type and the serde attribute that is the likely cause.
pub fn check_codec<V: Serialize + DeserializeOwned>(value: &V) -> Result<()> {
    let mut first = Vec::new();
    encode_bare(value, &mut first)?;
    let decoded: V = decode_bare(&first).map_err(|error| match error {
        Error::Codec { type_name, problem } => Error::Codec {
            type_name,
            problem: format!("a value was encoded but can't be read back ({problem}). {LIKELY}"),
        },
        other => other,
    })?;
    let mut second = Vec::new();
    encode_bare(&decoded, &mut second)?;
    if first == second {
        return Ok(());
    }
    Err(codec::<V>(format!("encoding, decoding and encoding again gives other bytes. {LIKELY}")))
}

const LIKELY: &str = "The usual cause is a serde attribute that a compact format can't carry: `tag`, `untagged`, \
     `flatten`, `skip_serializing_if`, `skip_serializing` or `skip_deserializing` alone, a hash map or set (random order), \
     or a `serde_json::Value` inside. Remove it, or keep the value as a `String` or `Vec<u8>` of your own encoding";

fn hint_of(error: &postcard::Error) -> &'static str {
    match error {
        postcard::Error::WontImplement => {
            " (this shape needs a self-describing format: `untagged`, internally `tag`ged, `flatten` or `serde_json::Value`)"
        }
        postcard::Error::SerializeSeqLengthUnknown => {
            " (a sequence or map of unknown length: `flatten` makes one)"
        }
        _ => "",
    }
}

fn codec<V: ?Sized>(problem: String) -> Error {
    Error::Codec { type_name: type_name::<V>(), problem }
}

/// Appends to a vector that is used again and again.
struct Append<'v>(&'v mut Vec<u8>);

impl Flavor for Append<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
