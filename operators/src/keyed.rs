//! A stream divided by key: what state, windows and patterns are made of.

use std::marker::PhantomData;
use std::sync::Arc;

use tidegate_runtime::element::Record;
use tidegate_runtime::graph::{Node, Upstream};
use tidegate_runtime::key::Key;

use crate::builder::{GraphBuilder, port, upstream};
use crate::event_time::Time;
use crate::key::KeyFunction;
use crate::stream::Stream;

/// A stream of `T`s whose records reach the subtask that owns their key. Made by `Stream::key_by`.
#[must_use = "a stream without a consumer does nothing: end it with `.sink(..)`"]
pub struct KeyedStream<K, T, Time> {
    pub(crate) graph: GraphBuilder,
    pub(crate) upstreams: Vec<Upstream>,
    pub(crate) key: Arc<dyn KeyFunction<K, T>>,
    time: PhantomData<fn() -> Time>,
}

impl<K, T, Time> Clone for KeyedStream<K, T, Time> {
    fn clone(&self) -> Self {
        Self {
            graph: self.graph.clone(),
            upstreams: self.upstreams.clone(),
            key: Arc::clone(&self.key),
            time: PhantomData,
        }
    }
}

impl<K: Key, T: Record, Timing: Time> KeyedStream<K, T, Timing> {
    pub(crate) fn of(graph: GraphBuilder, upstreams: Vec<Upstream>, key: Arc<dyn KeyFunction<K, T>>) -> Self {
        Self { graph, upstreams, key, time: PhantomData }
    }

    /// Adds a stateful operator behind this stream, with one output.
    pub(crate) fn operator<U: Record, After: Time>(self, name: &str, mut node: Node) -> Stream<U, After> {
        node.name = Some(name.to_owned());
        node.outputs = vec![port::<U>("main")];
        let index = self.graph.add(node, &[&self.upstreams]);
        Stream::of(self.graph, vec![upstream::<U>(index, 0)])
    }
}
