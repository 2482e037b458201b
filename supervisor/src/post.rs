//! Handles that cast to an actor and count what lies in its mailbox.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ractor::ActorRef;
use tidegate_runtime::sync::lock;

use crate::directory::Entry;

/// An actor's address.
pub(crate) struct Post<M> {
    actor: ActorRef<M>,
    entry: Arc<Entry>,
}

impl<M> Clone for Post<M> {
    fn clone(&self) -> Self {
        Self { actor: self.actor.clone(), entry: Arc::clone(&self.entry) }
    }
}

impl<M: ractor::Message> Post<M> {
    pub(crate) fn new(actor: ActorRef<M>, entry: Arc<Entry>) -> Self {
        Self { actor, entry }
    }

    /// Sends a message. It is lost when the actor is gone: its supervisor hears of that.
    pub(crate) fn cast(&self, message: M) {
        if self.actor.send_message(message).is_ok() {
            self.entry.posted();
        }
    }

    /// Casts after a while; only on the control runtime, which ends the wait with itself.
    pub(crate) fn cast_after(&self, after: Duration, message: impl FnOnce() -> M + Send + 'static) {
        let post = self.clone();
        drop(tokio::runtime::Handle::current().spawn(async move {
            tokio::time::sleep(after).await;
            post.cast(message());
        }));
    }

    pub(crate) fn actor(&self) -> &ActorRef<M> {
        &self.actor
    }

    pub(crate) fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }
}

/// Where the current holder of a role is found, across its restarts.
pub(crate) struct Slot<M>(Mutex<Option<Post<M>>>);

impl<M> Default for Slot<M> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<M: ractor::Message> Slot<M> {
    pub(crate) fn set(&self, post: Post<M>) {
        *lock(&self.0) = Some(post);
    }

    pub(crate) fn get(&self) -> Option<Post<M>> {
        lock(&self.0).clone()
    }

    pub(crate) fn tell(&self, message: M) {
        if let Some(post) = self.get() {
            post.cast(message);
        }
    }
}
