//! The words for what an actor is and does, as they stand in JSON, tables, graphs and metrics alike.

use tidegate_runtime::metrics::Activity;

use crate::topology::{ActorKind, ActorState};

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

/// What a subtask does, or why it is parked.
pub(crate) fn activity_word(activity: Activity) -> &'static str {
    match activity {
        Activity::Restoring => "restoring",
        Activity::Running => "running",
        Activity::Idle => "idle",
        Activity::BackPressured => "back_pressured",
        Activity::Aligning => "aligning",
        Activity::Waiting => "waiting",
        Activity::Finished => "finished",
        Activity::Failed => "failed",
        Activity::Stopped => "stopped",
    }
}

/// Operator and index of a subtask's path, `OPERATOR/INDEX`; the operator's name may hold slashes itself.
pub(crate) fn operator_and_index(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or((path, ""))
}

#[cfg(test)]
mod tests {
    use serde::Serialize;
    use tidegate_runtime::metrics::Activity;

    use super::{activity_word, kind_word, operator_and_index, state_word};
    use crate::topology::{ActorKind, ActorState};

    fn json(value: impl Serialize) -> String {
        serde_json::to_string(&value).expect("a word").trim_matches('"').to_owned()
    }

    #[test]
    fn words_are_those_of_the_json_form() {
        use Activity::{
            Aligning, BackPressured, Failed, Finished, Idle, Restoring, Running, Stopped, Waiting,
        };
        for activity in
            [Restoring, Running, Idle, BackPressured, Aligning, Waiting, Finished, Failed, Stopped]
        {
            assert_eq!(activity_word(activity), json(activity));
        }
        for state in [ActorState::Starting, ActorState::Running, ActorState::Restarting, ActorState::Stopped]
        {
            assert_eq!(state_word(state), json(state));
        }
        use ActorKind::{Checkpoints, Deployment, Enumerator, Job, Region, Runtime, Subtask, Worker};
        for kind in [Runtime, Job, Checkpoints, Enumerator, Region, Worker, Deployment, Subtask] {
            assert_eq!(kind_word(kind), json(kind));
        }
    }

    #[test]
    fn the_last_slash_divides_operator_and_index() {
        assert_eq!(operator_and_index("count/1"), ("count", "1"));
        assert_eq!(operator_and_index("a/b/12"), ("a/b", "12"));
    }
}
