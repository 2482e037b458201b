//! The thread that writes manifests: one, in order, across the restarts of the actors that ask it.

use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

use crate::error::{Error, Result};
use crate::panics::catching;

/// Jobs that wait: one manifest is written at a time, and each coordinator that takes over asks once.
const QUEUE_MAX: usize = 64;

/// Told whether it may run, or why not.
type Work = Box<dyn FnOnce(Result<(), String>) + Send>;

/// A named thread that runs what it is given, in order, until this is dropped.
pub(crate) struct ManifestThread {
    queue: SyncSender<Work>,
}

impl ManifestThread {
    /// Starts it.
    ///
    /// # Errors
    /// If the machine refuses a thread.
    pub(crate) fn start() -> Result<Self> {
        let (queue, works) = sync_channel::<Work>(QUEUE_MAX);
        let run = move || {
            while let Ok(work) = works.recv() {
                work(Ok(()));
            }
        };
        let spawned = std::thread::Builder::new().name("tg-manifests".to_owned()).spawn(run);
        spawned.map_err(|source| Error::Start { what: "the manifest thread", source })?;
        Ok(Self { queue })
    }

    /// Runs `work` behind everything that was given before, and then `tell`, with what came of the work or with why it
    /// was not done: who asks waits for that answer, so it comes even if the work panics or is not taken.
    pub(crate) fn run<T: 'static>(
        &self,
        work: impl FnOnce() -> Result<T, String> + Send + 'static,
        tell: impl FnOnce(Result<T, String>) + Send + 'static,
    ) {
        let both = move |taken: Result<(), String>| {
            let done = || catching(work).unwrap_or_else(|panicked| Err(panicked.into_error().to_string()));
            tell(taken.and_then(|()| done()));
        };
        match self.queue.try_send(Box::new(both)) {
            Ok(()) => {}
            Err(TrySendError::Full(work)) => work(Err(format!(
                "{QUEUE_MAX} others wait already for a write that does not come back: look at the disk"
            ))),
            Err(TrySendError::Disconnected(work)) => work(Err("its thread is gone".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn every_question_is_answered_once_whether_its_work_is_done_panics_or_is_not_taken() -> Result<()> {
        let thread = ManifestThread::start()?;
        let (answers, answered) = channel();
        let (go, gate) = channel::<()>();
        type Asked = Box<dyn FnOnce() -> Result<usize, String> + Send>;
        let ask = move |work: Asked| {
            let answers = answers.clone();
            thread.run(work, move |result| drop(answers.send(result)));
        };
        ask(Box::new(move || gate.recv().map(|()| 0).map_err(|error| error.to_string())));
        ask(Box::new(|| panic!("a bug of ours")));
        // One is under way or waits, so at most one more than the queue holds is taken.
        for n in 0..QUEUE_MAX + 2 {
            ask(Box::new(move || Ok(n)));
        }
        let refused = answered.recv().expect("it is refused at once").expect_err("the queue is full");
        assert!(refused.contains("64 others wait"), "{refused}");
        go.send(()).expect("the thread waits");
        drop(ask);
        let rest: Vec<_> = answered.iter().collect();
        assert_eq!(rest.len() + 1, QUEUE_MAX + 4);
        let panicked = rest.iter().filter(|answer| {
            answer
                .as_ref()
                .is_err_and(|problem| problem.contains("panicked") && problem.contains("a bug of ours"))
        });
        assert_eq!(panicked.count(), 1);
        assert!(rest.iter().filter(|answer| answer.is_ok()).count() >= QUEUE_MAX - 1);
        Ok(())
    }
}
