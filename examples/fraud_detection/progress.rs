//! What a person sees of a run: a line about once a second, and a table at the end.

use std::{fmt, time::Duration};

use crate::places::Places;

/// Figures of a run at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Since the process started the run.
    pub(crate) elapsed: Duration,
    /// Records read from both files since the run began.
    pub(crate) records: u64,
    /// Those of them that were read before this process resumed the run.
    pub(crate) resumed: u64,
    pub(crate) replayed: u64,
    /// The lowest watermark that has reached the alerts.
    pub(crate) watermark_ms: Option<i64>,
    pub(crate) last_checkpoint: Option<u64>,
    pub(crate) checkpoints: u64,
    pub(crate) kills: u64,
    pub(crate) restarts: u64,
    /// Alerts that have reached the sink; those since the last checkpoint aren't committed yet.
    pub(crate) alerts: u64,
    /// Records that came after their windows had fired, and were dropped.
    pub(crate) late: u64,
    /// Records further out of order than the pipeline allows.
    pub(crate) disordered: u64,
}

impl Figures {
    /// Records that this process has read.
    fn read_here(&self) -> u64 {
        self.records.saturating_sub(self.resumed)
    }

    /// One line of progress; the rate is measured since `before`.
    pub(crate) fn line(&self, before: &Figures) -> String {
        let seconds = self.elapsed.saturating_sub(before.elapsed).as_secs_f64().max(0.001);
        let rate = self.read_here().saturating_sub(before.read_here()) as f64 / seconds;
        let checkpoint = self.last_checkpoint.map_or_else(|| "none".to_owned(), |id| id.to_string());
        format!(
            "{:6.1} s | {:>9} records | {:>9.0} records/s | watermark {} | last checkpoint {} | {} restarts | {} alerts",
            self.elapsed.as_secs_f64(),
            self.records,
            rate,
            moment(self.watermark_ms),
            checkpoint,
            self.restarts,
            self.alerts,
        )
    }
}

/// The table at the end of a run.
pub(crate) struct Summary<'a> {
    pub(crate) ending: String,
    pub(crate) figures: &'a Figures,
    pub(crate) places: &'a Places,
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figures = self.figures;
        let rate = figures.read_here() as f64 / figures.elapsed.as_secs_f64().max(0.001);
        let rows = [
            ("run", self.ending.clone()),
            ("time", format!("{:.2} s", figures.elapsed.as_secs_f64())),
            ("records", format!("{} ({rate:.0} records/s)", figures.records)),
            ("records of earlier starts", figures.resumed.to_string()),
            ("alerts", figures.alerts.to_string()),
            ("checkpoints", figures.checkpoints.to_string()),
            ("kills", figures.kills.to_string()),
            ("restarts", figures.restarts.to_string()),
            ("replayed records", figures.replayed.to_string()),
            ("records out of order", figures.disordered.to_string()),
            ("late records", figures.late.to_string()),
            ("alerts are in", self.places.output.join("*.jsonl").display().to_string()),
            ("unknown payments are in", self.places.output.join("unknown/*.jsonl").display().to_string()),
            ("state is in", self.places.state.display().to_string()),
        ];
        for (label, value) in rows {
            writeln!(out, "{label:<27}{value}")?;
        }
        Ok(())
    }
}

/// A watermark as a date and time of UTC.
fn moment(watermark_ms: Option<i64>) -> String {
    match watermark_ms {
        None | Some(i64::MIN) => "none yet".to_owned(),
        Some(i64::MAX) => "at the end".to_owned(),
        Some(at_ms) => {
            let (days, within_ms) = (at_ms.div_euclid(86_400_000), at_ms.rem_euclid(86_400_000));
            let (year, month, day) = civil(days);
            let seconds = within_ms / 1_000;
            let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
            format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
        }
    }
}

/// Year, month and day of a number of days since 1970, by counting years that begin in March: then the leap day is
/// the last of its year and the months before it have the same lengths in all.
fn civil(days_since_1970: i64) -> (i64, i64, i64) {
    const DAYS_FROM_MARCH_0000: i64 = 719_468;
    const DAYS_IN_400_YEARS: i64 = 146_097;
    let days = days_since_1970.saturating_add(DAYS_FROM_MARCH_0000);
    let (era, day) = (days.div_euclid(DAYS_IN_400_YEARS), days.rem_euclid(DAYS_IN_400_YEARS));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day_of_month)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watermarks_are_shown_as_dates() {
        assert_eq!(moment(Some(1_759_730_400_000)), "2025-10-06 06:00:00");
        assert_eq!(moment(Some(951_782_399_999)), "2000-02-28 23:59:59");
        assert_eq!(moment(Some(951_825_661_000)), "2000-02-29 12:01:01");
        assert_eq!(moment(Some(951_868_800_000)), "2000-03-01 00:00:00");
        assert_eq!(moment(Some(0)), "1970-01-01 00:00:00");
        assert_eq!(moment(Some(-1)), "1969-12-31 23:59:59");
        assert_eq!(moment(Some(i64::MAX)), "at the end");
        assert_eq!(moment(None), "none yet");
    }

    #[test]
    fn a_line_measures_the_rate_since_the_one_before() {
        let before = Figures { elapsed: Duration::from_secs(1), records: 1_000, ..Figures::default() };
        let now = Figures {
            elapsed: Duration::from_secs(3),
            records: 5_300,
            resumed: 300,
            watermark_ms: Some(0),
            last_checkpoint: Some(12),
            restarts: 2,
            alerts: 34,
            ..Figures::default()
        };
        let expected = "   3.0 s |      5300 records |      2000 records/s | watermark 1970-01-01 00:00:00 | \
                        last checkpoint 12 | 2 restarts | 34 alerts";
        assert_eq!(now.line(&before), expected);
    }
}
