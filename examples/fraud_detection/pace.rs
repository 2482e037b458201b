//! How fast the sources read: both in proportion to their files, so that neither runs ahead of the other's time.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
    time::Duration,
};

use flate2::read::MultiGzDecoder;

/// With this many kills' time in the input at least 20 hit a live attempt, even where some meet a restart.
const KILLS_WORTH: u32 = 40;
/// And at least 20 checkpoints of 100 ms complete.
const DURATION_MIN: Duration = Duration::from_secs(5);

/// Records a second of each source, over all its subtasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    pub(crate) transactions: u64,
    pub(crate) accounts: u64,
}

/// Rows of the two files, headers left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rows {
    pub(crate) transactions: u64,
    pub(crate) accounts: u64,
}

impl Rows {
    /// Counts the lines of both files.
    ///
    /// # Errors
    /// What the file system or gzip says.
    pub(crate) fn count(transactions: &Path, accounts: &Path) -> io::Result<Self> {
        Ok(Self { transactions: rows(transactions)?, accounts: rows(accounts)? })
    }

    /// The pace that reads `transactions` a second.
    pub(crate) fn at_rate(self, transactions: u64) -> Pace {
        let share =
            u128::from(transactions) * u128::from(self.accounts) / u128::from(self.transactions.max(1));
        Pace { transactions, accounts: u64::try_from(share).unwrap_or(u64::MAX).max(1) }
    }

    /// A pace slow enough for the kills and checkpoints that a run with `--kill-every` promises.
    pub(crate) fn for_kills_every(self, interval: Duration) -> Pace {
        let duration = (interval * KILLS_WORTH).max(DURATION_MIN);
        let rate = u128::from(self.transactions) * 1_000 / duration.as_millis().max(1);
        self.at_rate(u64::try_from(rate).unwrap_or(u64::MAX).max(1))
    }
}

fn rows(path: &Path) -> io::Result<u64> {
    let file = File::open(path)?;
    let gzip = path.extension().is_some_and(|extension| extension == "gz");
    let bytes: Box<dyn Read> = if gzip { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    Ok(line_breaks(BufReader::with_capacity(1 << 16, bytes))?.saturating_sub(1))
}

/// Counts line breaks, a buffer at a time.
pub(crate) fn line_breaks(mut bytes: impl BufRead) -> io::Result<u64> {
    let mut lines = 0;
    loop {
        let filled = bytes.fill_buf()?;
        if filled.is_empty() {
            return Ok(lines);
        }
        lines += filled.iter().filter(|byte| **byte == b'\n').count() as u64;
        let used = filled.len();
        bytes.consume(used);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: Rows = Rows { transactions: 100_000, accounts: 10_000 };

    #[test]
    fn accounts_are_read_in_proportion() {
        assert_eq!(ROWS.at_rate(5_000), Pace { transactions: 5_000, accounts: 500 });
        assert_eq!(ROWS.at_rate(1), Pace { transactions: 1, accounts: 1 });
    }

    #[test]
    fn kills_have_time_for_more_than_twenty() {
        assert_eq!(ROWS.for_kills_every(Duration::from_millis(200)), ROWS.at_rate(12_500));
        assert_eq!(ROWS.for_kills_every(Duration::from_millis(1)), ROWS.at_rate(20_000));
        assert_eq!(ROWS.for_kills_every(Duration::from_secs(5)), ROWS.at_rate(500));
        assert_eq!(ROWS.for_kills_every(Duration::MAX / 64).transactions, 1);
    }

    #[test]
    fn the_rows_of_the_committed_files_are_counted() -> io::Result<()> {
        let data = Path::new("examples/data");
        assert_eq!(Rows::count(&data.join("transactions.csv"), &data.join("accounts.csv"))?, ROWS);
        Ok(())
    }
}
