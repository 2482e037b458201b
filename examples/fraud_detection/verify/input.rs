//! Reads the two CSV files, plain or gzip, and measures their disorder.

use std::{
    error::Error,
    fmt,
    fs::File,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    str::FromStr,
};

use flate2::read::MultiGzDecoder;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Transaction {
    pub(super) id: i64,
    pub(super) account: i64,
    pub(super) card: i64,
    pub(super) amount: f64,
    pub(super) at_ms: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) id: i64,
    pub(super) country: String,
    pub(super) opened_ms: i64,
}

/// The rows of one file and how far behind an earlier row the worst of them is.
#[derive(Debug, PartialEq)]
pub(super) struct Table<T> {
    pub(super) rows: Vec<T>,
    pub(super) disorder: Disorder,
}

/// Event time against file order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Disorder {
    latest_ms: i64,
    /// The furthest that a row lies behind the latest row before it.
    pub(super) worst_ms: i64,
    /// The line of that row.
    pub(super) worst_line: u64,
}

impl Disorder {
    const NONE: Self = Self { latest_ms: i64::MIN, worst_ms: 0, worst_line: 0 };

    fn observe(&mut self, at_ms: i64, line: u64) {
        self.latest_ms = self.latest_ms.max(at_ms);
        let behind_ms = self.latest_ms.saturating_sub(at_ms);
        if behind_ms > self.worst_ms {
            (self.worst_ms, self.worst_line) = (behind_ms, line);
        }
    }
}

/// A file that could not be read, with the line where that is known.
#[derive(Debug)]
pub(crate) struct ReadError {
    pub(super) file: PathBuf,
    pub(super) line: Option<u64>,
    pub(super) problem: String,
}

impl fmt::Display for ReadError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(out, "{}, line {line}: {}", self.file.display(), self.problem),
            None => write!(out, "{}: {}", self.file.display(), self.problem),
        }
    }
}

impl Error for ReadError {}

pub(super) fn read_transactions(path: &Path) -> Result<Table<Transaction>, ReadError> {
    let columns = ["transaction_id", "account_id", "card_id", "amount", "timestamp_ms"];
    read_table(path, columns, |row| {
        let at_ms = row.parse(4)?;
        let transaction = Transaction {
            id: row.parse(0)?,
            account: row.parse(1)?,
            card: row.parse(2)?,
            amount: row.parse(3)?,
            at_ms,
        };
        Ok((transaction, at_ms))
    })
}

pub(super) fn read_accounts(path: &Path) -> Result<Table<Account>, ReadError> {
    read_table(path, ["account_id", "country", "opened_ms"], |row| {
        let opened_ms = row.parse(2)?;
        Ok((Account { id: row.parse(0)?, country: row.fields[1].clone(), opened_ms }, opened_ms))
    })
}

/// The wanted fields of one line, in the order of `columns`.
struct Row<const N: usize> {
    columns: [&'static str; N],
    fields: [String; N],
}

impl<const N: usize> Row<N> {
    fn parse<T: FromStr>(&self, nth: usize) -> Result<T, String> {
        let (column, field) = (self.columns[nth], &self.fields[nth]);
        field.parse().map_err(|_| format!("{column} is {field:?}, which is no number"))
    }
}

fn read_table<T, const N: usize>(
    path: &Path,
    columns: [&'static str; N],
    mut convert: impl FnMut(&Row<N>) -> Result<(T, i64), String>,
) -> Result<Table<T>, ReadError> {
    let fault = |line, problem: String| ReadError { file: path.to_owned(), line, problem };
    let mut lines = open(path).map_err(|error| fault(None, error.to_string()))?.lines();
    let header = match lines.next() {
        Some(line) => line.map_err(|error| fault(Some(1), error.to_string()))?,
        None => return Err(fault(None, format!("is empty; expected the header {}", columns.join(",")))),
    };
    let header = split(header.trim_start_matches('\u{feff}')).map_err(|problem| fault(Some(1), problem))?;
    let place = |column: &&str| {
        let problem = || format!("the header has no column {column}; expected {}", columns.join(","));
        header.iter().position(|name| name == column).ok_or_else(problem)
    };
    let places = columns
        .iter()
        .map(place)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|problem| fault(Some(1), problem))?;
    let mut table = Table { rows: Vec::new(), disorder: Disorder::NONE };
    for (number, line) in (2..).zip(lines) {
        let at = |problem| fault(Some(number), problem);
        let line = line.map_err(|error| at(error.to_string()))?;
        if line.trim_end_matches('\r').is_empty() {
            continue;
        }
        let fields = split(&line).map_err(at)?;
        if fields.len() != header.len() {
            return Err(at(format!("has {} fields, the header has {}", fields.len(), header.len())));
        }
        let row = Row { columns, fields: std::array::from_fn(|nth| fields[places[nth]].clone()) };
        let (value, at_ms) = convert(&row).map_err(at)?;
        table.disorder.observe(at_ms, number);
        table.rows.push(value);
    }
    Ok(table)
}

fn open(path: &Path) -> std::io::Result<BufReader<Box<dyn Read>>> {
    let file = File::open(path)?;
    let gzip = path.extension().is_some_and(|extension| extension == "gz");
    Ok(BufReader::new(if gzip {
        Box::new(MultiGzDecoder::new(BufReader::new(file)))
    } else {
        Box::new(file)
    }))
}

/// The fields of one CSV line; a quoted field may hold commas and doubled quotes, no line breaks.
fn split(line: &str) -> Result<Vec<String>, String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut characters = line.trim_end_matches('\r').chars().peekable();
    while let Some(character) = characters.next() {
        match (character, quoted) {
            ('"', true) if characters.next_if_eq(&'"').is_some() => push(&mut fields, '"'),
            ('"', _) => quoted = !quoted,
            (',', false) => fields.push(String::new()),
            (other, _) => push(&mut fields, other),
        }
    }
    if quoted { Err("a quoted field has no end".to_owned()) } else { Ok(fields) }
}

fn push(fields: &mut [String], character: char) {
    if let Some(field) = fields.last_mut() {
        field.push(character);
    }
}
