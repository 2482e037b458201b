//! State handles: each owns the table of one state and is bound to the key that is being worked on.

mod aggregating;
mod bound;
mod list;
mod map;
mod reducing;
mod value;

pub use aggregating::AggregatingState;
pub use list::ListState;
pub use map::MapState;
pub use reducing::ReducingState;
pub use value::ValueState;

#[cfg(test)]
mod tests;
