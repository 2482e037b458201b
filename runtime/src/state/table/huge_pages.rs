//! Asks the kernel for huge pages behind the arrays of segments.
//!
//! A look-up goes to a random slot; in a table of some 10 MB most slots are on a page whose translation the processor
//! has to look up as well (figures in ARCHITECTURE.md, "Measured"). Arrays are too small to be on huge pages of their own, and
//! an allocator puts them side by side: so a region is asked for as a whole once arrays fill half of it.
//! On systems without `MADV_COLLAPSE` (Linux 6.1) nothing happens.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::mem::take;

/// Bytes of a huge page of x86_64 and aarch64, and what its address is a multiple of.
const REGION: usize = 2 << 20;
/// Bytes of the smallest array that counts: a table of few keys fits into the caches.
const ARRAY_MIN: usize = 8 << 10;
/// Refusals in a row after which a thread asks no more: where memory is short or in pieces, asking takes long.
const REFUSALS_MAX: u32 = 8;

thread_local! {
    static REGIONS: RefCell<Regions> = const { RefCell::new(Regions::new()) };
}

/// Notes that an array was filled.
pub(super) fn note_filled<T>(array: &[T]) {
    REGIONS.with_borrow_mut(|regions| {
        if let Some(region) = regions.add(array.as_ptr() as usize, size_of_val(array)) {
            regions.told(kernel::collapse(region));
        }
    });
}

/// What the kernel did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Collapsed,
    Refused,
}

/// What a thread knows of the regions that it filled arrays in.
struct Regions {
    /// By number of the region: bytes of arrays since it was asked for.
    filled: BTreeMap<usize, usize>,
    /// Refusals since one was granted.
    refusals: u32,
}

impl Regions {
    const fn new() -> Self {
        Self { filled: BTreeMap::new(), refusals: 0 }
    }

    /// Counts an array; the number of its region, if that is to be asked for now.
    fn add(&mut self, address: usize, bytes: usize) -> Option<usize> {
        if bytes < ARRAY_MIN || self.refusals >= REFUSALS_MAX {
            return None;
        }
        let region = address / REGION;
        let filled = self.filled.entry(region).or_default();
        *filled += bytes;
        (*filled >= REGION / 2).then(|| {
            take(filled);
            region
        })
    }

    fn told(&mut self, outcome: Outcome) {
        self.refusals = match outcome {
            Outcome::Collapsed => 0,
            Outcome::Refused => self.refusals + 1,
        };
    }
}

#[cfg(target_os = "linux")]
mod kernel {
    use std::fs::read_to_string;
    use std::ptr::without_provenance_mut;
    use std::sync::LazyLock;

    use super::{Outcome, REGION};

    /// Whether the administrator lets programs have huge pages.
    static ALLOWED: LazyLock<bool> = LazyLock::new(|| {
        read_to_string("/sys/kernel/mm/transparent_hugepage/enabled")
            .is_ok_and(|setting| !setting.contains("[never]"))
    });

    /// Puts one huge page in the place of the pages of a region, with what they hold.
    #[allow(unsafe_code)]
    pub(super) fn collapse(region: usize) -> Outcome {
        if !*ALLOWED {
            return Outcome::Refused;
        }
        // SAFETY: it changes which pages hold the bytes and not the bytes, whoever they belong to; for addresses that are
        // not mapped, or not in one mapping, it is an error.
        let code =
            unsafe { libc::madvise(without_provenance_mut(region * REGION), REGION, libc::MADV_COLLAPSE) };
        if code == 0 { Outcome::Collapsed } else { Outcome::Refused }
    }
}

#[cfg(not(target_os = "linux"))]
mod kernel {
    use super::Outcome;

    pub(super) fn collapse(_region: usize) -> Outcome {
        Outcome::Refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_asked_for_each_time_that_half_of_it_was_filled() {
        let mut regions = Regions::new();
        let array = REGION / 8;
        let asked: Vec<usize> = (0..24).filter_map(|n| regions.add(3 * REGION + n * array, array)).collect();
        assert_eq!(asked, [3, 3, 4, 4, 5, 5]);
        assert_eq!((0..3).find_map(|_| regions.add(7 * REGION, array)), None);
        assert_eq!(regions.add(8 * REGION - 1, array), Some(7), "an array counts where it begins");
    }

    #[test]
    fn small_arrays_do_not_count() {
        let mut regions = Regions::new();
        assert_eq!((0..10_000).find_map(|_| regions.add(0, ARRAY_MIN - 1)), None);
        assert!(regions.filled.is_empty());
    }

    #[test]
    fn a_thread_that_was_refused_in_a_row_asks_no_more() {
        let mut regions = Regions::new();
        let mut ask = |outcome| {
            let region = regions.add(0, REGION);
            regions.told(outcome);
            region.is_some()
        };
        assert!((1..REFUSALS_MAX).all(|_| ask(Outcome::Refused)));
        assert!(ask(Outcome::Collapsed));
        assert!((0..REFUSALS_MAX).all(|_| ask(Outcome::Refused)));
        assert!(!ask(Outcome::Refused));
    }

    #[test]
    fn what_a_region_holds_stays_whatever_the_kernel_does() {
        let held: Vec<usize> = (0..4 * REGION / size_of::<usize>()).collect();
        let first = held.as_ptr() as usize / REGION;
        for region in first..=first + 4 {
            kernel::collapse(region);
        }
        assert!(held.iter().enumerate().all(|(at, value)| *value == at));
        assert_eq!(kernel::collapse(0), Outcome::Refused, "nothing is mapped there");
    }
}
