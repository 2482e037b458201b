//! Which records of a key may travel together: pure. The rule is that one producer's results stay exactly those of
//! its records one by one, although a record of a partial moves ahead to where the partial's first record stood.

use crate::window::assigner::{SliceSpan, Slicing};

/// What a partial of a key covers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    /// Which partial of its key: see `Grouping::pane`.
    pub(crate) pane: i64,
    pub(crate) start: i64,
    pub(crate) last: i64,
}

/// When a partial was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    /// Behind the last watermark.
    Watermark,
    /// Before it.
    Earlier,
}

/// Whether a watermark divides what comes before it from what comes after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Divides {
    Yes,
    No,
}

/// How records are told apart beside their keys.
pub(crate) trait Grouping: Clone + Send + Sync + 'static {
    /// Records of different panes are never together. `None`: in no window.
    fn pane(&mut self, at: i64) -> Option<i64>;

    /// Whether a record of its pane can go with a partial, which is then grown.
    fn grow(&self, span: &mut Span, at: i64, since: Since) -> bool;

    fn on_watermark(&mut self, watermark: i64) -> Divides;
}

/// One pane a slice. A watermark divides if it closes a window, because a record counts only in windows that are
/// open where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Panes {
    slicing: Slicing,
    slice: SliceSpan,
    is_covered: bool,
    first_open: i64,
}

impl Panes {
    pub(crate) fn new(slicing: Slicing) -> Self {
        Self { slicing, slice: SliceSpan::EMPTY, is_covered: true, first_open: i64::MIN }
    }
}

impl Grouping for Panes {
    #[inline(always)]
    fn pane(&mut self, at: i64) -> Option<i64> {
        if !self.slice.contains(at) {
            self.slice = self.slicing.slice(at);
            self.is_covered = self.slicing.covers(at);
        }
        self.is_covered.then_some(self.slice.start)
    }

    #[inline(always)]
    fn grow(&self, _span: &mut Span, _at: i64, _since: Since) -> bool {
        true
    }

    fn on_watermark(&mut self, watermark: i64) -> Divides {
        let first_open = self.slicing.first_open(watermark);
        if std::mem::replace(&mut self.first_open, first_open) == first_open {
            Divides::No
        } else {
            Divides::Yes
        }
    }
}

/// Records of a session.
#[derive(Clone, Debug)]
pub(crate) struct Spans {
    gap: i64,
    watermark: i64,
    /// Timestamps up to this one are late by themselves.
    closed: i64,
}

impl Spans {
    pub(crate) fn new(gap: i64) -> Self {
        Self { gap: gap.max(1), watermark: i64::MIN, closed: i64::MIN }
    }

    /// Whether a timestamp is at most the gap above another, which it is not below.
    #[inline(always)]
    fn is_near(&self, at: i64, below: i64) -> bool {
        // No wrapped difference is wrong as an unsigned one.
        at.wrapping_sub(below) as u64 <= self.gap as u64
    }
}

impl Grouping for Spans {
    #[inline(always)]
    fn pane(&mut self, _at: i64) -> Option<i64> {
        Some(0)
    }

    /// Neither may be late by itself: a session without the other must still be open. What is earlier than the partial
    /// could connect it to a session that fired between the two, so it goes along only if no watermark is there.
    #[inline(always)]
    fn grow(&self, span: &mut Span, at: i64, since: Since) -> bool {
        if span.last.min(at) <= self.closed {
            return false;
        }
        if at > span.last {
            let is_connected = self.is_near(at, span.last);
            if is_connected {
                span.last = at;
            }
            return is_connected;
        }
        if at >= span.start {
            return true;
        }
        let is_connected = self.is_near(span.start, at) && since == Since::Watermark;
        if is_connected {
            span.start = at;
        }
        is_connected
    }

    fn on_watermark(&mut self, watermark: i64) -> Divides {
        self.watermark = self.watermark.max(watermark);
        self.closed = match self.watermark {
            i64::MAX => i64::MAX,
            watermark => watermark.saturating_sub(self.gap - 1),
        };
        Divides::No
    }
}
