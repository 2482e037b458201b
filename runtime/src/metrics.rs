//! metrics: being written.
