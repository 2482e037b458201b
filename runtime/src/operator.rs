//! operator: being written.
