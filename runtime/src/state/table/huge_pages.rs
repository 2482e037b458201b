//! Asks the kernel for huge pages behind a large array of slots.
//!
//! A look-up goes to a random slot; in a table of some 10 MB most slots are on a page whose translation the processor
//! has to look up as well (figures in ARCHITECTURE.md, "Measured"). On systems other than Linux nothing happens.

/// Bytes of a huge page of x86_64 and aarch64, and what its address is a multiple of.
const REGION: usize = 2 << 20;

/// Asks for huge pages behind the room that an array has for more.
pub(super) fn want_huge_pages<T>(array: &mut Vec<T>) {
    let room = array.spare_capacity_mut();
    let start = (room.as_ptr() as usize).next_multiple_of(REGION);
    let end = room.as_ptr() as usize + size_of_val(room);
    if let Some(regions) = end.checked_sub(start).map(|bytes| bytes / REGION).filter(|regions| *regions > 0) {
        kernel::renew(start, regions * REGION);
    }
}

#[cfg(target_os = "linux")]
mod kernel {
    use std::ptr::without_provenance_mut;

    /// Takes the pages of memory that holds nothing away, for huge ones to take their place: an allocator gives memory
    /// that was used before, and has small ones. It may be refused, where the administrator forbids them or the kernel has
    /// none: everything works as well without.
    #[allow(unsafe_code)]
    pub(super) fn renew(start: usize, bytes: usize) {
        let advise = |advice| {
            // SAFETY: the caller has this memory to itself and it holds nothing yet, so that it doesn't matter that the
            // second advice makes its bytes 0. The first changes how large pages are and no byte.
            unsafe { libc::madvise(without_provenance_mut(start), bytes, advice) }
        };
        if advise(libc::MADV_HUGEPAGE) == 0 {
            advise(libc::MADV_DONTNEED);
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod kernel {
    pub(super) fn renew(_start: usize, _bytes: usize) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_keeps_what_it_holds_and_takes_more() {
        let mut array: Vec<usize> = Vec::with_capacity(6 * REGION / size_of::<usize>());
        while array.len() < array.capacity() {
            want_huge_pages(&mut array);
            let next = array.len();
            array.extend(next..array.capacity().min(next + REGION / size_of::<usize>() + 7));
        }
        want_huge_pages(&mut array);
        assert!(array.iter().enumerate().all(|(at, value)| *value == at));
    }

    #[test]
    fn what_is_small_or_not_there_is_left_alone() {
        want_huge_pages(&mut Vec::<u64>::new());
        want_huge_pages(&mut Vec::<()>::new());
        want_huge_pages(&mut Vec::<u8>::with_capacity(REGION - 1));
    }
}
