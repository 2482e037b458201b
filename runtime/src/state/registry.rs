//! What one subtask attempt's states are made from, and the list of what it has made.

use std::any::type_name;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::id::{CheckpointId, StateId};
use crate::key::{Key, KeyHash};
use crate::state::aggregate::StateValue;
use crate::state::lease::{StateLease, SubmitError};
use crate::state::row::RowRef;
use crate::state::states::StateHandle;
use crate::state::table::KeyedTable;
use crate::state::timers::Timers;

/// What a checkpoint takes from a table, or has taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SnapshotMode {
    /// The rows written since the checkpoint before, deletions as tombstones.
    #[default]
    Delta,
    /// Every live row: nothing older is needed to restore. The table is loaded whole when it is opened, and its
    /// budget doesn't apply.
    Full,
}

impl SnapshotMode {
    /// What the rows of two tables are together.
    #[must_use]
    pub fn and(self, other: SnapshotMode) -> SnapshotMode {
        match (self, other) {
            (SnapshotMode::Full, SnapshotMode::Full) => SnapshotMode::Full,
            _ => SnapshotMode::Delta,
        }
    }
}

/// How much of a state may be in memory; the rest is read from the lease when it is asked for.
///
/// Entries that no durable checkpoint holds yet can't leave, so a table may exceed its budget until the next
/// checkpoint is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableBudget {
    /// Keys in memory.
    pub entries: usize,
    /// Bytes in memory, as `StateTable::bytes` counts them.
    pub bytes: usize,
}

impl TableBudget {
    /// All may be in memory.
    pub const UNLIMITED: TableBudget = TableBudget { entries: usize::MAX, bytes: usize::MAX };
}

impl Default for TableBudget {
    fn default() -> Self {
        Self::UNLIMITED
    }
}

/// The form of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateKind {
    /// One value a key, native keys.
    Table,
    /// One value a key.
    Value,
    /// Elements in order.
    List,
    /// Values by a user's key within the stream's key.
    Map,
    /// One value that absorbs others.
    Reducing,
    /// An accumulator.
    Aggregating,
    /// Timers.
    Timers,
}

/// One registered state: what `explain()` prints and what the plan's fingerprint covers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StateSpec {
    /// Its name, unique within the operator.
    pub name: String,
    /// Its form.
    pub kind: StateKind,
    /// The Rust types of what it holds: key type and value type for a map, else one.
    pub types: Vec<String>,
}

/// Makes the states of one subtask attempt and gives them their ids, in the order of declaration.
pub struct StateRegistry {
    lease: Arc<dyn StateLease>,
    hashes: (KeyHash, KeyHash),
    mode: SnapshotMode,
    budget: TableBudget,
    specs: Vec<StateSpec>,
}

/// What a table is opened with.
pub(crate) struct TableOrigin {
    pub(crate) state: StateId,
    pub(crate) lease: Arc<dyn StateLease>,
    pub(crate) hashes: (KeyHash, KeyHash),
    pub(crate) mode: SnapshotMode,
    pub(crate) budget: TableBudget,
}

impl StateRegistry {
    /// A registry over the attempt's lease, for the keys whose hashes are in `hashes`, both ends included.
    pub fn new(lease: Arc<dyn StateLease>, hashes: (KeyHash, KeyHash)) -> Self {
        let (mode, budget) = (SnapshotMode::default(), TableBudget::default());
        Self { lease, hashes, mode, budget, specs: Vec::new() }
    }

    /// A registry with no store behind it: states can be made of it to learn their specs.
    pub fn without_store() -> Self {
        Self::new(Arc::new(NoStore), (KeyHash(0), KeyHash(u64::MAX)))
    }

    /// With what a checkpoint takes.
    #[must_use]
    pub fn with_mode(self, mode: SnapshotMode) -> Self {
        Self { mode, ..self }
    }

    /// With the budget of each table.
    #[must_use]
    pub fn with_budget(self, budget: TableBudget) -> Self {
        Self { budget, ..self }
    }

    /// Makes the next state: a handle of any kind.
    ///
    /// # Errors
    /// If the name is taken, or the store can't be read.
    pub fn handle<H: StateHandle>(&mut self, name: &str) -> Result<H> {
        H::open(self, name)
    }

    /// Makes the next state: a table by native keys.
    ///
    /// # Errors
    /// If the name is taken, or the store can't be read.
    pub fn keyed_table<K: Key, V: StateValue>(&mut self, name: &str) -> Result<KeyedTable<K, V>> {
        let types = vec![type_name::<K>().to_owned(), type_name::<V>().to_owned()];
        KeyedTable::open(self.register(name, StateKind::Table, types)?)
    }

    /// Makes the next state: a set of timers, restored by a scan of its rows.
    ///
    /// # Errors
    /// If the name is taken, or the store can't be read.
    pub fn timers<K: Key>(&mut self, name: &str) -> Result<Timers<K>> {
        let types = vec![type_name::<K>().to_owned()];
        Timers::open(self.register(name, StateKind::Timers, types)?)
    }

    /// What was made, in order: position is the `StateId`.
    pub fn specs(&self) -> &[StateSpec] {
        &self.specs
    }

    /// The lease of the attempt.
    pub fn lease(&self) -> &Arc<dyn StateLease> {
        &self.lease
    }

    pub(crate) fn register(
        &mut self,
        name: &str,
        kind: StateKind,
        types: Vec<String>,
    ) -> Result<TableOrigin> {
        if self.specs.iter().any(|spec| spec.name == name) {
            let problem = format!("two states of one operator are named `{name}`: rename one");
            return Err(Error::Graph { problem });
        }
        let state = u16::try_from(self.specs.len()).map(StateId).map_err(|_| Error::Graph {
            problem: format!("state `{name}` is one too many: an operator has at most 65,536 states"),
        })?;
        self.specs.push(StateSpec { name: name.to_owned(), kind, types });
        let lease = Arc::clone(&self.lease);
        let (hashes, mode, budget) = (self.hashes, self.mode, self.budget);
        Ok(TableOrigin { state, lease, hashes, mode, budget })
    }
}

/// The lease of a registry that only describes.
struct NoStore;

impl StateLease for NoStore {
    fn scan(
        &self,
        _state: StateId,
        _hashes: (KeyHash, KeyHash),
        _visit: &mut dyn FnMut(RowRef<'_>) -> Result<()>,
    ) -> Result<()> {
        Ok(())
    }

    fn get(
        &self,
        _state: StateId,
        _hash: KeyHash,
        _key: &[u8],
        _visit: &mut dyn FnMut(RowRef<'_>) -> Result<()>,
    ) -> Result<()> {
        Ok(())
    }

    fn is_empty(&self, _state: StateId) -> bool {
        true
    }

    fn submit(&self, checkpoint: CheckpointId, _chunk: Vec<u8>) -> Result<(), SubmitError> {
        Err(SubmitError::Failed(no_store(checkpoint)))
    }

    fn seal(&self, checkpoint: CheckpointId, _rows: SnapshotMode) -> Result<()> {
        Err(no_store(checkpoint))
    }

    fn durable(&self) -> Option<CheckpointId> {
        None
    }
}

fn no_store(checkpoint: CheckpointId) -> Error {
    Error::Store { problem: format!("{checkpoint} was taken of states that were made without a store") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::handle::{ListState, ValueState};

    #[test]
    fn states_are_numbered_and_described_in_order_of_declaration() -> Result<()> {
        let mut registry = StateRegistry::without_store();
        let _: ValueState<u32> = registry.handle("account")?;
        let _: ListState<String> = registry.handle("waiting")?;
        let _: KeyedTable<u64, u8> = registry.keyed_table("count")?;
        let named: Vec<_> = registry.specs().iter().map(|s| (s.name.as_str(), s.kind)).collect();
        let expected =
            [("account", StateKind::Value), ("waiting", StateKind::List), ("count", StateKind::Table)];
        assert_eq!(named, expected);
        assert_eq!(registry.specs()[1].types, ["alloc::string::String"]);
        Ok(())
    }

    #[test]
    fn a_name_can_be_taken_once() -> Result<()> {
        let mut registry = StateRegistry::without_store();
        let _: ValueState<u32> = registry.handle("account")?;
        let error = registry.handle::<ListState<u32>>("account").err().expect("the name is taken");
        assert!(error.to_string().contains("`account`"), "{error}");
        Ok(())
    }
}
