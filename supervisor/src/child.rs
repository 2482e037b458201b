//! Starts an actor under another, so that its end is told of even if it comes before its beginning.

use std::sync::Arc;

use ractor::{Actor, ActorCell, ActorRuntime, SpawnErr};
use tokio::runtime::Handle;

use crate::directory::Entry;
use crate::post::Post;

/// Starts `actor` on the runtime that is entered, behind the path of `entry`. One that does not come up takes its
/// supervisor with it, whose own is told: of itself ractor links a child only once it is up, and its supervisor would
/// wait for it for ever.
///
/// # Errors
/// If there is an actor of that name, which ours don't have.
pub(crate) fn spawn_child<A: Actor>(
    supervisor: ActorCell,
    entry: Arc<Entry>,
    actor: A,
    arguments: A::Arguments,
) -> Result<Post<A::Msg>, SpawnErr> {
    let (child, start) = ActorRuntime::spawn_linked_instant(None, actor, arguments, supervisor.clone())?;
    // Over as soon as the child is up or is not.
    drop(Handle::current().spawn(async move {
        let problem = match start.await {
            Ok(Ok(_)) => return,
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        tracing::error!(
            actor = std::any::type_name::<A>(),
            problem,
            "an actor does not come up; its supervisor ends"
        );
        supervisor.kill();
    }));
    entry.bind(child.get_cell());
    Ok(Post::new(child, entry))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Duration;

    use ractor::{ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};

    use super::*;
    use crate::directory::Directory;
    use crate::topology::ActorKind;

    struct Supervisor {
        events: Sender<(Option<ActorId>, String)>,
    }

    impl Actor for Supervisor {
        type Msg = ();
        type State = ();
        type Arguments = ();

        async fn pre_start(&self, _: ActorRef<()>, (): ()) -> Result<(), ActorProcessingErr> {
            Ok(())
        }

        async fn handle_supervisor_evt(
            &self,
            _: ActorRef<()>,
            event: SupervisionEvent,
            (): &mut (),
        ) -> Result<(), ActorProcessingErr> {
            let _ = self.events.send((event.actor_id(), event.to_string()));
            Ok(())
        }
    }

    enum Start {
        Comes,
        Fails,
        Panics,
    }

    struct Child;

    impl Actor for Child {
        type Msg = ();
        type State = ();
        type Arguments = Start;

        async fn pre_start(&self, _: ActorRef<()>, start: Start) -> Result<(), ActorProcessingErr> {
            match start {
                Start::Comes => Ok(()),
                Start::Fails => Err("no room".into()),
                Start::Panics => panic!("a bug"),
            }
        }
    }

    /// A supervisor under another, and what both hear.
    struct Family {
        /// Its actors end with it.
        _runtime: tokio::runtime::Runtime,
        child: ActorRef<()>,
        events: Receiver<(Option<ActorId>, String)>,
    }

    fn family(start: Start) -> Family {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let (sender, events) = channel();
        let child = runtime.block_on(async {
            let above = Supervisor { events: sender.clone() };
            let (above, _) = ActorRuntime::spawn(None, above, ()).await.expect("the root");
            let supervisor = Supervisor { events: sender };
            let linked = ActorRuntime::spawn_linked(None, supervisor, (), above.get_cell());
            let (supervisor, _) = linked.await.expect("the supervisor");
            let entry = Directory::default().entry("child", ActorKind::Subtask, "supervisor");
            let child = spawn_child(supervisor.get_cell(), entry, Child, start).expect("it has no name");
            child.actor().clone()
        });
        Family { _runtime: runtime, child, events }
    }

    impl Family {
        /// Whom the first event of a kind is about.
        fn hears(&self, kind: &str) -> Option<ActorId> {
            let next = || self.events.recv_timeout(Duration::from_secs(60)).expect("somebody hears of it");
            std::iter::repeat_with(next).find(|(_, event)| event.contains(kind)).and_then(|(who, _)| who)
        }
    }

    #[test]
    fn a_child_that_does_not_come_up_takes_its_supervisor_with_it_case_118() {
        for start in [Start::Fails, Start::Panics] {
            let family = family(start);
            assert_ne!(family.hears("killed"), Some(family.child.get_id()), "nobody hears of the child");
        }
    }

    #[test]
    fn a_child_that_is_killed_at_any_time_after_its_spawn_is_told_of_case_118() {
        for _ in 0..100 {
            let family = family(Start::Comes);
            family.child.kill();
            family.hears("killed");
        }
    }

    #[test]
    fn a_child_that_comes_up_leaves_its_supervisor_alone() {
        let family = family(Start::Comes);
        while family.hears("Started") != Some(family.child.get_id()) {}
        family.child.stop(None);
        assert_eq!(family.hears("Stopped"), Some(family.child.get_id()));
    }
}
