//! Patterns: sequences of elements of one key that fit step after step, in event-time order.

mod definition;
mod matcher;
mod operator;

pub use definition::{Found, Pattern};
