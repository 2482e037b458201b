//! Channels driven by hand: what was sent arrives once, over restarts of the attempt too.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tidegate_runtime::element::Batch;
use tidegate_runtime::exchange::Wakeup;
use tidegate_runtime::id::{CheckpointId, OperatorId, SubtaskId};
use tidegate_runtime::metrics::SubtaskStatus;
use tidegate_runtime::output::{Output, Timing};
use tidegate_runtime::sink::{Sink, SinkWriter};
use tidegate_runtime::source::{Polled, ReaderContext, Source, SourceOutput, SourceReader};
use tidegate_runtime::time::Clock;
use tidegate_runtime::{Result, Timestamp};

use super::{
    ChannelReader, ChannelSource, ChannelSplit, ChannelWriter, SendError, TrySendError, channel, channel_sink,
};
use crate::drive::sink_context;

/// A reader, and how often it was woken.
struct Attempt {
    reader: ChannelReader<u64>,
    notices: Arc<AtomicUsize>,
    wakeup: Wakeup,
}

fn attempt(source: &ChannelSource<u64>, split: Option<ChannelSplit>) -> Result<Attempt> {
    let notices = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&notices);
    let wakeup = Wakeup::new(move || {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    let mut reader = source.reader(&ReaderContext {
        operator: "input".to_owned(),
        subtask: SubtaskId { operator: OperatorId(0), index: 0 },
        parallelism: 1,
        clock: Clock::manual(Timestamp(0)),
        wakeup: wakeup.clone(),
        status: Arc::new(SubtaskStatus::default()),
    })?;
    let split = split.unwrap_or_else(|| source.discover(1).expect("a channel is there").splits.remove(0));
    reader.add_split(split)?;
    Ok(Attempt { reader, notices, wakeup })
}

impl Attempt {
    fn read(&mut self) -> Result<(Vec<u64>, Polled)> {
        let (mut records, mut dead_letters) = (Output::new(Timing::Untimed), Output::new(Timing::Untimed));
        let mut out = SourceOutput { records: &mut records, dead_letters: &mut dead_letters };
        self.wakeup.begin();
        let polled = self.reader.poll(&mut out)?;
        Ok((std::mem::take(&mut records.batch_mut().records), polled))
    }
}

#[test]
fn what_was_read_since_the_checkpoint_is_read_again_after_a_restart() -> Result<()> {
    let (sender, source) = channel(4);
    let mut first = attempt(&source, None)?;
    for record in 0..4 {
        sender.try_send(record).expect("there is room");
    }
    assert_eq!(sender.try_send(4), Err(TrySendError::Full(4)));
    assert_eq!(first.read()?, (vec![0, 1, 2, 3], Polled::Ready));
    let checkpoint = first.reader.snapshot();
    assert_eq!(sender.try_send(4), Err(TrySendError::Full(4)), "reading alone makes no room");
    first.reader.on_checkpoint_completed(checkpoint.clone())?;
    sender.try_send(4).expect("there is room");
    assert_eq!(first.read()?, (vec![4], Polled::Ready));
    sender.try_send(5).expect("there is room");
    let mut second = attempt(&source, Some(checkpoint[0].clone()))?;
    assert_eq!(second.read()?, (vec![4, 5], Polled::Ready));
    assert_eq!(second.read()?, (vec![], Polled::Pending(None)));
    drop(sender);
    assert_eq!(second.read()?, (vec![], Polled::SplitFinished("channel".to_owned())));
    assert_eq!(second.read()?.1, Polled::NoSplit);
    Ok(())
}

#[test]
fn a_position_that_was_let_go_is_refused_and_another_process_begins_anew() -> Result<()> {
    let (sender, source) = channel(10);
    let mut first = attempt(&source, None)?;
    let old = first.reader.snapshot().remove(0);
    sender.send(7).expect("the job runs");
    first.read()?;
    let new = first.reader.snapshot();
    first.reader.on_checkpoint_completed(new.clone())?;
    let error = attempt(&source, Some(old)).err().expect("record 0 is gone").to_string();
    assert_eq!(error, "channel of `input`: record 0 of the channel was let go, the first is 1");

    let (sender, source) = channel(10);
    sender.send(8).expect("the job runs");
    let mut next_process = attempt(&source, Some(new[0].clone()))?;
    assert_eq!(next_process.read()?, (vec![8], Polled::Ready));
    Ok(())
}

#[test]
fn a_waiting_reader_is_woken_once_and_at_the_end() -> Result<()> {
    let (sender, source) = channel(10);
    let mut attempt = attempt(&source, None)?;
    assert_eq!(attempt.read()?.1, Polled::Pending(None));
    sender.send(1).expect("the job runs");
    let another = sender.clone();
    another.send(2).expect("the job runs");
    drop(another);
    assert_eq!(attempt.notices.load(Ordering::Relaxed), 1);
    attempt.read()?;
    assert_eq!(attempt.read()?.1, Polled::Pending(None));
    drop(sender);
    assert_eq!(attempt.notices.load(Ordering::Relaxed), 2);
    Ok(())
}

#[test]
fn without_replay_reading_makes_room() -> Result<()> {
    let (sender, source) = channel(1);
    let source = source.without_replay();
    let mut attempt = attempt(&source, None)?;
    for record in 0..5 {
        sender.try_send(record).expect("there is room");
        assert_eq!(attempt.read()?.0, [record]);
    }
    Ok(())
}

#[test]
fn a_sender_that_waits_hears_of_room_and_of_the_end() -> Result<()> {
    let (sender, source) = channel(1);
    let mut reading = attempt(&source, None)?;
    std::thread::scope(|threads| {
        let sending = threads.spawn(|| (0..200).map(|record| sender.send(record)).collect::<Vec<_>>());
        let mut records = Vec::new();
        while records.len() < 100 {
            records.extend(reading.read()?.0);
            let splits = reading.reader.snapshot();
            reading.reader.on_checkpoint_completed(splits)?;
        }
        drop(source);
        let sent = sending.join().expect("the sender does not panic");
        assert_eq!(records, (0..100).collect::<Vec<_>>());
        assert_eq!(sent[199], Err(SendError(199)));
        Ok(())
    })
}

fn write(writer: &mut ChannelWriter<u64>, records: &[u64]) -> Result<()> {
    let mut batch = Batch { records: records.to_vec(), ..Batch::default() };
    writer.write(&mut batch, 0..records.len())
}

#[test]
fn results_are_delivered_once_at_the_commit_and_a_stalled_receiver_is_an_error() -> Result<()> {
    let (sink, receiver) = channel_sink::<u64>(2);
    let sink = sink.patience(Duration::from_millis(1));
    let cx = sink_context(0, 1);
    let mut writer = sink.writer(&cx, &[])?;
    let mut committer = sink.committer(&cx)?.expect("it commits");
    write(&mut writer, &[1, 2, 3])?;
    let committables = writer.freeze(CheckpointId(1))?.1.expect("it prepares")()?;
    assert_eq!(receiver.try_recv(), None);
    let error = committer.commit(CheckpointId(1), &committables).expect_err("there is no room").to_string();
    assert!(error.starts_with("channel of `sink`: the channel is full"), "{error}");
    assert_eq!((receiver.recv(), receiver.recv(), receiver.try_recv()), (Some(1), Some(2), None));
    // It comes again, to the next attempt: only what is missing is delivered (case 96).
    let mut committer = sink.committer(&sink_context(0, 2))?.expect("it commits");
    committer.commit(CheckpointId(1), &committables)?;
    committer.commit(CheckpointId(1), &committables)?;
    assert_eq!((receiver.recv(), receiver.try_recv()), (Some(3), None));
    drop(sink);
    assert_eq!(receiver.collect::<Vec<_>>(), Vec::<u64>::new());
    Ok(())
}

#[test]
fn at_least_once_delivers_at_once_and_the_rest_at_the_barrier() -> Result<()> {
    let (sink, receiver) = channel_sink::<u64>(2);
    let sink = sink.at_least_once();
    let cx = sink_context(0, 1);
    assert!(sink.committer(&cx)?.is_none());
    let mut writer = sink.writer(&cx, &[])?;
    write(&mut writer, &[1, 2, 3, 4])?;
    assert_eq!((receiver.try_recv(), receiver.try_recv(), receiver.try_recv()), (Some(1), Some(2), None));
    writer.freeze(CheckpointId(1))?.1.expect("it prepares")()?;
    write(&mut writer, &[5])?;
    assert_eq!((receiver.try_recv(), receiver.try_recv()), (Some(3), Some(4)));
    drop(receiver);
    write(&mut writer, &[6])?;
    let gone = writer.freeze(CheckpointId(2))?.1.expect("it prepares")();
    assert!(gone.expect_err("nobody receives").to_string().contains("receiver was dropped"));
    Ok(())
}
