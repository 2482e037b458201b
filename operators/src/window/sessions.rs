//! Sessions as a kind of windows.

use tidegate_runtime::state::StateValue;

use super::function::WindowFunction;
use super::kind::{Look, Next, Verdict, WindowKind};
use super::session::{Sessions, Stretch};

/// Parts that looks within one gap are sorted in.
const PARTS_OF_A_GAP: i64 = 16;

/// Windows that end a gap after their last record. A key is looked at when its first session ends, or would have ended
/// had it not grown since.
#[derive(Clone, Debug)]
pub(crate) struct SessionWindows {
    gap: i64,
}

impl SessionWindows {
    pub(crate) fn new(gap: i64) -> Self {
        Self { gap: gap.max(1) }
    }
}

impl WindowKind for SessionWindows {
    const STATE: &'static str = "sessions";

    type Held<Acc: StateValue + Clone> = Sessions<Acc>;

    fn due_width(&self) -> i64 {
        self.gap / PARTS_OF_A_GAP
    }

    fn takes_all(&self, lowest: i64, watermark: i64) -> bool {
        lowest.saturating_add(self.gap - 1) > watermark
    }

    /// The test is made on the session that a record comes to be in: one that is open is not late.
    fn judge(&self, at: Stretch, watermark: i64) -> Verdict {
        if at.last.saturating_add(self.gap - 1) > watermark { Verdict::InTime } else { Verdict::LateAlone }
    }

    fn has_for<Acc: StateValue + Clone>(&self, held: &Sessions<Acc>, at: Stretch) -> bool {
        held.has_for(at, self.gap)
    }

    #[inline(always)]
    fn add<F: WindowFunction>(
        &mut self,
        held: &mut Sessions<F::Acc>,
        (function, record): (&F, F::In),
        at: i64,
        _watermark: i64,
    ) -> Option<i64> {
        let stretch = Stretch { start: function.start(&record, at), last: at };
        if let Some(acc) = held.grow_newest(stretch, self.gap) {
            function.add(acc, record);
            return None;
        }
        held.add(stretch, self.gap, function.begin(record), |acc, more| function.merge(acc, more));
        held.register(self.gap)
    }

    #[inline(always)]
    fn fire<F: WindowFunction>(
        &mut self,
        held: &mut Sessions<F::Acc>,
        at: i64,
        _function: &F,
    ) -> Look<F::Acc> {
        if held.registered() != Some(at) {
            return Look { fired: None, next: Next::AsRegistered };
        }
        let session = if held.due(self.gap) == Some(at) { held.take_first() } else { None };
        let fired = session.map(|session| (session.window(self.gap), session.acc));
        held.forget_registration();
        Look { fired, next: held.register(self.gap).map_or(Next::Never, Next::At) }
    }

    fn next_look<Acc: StateValue + Clone>(&self, held: &Sessions<Acc>) -> Option<i64> {
        held.registered()
    }
}
