//! placeholder
use serde::{Deserialize, Serialize};
/// Hash of a key's serde form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(transparent)]
#[serde(transparent)]
pub struct KeyHash(pub u64);
/// placeholder
pub struct KeyHasher;
/// placeholder
pub fn hash_key<K: Serialize>(_key: &K) -> KeyHash {
    KeyHash(0)
}
