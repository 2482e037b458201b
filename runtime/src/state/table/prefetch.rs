//! Asks the processor to fetch a cache line.
//!
//! A loop over a batch touches a random segment and a random slot for each record; fetching them some records
//! ahead hides the latency of memory (figures in ARCHITECTURE.md, "Measured").

/// Fetches the line at `target` for writing soon; does nothing on processors without such an instruction here.
#[inline(always)]
#[allow(unsafe_code)]
pub(crate) fn prefetch<T>(target: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads and writes nothing that a program can see and never faults, whatever the address.
    // SSE is part of every x86_64.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(target.cast());
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: PRFM is a hint that never faults, whatever the address, and changes nothing visible.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{0}]", in(reg) target, options(nostack, readonly, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = target;
}
