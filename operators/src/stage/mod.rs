//! Stateless operators: each is fused into the subtask before it and works column by column, a batch at a time.

mod event_time;
mod filter;
mod flat_map;
mod inspect;
mod key_by;
mod map;
pub(crate) mod whole;
