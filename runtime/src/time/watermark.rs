//! Watermark strategies: being written.
