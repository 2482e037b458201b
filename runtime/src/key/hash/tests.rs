//! Golden vectors, distribution and framing of the key hash.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{KeyHash, KeyHasher, hash_key};

#[derive(Clone, Serialize, Deserialize)]
enum Shape {
    Unit,
    New(u32),
    Pair(i8, String),
    Named { wide: i128, flag: bool },
}

#[test]
fn hashes_are_those_of_the_golden_vectors_case_70() {
    let vectors: Vec<(&str, KeyHash, u64)> = vec![
        ("0u64", hash_key(&0u64), GOLDEN[0]),
        ("7u64", hash_key(&7u64), GOLDEN[1]),
        ("u64::MAX", hash_key(&u64::MAX), GOLDEN[2]),
        ("-1i32", hash_key(&-1i32), GOLDEN[3]),
        ("7usize", hash_key(&7usize), GOLDEN[1]),
        ("\"\"", hash_key(""), GOLDEN[4]),
        ("\"tide\"", hash_key("tide"), GOLDEN[5]),
        ("\"a longer key, over 8 bytes\"", hash_key("a longer key, over 8 bytes"), GOLDEN[6]),
        ("(1u8, \"x\")", hash_key(&(1u8, "x")), GOLDEN[7]),
        ("None", hash_key(&None::<u64>), GOLDEN[8]),
        ("Some(0)", hash_key(&Some(0u64)), GOLDEN[9]),
        ("vec![1u16, 2]", hash_key(&vec![1u16, 2]), GOLDEN[10]),
        ("Unit", hash_key(&Shape::Unit), GOLDEN[11]),
        ("New", hash_key(&Shape::New(5)), GOLDEN[12]),
        ("Pair", hash_key(&Shape::Pair(-5, "p".into())), GOLDEN[13]),
        ("Named", hash_key(&Shape::Named { wide: -1, flag: true }), GOLDEN[14]),
        ("'ß'", hash_key(&'ß'), GOLDEN[15]),
        ("map", hash_key(&BTreeMap::from([(1u8, 2u8), (3, 4)])), GOLDEN[16]),
        ("unit", hash_key(&()), GOLDEN[17]),
    ];
    let wrong: Vec<String> = vectors
        .iter()
        .filter(|(_, hash, golden)| hash.0 != *golden)
        .map(|(name, hash, golden)| format!("{name}: {:#018x}, golden {golden:#018x}", hash.0))
        .collect();
    assert!(
        wrong.is_empty(),
        "the key hash changed; state written with it can't be read:\n{}",
        wrong.join("\n")
    );
}

/// Never edit: durable state is ordered by these.
const GOLDEN: [u64; 18] = [
    0x0486_db12_9f0c_5173,
    0xc55a_8206_7317_9ba4,
    0xaf8b_7489_1d15_d73e,
    0xaf8b_7489_1d15_d73e,
    0x0486_db12_9f0c_5173,
    0xbdc7_d82e_78ae_a030,
    0x6c6e_7f80_0c25_30f6,
    0xcd54_530e_1636_ffc7,
    0x0486_db12_9f0c_5173,
    0x5e53_140c_6afd_0dbd,
    0x3a19_f046_08a1_5323,
    0x0486_db12_9f0c_5173,
    0x794c_dfdc_2dfb_0886,
    0x0b25_3754_0166_b5d9,
    0xa452_0252_d11b_f591,
    0xe5be_6d56_64db_d5cc,
    0xfdea_d237_ea83_d232,
    0xac0d_008c_5ecf_772e,
];

#[test]
fn the_boundary_between_fields_matters() {
    assert_ne!(hash_key(&("ab", "c")), hash_key(&("a", "bc")));
    assert_ne!(hash_key(&(vec![1u8], vec![2u8, 3])), hash_key(&(vec![1u8, 2], vec![3u8])));
    assert_ne!(hash_key(&Some(None::<u8>)), hash_key(&None::<Option<u8>>));
    assert_ne!(hash_key("a\0"), hash_key("a"));
    assert_ne!(hash_key(&Shape::New(0)), hash_key(&Shape::Unit));
}

#[test]
fn the_width_of_an_integer_does_not_matter() {
    assert_eq!(hash_key(&7u8), hash_key(&7u64));
    assert_eq!(hash_key(&-7i8), hash_key(&-7i64));
}

/// Flips each input bit of many keys and counts how often each output bit follows.
#[test]
fn each_input_bit_moves_each_output_bit_about_half_the_time() {
    let samples = 4_096u64;
    let mut flips = vec![[0u32; 64]; 64];
    for sample in 0..samples {
        // Small, clustered and spread keys alike.
        let key = match sample % 3 {
            0 => sample,
            1 => sample << 40,
            _ => sample.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        };
        let hash = hash_key(&key).0;
        for (input, row) in flips.iter_mut().enumerate() {
            let changed = hash ^ hash_key(&(key ^ (1 << input))).0;
            for (output, count) in row.iter_mut().enumerate() {
                *count += ((changed >> output) & 1) as u32;
            }
        }
    }
    for (input, row) in flips.iter().enumerate() {
        for (output, count) in row.iter().enumerate() {
            let share = f64::from(*count) / samples as f64;
            assert!(
                (0.4..0.6).contains(&share),
                "bit {input} moves bit {output} with probability {share:.3}"
            );
        }
    }
}

/// Chi-square of bucket counts for keys as users have them, over the top bits and over the low ones.
#[test]
fn keys_in_a_row_spread_evenly_over_groups_and_slots() {
    let keys = 1u64 << 18;
    let buckets = 4_096usize;
    type Form = fn(u64) -> KeyHash;
    let forms: [(&str, Form); 4] = [
        ("counter", |i| hash_key(&i)),
        ("multiples of 4,096", |i| hash_key(&(i << 12))),
        ("decimal strings", |i| hash_key(&i.to_string())),
        ("pairs", |i| hash_key(&((i >> 9) as u32, (i & 511) as u16))),
    ];
    for (name, hash) in forms {
        for shift in [52, 26, 0] {
            let mut counts = vec![0u32; buckets];
            for key in 0..keys {
                counts[(hash(key).0 >> shift) as usize % buckets] += 1;
            }
            let expected = keys as f64 / buckets as f64;
            let chi: f64 = counts.iter().map(|&n| (f64::from(n) - expected).powi(2) / expected).sum();
            // 4,095 degrees of freedom: mean 4,095, standard deviation 90.
            assert!((3_600.0..4_600.0).contains(&chi), "{name}, bits from {shift}: chi-square {chi:.0}");
        }
    }
}

#[test]
fn an_unknown_length_is_told_at_the_end() {
    struct Unsized(Vec<u8>);
    impl Serialize for Unsized {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeSeq;
            let mut seq = serializer.serialize_seq(None)?;
            for element in &self.0 {
                seq.serialize_element(element)?;
            }
            seq.end()
        }
    }
    let mut expected = KeyHasher::new();
    for word in [9, 8, 2] {
        expected.absorb(word);
    }
    assert_eq!(hash_key(&Unsized(vec![9, 8])), expected.finish());
}
