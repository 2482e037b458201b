//! What the operators of process functions share: the state bound to a key, and the firing of timers.

use std::sync::Arc;

use tidegate_runtime::element::{ErasedBatch, Record};
use tidegate_runtime::error::{BoxError, Error, Result};
use tidegate_runtime::key::{Key, KeyHash};
use tidegate_runtime::operator::{OpenContext, Progress, StepContext};
use tidegate_runtime::output::Timing as OutputTiming;
use tidegate_runtime::state::{StateRegistry, StateTable, States};
use tidegate_runtime::time::Timestamp;

use super::input::{KeyedInput, render_key};
use crate::context::Context;
use crate::side_output::SideOutputs;

/// Firings in one call: then the step machine looks at its budget.
pub(crate) const FIRINGS_MAX: usize = 1_024;

/// A call of user code with state and context.
pub(crate) type UserResult = Result<(), BoxError>;

pub(crate) struct Processing<K: Key, S: States, Out: Record> {
    pub(crate) cx: Context<K, Out>,
    state: Option<S>,
    /// The encoded key.
    key_bytes: Vec<u8>,
}

impl<K: Key, S: States, Out: Record> Processing<K, S, Out> {
    pub(crate) fn new(timing: OutputTiming, sides: &Arc<SideOutputs>) -> Self {
        Self { cx: Context::new(timing, sides.make(timing)), state: None, key_bytes: Vec::new() }
    }

    pub(crate) fn declare(registry: &mut StateRegistry) -> Result<()> {
        S::open(registry)?;
        registry.timers::<K>("event-timers")?;
        registry.timers::<K>("processing-timers").map(|_| ())
    }

    pub(crate) fn open(&mut self, cx: &mut OpenContext<'_>) -> Result<()> {
        self.state = Some(S::open(cx.states)?);
        self.cx.open(cx)
    }

    /// Calls user code for a key. The key is swapped for the one before, so that none is cloned.
    pub(crate) fn call(
        &mut self,
        hash: KeyHash,
        key: &mut K,
        timestamp: Timestamp,
        user: impl FnOnce(&mut S, &mut Context<K, Out>) -> UserResult,
    ) -> Result<()> {
        let state = self.state.as_mut().expect("I9: a task is opened before its first step");
        let is_bound = self.cx.hash == hash && self.cx.key.as_ref() == Some(key);
        if !is_bound {
            match &mut self.cx.key {
                Some(bound) => std::mem::swap(bound, key),
                None => self.cx.key = Some(key.clone()),
            }
            self.cx.hash = hash;
            self.key_bytes = encode_key(self.cx.key(), std::mem::take(&mut self.key_bytes))?;
            state.set_key(hash, &self.key_bytes);
        }
        self.cx.timestamp = timestamp;
        user(state, &mut self.cx).map_err(user_error)?;
        self.cx.settle()
    }

    pub(crate) fn on_watermark(
        &mut self,
        watermark: Timestamp,
        step: &StepContext<'_>,
        on_timer: impl Fn(Timestamp, &mut S, &mut Context<K, Out>) -> UserResult,
    ) -> Result<Progress> {
        self.cx.begin(step);
        for _ in 0..FIRINGS_MAX {
            let due = self.cx.event_timers.as_mut().map_or(Ok(None), |timers| timers.pop_due(watermark))?;
            let Some((at, hash, mut key)) = due else {
                self.cx.output.push_watermark(watermark);
                self.cx.sides.push_watermark(watermark);
                return Ok(Progress::Done);
            };
            self.call(hash, &mut key, at, |state, cx| on_timer(at, state, cx))?;
            if self.cx.is_full() {
                break;
            }
        }
        Ok(Progress::More)
    }

    pub(crate) fn on_processing_time(
        &mut self,
        now: Timestamp,
        step: &StepContext<'_>,
        on_timer: impl Fn(Timestamp, &mut S, &mut Context<K, Out>) -> UserResult,
    ) -> Result<Progress> {
        self.cx.begin(step);
        for _ in 0..FIRINGS_MAX {
            let due = self.cx.processing_timers.as_mut().map_or(Ok(None), |timers| timers.pop_due(now))?;
            let Some((at, hash, mut key)) = due else { return Ok(Progress::Done) };
            self.call(hash, &mut key, at, |state, cx| on_timer(at, state, cx))?;
            if self.cx.is_full() {
                break;
            }
        }
        Ok(Progress::More)
    }

    pub(crate) fn next_processing_time(&self) -> Option<Timestamp> {
        self.cx.processing_timers.as_ref().and_then(|timers| timers.next())
    }

    pub(crate) fn outputs(&self) -> usize {
        1 + self.cx.sides.len()
    }

    pub(crate) fn take_output(&mut self, port: usize) -> Option<ErasedBatch> {
        if port == 0 { self.cx.output.take() } else { self.cx.sides.take(port - 1) }
    }

    pub(crate) fn visit_tables(&mut self, visit: &mut dyn FnMut(&mut dyn StateTable)) {
        if let Some(state) = &mut self.state {
            state.visit_tables(visit);
        }
        if let Some(timers) = &mut self.cx.event_timers {
            visit(timers);
        }
        if let Some(timers) = &mut self.cx.processing_timers {
            visit(timers);
        }
    }

    pub(crate) fn current_element(&self) -> (Option<String>, Option<Timestamp>) {
        let timestamp = self.cx.key.is_some().then_some(self.cx.timestamp);
        (self.cx.key.as_ref().and_then(render_key), timestamp.filter(|at| *at != Timestamp::MIN))
    }
}

/// Gives the records of one input up to `until` to a function.
pub(crate) fn work<K: Key, T: Record, S: States, Out: Record>(
    input: &mut KeyedInput<K, T>,
    until: usize,
    processing: &mut Processing<K, S, Out>,
    user: impl Fn(T, &mut S, &mut Context<K, Out>) -> Result<(), BoxError>,
) -> Result<usize> {
    while input.batch.cursor() < until && !processing.cx.is_full() {
        let at = input.batch.cursor();
        let (element, timestamp) = (input.batch.take(), input.batch.timestamp(at));
        let call = |state: &mut S, cx: &mut Context<K, Out>| user(element, state, cx);
        processing.call(input.batch.hashes[at], &mut input.keys[at], timestamp, call)?;
    }
    Ok(input.batch.cursor())
}

fn encode_key<K: Key>(key: &K, mut into: Vec<u8>) -> Result<Vec<u8>> {
    into.clear();
    postcard::to_extend(key, into).map_err(|error| Error::Codec {
        type_name: std::any::type_name::<K>(),
        problem: format!("the key does not encode: {error}"),
    })
}

/// What a user function returned; an error of ours that it passed on is taken as such.
fn user_error(error: BoxError) -> Error {
    match error.downcast::<Error>() {
        Ok(ours) => *ours,
        Err(error) => Error::User(error),
    }
}
