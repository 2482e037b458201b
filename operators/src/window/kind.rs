//! What sliced windows and sessions differ in, as the one window operator asks it: pure.

use tidegate_runtime::state::StateValue;

use super::function::WindowFunction;
use super::session::Stretch;
use super::spec::Window;

/// A kind of windows. Of each key an entry is held, and the key is looked at when one of its windows may be due.
pub(crate) trait WindowKind: Clone + Send + Sync + 'static {
    /// Name of the state.
    const STATE: &'static str;

    /// What is held of a key.
    type Held<Acc: StateValue + Clone>: StateValue + Default;

    /// Time that looks are sorted at once for.
    fn due_width(&self) -> i64;

    /// Whether all records from `lowest` on are in a window, and none is late.
    fn takes_all(&self, lowest: i64, watermark: i64) -> bool;

    fn judge(&self, at: Stretch, watermark: i64) -> Verdict;

    /// Whether it would go into what is there.
    fn has_for<Acc: StateValue + Clone>(&self, held: &Self::Held<Acc>, at: Stretch) -> bool;

    /// Adds a record that is not late; `at` is its timestamp. Says when the key is to be looked at, if that is new.
    fn add<F: WindowFunction>(
        &mut self,
        held: &mut Self::Held<F::Acc>,
        added: (&F, F::In),
        at: i64,
        watermark: i64,
    ) -> Option<i64>;

    /// Looks at a key at `at`, and takes out the window that is due then.
    fn fire<F: WindowFunction>(
        &mut self,
        held: &mut Self::Held<F::Acc>,
        at: i64,
        function: &F,
    ) -> Look<F::Acc>;

    /// When the key is looked at next.
    fn next_look<Acc: StateValue + Clone>(&self, held: &Self::Held<Acc>) -> Option<i64>;
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// In an open window.
    InTime,
    /// Late, unless there is a window for it.
    LateAlone,
    Late,
    /// Between two windows.
    InNone,
}

/// What a look at a key came to.
pub(crate) struct Look<Acc> {
    pub(crate) fired: Option<(Window, Acc)>,
    pub(crate) next: Next,
}

/// When a key is looked at after a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    At(i64),
    /// When it is registered for already: this look was of an earlier registration.
    AsRegistered,
    /// It holds nothing any more.
    Never,
}
