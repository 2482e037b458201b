//! What hangs on a subtask's root: fused stages and, at their ends, routers.

use std::sync::Arc;

use crate::element::ErasedBatch;
use crate::error::Result;
use crate::exchange::{Control, Routed, Router};
use crate::operator::{FlushReason, Progress, Stage, StageContext, StepContext};
use crate::time::Timestamp;

/// A node of a chain. Nodes stand in topological order: `next` holds higher positions only.
pub enum ChainNode {
    /// A fused stage and the nodes that take its output.
    Stage {
        /// The stage.
        stage: Box<dyn Stage>,
        /// Where its output goes.
        next: Vec<usize>,
    },
    /// The end of an edge.
    Router(Box<dyn Router>),
}

enum Node {
    Stage { stage: Box<dyn Stage>, next: Arc<[usize]>, was_idle: bool },
    Router { router: Box<dyn Router>, routed: Routed },
}

/// The stages and routers of one subtask.
pub struct Chain {
    nodes: Vec<Node>,
    /// For each output port of the root, the nodes that take it.
    entries: Vec<Arc<[usize]>>,
    /// A flush of all stages that is under way, and the position that comes next.
    flushing: Option<(FlushReason, usize)>,
    /// Whether a stage fell idle: said downstream once what it emitted before has gone.
    has_fallen_idle: bool,
}

/// Whether all stages are flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flushed {
    /// They are, and nothing has come in since the first of them was.
    All,
    /// Not yet: the output of one must go on first.
    Partly,
}

/// What there was to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChainTurn {
    /// A stage has worked.
    Worked,
    /// Every stage's input is used up and every router has room.
    Clear,
    /// A gate is full.
    BackPressured,
}

impl Chain {
    /// A chain of `nodes`, entered at `entries[port]` from each output port of the root.
    pub fn new(nodes: Vec<ChainNode>, entries: Vec<Vec<usize>>) -> Self {
        let node = |node| match node {
            ChainNode::Stage { stage, next } => Node::Stage { stage, next: next.into(), was_idle: false },
            ChainNode::Router(router) => Node::Router { router, routed: Routed::Ready },
        };
        Self {
            nodes: nodes.into_iter().map(node).collect(),
            entries: entries.into_iter().map(Into::into).collect(),
            flushing: None,
            has_fallen_idle: false,
        }
    }

    /// Opens all stages.
    pub(super) fn open(&mut self, cx: &StageContext) {
        for node in &mut self.nodes {
            if let Node::Stage { stage, .. } = node {
                stage.open(cx);
            }
        }
    }

    /// Gives a batch of the root's output `port` to the nodes that take it. Only when the chain is clear.
    pub(super) fn enter(&mut self, port: usize, batch: ErasedBatch) {
        self.flushing = None;
        if let Some(targets) = self.entries.get(port).cloned() {
            self.give(&targets, batch);
        }
    }

    fn give(&mut self, targets: &[usize], batch: ErasedBatch) {
        let Some((last, others)) = targets.split_last() else { return };
        for target in others {
            self.give_one(*target, batch.clone());
        }
        self.give_one(*last, batch);
    }

    fn give_one(&mut self, target: usize, batch: ErasedBatch) {
        match &mut self.nodes[target] {
            Node::Stage { stage, .. } => stage.accept(batch),
            Node::Router { router, routed } => *routed = router.route(batch),
        }
    }

    /// Runs the stage nearest to the ends that has input, so that no stage ever gets a second batch.
    pub(super) fn turn(&mut self, cx: &mut StepContext<'_>) -> Result<ChainTurn> {
        for node in &mut self.nodes {
            if let Node::Router { router, routed } = node
                && *routed == Routed::BackPressured
            {
                *routed = router.retry();
                if *routed == Routed::BackPressured {
                    return Ok(ChainTurn::BackPressured);
                }
            }
        }
        for position in (0..self.nodes.len()).rev() {
            if let Node::Stage { stage, .. } = &mut self.nodes[position]
                && stage.is_pending()
            {
                let (output, progress) = stage.run(cx)?;
                debug_assert!(progress == Progress::More || !stage.is_pending());
                self.pass_on(position, output);
                return Ok(ChainTurn::Worked);
            }
        }
        if self.has_fallen_idle {
            // What those below hold back was emitted before, and must go before.
            for position in self.below_fallen_idle()..self.nodes.len() {
                if self.let_go(position, FlushReason::Park, cx)? == Flushed::Partly {
                    return Ok(ChainTurn::Worked);
                }
            }
            self.has_fallen_idle = false;
            self.settle_idle();
        }
        Ok(ChainTurn::Clear)
    }

    /// Flushes the stages in order, up to one that emits something. Call it, whenever the chain is clear, until all
    /// are flushed; it starts again at the first stage when something came in, or when the reason changes.
    pub(super) fn flush(&mut self, reason: FlushReason, cx: &mut StepContext<'_>) -> Result<Flushed> {
        let first = self.flushing.filter(|(of, _)| *of == reason).map_or(0, |(_, next)| next);
        for position in first..self.nodes.len() {
            if self.flush_stage(position, reason, cx)? == Flushed::Partly {
                self.flushing = Some((reason, position + 1));
                return Ok(Flushed::Partly);
            }
        }
        self.flushing = None;
        Ok(Flushed::All)
    }

    /// Flushes the node at `position`; the chain is clear. Returns whether there is nothing to pass on.
    fn flush_stage(
        &mut self,
        position: usize,
        reason: FlushReason,
        cx: &mut StepContext<'_>,
    ) -> Result<Flushed> {
        let flushed = self.let_go(position, reason, cx)?;
        Ok(if self.has_fallen_idle { Flushed::Partly } else { flushed })
    }

    /// As `flush_stage`, whoever fell idle by it.
    fn let_go(&mut self, position: usize, reason: FlushReason, cx: &mut StepContext<'_>) -> Result<Flushed> {
        let Node::Stage { stage, .. } = &mut self.nodes[position] else { return Ok(Flushed::All) };
        let output = stage.flush(reason, cx)?;
        let is_silent = output.is_none();
        self.pass_on(position, output);
        Ok(if is_silent { Flushed::All } else { Flushed::Partly })
    }

    /// Flushes the first stage whose time has come. Returns whether there was one.
    pub(super) fn flush_due(&mut self, now: Timestamp, cx: &mut StepContext<'_>) -> Result<bool> {
        for position in 0..self.nodes.len() {
            if let Node::Stage { stage, .. } = &self.nodes[position]
                && stage.next_processing_time().is_some_and(|due| due <= now)
            {
                self.flushing = None;
                self.flush_stage(position, FlushReason::Time, cx)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Hands a stage's output on. That it is active again goes before it; that it fell idle goes once all that it
    /// emitted has passed the stages below.
    fn pass_on(&mut self, position: usize, output: Option<ErasedBatch>) {
        let Node::Stage { stage, next, was_idle } = &mut self.nodes[position] else { return };
        let is_idle = stage.is_idle();
        self.has_fallen_idle |= is_idle && !*was_idle;
        let is_back = *was_idle && !is_idle;
        let next = Arc::clone(next);
        if is_back {
            *was_idle = false;
            self.broadcast_below(&next, Control::Active);
        }
        if let Some(batch) = output {
            self.give(&next, batch);
        }
    }

    /// The position behind the first stage of which nobody was told yet that it is idle.
    fn below_fallen_idle(&self) -> usize {
        let has_fallen = |node: &Node| match node {
            Node::Stage { stage, was_idle, .. } => !was_idle && stage.is_idle(),
            Node::Router { .. } => false,
        };
        self.nodes.iter().position(has_fallen).map_or(self.nodes.len(), |position| position + 1)
    }

    fn settle_idle(&mut self) {
        for position in 0..self.nodes.len() {
            let Node::Stage { stage, next, was_idle } = &mut self.nodes[position] else { continue };
            if !*was_idle && stage.is_idle() {
                *was_idle = true;
                let next = Arc::clone(next);
                self.broadcast_below(&next, Control::Idle);
            }
        }
    }

    fn broadcast_below(&mut self, targets: &[usize], control: Control) {
        for target in targets {
            match &mut self.nodes[*target] {
                Node::Router { router, routed } => {
                    router.broadcast(control);
                    *routed = Routed::Ready;
                }
                Node::Stage { next, .. } => {
                    let next = Arc::clone(next);
                    self.broadcast_below(&next, control);
                }
            }
        }
    }

    /// Sends incomplete batches; the subtask is about to park.
    pub(super) fn flush_routers(&mut self) -> Routed {
        let mut all = Routed::Ready;
        for node in &mut self.nodes {
            if let Node::Router { router, routed } = node {
                *routed = router.flush();
                if *routed == Routed::BackPressured {
                    all = Routed::BackPressured;
                }
            }
        }
        all
    }

    /// Sends a control element to every destination of every output, in one step (I6).
    pub(super) fn broadcast(&mut self, control: Control) {
        for node in &mut self.nodes {
            if let Node::Router { router, routed } = node {
                router.broadcast(control);
                *routed = Routed::Ready;
            }
        }
    }

    /// When a stage wants to be flushed next.
    pub(super) fn next_processing_time(&self) -> Option<Timestamp> {
        self.nodes
            .iter()
            .filter_map(|node| match node {
                Node::Stage { stage, .. } => stage.next_processing_time(),
                Node::Router { .. } => None,
            })
            .min()
    }

    pub(super) fn records_sent(&self) -> u64 {
        self.nodes
            .iter()
            .map(|node| match node {
                Node::Router { router, .. } => router.records_sent(),
                Node::Stage { .. } => 0,
            })
            .sum()
    }

    /// Timestamp of the element that the last working stage stands at.
    pub(super) fn current_timestamp(&self) -> Option<Timestamp> {
        self.nodes.iter().rev().find_map(|node| match node {
            Node::Stage { stage, .. } => stage.current_timestamp(),
            Node::Router { .. } => None,
        })
    }
}
