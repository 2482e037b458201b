//! Watermarks, disorder and idleness of one subtask.

use tidegate_runtime::element::ErasedBatch;
use tidegate_runtime::operator::{Progress, Stage};
use tidegate_runtime::time::{Clock, millis};

use super::*;

struct Subtask<S> {
    stage: S,
    clock: Clock,
    status: Arc<SubtaskStatus>,
}

fn subtask(strategy: WatermarkStrategy<i64>) -> Subtask<impl Stage> {
    let mut stage = Whole::new(EventTime::new(&strategy, Arc::new(|at: &i64| Timestamp(*at))));
    let (clock, status) = (Clock::manual(Timestamp(0)), Arc::<SubtaskStatus>::default());
    stage.open(&StageContext { clock: clock.clone(), status: Arc::clone(&status) });
    Subtask { stage, clock, status }
}

impl<S: Stage> Subtask<S> {
    fn batch(&mut self, records: &[i64]) -> Batch<i64> {
        self.stage.accept(ErasedBatch::new(Batch { records: records.to_vec(), ..Batch::default() }));
        let mut cx = StepContext { clock: &self.clock, watermark: Timestamp::MIN };
        let (out, progress) = self.stage.run(&mut cx).expect("it can't fail");
        assert_eq!(progress, Progress::Done);
        out.map(ErasedBatch::into_typed).unwrap_or_default()
    }

    fn flush(&mut self, reason: FlushReason) -> Vec<i64> {
        let mut cx = StepContext { clock: &self.clock, watermark: Timestamp::MIN };
        let out = self.stage.flush(reason, &mut cx).expect("it can't fail");
        out.map(|out| marks(&out.into_typed::<i64>()))
            .unwrap_or_default()
            .into_iter()
            .map(|at| at.1)
            .collect()
    }
}

fn marks(batch: &Batch<i64>) -> Vec<(usize, i64)> {
    batch.watermarks.iter().map(|at| (at.offset, at.watermark.0)).collect()
}

#[test]
fn a_bounded_watermark_follows_the_highest_timestamp_and_never_goes_down() {
    let mut subtask = subtask(WatermarkStrategy::bounded_out_of_orderness(millis(10)));
    let batch = subtask.batch(&[100, 95, 120, 111]);
    assert_eq!(batch.timestamps, [100, 95, 120, 111].map(Timestamp));
    assert_eq!(marks(&batch), [(4, 109)]);
    assert_eq!(marks(&subtask.batch(&[115])), []);
    assert_eq!(marks(&subtask.batch(&[121])), [(1, 110)]);
    assert_eq!(subtask.status.disordered_records.get(), 0);
    assert_eq!(subtask.flush(FlushReason::End), [i64::MAX]);
    assert_eq!(subtask.flush(FlushReason::End), [] as [i64; 0], "a flush that is asked for again ends");
}

#[test]
fn records_more_out_of_order_than_the_bound_are_counted() {
    let mut subtask = subtask(WatermarkStrategy::bounded_out_of_orderness(millis(10)));
    subtask.batch(&[100, 90, 89, 120, 111, 110, 109]);
    assert_eq!(subtask.status.disordered_records.get(), 2);
    subtask.batch(&[109, 110]);
    assert_eq!(subtask.status.disordered_records.get(), 3);
}

#[test]
fn a_punctuated_watermark_stands_after_each_record_that_raises_it() {
    struct Each;
    impl WatermarkGenerator<i64> for Each {
        fn on_record(&mut self, _: &i64, timestamp: Timestamp) -> Option<Timestamp> {
            Some(timestamp)
        }
        fn on_period(&mut self) -> Option<Timestamp> {
            None
        }
    }
    let mut subtask = subtask(WatermarkStrategy::custom(|| Each));
    assert_eq!(marks(&subtask.batch(&[5, 3, 7])), [(1, 5), (3, 7)]);
}

#[test]
fn no_strategy_waits_for_the_end() {
    let mut subtask = subtask(WatermarkStrategy::none());
    assert_eq!(marks(&subtask.batch(&[5, 3, 7])), []);
    assert_eq!(subtask.flush(FlushReason::Barrier), [] as [i64; 0]);
    assert_eq!(subtask.flush(FlushReason::End), [i64::MAX]);
}

#[test]
fn a_subtask_is_idle_after_its_time_without_anything_to_do_and_active_with_the_next_record() {
    let mut subtask = subtask(WatermarkStrategy::monotonic().with_idleness(millis(50)));
    subtask.batch(&[1]);
    assert_eq!(
        subtask.stage.next_processing_time(),
        None,
        "time under back pressure does not count (case 44)"
    );
    subtask.clock.advance(millis(500));
    subtask.flush(FlushReason::Park);
    assert_eq!(subtask.stage.next_processing_time(), Some(Timestamp(550)));
    subtask.clock.advance(millis(49));
    subtask.flush(FlushReason::Time);
    assert!(!subtask.stage.is_idle());
    subtask.clock.advance(millis(1));
    subtask.flush(FlushReason::Time);
    assert!(subtask.stage.is_idle());
    subtask.flush(FlushReason::Park);
    assert_eq!(subtask.stage.next_processing_time(), None);
    subtask.batch(&[2]);
    assert!(!subtask.stage.is_idle());
}
