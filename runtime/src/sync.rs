//! The primitives that hand-made concurrency is built of: std's, or loom's under `--cfg tidegate_loom`.
//!
//! `Arc` is std's in both: what is modelled is who sees which write and who is woken, not who frees last.

#[cfg(tidegate_loom)]
pub(crate) use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};
#[cfg(not(tidegate_loom))]
pub(crate) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

/// Locks; a poisoned lock is taken all the same, because no user code runs under any of our locks.
#[doc(hidden)] // for the other crates of the workspace
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
