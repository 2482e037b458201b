//! What a benchmark prints: one row for each case, as a table or as JSON lines.

use serde::Serialize;

/// One measured case; fields that don't apply are `None`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) bench: &'static str,
    pub(crate) case: String,
    pub(crate) parallelism: Option<u32>,
    /// 0: off.
    pub(crate) checkpoint_ms: Option<u64>,
    pub(crate) checkpoints_completed: Option<u64>,
    pub(crate) checkpoint_bytes: Option<u64>,
    pub(crate) unit: &'static str,
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) ratio_to_loop: Option<f64>,
    pub(crate) ratio_to_no_checkpoint: Option<f64>,
}

impl Row {
    /// The median, least and greatest of `samples`; all else does not apply yet.
    pub(crate) fn new(
        bench: &'static str,
        case: impl Into<String>,
        unit: &'static str,
        samples: &[f64],
    ) -> Self {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        Self {
            bench,
            case: case.into(),
            parallelism: None,
            checkpoint_ms: None,
            checkpoints_completed: None,
            checkpoint_bytes: None,
            unit,
            median: median(&sorted),
            min: sorted.first().copied().unwrap_or(0.0),
            max: sorted.last().copied().unwrap_or(0.0),
            ratio_to_loop: None,
            ratio_to_no_checkpoint: None,
        }
    }
}

/// The middle of sorted samples.
pub(crate) fn median(sorted: &[f64]) -> f64 {
    match sorted.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => sorted[odd / 2],
        even => f64::midpoint(sorted[even / 2 - 1], sorted[even / 2]),
    }
}

/// How rows are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Table,
    JsonLines,
}

/// Prints all rows of a benchmark.
pub(crate) fn print(rows: &[Row], format: Format) {
    match format {
        Format::JsonLines => {
            for row in rows {
                println!(
                    "{}",
                    serde_json::to_string(row).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
                );
            }
        }
        Format::Table => print_table(rows),
    }
}

fn print_table(rows: &[Row]) {
    let heads = [
        "case",
        "parallelism",
        "checkpoint ms",
        "completed",
        "bytes",
        "unit",
        "median",
        "min",
        "max",
        "to loop",
        "to no checkpoint",
    ];
    let cells: Vec<[String; 11]> = rows.iter().map(cells).collect();
    let width = |column: usize| {
        cells.iter().map(|row| row[column].len()).chain([heads[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let line = |cells: &[String]| {
        let padded = cells.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        println!("{}", padded.collect::<Vec<_>>().join("  ").trim_end());
    };
    line(&heads.map(str::to_owned));
    cells.iter().for_each(|row| line(row));
}

fn cells(row: &Row) -> [String; 11] {
    let whole = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let ratio = |ratio: Option<f64>| ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}"));
    [
        row.case.clone(),
        whole(row.parallelism.map(u64::from)),
        whole(row.checkpoint_ms),
        whole(row.checkpoints_completed),
        whole(row.checkpoint_bytes),
        row.unit.to_owned(),
        figure(row.median),
        figure(row.min),
        figure(row.max),
        ratio(row.ratio_to_loop),
        ratio(row.ratio_to_no_checkpoint),
    ]
}

/// Millions with one decimal, small numbers with two.
fn figure(number: f64) -> String {
    if number >= 1e6 { format!("{:.1} M", number / 1e6) } else { format!("{number:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_exactly_the_agreed_fields() {
        let row = Row::new("keyed-count", "tidegate", "records/s", &[3.0, 1.0, 2.0, 10.0]);
        let json = serde_json::to_string(&row).expect("numbers and names");
        assert_eq!(
            json,
            "{\"bench\":\"keyed-count\",\"case\":\"tidegate\",\"parallelism\":null,\"checkpoint_ms\":null,\
             \"checkpoints_completed\":null,\"checkpoint_bytes\":null,\"unit\":\"records/s\",\"median\":2.5,\
             \"min\":1.0,\"max\":10.0,\"ratio_to_loop\":null,\"ratio_to_no_checkpoint\":null}"
        );
    }
}
