//! A flipped bit anywhere in the store's file: an error that names the file, or nothing that is seen; never other
//! rows, and never the end of the process.

use super::*;
use crate::files::OpenMode;

const FILE: &str = "/state/store.redb";

/// A store that was folded, swept and left without an orderly end, what its manifest lists, and its rows.
struct Given {
    files: FaultyFiles,
    runs: RunRefs,
    rows: Rows,
}

impl Given {
    fn new() -> Result<Self> {
        let files = FaultyFiles::new();
        let opened = open(&files, Kind::Redb, &[])?;
        let lease = opened.store.lease(request(1, 0))?;
        let (mut rows, mut runs) = (Rows::new(), RunRefs::new());
        for id in 1..=12 {
            runs = write(&opened, &*lease, id, &mut rows)?;
        }
        files.crash_at(files.operations());
        drop((lease, opened));
        files.crash(0);
        Ok(Self { files, runs, rows })
    }

    fn open(&self, files: &FaultyFiles) -> Result<(Opened, Arc<dyn StateLease>)> {
        // All caches are small, so that what is read comes from the file.
        let options = StoreOptions {
            page_cache_bytes: 4_096,
            block_cache_bytes: 0,
            guide_bytes_max: 0,
            ..options(Arc::new(files.clone()), Kind::Redb)
        };
        let opened = open_with(options, &[(CheckpointId(12), point(&self.runs))])?;
        let lease = opened.store.lease(request(2, 0).with_restore(self.runs.clone()))?;
        Ok((opened, lease))
    }
}

fn some_rows(id: u64) -> Delta {
    let row = |n: u64| {
        let value = (!(n + id).is_multiple_of(7)).then(|| vec![id as u8; (n * 37 % 900) as usize]);
        (place((n % 3) as u16, n * id % 40), value)
    };
    (0..30).map(row).collect()
}

/// Writes the rows of a checkpoint, the only one that is retained then, and waits for what that has the store do.
fn write(opened: &Opened, lease: &dyn StateLease, id: u64, rows: &mut Rows) -> Result<RunRefs> {
    let delta = some_rows(id);
    apply(rows, &delta);
    let runs = checkpoint(opened, lease, id, &delta)?;
    opened.store.completed(CheckpointId(id));
    opened.store.retain(&[CheckpointId(id)]);
    opened.store.wait_idle();
    Ok(runs)
}

/// Works with a store of which a bit is flipped: before it is opened, or after.
fn work(given: &Given, flip: impl Fn(&FaultyFiles) -> Result<()>, when: When) -> Result<()> {
    let files = given.files.copy();
    if when == When::BeforeOpening {
        flip(&files)?;
    }
    let (opened, lease) = given.open(&files)?;
    if when == When::WhileOpen {
        flip(&files)?;
    }
    let mut rows = given.rows.clone();
    assert_eq!(scan(&*lease)?, rows);
    let mut runs = given.runs.clone();
    for id in 13..=16 {
        runs = write(&opened, &*lease, id, &mut rows)?;
        assert_eq!(scan(&*lease)?, rows);
    }
    drop((lease, opened));
    let opened = open(&files, Kind::Redb, &[(CheckpointId(16), point(&runs))])?;
    let lease = opened.store.lease(request(3, 0).with_restore(runs))?;
    assert_eq!(scan(&*lease)?, rows);
    Ok(())
}

/// When the bit is flipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    BeforeOpening,
    WhileOpen,
}

/// `SEED=` tries other places; each seed's are the header's and one of each page.
#[test]
fn a_flip_anywhere_in_the_file_is_an_error_that_names_it_or_is_not_seen_cases_62_74_115() -> Result<()> {
    let given = Given::new()?;
    let file = given.files.open(Path::new(FILE), OpenMode::Read)?;
    let mut bytes = vec![0; usize::try_from(file.file_len()?).expect("a small file")];
    file.read_at(0, &mut bytes)?;
    let seed: u64 = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut random = seed;
    let mut draw = |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    let mut places: Vec<u64> = (draw(5)..320).step_by(5).collect();
    for (page, content) in (1..).zip(bytes.chunks(4_096).skip(1)) {
        let used = content.iter().rposition(|byte| *byte != 0);
        places.extend(used.map(|last| page * 4_096 + draw(last as u64 + 1)));
    }
    assert!(places.len() > 100, "only {} places", places.len());
    let mut found = 0;
    for offset in places {
        let (bit, when) = (draw(8), if draw(2) == 0 { When::BeforeOpening } else { When::WhileOpen });
        let flip = |files: &FaultyFiles| files.flip(Path::new(FILE), offset, 1 << bit);
        if let Err(error) = work(&given, flip, when) {
            let text = error.to_string();
            assert!(text.contains(FILE), "seed {seed}: bit {bit} of {offset}, {when:?}: {text}");
            found += 1;
        }
    }
    assert!(found > 30, "seed {seed}: only {found} were found");
    Ok(())
}
