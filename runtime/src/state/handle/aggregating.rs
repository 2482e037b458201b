//! One accumulator of the current key.

use std::any::type_name;

use crate::codec::check_codec;
use crate::error::Result;
use crate::key::KeyHash;
use crate::state::Aggregate;
use crate::state::handle::bound::Bound;
use crate::state::lease::StateTable;
use crate::state::registry::{StateKind, StateRegistry};
use crate::state::states::StateHandle;
use crate::state::table::cell::Single;

/// One accumulator of the current key, fed and read by `A`.
pub struct AggregatingState<A: Aggregate + Default> {
    bound: Bound<Single<A::Acc>>,
    function: A,
    empty: Empty,
}

/// Whether the empty accumulator is known to survive encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Empty {
    Unchecked,
    Checked,
}

impl<A: Aggregate + Default> AggregatingState<A> {
    /// Adds a value.
    ///
    /// # Errors
    /// If the store can't be read, or the accumulator can't be encoded or decoded.
    pub fn add(&mut self, value: A::In) -> Result<()> {
        let function = &self.function;
        if self.empty == Empty::Unchecked {
            check_codec(&function.create())?;
            self.empty = Empty::Checked;
        }
        let (cell, _) = self.bound.touch_or_insert(|| Single(function.create()))?;
        function.add(&mut cell.0, value);
        Ok(())
    }

    /// The result of what was added, if anything was.
    ///
    /// # Errors
    /// If the store can't be read, or the accumulator can't be decoded.
    pub fn get(&mut self) -> Result<Option<A::Out>> {
        let function = &self.function;
        Ok(self.bound.get()?.map(|cell| function.finish(&cell.0)))
    }

    /// Deletes the accumulator.
    ///
    /// # Errors
    /// If the store can't be read, or the accumulator can't be encoded or decoded.
    pub fn clear(&mut self) -> Result<()> {
        self.bound.remove().map(|_| ())
    }
}

impl<A: Aggregate + Default> StateHandle for AggregatingState<A> {
    fn open(registry: &mut StateRegistry, name: &str) -> Result<Self> {
        let types = vec![type_name::<A::Acc>().to_owned()];
        Ok(Self {
            bound: Bound::open(registry, name, StateKind::Aggregating, types)?,
            function: A::default(),
            empty: Empty::Unchecked,
        })
    }

    #[inline]
    fn set_key(&mut self, hash: KeyHash, key: &[u8]) {
        self.bound.set_key(hash, key);
    }

    fn table(&mut self) -> &mut dyn StateTable {
        self.bound.table()
    }
}
