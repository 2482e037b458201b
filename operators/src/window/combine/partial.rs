//! What goes through the exchange in place of records, and the window function of it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate_runtime::element::Record;
use tidegate_runtime::key::Key;
use tidegate_runtime::output::Output;

use crate::key::KeyFunction;
use crate::window::function::WindowFunction;
use crate::window::spec::Window;

/// Some records of one key, all of one slice or of one stretch of a session. Its timestamp is the last of theirs, or
/// of a slice any.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Partial<K, T, Acc> {
    /// One, as it was.
    Record(T),
    /// What several come to.
    Sum(Sum<K, Acc>),
}

/// What records of one key come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sum<K, Acc> {
    pub(crate) key: K,
    pub(crate) acc: Acc,
    /// The first timestamp.
    pub(crate) start: i64,
    /// How many.
    pub(crate) records: u64,
}

/// The key function of partials, by that of records.
pub(crate) fn partial_key<K: Key, T: Record, Acc: 'static>(
    key: Arc<dyn KeyFunction<K, T>>,
) -> Arc<dyn KeyFunction<K, Partial<K, T, Acc>>> {
    Arc::new(move |partial: &Partial<K, T, Acc>| match partial {
        Partial::Record(record) => key.key(record),
        Partial::Sum(sum) => sum.key.clone(),
    })
}

/// Merges partials as another function adds records.
pub(crate) struct Merging<F>(pub(crate) Arc<F>);

impl<F: WindowFunction> WindowFunction for Merging<F> {
    type Key = F::Key;
    type In = Partial<F::Key, F::In, F::Acc>;
    type Acc = F::Acc;
    type Out = F::Out;
    type Late = F::Late;

    fn create(&self) -> F::Acc {
        self.0.create()
    }

    #[inline(always)]
    fn add(&self, acc: &mut F::Acc, partial: Self::In) {
        match partial {
            Partial::Record(record) => self.0.add(acc, record),
            Partial::Sum(sum) => self.0.merge(acc, sum.acc),
        }
    }

    #[inline(always)]
    fn begin(&self, partial: Self::In) -> F::Acc {
        match partial {
            Partial::Record(record) => self.0.begin(record),
            Partial::Sum(sum) => sum.acc,
        }
    }

    fn merge(&self, acc: &mut F::Acc, later: F::Acc) {
        self.0.merge(acc, later);
    }

    fn emit(&self, key: &F::Key, window: Window, acc: F::Acc, out: &mut Output<F::Out>) {
        self.0.emit(key, window, acc, out);
    }

    fn late(&self, partial: Self::In) -> (u64, Option<F::Late>) {
        match partial {
            Partial::Record(record) => self.0.late(record),
            Partial::Sum(sum) => (sum.records, None),
        }
    }

    #[inline(always)]
    fn start(&self, partial: &Self::In, at: i64) -> i64 {
        match partial {
            Partial::Record(_) => at,
            Partial::Sum(sum) => sum.start,
        }
    }
}
