//! Incremental functions over values: what a reducing or aggregating state, a rolling aggregate and a window share.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Every type that state can hold. Unlike a record it need not be `Clone`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be kept in state",
    note = "a state value is `Serialize + DeserializeOwned + Send + 'static`: derive `Serialize, Deserialize`"
)]
pub trait StateValue: Serialize + DeserializeOwned + Send + 'static {}

impl<V: Serialize + DeserializeOwned + Send + 'static> StateValue for V {}

/// Combines two values of one type into one; associative.
///
/// ```
/// use tidegate_runtime::state::Reduce;
/// #[derive(Default)]
/// struct Sum;
/// impl Reduce<u64> for Sum {
///     fn reduce(&self, sum: &mut u64, value: u64) {
///         *sum += value;
///     }
/// }
/// ```
pub trait Reduce<V>: Default + Send + 'static {
    /// Combines `value` into `into`, which is older.
    fn reduce(&self, into: &mut V, value: V);
}

/// Folds values into an accumulator of another type, from which a result is read.
///
/// `merge` is required: sessions, slices and two-stage windows combine accumulators.
///
/// ```
/// use tidegate_runtime::state::Aggregate;
/// struct Mean;
/// impl Aggregate for Mean {
///     type In = f64;
///     type Acc = (f64, u64);
///     type Out = f64;
///     fn create(&self) -> (f64, u64) {
///         (0.0, 0)
///     }
///     fn add(&self, acc: &mut (f64, u64), value: f64) {
///         acc.0 += value;
///         acc.1 += 1;
///     }
///     fn merge(&self, acc: &mut (f64, u64), other: (f64, u64)) {
///         acc.0 += other.0;
///         acc.1 += other.1;
///     }
///     fn finish(&self, acc: &(f64, u64)) -> f64 {
///         acc.0 / acc.1 as f64
///     }
/// }
/// ```
pub trait Aggregate: Send + 'static {
    /// What is added.
    type In;
    /// What is kept.
    type Acc: StateValue + Clone;
    /// What is read.
    type Out;

    /// An accumulator of nothing.
    fn create(&self) -> Self::Acc;

    /// Adds one value.
    fn add(&self, acc: &mut Self::Acc, value: Self::In);

    /// Adds what `other` has accumulated.
    fn merge(&self, acc: &mut Self::Acc, other: Self::Acc);

    /// The result of what was accumulated so far.
    fn finish(&self, acc: &Self::Acc) -> Self::Out;
}
