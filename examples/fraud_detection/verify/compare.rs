//! Compares the committed lines with the expected ones as bags, and prints the verdict.

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::{
    expect::{Alert, expected},
    input::{Account, Disorder, ReadError, Transaction, read_accounts, read_transactions},
};

/// More than this and the pipeline may rightly drop a record as late, so that no comparison would hold.
const DISORDER_MAX_MS: i64 = 10_000;
const SHOWN_MAX: usize = 10;

/// What was compared, and every way in which it fails.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(super) transactions: usize,
    pub(super) accounts: usize,
    pub(super) expected_alerts: usize,
    pub(super) committed_alerts: usize,
    pub(super) expected_unknown: usize,
    pub(super) committed_unknown: usize,
    /// Disorder beyond what the pipeline allows: no comparison can hold.
    pub(super) faults: Vec<String>,
    /// Rules that the input breaks otherwise; they explain differences and are none.
    pub(super) notes: Vec<String>,
    pub(super) differences: Vec<Difference>,
}

/// All differences of one kind, in the order of their lines.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) kind: &'static str,
    pub(super) lines: Vec<String>,
}

impl Verdict {
    /// Rows of both files.
    pub(crate) fn records(&self) -> u64 {
        (self.transactions + self.accounts) as u64
    }

    /// Whether the run committed exactly what it must.
    pub(crate) fn holds(&self) -> bool {
        self.faults.is_empty() && self.differences.is_empty()
    }
}

/// Compares what lies committed in `output` with what the two input files demand of a finished run.
///
/// # Errors
/// When an input file or the output directory can't be read.
pub(crate) fn verify(transactions: &Path, accounts: &Path, output: &Path) -> Result<Verdict, ReadError> {
    let transactions_table = read_transactions(transactions)?;
    let accounts_table = read_accounts(accounts)?;
    let mut verdict = Verdict {
        transactions: transactions_table.rows.len(),
        accounts: accounts_table.rows.len(),
        ..Verdict::default()
    };
    verdict.faults.extend(disorder_fault(transactions, transactions_table.disorder));
    verdict.faults.extend(disorder_fault(accounts, accounts_table.disorder));
    verdict.notes.extend(account_notes(&transactions_table.rows, &accounts_table.rows));
    let expected = expected(transactions_table.rows, &accounts_table.rows);
    let alerts = Bags::new(expected.alerts.iter().map(alert_line), committed_lines(output)?);
    let unknown =
        Bags::new(expected.unknown.iter().map(unknown_line), committed_lines(&output.join("unknown"))?);
    (verdict.expected_alerts, verdict.committed_alerts) = alerts.sizes();
    (verdict.expected_unknown, verdict.committed_unknown) = unknown.sizes();
    verdict.differences = [
        ("alerts missing", alerts.missing()),
        ("alerts committed that must not be, or too often", alerts.surplus()),
        ("unknown transactions missing", unknown.missing()),
        ("unknown transactions committed that must not be, or too often", unknown.surplus()),
    ]
    .into_iter()
    .filter(|(_, lines)| !lines.is_empty())
    .map(|(kind, lines)| Difference { kind, lines })
    .collect();
    Ok(verdict)
}

fn disorder_fault(file: &Path, disorder: Disorder) -> Option<String> {
    let Disorder { worst_ms, worst_line, .. } = disorder;
    (worst_ms > DISORDER_MAX_MS).then(|| {
        format!(
            "{}, line {worst_line}: {worst_ms} ms behind an earlier row, and the pipeline allows {DISORDER_MAX_MS} ms \
             of disorder: it may drop such a record as late, so the comparison can't hold; sort the file by time",
            file.display()
        )
    })
}

fn account_notes(transactions: &[Transaction], accounts: &[Account]) -> Vec<String> {
    let mut notes = Vec::new();
    let mut opened: BTreeMap<i64, i64> = BTreeMap::new();
    for account in accounts {
        if opened.insert(account.id, account.opened_ms).is_some() {
            notes.push(format!("account {} has more than one row; account ids must be unique", account.id));
        }
    }
    for transaction in transactions {
        let opened_ms = opened.get(&transaction.account).copied();
        if let Some(opened_ms) = opened_ms.filter(|opened_ms| *opened_ms > transaction.at_ms) {
            notes.push(format!(
                "account {} opened at {opened_ms}, after its transaction {} at {}",
                transaction.account, transaction.id, transaction.at_ms
            ));
        }
    }
    notes
}

fn alert_line(alert: &Alert) -> String {
    let line = json!({
        "alert_id": alert.alert_id,
        "kind": alert.kind,
        "account_id": alert.account_id,
        "card_id": alert.card_id,
        "country": alert.country,
        "window_start_ms": alert.window_start_ms,
        "first_ms": alert.first_ms,
        "merged": alert.merged,
    });
    line.to_string()
}

fn unknown_line(transaction: &Transaction) -> String {
    let line = json!({
        "transaction_id": transaction.id,
        "account_id": transaction.account,
        "card_id": transaction.card,
        "amount": transaction.amount,
        "timestamp_ms": transaction.at_ms,
    });
    line.to_string()
}

/// The lines of all `*.jsonl` files directly in `directory`; a directory that doesn't exist has none.
fn committed_lines(directory: &Path) -> Result<Vec<String>, ReadError> {
    let fault = |file: &Path, error: io::Error| ReadError {
        file: file.to_owned(),
        line: None,
        problem: error.to_string(),
    };
    let mut files: Vec<PathBuf> = match fs::read_dir(directory) {
        Ok(entries) => entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()
            .map_err(|error| fault(directory, error))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(fault(directory, error)),
    };
    files.retain(|file| file.is_file() && file.extension().is_some_and(|extension| extension == "jsonl"));
    files.sort();
    let mut lines = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).map_err(|error| fault(&file, error))?;
        lines.extend(text.lines().map(canonical));
    }
    Ok(lines)
}

/// The line with its fields in one order and its numbers in one form; what is no JSON stays as it is and so equals
/// nothing expected.
fn canonical(line: &str) -> String {
    serde_json::from_str::<Value>(line).map_or_else(|_| line.to_owned(), |value| value.to_string())
}

/// How often each line is expected and how often it is committed.
struct Bags {
    counts: BTreeMap<String, (usize, usize)>,
}

impl Bags {
    fn new(expected: impl Iterator<Item = String>, committed: Vec<String>) -> Self {
        let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        for line in expected {
            counts.entry(line).or_default().0 += 1;
        }
        for line in committed {
            counts.entry(line).or_default().1 += 1;
        }
        Self { counts }
    }

    fn sizes(&self) -> (usize, usize) {
        self.counts.values().fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1))
    }

    fn missing(&self) -> Vec<String> {
        self.lines(|expected, committed| expected > committed)
    }

    fn surplus(&self) -> Vec<String> {
        self.lines(|expected, committed| committed > expected)
    }

    fn lines(&self, wanted: impl Fn(usize, usize) -> bool) -> Vec<String> {
        let chosen = self.counts.iter().filter(|(_, (expected, committed))| wanted(*expected, *committed));
        chosen
            .map(|(line, (expected, committed))| {
                format!("expected {expected}, committed {committed}: {line}")
            })
            .collect()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "verify: {} transactions, {} accounts", self.transactions, self.accounts)?;
        writeln!(
            out,
            "verify: alerts expected {}, committed {}",
            self.expected_alerts, self.committed_alerts
        )?;
        let (expected, committed) = (self.expected_unknown, self.committed_unknown);
        writeln!(out, "verify: unknown transactions expected {expected}, committed {committed}")?;
        show(out, "too much disorder", &self.faults)?;
        show(out, "the input breaks a rule", &self.notes)?;
        for difference in &self.differences {
            show(out, difference.kind, &difference.lines)?;
        }
        let result =
            if self.holds() { "OK: committed output equals the sequential computation" } else { "FAILED" };
        writeln!(out, "verify: {result}")
    }
}

fn show(out: &mut fmt::Formatter<'_>, kind: &str, lines: &[String]) -> fmt::Result {
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(out, "verify: {kind}: {}", lines.len())?;
    for line in lines.iter().take(SHOWN_MAX) {
        writeln!(out, "  {line}")?;
    }
    if lines.len() > SHOWN_MAX {
        writeln!(out, "  and {} more", lines.len() - SHOWN_MAX)?;
    }
    Ok(())
}
