//! What a window does with its records, in one type: accumulate, then emit.

use std::marker::PhantomData;

use tidegate_runtime::element::Record;
use tidegate_runtime::key::Key;
use tidegate_runtime::output::Output;
use tidegate_runtime::state::{Aggregate, StateValue};

use super::spec::Window;

/// What an operator over windows of one key accumulates and emits.
pub(crate) trait WindowFunction: Send + Sync + 'static {
    type Key: Key;
    type In: Record;
    type Acc: StateValue + Clone;
    type Out: Record;
    /// What a late record is sent on as.
    type Late: Record;

    fn create(&self) -> Self::Acc;

    fn add(&self, acc: &mut Self::Acc, record: Self::In);

    /// The accumulator of one record.
    fn begin(&self, record: Self::In) -> Self::Acc {
        let mut acc = self.create();
        self.add(&mut acc, record);
        acc
    }

    fn merge(&self, acc: &mut Self::Acc, later: Self::Acc);

    fn emit(&self, key: &Self::Key, window: Window, acc: Self::Acc, out: &mut Output<Self::Out>);

    /// How many records a late one stands for, and what goes to the late output.
    fn late(&self, record: Self::In) -> (u64, Option<Self::Late>);

    /// The first timestamp of what a record stands for, of which `at` is the last.
    fn start(&self, _record: &Self::In, at: i64) -> i64 {
        at
    }
}

/// An aggregate, and a function of its result.
pub(crate) struct AggregateThen<K, A, F> {
    pub(crate) aggregate: A,
    pub(crate) then: F,
    key: PhantomData<fn() -> K>,
}

impl<K, A, F> AggregateThen<K, A, F> {
    pub(crate) fn new(aggregate: A, then: F) -> Self {
        Self { aggregate, then, key: PhantomData }
    }
}

impl<K, A, F, I> WindowFunction for AggregateThen<K, A, F>
where
    K: Key,
    A: Aggregate<In: Record> + Sync,
    F: Fn(&K, Window, A::Out) -> I + Send + Sync + 'static,
    I: IntoIterator<Item: Record>,
{
    type Key = K;
    type In = A::In;
    type Acc = A::Acc;
    type Out = I::Item;
    type Late = A::In;

    fn create(&self) -> A::Acc {
        self.aggregate.create()
    }

    #[inline(always)]
    fn add(&self, acc: &mut A::Acc, record: A::In) {
        self.aggregate.add(acc, record);
    }

    fn merge(&self, acc: &mut A::Acc, later: A::Acc) {
        self.aggregate.merge(acc, later);
    }

    fn emit(&self, key: &K, window: Window, acc: A::Acc, out: &mut Output<I::Item>) {
        for record in (self.then)(key, window, self.aggregate.finish(&acc)) {
            out.push(record, window.last_timestamp());
        }
    }

    fn late(&self, record: A::In) -> (u64, Option<A::In>) {
        (1, Some(record))
    }
}

/// Combines records into one of them.
pub(crate) struct Reducing<T, F> {
    combine: F,
    record: PhantomData<fn(T)>,
}

impl<T, F: Fn(&mut T, T)> Reducing<T, F> {
    pub(crate) fn new(combine: F) -> Self {
        Self { combine, record: PhantomData }
    }
}

impl<T: Record, F: Fn(&mut T, T) + Send + 'static> Aggregate for Reducing<T, F> {
    type In = T;
    type Acc = Option<T>;
    type Out = Option<T>;

    fn create(&self) -> Option<T> {
        None
    }

    fn add(&self, acc: &mut Option<T>, value: T) {
        match acc {
            Some(into) => (self.combine)(into, value),
            None => *acc = Some(value),
        }
    }

    fn merge(&self, acc: &mut Option<T>, other: Option<T>) {
        if let Some(value) = other {
            self.add(acc, value);
        }
    }

    fn finish(&self, acc: &Option<T>) -> Option<T> {
        acc.clone()
    }
}

/// Keeps all records, in the order of slices and arrival.
pub(crate) struct Collecting<T>(PhantomData<fn(T)>);

impl<T> Default for Collecting<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: Record> Aggregate for Collecting<T> {
    type In = T;
    type Acc = Vec<T>;
    type Out = Vec<T>;

    fn create(&self) -> Vec<T> {
        Vec::new()
    }

    fn add(&self, acc: &mut Vec<T>, value: T) {
        acc.push(value);
    }

    fn merge(&self, acc: &mut Vec<T>, other: Vec<T>) {
        acc.extend(other);
    }

    fn finish(&self, acc: &Vec<T>) -> Vec<T> {
        acc.clone()
    }
}
