//! Shapes that postcard can't carry are refused by name.

use serde::{Deserialize, Serialize};

use super::{check_codec, decode_value, encode_value};
use crate::error::Error;

fn problem_of<V: Serialize + serde::de::DeserializeOwned>(value: &V) -> String {
    match check_codec(value) {
        Err(Error::Codec { type_name, problem }) => format!("{type_name}: {problem}"),
        other => panic!("expected a codec error, got {other:?}"),
    }
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    A { x: u32 },
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u32),
}

#[derive(Serialize, Deserialize)]
struct Inner {
    x: u32,
}

#[derive(Serialize, Deserialize)]
struct Flat {
    id: u32,
    #[serde(flatten)]
    inner: Inner,
}

#[derive(Serialize, Deserialize)]
struct Skipping {
    #[serde(skip_serializing_if = "Option::is_none")]
    middle: Option<u32>,
    last: u32,
}

#[derive(Serialize, Deserialize)]
struct OnlyWritten {
    #[serde(skip_deserializing)]
    seen: u32,
    last: u32,
}

#[derive(Serialize, Deserialize)]
#[expect(dead_code, reason = "it is there for serde")]
struct OnlyRead {
    #[serde(skip_serializing)]
    seen: u32,
    last: u32,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Forgetful {
    #[serde(skip)]
    cache: u32,
    last: u32,
}

#[test]
fn shapes_that_cannot_be_read_back_are_refused_with_the_attribute_named() {
    for (name, problem, attribute) in [
        ("Tagged", problem_of(&Tagged::A { x: 1 }), "tag"),
        ("Untagged", problem_of(&Untagged::Number(1)), "untagged"),
        ("Flat", problem_of(&Flat { id: 1, inner: Inner { x: 2 } }), "flatten"),
        ("Skipping", problem_of(&Skipping { middle: None, last: 300 }), "skip_serializing_if"),
        ("Value", problem_of(&serde_json::json!({"a": 1})), "serde_json::Value"),
        ("OnlyWritten", problem_of(&OnlyWritten { seen: 1, last: 2 }), "skip_deserializing"),
        ("OnlyRead", problem_of(&OnlyRead { seen: 1, last: 300 }), "skip_serializing"),
    ] {
        assert!(problem.contains(name), "{problem}");
        assert!(problem.contains(attribute), "{name}: {problem}");
    }
}

#[test]
fn plain_shapes_pass() -> Result<(), Error> {
    check_codec(&(1u8, "text".to_owned(), Some(-5i64), vec![1.5f64], [0u16; 4]))?;
    check_codec(&Skipping { middle: Some(1), last: 2 })
}

#[test]
fn bytes_left_over_are_an_error_case_73() -> Result<(), Error> {
    let mut bytes = Vec::new();
    encode_value(&(1u32, 2u32), &mut bytes)?;
    let short = decode_value::<u32>(&bytes).expect_err("one field was removed");
    assert!(short.to_string().contains("left over"), "{short}");
    let long = decode_value::<(u32, u32, u32)>(&bytes).expect_err("one field was added");
    assert!(long.to_string().contains("u32, u32, u32"), "{long}");
    assert_eq!(decode_value::<(u32, u32)>(&bytes)?, (1, 2));
    Ok(())
}

#[test]
fn an_unknown_tag_is_refused() {
    let error = decode_value::<u32>(&[9, 1]).expect_err("tag 9 is not known");
    assert!(error.to_string().contains("tag 9"), "{error}");
    assert!(decode_value::<u32>(&[]).is_err());
}

#[test]
fn value_rows_are_those_of_the_golden_bytes() -> Result<(), Error> {
    let mut bytes = Vec::new();
    encode_value(&(300u32, "é".to_owned(), Some(true)), &mut bytes)?;
    assert_eq!(bytes, [0, 0xac, 0x02, 2, 0xc3, 0xa9, 1, 1]);
    Ok(())
}

#[test]
fn a_field_that_is_skipped_both_ways_leaves_no_trace_and_comes_back_as_its_default() -> Result<(), Error> {
    let value = Forgetful { cache: 7, last: 2 };
    check_codec(&value)?;
    let mut bytes = Vec::new();
    encode_value(&value, &mut bytes)?;
    assert_eq!(decode_value::<Forgetful>(&bytes)?, Forgetful { cache: 0, last: 2 });
    Ok(())
}
