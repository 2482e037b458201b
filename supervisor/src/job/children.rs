//! The actors below the job's: how they are started, and what their deaths mean.

use std::collections::BTreeMap;
use std::sync::Arc;

use ractor::{ActorId, ActorRef, SpawnErr};
use tidegate_runtime::error::Failure;
use tidegate_runtime::id::{OperatorId, RegionId};

use super::actor::{JobActor, JobActorState, JobMessage, tell_region};
use super::checkpoints::{CheckpointActor, CheckpointMessage};
use super::enumerator::{EnumeratorActor, EnumeratorMessage};
use super::lifecycle::JobEnd;
use super::region::{RegionActor, RegionMessage};
use crate::child::spawn_child;
use crate::message::Origin;
use crate::own_deaths::Verdict;
use crate::post::Post;
use crate::root::RootMessage;
use crate::topology::ActorKind;

impl JobActor {
    pub(super) fn replace(
        &self,
        myself: &ActorRef<JobMessage>,
        who: ActorId,
        state: &mut JobActorState,
    ) -> Result<(), SpawnErr> {
        if state.checkpoints.actor().get_id() == who {
            self.count_death(state.checkpoints.entry().death_origin(), state);
            state.checkpoints = self.spawn_checkpoints(myself)?;
        }
        if let Some(region) = find(&state.regions, who) {
            self.count_death(state.regions[&region].entry().death_origin(), state);
            let post = self.spawn_region(myself, region)?;
            state.regions.insert(region, post);
        }
        if let Some(operator) = find(&state.enumerators, who) {
            // Before the new one stands behind the same path.
            let origin = state.enumerators[&operator].entry().death_origin();
            let post = self.spawn_enumerator(myself, operator)?;
            state.enumerators.insert(operator, post);
            // What it had assigned is known only to the readers: the region starts again from the checkpoint.
            let region = self.shared.plan.vertex(operator).region;
            let failure =
                Failure::new(self.shared.plan.vertex(operator).name.clone(), 0, "its enumerator ended");
            tell_region(state, region, RegionMessage::Failed { attempt: None, failure, origin });
        }
        Ok(())
    }

    /// Enumerators are not counted here: the restart policy judges the failure of their region.
    fn count_death(&self, origin: Origin, state: &mut JobActorState) {
        if state.own_deaths.on_death(origin) == Verdict::GiveUp {
            let cause = "its supervisors end again and again by themselves; the log says why";
            self.root.cast(RootMessage::JobEnded(JobEnd::Failed(Failure::new("job", 0, cause))));
        }
    }

    pub(super) fn spawn_checkpoints(
        &self,
        myself: &ActorRef<JobMessage>,
    ) -> Result<Post<CheckpointMessage>, SpawnErr> {
        let entry = self.shared.directory.entry("checkpoints", ActorKind::Checkpoints, "job");
        let actor = CheckpointActor { shared: Arc::clone(&self.shared), entry: Arc::clone(&entry) };
        spawn_child(myself.get_cell(), entry, actor, ())
    }

    pub(super) fn spawn_region(
        &self,
        myself: &ActorRef<JobMessage>,
        region: RegionId,
    ) -> Result<Post<RegionMessage>, SpawnErr> {
        let entry = self.shared.directory.entry(&format!("region-{}", region.0), ActorKind::Region, "job");
        let actor = RegionActor { shared: Arc::clone(&self.shared), region, entry: Arc::clone(&entry) };
        spawn_child(myself.get_cell(), entry, actor, ())
    }

    pub(super) fn spawn_enumerator(
        &self,
        myself: &ActorRef<JobMessage>,
        operator: OperatorId,
    ) -> Result<Post<EnumeratorMessage>, SpawnErr> {
        let path = format!("sources/{}", self.shared.plan.vertex(operator).name);
        let entry = self.shared.directory.entry(&path, ActorKind::Enumerator, "job");
        let actor = EnumeratorActor { shared: Arc::clone(&self.shared), operator, entry: Arc::clone(&entry) };
        spawn_child(myself.get_cell(), entry, actor, ())
    }
}

fn find<K: Copy, M: ractor::Message>(posts: &BTreeMap<K, Post<M>>, who: ActorId) -> Option<K> {
    posts.iter().find(|(_, post)| post.actor().get_id() == who).map(|(key, _)| *key)
}
