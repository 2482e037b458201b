//! Counts each key and emits each count: prefetches the slots of keys a little ahead.

use super::table::Table;
use crate::data::{CHUNK, KEYS, Work};
use crate::stopwatch::Stopwatch;

/// Keys between a prefetch and its use.
const AHEAD: usize = 16;

/// Emits (key, count) for every record.
pub(crate) fn run(work: &Work<u64>, stopwatch: &Stopwatch, consume: &mut dyn FnMut(&[(u64, u64)])) {
    let mut counts: Table<u64> = Table::with_room(KEYS * 3 / 2);
    let mut out = Vec::with_capacity(CHUNK);
    for (keys, ()) in work.chunks(stopwatch) {
        keys[..AHEAD].iter().for_each(|key| counts.prefetch(*key));
        for (index, key) in keys.iter().enumerate() {
            if let Some(ahead) = keys.get(index + AHEAD) {
                counts.prefetch(*ahead);
            }
            let count = counts.entry(*key);
            *count += 1;
            out.push((*key, *count));
        }
        consume(&out);
        out.clear();
    }
}
