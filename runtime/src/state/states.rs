//! The states of one operator as one value: what `#[derive(States)]` implements and the step machine drives.

use crate::error::Result;
use crate::key::KeyHash;
use crate::state::lease::StateTable;
use crate::state::registry::StateRegistry;

/// A struct of state handles; derive it.
///
/// ```
/// use tidegate_runtime::state::{ListState, StateRegistry, States, ValueState};
/// # use tidegate_derive::States;
/// #[derive(States)]
/// #[states(crate = "tidegate_runtime")] // programs leave this out
/// struct EnrichState {
///     account: ValueState<String>,
///     waiting: ListState<u64>,
/// }
/// let mut registry = StateRegistry::without_store();
/// let mut state = EnrichState::open(&mut registry)?;
/// state.set_key(tidegate_runtime::key::hash_key(&7u64), &[7]);
/// state.waiting.push(12)?;
/// assert_eq!(registry.specs()[1].name, "waiting");
/// # state.account.clear()?;
/// # Ok::<(), tidegate_runtime::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a struct of states",
    note = "write `#[derive(States)]` on a struct whose fields are state handles"
)]
pub trait States: Sized + Send + 'static {
    /// Makes the states, named after the fields.
    ///
    /// # Errors
    /// If a name is taken, or the store can't be read.
    fn open(registry: &mut StateRegistry) -> Result<Self>;

    /// Binds all handles to a key.
    fn set_key(&mut self, hash: KeyHash, key: &[u8]);

    /// Visits the tables in the order of their ids, which is that of rows.
    fn visit_tables(&mut self, visit: &mut dyn FnMut(&mut dyn StateTable));
}

impl States for () {
    fn open(_registry: &mut StateRegistry) -> Result<Self> {
        Ok(())
    }

    fn set_key(&mut self, _hash: KeyHash, _key: &[u8]) {}

    fn visit_tables(&mut self, _visit: &mut dyn FnMut(&mut dyn StateTable)) {}
}

/// One state of a key: `ValueState`, `ListState`, `MapState`, `ReducingState` or `AggregatingState`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a state handle",
    label = "not a state handle",
    note = "fields of a struct with `#[derive(States)]` are `ValueState<T>`, `ListState<T>`, `MapState<K, V>`, `ReducingState<V, F>` or `AggregatingState<A>`"
)]
pub trait StateHandle: Sized + Send + 'static {
    /// Makes the state.
    ///
    /// # Errors
    /// If the name is taken, or the store can't be read.
    fn open(registry: &mut StateRegistry, name: &str) -> Result<Self>;

    /// Binds the handle to a key; nothing is looked up before it is asked for.
    fn set_key(&mut self, hash: KeyHash, key: &[u8]);

    /// The table of all keys.
    fn table(&mut self) -> &mut dyn StateTable;
}
