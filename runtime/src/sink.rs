//! sink: being written.
