//! Asks the kernel for huge pages behind a large array of slots.
//!
//! A look-up goes to a random slot; in a table of some 10 MB most slots are on a page whose translation the processor
//! has to look up as well (figures in ARCHITECTURE.md, "Measured"). On systems other than Linux nothing happens.

/// Bytes of a huge page of x86_64 and aarch64, and what its address is a multiple of.
const REGION: usize = 2 << 20;

/// Asks for huge pages behind the room of an array that nothing was written to yet.
pub(super) fn want_huge_pages<T>(array: &Vec<T>) {
    let start = (array.as_ptr() as usize).next_multiple_of(REGION);
    let end = array.as_ptr() as usize + array.capacity() * size_of::<T>();
    if let Some(regions) = end.checked_sub(start).map(|bytes| bytes / REGION).filter(|regions| *regions > 0) {
        kernel::advise(start, regions * REGION);
    }
}

#[cfg(target_os = "linux")]
mod kernel {
    use std::ptr::without_provenance_mut;

    /// Says that huge pages are worth their while there. It may be refused, where the administrator forbids them or the
    /// kernel has none: everything works as well without.
    #[allow(unsafe_code)]
    pub(super) fn advise(start: usize, bytes: usize) {
        // SAFETY: it changes how large the pages are that will hold the bytes, and not the bytes, whoever they belong to;
        // for addresses that are not mapped it is an error.
        unsafe { libc::madvise(without_provenance_mut(start), bytes, libc::MADV_HUGEPAGE) };
    }
}

#[cfg(not(target_os = "linux"))]
mod kernel {
    pub(super) fn advise(_start: usize, _bytes: usize) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_holds_what_it_held_whatever_the_kernel_does() {
        let mut array: Vec<usize> = Vec::with_capacity(4 * REGION / size_of::<usize>());
        want_huge_pages(&array);
        array.extend(0..array.capacity());
        want_huge_pages(&array);
        assert!(array.iter().enumerate().all(|(at, value)| *value == at));
    }

    #[test]
    fn what_is_small_or_not_there_is_left_alone() {
        want_huge_pages(&Vec::<u64>::new());
        want_huge_pages(&Vec::<()>::new());
        want_huge_pages(&Vec::<u8>::with_capacity(REGION - 1));
    }
}
