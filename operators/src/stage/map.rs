//! `map` and `try_map`: one record in, one record out.

use std::marker::PhantomData;
use std::sync::Arc;

use tidegate_runtime::element::{Batch, Record};
use tidegate_runtime::error::{BoxError, Result};
use tidegate_runtime::time::Timestamp;

use super::whole::{BatchFunction, Whole};
use crate::event_time::Time;
use crate::stream::Stream;

impl<T: Record, Timing: Time> Stream<T, Timing> {
    /// Turns each record into another; it keeps its timestamp.
    ///
    /// ```
    /// # use tidegate_operators::{Dataflow, testing::numbers};
    /// let flow = Dataflow::new("squares");
    /// flow.source("numbers", numbers(0..10)).map(|n| n * n).print();
    /// assert!(flow.explain()?.contains("fused map"));
    /// # Ok::<(), tidegate_runtime::Error>(())
    /// ```
    pub fn map<U: Record>(self, function: impl Fn(T) -> U + Send + Sync + 'static) -> Stream<U, Timing> {
        let function = Arc::new(function);
        self.stage("map", move || Whole::new(Map::new(Arc::clone(&function), map_all)))
    }

    /// As `map`, with a function that can fail: an error fails the attempt, with the record's timestamp.
    pub fn try_map<U: Record>(
        self,
        function: impl Fn(T) -> Result<U, BoxError> + Send + Sync + 'static,
    ) -> Stream<U, Timing> {
        let function = Arc::new(function);
        self.stage("try_map", move || Whole::new(Map::new(Arc::clone(&function), try_map_all)))
    }
}

/// Applies a function to all records and appends what comes of them. How far it came when it ended early is the
/// length of the result.
type ApplyAll<T, U, F> = fn(&F, Vec<T>, &mut Vec<U>) -> Result<()>;

struct Map<T, U, F> {
    function: Arc<F>,
    apply: ApplyAll<T, U, F>,
    done: Vec<U>,
    timestamps: Vec<Timestamp>,
    types: PhantomData<fn(T)>,
}

impl<T, U, F> Map<T, U, F> {
    fn new(function: Arc<F>, apply: ApplyAll<T, U, F>) -> Self {
        Self { function, apply, done: Vec::new(), timestamps: Vec::new(), types: PhantomData }
    }
}

fn map_all<T, U, F: Fn(T) -> U>(function: &F, records: Vec<T>, done: &mut Vec<U>) -> Result<()> {
    done.extend(records.into_iter().map(function));
    Ok(())
}

fn try_map_all<T, U, F: Fn(T) -> Result<U, BoxError>>(
    function: &F,
    records: Vec<T>,
    done: &mut Vec<U>,
) -> Result<()> {
    done.reserve(records.len());
    for record in records {
        done.push(function(record)?);
    }
    Ok(())
}

impl<T: Record, U: Record, F: Send + Sync> BatchFunction for Map<T, U, F> {
    type In = T;
    type Out = U;

    fn apply(&mut self, batch: Batch<T>) -> Result<Batch<U>> {
        self.timestamps = batch.timestamps;
        (self.apply)(&self.function, batch.records, &mut self.done)?;
        Ok(Batch {
            records: std::mem::take(&mut self.done),
            timestamps: std::mem::take(&mut self.timestamps),
            hashes: Vec::new(),
            watermarks: batch.watermarks,
        })
    }

    fn failed_timestamp(&self) -> Option<Timestamp> {
        self.timestamps.get(self.done.len()).copied()
    }
}
