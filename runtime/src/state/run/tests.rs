//! What is written is read back, from any place; what is damaged is found; the bytes are those of the version.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::collection::{btree_map, vec};
use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert_eq, proptest};
use proptest::{option, prop_oneof};

use super::*;
use crate::error::{Error, Result};
use crate::id::StateId;
use crate::key::KeyHash;
use crate::state::row::{RowKey, RowRef};

type Place4 = (u16, u64, Vec<u8>, Vec<u8>);
type Rows = BTreeMap<Place4, Option<Vec<u8>>>;

fn row<'a>(place: &'a Place4, value: Option<&'a [u8]>) -> RowRef<'a> {
    let (state, hash, key, element) = place;
    RowRef { key: RowKey { state: StateId(*state), hash: KeyHash(*hash), key, element }, value }
}

fn owned(row: RowRef<'_>) -> (Place4, Option<Vec<u8>>) {
    let key = row.key;
    ((key.state.0, key.hash.0, key.key.to_vec(), key.element.to_vec()), row.value.map(<[u8]>::to_vec))
}

fn build(rows: &Rows) -> Vec<Vec<u8>> {
    let mut builder = RunBuilder::new();
    let mut chunks = Vec::new();
    for (place, value) in rows {
        chunks.extend(builder.push(row(place, value.as_deref())));
    }
    chunks.extend(builder.finish());
    chunks
}

/// A run of chunks in memory.
struct InMemory {
    header: RunHeader,
    chunks: Vec<Chunk>,
}

impl InMemory {
    fn of(chunks: Vec<Vec<u8>>) -> Arc<Self> {
        let mut header = RunHeader::new(1);
        let chunks: Vec<Chunk> =
            chunks.into_iter().map(|bytes| Chunk::parse(bytes).expect("just built")).collect();
        for chunk in &chunks {
            header.push(chunk).expect("in order");
        }
        let (bytes, crc) = header.encode();
        assert_eq!(RunHeader::decode(&bytes), Ok((header.clone(), crc)));
        Arc::new(Self { header, chunks })
    }
}

impl Pieces for InMemory {
    fn header(&self) -> Result<&RunHeader> {
        Ok(&self.header)
    }

    fn guide(&self, chunk: usize) -> Result<Arc<Guide>> {
        Ok(Arc::clone(self.chunks[chunk].guide()))
    }

    fn block(&self, chunk: usize, block: usize, _guide: &Guide) -> Result<Block> {
        self.chunks[chunk].block(block).map_err(|problem| self.damaged(problem))
    }

    fn damaged(&self, problem: String) -> Error {
        Error::Damaged { path: "run".into(), problem }
    }
}

fn collect(cursor: Option<Cursor>) -> Rows {
    let mut rows = Rows::new();
    let Some(mut cursor) = cursor else { return rows };
    loop {
        let (place, value) = owned(cursor.row());
        assert!(rows.last_key_value().is_none_or(|(last, _)| *last < place), "rows rise");
        rows.insert(place, value);
        if !cursor.advance().expect("readable") {
            return rows;
        }
    }
}

fn hash() -> impl Strategy<Value = u64> {
    prop_oneof![0..20_u64, any::<u64>()]
}

fn rows(count: usize) -> impl Strategy<Value = Rows> {
    let place = (0..3_u16, hash(), vec(0..4_u8, 0..4), vec(0..3_u8, 0..3));
    let ragged = btree_map(place, option::of(vec(any::<u8>(), 0..300)), 0..count);
    let even = btree_map(
        (0..3_u16, hash(), vec(any::<u8>(), 8..9), vec(0..1_u8, 0..1)),
        vec(any::<u8>(), 8..9),
        0..count,
    )
    .prop_map(|rows| rows.into_iter().map(|(place, value)| (place, Some(value))).collect());
    // A few rows of other widths among even ones: blocks that begin fixed and are framed after all.
    let mixed = (
        btree_map(
            (0..2_u16, hash(), vec(any::<u8>(), 8..9), vec(0..1_u8, 0..1)),
            vec(any::<u8>(), 8..9),
            0..count,
        ),
        vec(any::<u16>(), 0..6),
    )
        .prop_map(|(rows, odd)| {
            let len = rows.len().max(1);
            let mut rows: Rows = rows.into_iter().map(|(place, value)| (place, Some(value))).collect();
            for position in odd {
                if let Some((_, value)) = rows.iter_mut().nth(position as usize % len) {
                    *value = (position % 2 == 0).then(|| vec![7; position as usize % 50]);
                }
            }
            rows
        });
    prop_oneof![ragged, even, mixed]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn rows_are_read_back_from_any_place(rows in rows(800), first in (0..4_u16, hash()), end in (0..4_u16, hash())) {
        let run = InMemory::of(build(&rows));
        let (first, end) = (first.min(end), first.max(end));
        let expected: Rows = rows.iter()
            .filter(|((state, hash, ..), _)| (*state, *hash) >= first && (*state, *hash) <= end)
            .map(|(place, value)| (place.clone(), value.clone())).collect();
        let place = |(state, hash)| (StateId(state), KeyHash(hash));
        let found = collect(Cursor::open(&run, place(first), place(end)).expect("readable"));
        prop_assert_eq!(found, expected);
        let all = collect(Cursor::open(&run, FIRST_PLACE, LAST_PLACE).expect("readable"));
        prop_assert_eq!(all, rows);
    }

    #[test]
    fn a_probe_finds_exactly_the_rows_of_its_place(rows in rows(300), stranger in (0..4_u16, hash())) {
        let run = InMemory::of(build(&rows));
        let mut places: Vec<(u16, u64)> = rows.keys().map(|(state, hash, ..)| (*state, *hash)).collect();
        places.push(stranger);
        places.dedup();
        for (state, hash) in places {
            let expected: Rows = rows.range((state, hash, vec![], vec![])..)
                .take_while(|((s, h, ..), _)| (*s, *h) == (state, hash))
                .map(|(place, value)| (place.clone(), value.clone())).collect();
            let found = collect(Cursor::probe(&run, (StateId(state), KeyHash(hash))).expect("readable"));
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_merge_keeps_the_newest_row_of_each_place(runs in vec(rows(100), 1..8)) {
        let mut expected = Rows::new();
        let mut cursors = Vec::new();
        for rows in &runs {
            expected.extend(rows.iter().map(|(place, value)| (place.clone(), value.clone())));
            let run = InMemory::of(build(rows));
            cursors.extend(Cursor::open(&run, FIRST_PLACE, LAST_PLACE).expect("readable"));
        }
        let mut merge = Merge::new(cursors);
        let mut found = Vec::new();
        while merge.next(&mut |row| { found.push(owned(row)); Ok(()) }).expect("readable") {}
        prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn any_bytes_are_decoded_or_refused_without_a_panic_case_74(
        mut bytes in vec(any::<u8>(), 0..400), rows in rows(40), cuts in vec((any::<u16>(), any::<u8>()), 0..6)
    ) {
        touch_all(bytes.clone());
        // The same with right checksums, so that the parsers behind them are reached.
        reseal(&mut bytes);
        touch_all(bytes);
        for mut chunk in build(&rows) {
            for (position, byte) in &cuts {
                let position = usize::from(*position) % chunk.len();
                chunk[position] = *byte;
            }
            reseal(&mut chunk);
            touch_all(chunk);
        }
    }
}

/// Decodes all that can be decoded of these bytes: only a panic or a huge allocation would be wrong.
fn touch_all(bytes: Vec<u8>) {
    let _ = RunHeader::decode(&bytes);
    let _ = Guide::verified(&bytes, crc32fast::hash(&bytes));
    let piece = Arc::new(bytes.clone());
    if let Ok(block) = Block::parsed(Arc::clone(&piece), 0..piece.len()) {
        let mut offset = block.start();
        while let Ok((row, next)) = block.read(offset) {
            let _ = block.view(&row);
            offset = next;
        }
        let _ = block.seek(KeyHash(u64::MAX / 3));
    }
    if let Ok(chunk) = Chunk::parse(bytes) {
        let _ = chunk.for_each(|_| ());
        for block in 0..chunk.guide().blocks.len() {
            let _ = chunk.block(block);
        }
    }
}

/// Makes the checksums of a header and of a chunk's guide right again.
fn reseal(bytes: &mut [u8]) {
    let len = bytes.len();
    if len < 16 {
        return;
    }
    let tail = len - 16;
    let guide_len =
        u32::from_le_bytes(bytes[tail..tail + 4].try_into().expect("4 bytes")) as usize % (tail + 1);
    let crc = crc32fast::hash(&bytes[tail - guide_len..tail]);
    bytes[tail..tail + 4].copy_from_slice(&(guide_len as u32).to_le_bytes());
    bytes[tail + 4..tail + 8].copy_from_slice(&crc.to_le_bytes());
    bytes[len - 4..].copy_from_slice(&[b'T', b'G', b'R', RUN_VERSION]);
}

#[test]
fn the_bytes_of_version_1_are_golden() {
    let mut rows = Rows::new();
    rows.insert((0, 1, b"a".to_vec(), vec![]), Some(b"x".to_vec()));
    rows.insert((0, 2, b"b".to_vec(), vec![]), Some(b"y".to_vec()));
    rows.insert((1, 3, b"c".to_vec(), b"e".to_vec()), None);
    rows.insert((1, 3, b"c".to_vec(), b"f".to_vec()), Some(b"long".to_vec()));
    let chunks = build(&rows);
    assert_eq!(chunks.len(), 1);
    let golden = include_str!("golden_chunk_v1.hex");
    assert_eq!(hex(&chunks[0]), golden.split_whitespace().collect::<String>());
    let mut header = RunHeader::new(0x0102);
    header.push(&Chunk::parse(chunks[0].clone()).expect("just built")).expect("in order");
    let golden = include_str!("golden_header_v1.hex");
    assert_eq!(hex(&header.encode().0), golden.split_whitespace().collect::<String>());
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_chunk_of_another_version_is_refused_by_its_number() {
    let mut chunk = build(&Rows::from([((0, 1, vec![], vec![]), None)])).remove(0);
    *chunk.last_mut().expect("a tail") = 9;
    assert_eq!(
        Chunk::parse(chunk).expect_err("version 9"),
        "a chunk of version 9; this program reads version 1"
    );
}

#[test]
fn a_flip_of_any_bit_of_a_chunk_is_found_case_62() {
    let rows: Rows =
        (0..40_u64).map(|n| ((0, n, vec![n as u8], vec![]), Some(vec![1; (n % 3) as usize]))).collect();
    let chunk = build(&rows).remove(0);
    for position in 0..chunk.len() {
        for bit in 0..8 {
            let mut flipped = chunk.clone();
            flipped[position] ^= 1 << bit;
            let outcome = Chunk::parse(flipped).and_then(|chunk| chunk.for_each(|_| ()));
            assert!(outcome.is_err(), "bit {bit} of byte {position}");
        }
    }
}

#[test]
#[should_panic(expected = "I73")]
fn rows_out_of_order_are_a_bug() {
    let mut builder = RunBuilder::new();
    let _ = builder.push(row(&(0, 2, vec![], vec![]), None));
    let _ = builder.push(row(&(0, 1, vec![], vec![]), None));
}

#[test]
fn chunks_are_near_their_target_and_never_a_power_of_two() {
    let rows: Rows = (0..60_000_u64)
        .map(|n| ((0, n << 40, n.to_le_bytes().to_vec(), vec![]), Some(n.to_le_bytes().to_vec())))
        .collect();
    let chunks = build(&rows);
    assert!(chunks.len() > 5);
    for chunk in &chunks[..chunks.len() - 1] {
        let blocks = Chunk::parse(chunk.clone()).expect("just built").blocks().len();
        assert!((CHUNK_TARGET..CHUNK_TARGET + 1_024).contains(&blocks), "{blocks}");
        assert!(!blocks.is_power_of_two());
    }
}
