//! The two forms in which a table holds keys: natively, and as encoded bytes.

use std::cmp::Ordering;
use std::fmt;

use crate::error::Result;
use crate::key::{Key, KeyHash, hash_key};
use crate::state::codec;

/// A key as a table's slot holds it.
pub(crate) trait TableKey: Send + Sized + 'static {
    /// What it is looked up by.
    type Lookup: ?Sized;

    /// A slot's key.
    fn of(hash: KeyHash, key: &Self::Lookup) -> Self;

    /// Whether this is `key`.
    fn is(&self, key: &Self::Lookup) -> bool;

    /// Its hash, kept or computed again.
    fn hash(&self) -> KeyHash;

    /// Appends the encoded key.
    fn encode(key: &Self::Lookup, into: &mut Vec<u8>) -> Result<()>;

    /// Back to what it is looked up by.
    fn lookup(&self) -> &Self::Lookup;

    /// Encodes, decodes and encodes it again.
    fn check(&self) -> Result<()>;

    /// The slot's key of a row.
    fn decode(hash: KeyHash, key: &[u8]) -> Result<Self>;
}

/// A key of the stream's own type. The hash isn't kept: it is computed again where a slot moves, which for an
/// integer costs less than the wider slot would.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Native<K>(pub(crate) K);

impl<K: Key> TableKey for Native<K> {
    type Lookup = K;

    #[inline]
    fn of(_hash: KeyHash, key: &K) -> Self {
        Self(key.clone())
    }

    #[inline(always)]
    fn is(&self, key: &K) -> bool {
        self.0 == *key
    }

    #[inline]
    fn hash(&self) -> KeyHash {
        hash_key(&self.0)
    }

    fn encode(key: &K, into: &mut Vec<u8>) -> Result<()> {
        codec::encode_bare(key, into)
    }

    fn lookup(&self) -> &K {
        &self.0
    }

    fn check(&self) -> Result<()> {
        codec::check_codec(&self.0)
    }

    fn decode(_hash: KeyHash, key: &[u8]) -> Result<Self> {
        codec::decode_bare(key).map(Self)
    }
}

/// Bytes that fit in place in most cases.
#[derive(Clone)]
pub(crate) enum SmallBytes {
    /// Up to 22 bytes.
    Inline(u8, [u8; INLINE_MAX]),
    /// More.
    Heap(Box<[u8]>),
}

const INLINE_MAX: usize = 22;

impl SmallBytes {
    /// No bytes.
    pub(crate) const EMPTY: SmallBytes = SmallBytes::Inline(0, [0; INLINE_MAX]);

    #[inline]
    pub(crate) fn new(bytes: &[u8]) -> Self {
        if bytes.len() <= INLINE_MAX {
            let mut inline = [0; INLINE_MAX];
            inline[..bytes.len()].copy_from_slice(bytes);
            SmallBytes::Inline(bytes.len() as u8, inline)
        } else {
            SmallBytes::Heap(bytes.into())
        }
    }

    #[inline]
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            SmallBytes::Inline(len, bytes) => &bytes[..usize::from(*len)],
            SmallBytes::Heap(bytes) => bytes,
        }
    }
}

impl PartialEq for SmallBytes {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for SmallBytes {}

impl PartialOrd for SmallBytes {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// That of the bytes: it is the order of rows.
impl Ord for SmallBytes {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_slice().cmp(other.as_slice())
    }
}

impl fmt::Debug for SmallBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_slice().fmt(f)
    }
}

/// An encoded key with its hash.
#[derive(Clone, Debug)]
pub(crate) struct Encoded {
    pub(crate) hash: KeyHash,
    pub(crate) bytes: SmallBytes,
}

impl TableKey for Encoded {
    type Lookup = [u8];

    fn of(hash: KeyHash, key: &[u8]) -> Self {
        Self { hash, bytes: SmallBytes::new(key) }
    }

    #[inline]
    fn is(&self, key: &[u8]) -> bool {
        self.bytes.as_slice() == key
    }

    #[inline]
    fn hash(&self) -> KeyHash {
        self.hash
    }

    fn encode(key: &[u8], into: &mut Vec<u8>) -> Result<()> {
        into.extend_from_slice(key);
        Ok(())
    }

    fn lookup(&self) -> &[u8] {
        self.bytes.as_slice()
    }

    /// It was checked where it was encoded.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn decode(hash: KeyHash, key: &[u8]) -> Result<Self> {
        Ok(Self::of(hash, key))
    }
}
