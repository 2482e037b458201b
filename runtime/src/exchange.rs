//! exchange: being written.
