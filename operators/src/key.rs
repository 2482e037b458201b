//! How keys are read off records: once a batch, through one dyn call.

use std::sync::Arc;

use tidegate_runtime::element::Record;
use tidegate_runtime::key::{Key, KeyHash, hash_key};

/// Reads the keys of records, a batch at a time.
pub trait KeyFunction<K, T>: Send + Sync {
    /// Appends the hash of each record's key.
    fn hashes(&self, records: &[T], into: &mut Vec<KeyHash>);

    /// Appends each record's key.
    fn extract(&self, records: &[T], into: &mut Vec<K>);

    /// One record's key.
    fn key(&self, record: &T) -> K;
}

impl<K: Key, T, F: Fn(&T) -> K + Send + Sync> KeyFunction<K, T> for F {
    fn hashes(&self, records: &[T], into: &mut Vec<KeyHash>) {
        into.extend(records.iter().map(|record| hash_key(&self(record))));
    }

    fn extract(&self, records: &[T], into: &mut Vec<K>) {
        into.extend(records.iter().map(self));
    }

    fn key(&self, record: &T) -> K {
        self(record)
    }
}

/// Says that a key type is the key type `K`: two connected streams share the state of a key.
#[diagnostic::on_unimplemented(
    message = "one stream is keyed by `{K}`, the other by `{Self}`",
    label = "keyed by another type",
    note = "connected streams share the state of a key: give both `.key_by(..)` the same key type"
)]
pub trait SameKey<K>: Key {
    #[doc(hidden)]
    fn convert<T: Record>(function: Arc<dyn KeyFunction<Self, T>>) -> Arc<dyn KeyFunction<K, T>>;
}

impl<K: Key> SameKey<K> for K {
    fn convert<T: Record>(function: Arc<dyn KeyFunction<K, T>>) -> Arc<dyn KeyFunction<K, T>> {
        function
    }
}
