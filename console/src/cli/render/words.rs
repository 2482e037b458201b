//! Words of the actor table, the same as in JSON.

use tidegate_supervisor::{ActorKind, ActorState};

/// What an actor is.
pub(crate) fn kind_word(kind: ActorKind) -> &'static str {
    match kind {
        ActorKind::Runtime => "runtime",
        ActorKind::Job => "job",
        ActorKind::Checkpoints => "checkpoints",
        ActorKind::Enumerator => "enumerator",
        ActorKind::Region => "region",
        ActorKind::Worker => "worker",
        ActorKind::Deployment => "deployment",
        ActorKind::Subtask => "subtask",
    }
}

/// Whether an actor lives.
pub(crate) fn state_word(state: ActorState) -> &'static str {
    match state {
        ActorState::Starting => "starting",
        ActorState::Running => "running",
        ActorState::Restarting => "restarting",
        ActorState::Stopped => "stopped",
    }
}

#[cfg(test)]
mod tests {
    use super::{kind_word, state_word};
    use serde::Serialize;
    use tidegate_supervisor::{ActorKind, ActorState};

    fn json(value: impl Serialize) -> String {
        serde_json::to_string(&value).expect("a word").trim_matches('"').to_owned()
    }

    #[test]
    fn words_are_those_of_the_json_form() {
        for state in [ActorState::Starting, ActorState::Running, ActorState::Restarting, ActorState::Stopped]
        {
            assert_eq!(state_word(state), json(state));
        }
        use ActorKind::{Checkpoints, Deployment, Enumerator, Job, Region, Runtime, Subtask, Worker};
        for kind in [Runtime, Job, Checkpoints, Enumerator, Region, Worker, Deployment, Subtask] {
            assert_eq!(kind_word(kind), json(kind));
        }
    }
}
