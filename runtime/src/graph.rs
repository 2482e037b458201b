//! graph: being written.
