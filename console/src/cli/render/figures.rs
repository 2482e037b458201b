//! Figures as people read them.

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
    use super::{bytes, duration_ms, rate};

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
}
