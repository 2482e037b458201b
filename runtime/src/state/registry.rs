//! Hands out state tables: being written.
/// being written
pub struct StateRegistry;
