//! A blocked bloom filter over (state, hash): 10 bits a row, one cache line a probe.

use crate::id::StateId;
use crate::key::KeyHash;

/// Bits of the filter for each row.
const BITS_PER_ROW: usize = 10;
/// Bytes of one line: the bits of a row are all in one.
const LINE: usize = 64;
/// Bits that a row sets.
const PROBES: u32 = 6;

/// Appends the filter of these rows, each given by `mix`; none for no rows.
pub(super) fn put_bloom(out: &mut Vec<u8>, rows: &[u64]) {
    let lines = (rows.len() * BITS_PER_ROW).div_ceil(LINE * 8);
    let start = out.len();
    out.resize(start + lines * LINE, 0);
    let filter = &mut out[start..];
    for &mixed in rows {
        let line = line_of(mixed, lines) * LINE;
        let mut bits = mixed;
        for _ in 0..PROBES {
            let bit = (bits & 511) as usize;
            filter[line + bit / 8] |= 1 << (bit % 8);
            bits >>= 9;
        }
    }
}

/// Whether a row with this state and hash may be there; `true` where the filter is not a whole number of lines.
pub(super) fn may_contain(filter: &[u8], state: StateId, hash: KeyHash) -> bool {
    let lines = filter.len() / LINE;
    if lines == 0 || !filter.len().is_multiple_of(LINE) {
        return true;
    }
    let mixed = mix(state, hash);
    let line = &filter[line_of(mixed, lines) * LINE..][..LINE];
    let mut bits = mixed;
    let mut found = true;
    for _ in 0..PROBES {
        let bit = (bits & 511) as usize;
        found &= line[bit / 8] & (1 << (bit % 8)) != 0;
        bits >>= 9;
    }
    found
}

/// The rows of a chunk are neighbours in hash, so its top bits say little: mix them down.
#[inline]
pub(super) fn mix(state: StateId, hash: KeyHash) -> u64 {
    let mut mixed = hash.0 ^ (u64::from(state.0).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    mixed = (mixed ^ (mixed >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    mixed = (mixed ^ (mixed >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    mixed ^ (mixed >> 32)
}

/// By the bits above those that choose within the line.
fn line_of(mixed: u64, lines: usize) -> usize {
    (((mixed >> 54) * lines as u64) >> 10) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_row_is_denied_and_few_strangers_pass() {
        let rows: Vec<(StateId, KeyHash)> =
            (0..10_000_u64).map(|n| (StateId((n % 3) as u16), KeyHash((n << 50) | (n * 977)))).collect();
        let mut filter = Vec::new();
        put_bloom(&mut filter, &rows.iter().map(|(state, hash)| mix(*state, *hash)).collect::<Vec<_>>());
        assert!(filter.len() <= 12_800);
        assert!(rows.iter().all(|(state, hash)| may_contain(&filter, *state, *hash)));
        let strangers = (0..10_000_u64)
            .filter(|n| may_contain(&filter, StateId((n % 3) as u16), KeyHash((n << 50) | (n * 977 + 1))))
            .count();
        assert!(strangers < 400, "{strangers} of 10,000 strangers pass");
    }

    #[test]
    fn a_filter_that_is_no_filter_denies_nothing() {
        assert!(may_contain(&[], StateId(0), KeyHash(1)));
        assert!(may_contain(&[0; 63], StateId(0), KeyHash(1)));
    }
}
