//! Words that tables, graphs and metrics share.

use tidegate_runtime::metrics::Activity;

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
    use tidegate_runtime::metrics::Activity;

    use super::{activity_word, operator_and_index};

    #[test]
    fn activities_are_called_as_in_json() {
        use Activity::{
            Aligning, BackPressured, Failed, Finished, Idle, Restoring, Running, Stopped, Waiting,
        };
        for activity in
            [Restoring, Running, Idle, BackPressured, Aligning, Waiting, Finished, Failed, Stopped]
        {
            let json = serde_json::to_string(&activity).expect("a word");
            assert_eq!(format!("\"{}\"", activity_word(activity)), json);
        }
    }

    #[test]
    fn the_last_slash_divides_operator_and_index() {
        assert_eq!(operator_and_index("count/1"), ("count", "1"));
        assert_eq!(operator_and_index("a/b/12"), ("a/b", "12"));
    }
}
