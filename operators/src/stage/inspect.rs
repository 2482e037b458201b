//! `inspect`: looks at every record in passing.

use std::sync::Arc;

use tidegate_runtime::element::{Batch, Record};
use tidegate_runtime::error::Result;

use super::whole::{BatchFunction, Whole};
use crate::event_time::Time;
use crate::stream::Stream;

impl<T: Record, Timing: Time> Stream<T, Timing> {
    /// Calls a function with every record. After a restart it sees the replayed records again.
    pub fn inspect(self, look: impl Fn(&T) + Send + Sync + 'static) -> Stream<T, Timing> {
        let look: Arc<dyn Fn(&[T]) + Send + Sync> = Arc::new(move |records| records.iter().for_each(&look));
        self.stage("inspect", move || Whole::new(Inspect { look: Arc::clone(&look) }))
    }
}

struct Inspect<T> {
    look: Arc<dyn Fn(&[T]) + Send + Sync>,
}

impl<T: Record> BatchFunction for Inspect<T> {
    type In = T;
    type Out = T;

    fn apply(&mut self, batch: Batch<T>) -> Result<Batch<T>> {
        (self.look)(&batch.records);
        Ok(batch)
    }
}
