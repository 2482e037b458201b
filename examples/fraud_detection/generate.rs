//! Makes the example's input: two CSV files that depend on nothing but a record count and a seed.
//!
//! About eight hours of card payments of a young issuer. Most accounts open during those hours, many of them
//! seconds before their first payment, so that a payment is often read before its account. Fraud of both kinds is
//! planted, and beside it what only just is no fraud (see [`plant`]). Integers only: a seed gives the same bytes
//! on every machine.

mod plant;
mod random;

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use random::Random;

/// 2025-10-06 06:00 UTC, the first payment's time.
const START_MS: i64 = 1_759_730_400_000;
const SPAN_MS: i64 = 8 * 60 * 60 * 1000;
/// Accounts that are older than the first payment opened within the three years before it.
const OLD_ACCOUNTS_SPAN_MS: i64 = 3 * 365 * 24 * 60 * 60 * 1000;
const OLD_ACCOUNTS_PERCENT: u64 = 15;
/// No record is further behind a later one in its file than this, the bound the pipeline's watermarks assume.
pub(crate) const DISORDER_MAX_MS: i64 = 10_000;
const TRANSACTIONS_PER_ACCOUNT: u64 = 10;
const ACCOUNTS_MIN: u64 = 10;
const COUNTRIES: [&str; 12] = ["NL", "DE", "FR", "BE", "ES", "IT", "PL", "SE", "PT", "IE", "AT", "DK"];

/// How much to make, and from which seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Recipe {
    /// Rows in the transactions file; there is an account for every ten of them.
    pub(crate) transactions: u64,
    /// Equal seeds make equal files.
    pub(crate) seed: u64,
}

/// Writes `transactions.csv` and `accounts.csv` into `directory`, which must exist, and returns their paths.
///
/// # Errors
/// What the file system says when a file can't be created or written.
pub(crate) fn write_files(recipe: Recipe, directory: &Path) -> io::Result<(PathBuf, PathBuf)> {
    let transactions = directory.join("transactions.csv");
    let accounts = directory.join("accounts.csv");
    write_csv(
        recipe,
        BufWriter::new(File::create(&transactions)?),
        BufWriter::new(File::create(&accounts)?),
    )?;
    Ok((transactions, accounts))
}

fn write_csv(recipe: Recipe, mut transactions: impl Write, mut accounts: impl Write) -> io::Result<()> {
    let mut random = Random::new(recipe.seed);
    let population =
        Population::new((recipe.transactions / TRANSACTIONS_PER_ACCOUNT).max(ACCOUNTS_MIN), &mut random);
    writeln!(accounts, "account_id,country,opened_ms")?;
    for account in population.in_file_order(&mut random) {
        writeln!(accounts, "{},{},{}", account.id, account.country, account.opened_ms)?;
    }
    accounts.flush()?;

    writeln!(transactions, "transaction_id,account_id,card_id,amount,timestamp_ms")?;
    let mut ledger = Ledger::new(recipe.transactions);
    let step_us = SPAN_MS.cast_unsigned() * 1_000 / recipe.transactions.max(1);
    let mut now_us = 0_u64;
    while !ledger.is_full() {
        now_us += random.below(2 * step_us + 1);
        let now_ms = START_MS + (now_us / 1_000).cast_signed();
        plant::payments_at(now_ms, &population, &mut random, &mut ledger);
        ledger.write_before(now_ms, &mut transactions)?;
    }
    ledger.write_before(i64::MAX, &mut transactions)?;
    transactions.flush()
}

/// One row of the transactions file; amounts are in cents until they are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Payment {
    account: u64,
    card: u64,
    cents: u64,
    at_ms: i64,
}

#[derive(Clone, Debug)]
struct Account {
    id: u64,
    country: &'static str,
    opened_ms: i64,
}

impl Account {
    /// One to three cards an account; their ids hold the account's.
    fn a_card(&self, random: &mut Random) -> u64 {
        self.id * 4 + random.below(1 + self.id % 3)
    }
}

/// All accounts that exist, in the order of their opening.
struct Population {
    accounts: Vec<Account>,
}

impl Population {
    fn new(count: u64, random: &mut Random) -> Self {
        let mut ids: Vec<u64> = (1..=count).collect();
        random.shuffle(&mut ids);
        let old = (count * OLD_ACCOUNTS_PERCENT / 100).max(1);
        let mut opened: Vec<i64> = (0..count).map(|nth| opened_ms(nth, old, count, random)).collect();
        opened.sort_unstable();
        let accounts = ids
            .into_iter()
            .zip(opened)
            .map(|(id, opened_ms)| Account {
                id,
                country: COUNTRIES[random.index(COUNTRIES.len())],
                opened_ms,
            })
            .collect();
        Self { accounts }
    }

    /// An account open at `now_ms`; one draw in four is among the newest, whose rows lie deep in their file.
    fn an_account(&self, now_ms: i64, random: &mut Random) -> &Account {
        let open = self.accounts.partition_point(|account| account.opened_ms <= now_ms);
        let newest = if random.below(4) == 0 { open.min(20) } else { open };
        &self.accounts[open - 1 - random.index(newest)]
    }

    /// An id that no row of the accounts file has.
    fn an_unknown_id(&self, random: &mut Random) -> u64 {
        let count = self.accounts.len() as u64;
        count + 1 + random.below(count / 50 + 1)
    }

    fn in_file_order(&self, random: &mut Random) -> Vec<Account> {
        let mut rows: Vec<(i64, &Account)> =
            self.accounts.iter().map(|account| (account.opened_ms + delay_ms(random), account)).collect();
        rows.sort_by_key(|(written_ms, account)| (*written_ms, account.id));
        rows.into_iter().map(|(_, account)| account.clone()).collect()
    }
}

/// Openings come densest early in the day, so a row's place in the accounts file is further on than that of the
/// payments of its time in theirs.
fn opened_ms(nth: u64, old: u64, count: u64, random: &mut Random) -> i64 {
    if nth < old {
        return START_MS - 1 - random.below(OLD_ACCOUNTS_SPAN_MS.cast_unsigned()).cast_signed();
    }
    let (part, whole) = (u128::from(nth - old), u128::from(count - old));
    let share = u128::from(SPAN_MS.cast_unsigned()) * part * (whole + part) / (2 * whole * whole);
    START_MS + i64::try_from(share).unwrap_or(SPAN_MS)
}

/// How long after its event a row is written: mostly at once, at most [`DISORDER_MAX_MS`].
fn delay_ms(random: &mut Random) -> i64 {
    let bound = match random.below(20) {
        0 => DISORDER_MAX_MS,
        1..=5 => 2_000,
        _ => return 0,
    };
    random.below(bound.cast_unsigned() + 1).cast_signed()
}

/// The payments made and not yet written; it numbers them and gives them their place in the file.
struct Ledger {
    made: u64,
    wanted: u64,
    waiting: BinaryHeap<Reverse<(i64, u64, Payment)>>,
}

impl Ledger {
    fn new(wanted: u64) -> Self {
        Self { made: 0, wanted, waiting: BinaryHeap::new() }
    }

    fn is_full(&self) -> bool {
        self.made == self.wanted
    }

    /// Adds a payment with the next transaction id, unless there are enough.
    fn add(&mut self, payment: Payment, random: &mut Random) {
        if !self.is_full() {
            self.made += 1;
            self.waiting.push(Reverse((payment.at_ms + delay_ms(random), self.made, payment)));
        }
    }

    /// Writes what no payment made from `now_ms` on can precede.
    fn write_before(&mut self, now_ms: i64, out: &mut impl Write) -> io::Result<()> {
        while let Some(Reverse((written_ms, id, payment))) = self.waiting.peek() {
            if *written_ms >= now_ms {
                break;
            }
            let Payment { account, card, cents, at_ms } = payment;
            writeln!(out, "{id},{account},{card},{}.{:02},{at_ms}", cents / 100, cents % 100)?;
            self.waiting.pop();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
