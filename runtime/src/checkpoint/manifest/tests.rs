//! A manifest is read as it was written, or refused by name.

use proptest::collection::vec;
use proptest::prelude::{any, proptest};

use super::*;
use crate::state::{RunId, RunRef};

pub(crate) fn sample(checkpoint: u64) -> Manifest {
    let run = RunRef { id: RunId(1 << 32 | checkpoint), checksum: 0xABCD_EF01, rows: 3, bytes: 60, level: 0 };
    let subtask = SubtaskSnapshot {
        operator_state: vec![1, 2],
        splits: vec![3],
        finished_splits: vec!["a.csv#0".to_owned()],
        committables: vec![Committable { checkpoint: CheckpointId(checkpoint), bytes: vec![9] }],
        watermark: Timestamp(-5),
        hashes: Some((KeyHash(0), KeyHash(u64::MAX))),
        runs: vec![run],
        phase: SubtaskPhase::Finished,
    };
    Manifest {
        checkpoint: CheckpointId(checkpoint),
        lineage: Lineage(7),
        kind: CheckpointKind::Periodic,
        plan: PlanFingerprint { parts: vec![("plan".to_owned(), "count".to_owned())] },
        attempt: AttemptId(2),
        next_checkpoint: CheckpointId(checkpoint + 1),
        triggered: Timestamp(1_000),
        completed: Timestamp(1_010),
        written_bytes: 60,
        state_bytes: 60,
        operators: BTreeMap::from([("count".to_owned(), OperatorSnapshot { subtasks: vec![subtask] })]),
        enumerators: BTreeMap::from([("lines".to_owned(), vec![4])]),
    }
}

#[test]
fn the_bytes_of_version_1_are_golden() -> Result<()> {
    let bytes = sample(5).encode()?;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let golden = include_str!("golden_v1.hex");
    assert_eq!(hex, golden.split_whitespace().collect::<String>());
    assert_eq!(Manifest::decode(Path::new("m"), &bytes)?, sample(5));
    Ok(())
}

#[test]
fn a_flip_of_any_bit_is_found_case_62() -> Result<()> {
    let bytes = sample(5).encode()?;
    for position in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[position] ^= 1 << bit;
            let error = Manifest::decode(Path::new("dir/5.manifest"), &flipped).expect_err("damaged");
            assert!(error.to_string().starts_with("dir/5.manifest is damaged: "), "{error}");
        }
    }
    for cut in 0..bytes.len() {
        assert!(Manifest::decode(Path::new("m"), &bytes[..cut]).is_err(), "cut at {cut}");
    }
    Ok(())
}

#[test]
fn another_version_is_refused_by_its_number() -> Result<()> {
    let mut bytes = sample(5).encode()?;
    bytes[4] = 2;
    let error = Manifest::decode(Path::new("m"), &bytes).expect_err("version 2");
    assert_eq!(error.to_string(), "m is damaged: a manifest of version 2; this program reads version 1");
    Ok(())
}

#[test]
fn differences_name_label_old_and_new() {
    let parts = |parts: &[(&str, &str)]| PlanFingerprint {
        parts: parts.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect(),
    };
    let old = parts(&[("plan", "p"), ("rate", "10"), ("output", "out")]);
    let new = parts(&[("plan", "p"), ("output", "other"), ("input", "a.csv")]);
    assert_eq!(
        old.differences(&new),
        vec!["output: was `out`, is `other`", "input: was absent, is `a.csv`", "rate: was `10`, is absent"]
    );
    assert!(old.differences(&old).is_empty());
}

proptest! {
    #[test]
    fn any_body_is_decoded_or_refused_without_a_panic_case_74(body in vec(any::<u8>(), 0..300)) {
        let mut bytes = MAGIC.to_vec();
        bytes.push(MANIFEST_VERSION);
        bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
        bytes.extend_from_slice(&body);
        let _ = Manifest::decode(Path::new("m"), &bytes);
        let _ = Manifest::decode(Path::new("m"), &body);
    }
}
