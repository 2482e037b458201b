//! A handle that casts to an actor and counts what lies in its mailbox.

use std::sync::Arc;

use ractor::ActorRef;

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

    pub(crate) fn actor(&self) -> &ActorRef<M> {
        &self.actor
    }

    pub(crate) fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }
}
