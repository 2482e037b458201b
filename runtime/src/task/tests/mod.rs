//! The step machines driven by hand: one subtask at a time, and a diamond of them under a seeded scheduler.

mod diamond;
mod fakes;
mod growing_source;
mod operator;
mod source;
