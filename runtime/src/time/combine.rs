//! The watermark of a subtask: the least of its active inputs, never going down.

use super::Timestamp;

/// Combines the watermarks of input channels.
///
/// An input is Active, Idle or Finished. The combined watermark is the minimum over the active inputs. When every
/// unfinished input is idle it is the maximum that any of them reached, so that the order in which they fell idle
/// makes no difference (case 41). An input that becomes active again takes part at once with the watermark that it has
/// (case 42); a finished one never holds others back (case 43). One whose watermark is `MAX` counts as finished: else it
/// would end the time of those that are idle, which may have something to send yet. When all are finished it is the
/// highest.
#[derive(Clone, Debug)]
pub struct WatermarkCombiner {
    inputs: Vec<(Timestamp, InputState)>,
    combined: Timestamp,
}

/// Whether an input takes part in the watermark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputState {
    /// It does.
    Active,
    /// It promises nothing until it is active again.
    Idle,
    /// It has ended.
    Finished,
}

impl WatermarkCombiner {
    /// All inputs active, at `restored` (case 45) or before all time.
    pub fn new(inputs: usize, restored: Timestamp) -> Self {
        Self { inputs: vec![(Timestamp::MIN, InputState::Active); inputs], combined: restored }
    }

    /// The combined watermark.
    pub fn watermark(&self) -> Timestamp {
        self.combined
    }

    /// An input's watermark has risen. Returns the combined one if it rose too.
    pub fn on_watermark(&mut self, input: usize, watermark: Timestamp) -> Option<Timestamp> {
        let known = &mut self.inputs[input].0;
        if watermark <= *known {
            return None;
        }
        *known = watermark;
        if watermark == Timestamp::MAX {
            return self.on_state(input, InputState::Finished);
        }
        self.recombine()
    }

    /// An input changed its state. Returns the combined watermark if it rose by that.
    pub fn on_state(&mut self, input: usize, state: InputState) -> Option<Timestamp> {
        if self.inputs[input].1 != InputState::Finished {
            self.inputs[input].1 = state;
        }
        self.recombine()
    }

    /// Whether every unfinished input is idle, and there is one.
    pub fn is_idle(&self) -> bool {
        let mut unfinished =
            self.inputs.iter().filter(|(_, state)| *state != InputState::Finished).peekable();
        unfinished.peek().is_some() && unfinished.all(|(_, state)| *state == InputState::Idle)
    }

    fn recombine(&mut self) -> Option<Timestamp> {
        let of = |wanted: InputState| {
            self.inputs.iter().filter(move |(_, state)| *state == wanted).map(|(watermark, _)| *watermark)
        };
        let combined = of(InputState::Active)
            .min()
            .or_else(|| of(InputState::Idle).max())
            .or_else(|| of(InputState::Finished).max())?;
        if combined <= self.combined {
            return None;
        }
        self.combined = combined;
        Some(combined)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, Strategy, any, prop, prop_oneof, proptest};

    use super::*;

    #[test]
    fn inputs_that_fall_idle_in_any_order_give_one_watermark_case_41() {
        for order in [[0, 1], [1, 0]] {
            let mut combiner = WatermarkCombiner::new(2, Timestamp::MIN);
            combiner.on_watermark(0, Timestamp(10));
            combiner.on_watermark(1, Timestamp(5));
            for input in order {
                combiner.on_state(input, InputState::Idle);
            }
            assert_eq!(combiner.watermark(), Timestamp(10));
            assert!(combiner.is_idle());
        }
    }

    #[test]
    fn an_input_that_resumes_with_older_data_holds_the_watermark_case_42() {
        let mut combiner = WatermarkCombiner::new(2, Timestamp::MIN);
        combiner.on_watermark(0, Timestamp(10));
        combiner.on_watermark(1, Timestamp(5));
        combiner.on_state(1, InputState::Idle);
        assert_eq!(combiner.watermark(), Timestamp(10));
        combiner.on_state(1, InputState::Active);
        assert_eq!(combiner.on_watermark(0, Timestamp(20)), None);
        assert_eq!(combiner.on_watermark(1, Timestamp(12)), Some(Timestamp(12)));
    }

    #[test]
    fn a_finished_input_does_not_hold_the_watermark_case_43() {
        let mut combiner = WatermarkCombiner::new(2, Timestamp::MIN);
        combiner.on_watermark(0, Timestamp(10));
        assert_eq!(combiner.on_state(1, InputState::Finished), Some(Timestamp(10)));
    }

    /// As when a job is drained: each input sends what its own end makes fire, one after the other.
    #[test]
    fn the_end_of_one_input_is_not_the_end_of_an_idle_one() {
        let mut combiner = WatermarkCombiner::new(2, Timestamp::MIN);
        combiner.on_watermark(0, Timestamp(10));
        combiner.on_watermark(1, Timestamp(5));
        combiner.on_state(0, InputState::Idle);
        combiner.on_state(1, InputState::Idle);
        assert_eq!(combiner.on_watermark(0, Timestamp::MAX), None);
        assert!(combiner.is_idle());
        assert_eq!(combiner.on_watermark(1, Timestamp::MAX), Some(Timestamp::MAX));
        assert!(!combiner.is_idle());
    }

    #[derive(Clone, Debug)]
    enum Event {
        Watermark(usize, i64),
        State(usize, InputState),
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let state = prop_oneof![Just(InputState::Active), Just(InputState::Idle), Just(InputState::Finished)];
        prop::collection::vec(
            prop_oneof![
                (0..3_usize, 0..50_i64).prop_map(|(input, at)| Event::Watermark(input, at)),
                (0..3_usize, state).prop_map(|(input, state)| Event::State(input, state)),
            ],
            0..60,
        )
    }

    proptest! {
        #[test]
        fn the_watermark_never_goes_down_and_never_passes_an_active_input_case_46(
            events in events(), restored in any::<i8>()
        ) {
            let mut combiner = WatermarkCombiner::new(3, Timestamp(restored.into()));
            let mut last = combiner.watermark();
            for event in events {
                let risen = match event {
                    Event::Watermark(input, at) => combiner.on_watermark(input, Timestamp(at)),
                    Event::State(input, state) => combiner.on_state(input, state),
                };
                assert!(combiner.watermark() >= last);
                assert_eq!(risen.is_some(), combiner.watermark() > last);
                if let Some(risen) = risen {
                    let mut active =
                        combiner.inputs.iter().filter(|(_, state)| *state == InputState::Active).map(|i| i.0);
                    assert!(active.all(|watermark| watermark >= risen));
                }
                last = combiner.watermark();
            }
        }
    }
}
