//! Records of every shape, against what serde defines and what the csv crate reads.

use std::collections::BTreeMap;

use proptest::prelude::{Just, Strategy, any, prop};
use proptest::{prop_assert_eq, prop_oneof, proptest};
use serde::{Deserialize, Serialize};

use super::{Columns, Fields};
use crate::files::format::RecordProblem;

fn read_all<T: tidegate_runtime::Record>(header: &str, rows: &[&str]) -> Vec<Result<T, RecordProblem>> {
    let names = header.split(',').map(str::to_owned).collect();
    let mut columns = Columns::named::<T>(names);
    let mut fields = Fields::new(b',');
    rows.iter()
        .map(|row| {
            fields.split(row.as_bytes())?;
            columns.read(&fields.of(row.as_bytes()))
        })
        .collect()
}

fn problem(column: Option<&str>, cause: &str) -> RecordProblem {
    RecordProblem { column: column.map(str::to_owned), cause: cause.to_owned() }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Payment {
    id: u64,
    amount: f64,
    note: Option<String>,
}

fn payment(id: u64, amount: f64, note: Option<&str>) -> Payment {
    Payment { id, amount, note: note.map(str::to_owned) }
}

#[test]
fn columns_are_found_by_name_in_any_order() {
    let rows = ["x,1.5,7", ",2,8", "\"a,\"\"b\"\"\",-3,9"];
    let expected = vec![
        Ok(payment(7, 1.5, Some("x"))),
        Ok(payment(8, 2.0, None)),
        Ok(payment(9, -3.0, Some("a,\"b\""))),
    ];
    assert_eq!(read_all("note,amount,id", &rows), expected);
    let with_another: Vec<String> = rows.iter().map(|row| format!("skipped,{row}")).collect();
    let with_another: Vec<&str> = with_another.iter().map(String::as_str).collect();
    assert_eq!(read_all("other,note,amount,id", &with_another), expected);
}

#[test]
fn a_bad_field_is_named_before_and_after_the_columns_are_arranged() {
    let rows = ["x,1,2", "1,1,", "1,abc,", "-5,1,", "1,1", "\"1,1", "\"1\"2,1,"];
    let expected = vec![
        Err(problem(Some("`id`"), "`x` is not a whole number from 0 of 64 bits")),
        Ok(payment(1, 1.0, None)),
        Err(problem(Some("`amount`"), "`abc` is not a number")),
        Err(problem(Some("`id`"), "`-5` is not a whole number from 0 of 64 bits")),
        Err(problem(None, "2 fields, but the header has 3")),
        Err(problem(
            Some("1"),
            "a quote is opened and not closed; a field that holds line breaks needs `.quoted_line_breaks()`",
        )),
        Err(problem(Some("1"), "text follows a closing quote; a quote within quotes is written twice")),
    ];
    assert_eq!(read_all::<Payment>("id,amount,note", &rows), expected);
}

#[test]
fn a_missing_column_is_named() {
    let found = read_all::<Payment>("id,note", &["1,"]);
    assert_eq!(found, vec![Err(problem(None, "missing field `amount`"))]);
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Odd {
    #[serde(alias = "a", alias = "A")]
    first: u8,
    #[serde(default)]
    second: u8,
    #[serde(rename = "3rd")]
    third: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Small,
    Large,
}

#[test]
fn aliases_defaults_and_names_are_serdes() {
    let odd = |first, second, third| Ok(Odd { first, second, third });
    assert_eq!(read_all("first,second,3rd", &["1,2,small"; 2]), vec![odd(1, 2, Kind::Small); 2]);
    assert_eq!(read_all("3rd,A", &["large,1"; 2]), vec![odd(1, 0, Kind::Large); 2]);
    let bad = read_all::<Odd>("3rd,A", &["medium,1"]);
    assert_eq!(
        bad,
        vec![Err(problem(Some("`3rd`"), "unknown variant `medium`, expected `small` or `large`"))]
    );
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Flat {
    id: u64,
    #[serde(flatten)]
    rest: BTreeMap<String, String>,
}

#[test]
fn flattened_maps_tuples_and_single_values_can_be_read() {
    let rest = BTreeMap::from([("a".to_owned(), "x".to_owned()), ("b".to_owned(), "y".to_owned())]);
    assert_eq!(read_all("a,id,b", &["x,1,y"; 2]), vec![Ok(Flat { id: 1, rest }); 2]);
    assert_eq!(read_all("n,s", &["1,x"; 2]), vec![Ok((1_u64, "x".to_owned())); 2]);
    assert_eq!(read_all("n", &["5"]), vec![Ok(5_u64)]);
    let two = read_all::<u64>("n,s", &["5,x"]);
    assert_eq!(two, vec![Err(problem(None, "2 columns can't be read as one value"))]);
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Wide {
    a: i64,
    b: String,
    c: Option<u32>,
    d: bool,
}

fn text() -> impl Strategy<Value = String> {
    let part = prop_oneof![Just("\""), Just(","), Just("x"), Just(" "), Just("é"), Just("12")];
    prop::collection::vec(part, 0..6).prop_map(|parts| parts.concat())
}

proptest! {
    /// The csv crate quotes and orders; what it wrote is read back the same, whatever the order of the columns.
    #[test]
    fn what_the_csv_crate_writes_is_read(
        rows in prop::collection::vec((any::<i64>(), text(), any::<Option<u32>>(), any::<bool>()), 1..20),
        turn in 0_usize..4,
    ) {
        let rows: Vec<Wide> = rows.into_iter().map(|(a, b, c, d)| Wide { a, b, c, d }).collect();
        let mut header = ["a", "b", "c", "d"];
        header.rotate_left(turn);
        let mut lines = Vec::new();
        for row in &rows {
            let c = row.c.map(|c| c.to_string()).unwrap_or_default();
            let mut cells = vec![row.a.to_string(), row.b.clone(), c, row.d.to_string()];
            cells.rotate_left(turn);
            let mut writer = csv::Writer::from_writer(Vec::new());
            writer.write_record(&cells).expect("memory can be written");
            let bytes = writer.into_inner().expect("memory can be written");
            lines.push(String::from_utf8(bytes).expect("it is text").trim_end_matches('\n').to_owned());
        }
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let read: Vec<Wide> = read_all(&header.join(","), &lines).into_iter().collect::<Result<_, _>>().expect("read");
        prop_assert_eq!(read, rows);
    }
}
