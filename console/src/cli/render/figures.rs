//! Figures as people read them.

use tidegate_supervisor::ATTEMPTS_PER_START;

const KIB: f64 = 1_024.0;

/// Bytes with a binary unit: `0 B`, `1.5 KiB`.
pub(super) fn bytes(bytes: u64) -> String {
    scaled(bytes as f64, KIB, &["B", "KiB", "MiB", "GiB", "TiB"], " ")
}

/// A rate or count with a decimal unit: `12`, `1.5k`, `70.1M`.
pub(super) fn rate(per_second: f64) -> String {
    scaled(per_second, 1_000.0, &["", "k", "M", "G"], "")
}

/// Milliseconds with a unit of time: `14 ms`, `3.2 s`, `5.0 min`.
pub(super) fn duration_ms(ms: i64) -> String {
    let magnitude = ms.unsigned_abs() as f64;
    let sign = if ms < 0 { "-" } else { "" };
    match magnitude {
        ..1_000.0 => format!("{ms} ms"),
        ..60_000.0 => format!("{sign}{:.1} s", magnitude / 1_000.0),
        ..3_600_000.0 => format!("{sign}{:.1} min", magnitude / 60_000.0),
        ..86_400_000.0 => format!("{sign}{:.1} h", magnitude / 3_600_000.0),
        _ => format!("{sign}{:.1} d", magnitude / 86_400_000.0),
    }
}

/// Milliseconds since the epoch as a date and a time of day in UTC: `2023-11-14 22:13:25.000`.
pub(super) fn utc(ms: i64) -> String {
    const DAY_MS: i64 = 86_400_000;
    let (days, of_day) = (ms.div_euclid(DAY_MS), ms.rem_euclid(DAY_MS));
    let (year, month, day) = date(days);
    let (hour, minute) = (of_day / 3_600_000, of_day / 60_000 % 60);
    let (second, milli) = (of_day / 1_000 % 60, of_day % 1_000);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{milli:03}")
}

/// The Gregorian date so many days after 1970-01-01. Years are counted from March here, so that a leap day is the last
/// day of its year, and in eras of 400 years, which all have 146,097 days.
fn date(days: i64) -> (i64, i64, i64) {
    let since_march_0 = days + 719_468;
    let (era, of_era) = (since_march_0.div_euclid(146_097), since_march_0.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months from March on have 31, 30, 31, 30, 31 days, again and again: 153 in five.
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

/// The number of an attempt; after a resume with the start of the process that it belongs to: `3`, `1 (start 2)`.
pub(super) fn attempt(attempt: u64) -> String {
    let before = attempt.saturating_sub(1);
    let (start, number) = (before / ATTEMPTS_PER_START + 1, before % ATTEMPTS_PER_START + 1);
    if start == 1 { number.to_string() } else { format!("{number} (start {start})") }
}

fn scaled(value: f64, step: f64, units: &[&str], space: &str) -> String {
    let mut value = value;
    let mut unit = 0;
    // 0.95 of a step is rounded to a whole step by one decimal: take the next unit before that.
    while value >= step - 0.05 && unit + 1 < units.len() {
        value /= step;
        unit += 1;
    }
    if unit == 0 {
        format!("{value:.0}{space}{}", units[0])
    } else {
        format!("{value:.1}{space}{}", units[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::{attempt, bytes, date, duration_ms, rate, utc};

    #[test]
    fn figures_take_the_unit_that_keeps_them_short() {
        assert_eq!(
            [0, 1_023, 1_024, 1_536, 1 << 40].map(bytes),
            ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 TiB"]
        );
        assert_eq!([0.0, 12.4, 1_500.0, 70_123_456.0].map(rate), ["0", "12", "1.5k", "70.1M"]);
        let times = [0, 14, 999, 3_210, 300_000, 7_200_000, 172_800_000, -3_210, i64::MIN];
        let texts =
            ["0 ms", "14 ms", "999 ms", "3.2 s", "5.0 min", "2.0 h", "2.0 d", "-3.2 s", "-106751991167.3 d"];
        assert_eq!(times.map(duration_ms), texts);
    }

    #[test]
    fn times_are_dates_in_utc() {
        assert_eq!(utc(1_700_000_005_000), "2023-11-14 22:13:25.000");
        assert_eq!(utc(0), "1970-01-01 00:00:00.000");
        assert_eq!(utc(-1), "1969-12-31 23:59:59.999");
        assert_eq!(utc(951_782_400_000), "2000-02-29 00:00:00.000");
        assert_eq!(utc(4_107_542_399_999), "2100-02-28 23:59:59.999");
    }

    #[test]
    fn each_day_follows_the_one_before() {
        let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..400_000 {
            assert_eq!(date(days), (year, month, day));
            let length = match month {
                2 => 28 + i64::from(is_leap(year)),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            (day, month) = if day < length { (day + 1, month) } else { (1, month + 1) };
            (year, month) = if month > 12 { (year + 1, 1) } else { (year, month) };
        }
    }

    #[test]
    fn attempts_after_a_resume_say_which_start_they_are_of() {
        let texts = [1, 17, 1_000_000, 1_000_001, 2_000_004].map(attempt);
        assert_eq!(texts, ["1", "17", "1000000", "1 (start 2)", "4 (start 3)"]);
    }
}
