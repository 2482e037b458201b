//! The await between two steps: lets the neighbours run, and lets itself be taken over by another thread meanwhile.

use std::pin::Pin;
use std::task::{Context, Poll};

/// Ready when polled again, which is after what waits in the thread's queue.
///
/// Not `tokio::task::yield_now`: that holds its task back on the thread until the thread is out of work, so a neighbour
/// whose user code takes long would hold up this subtask too, though another thread is free.
#[derive(Debug, Default)]
pub(super) struct GiveWay {
    has_given: bool,
}

impl Future for GiveWay {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.has_given, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
