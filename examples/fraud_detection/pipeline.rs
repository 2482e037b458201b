//! The pipeline of a card issuer: payments meet their accounts, two rules raise alerts, repeats are merged.

use std::{path::Path, time::Duration};

use tidegate::connectors::files::{Csv, FileSource};
use tidegate::prelude::{
    Aggregate, BoxError, CoProcess, Context, Dataflow, ListState, Pattern, SideOutput, SideOutputs, Sliding,
    States, Timestamp, Tumbling, ValueState, WatermarkStrategy, files, hours, json_lines, minutes, seconds,
};
use tidegate::runtime::Record;

use crate::{
    input::InputFiles,
    pace::Pace,
    records::{Account, Alert, Enriched, Transaction},
};

/// Records are at most so far out of order.
const DISORDER_MAX: Duration = seconds(10);
/// Payments above this are large.
const LARGE: f64 = 1_000.0;
/// Payments below this are small.
const SMALL: f64 = 10.0;
/// So many large payments of an account within a window are too fast.
const VELOCITY_COUNT_MIN: u64 = 3;
/// Files are read in about this many pieces, so that all subtasks have some.
const SPLITS: u64 = 32;
/// But a piece isn't shorter or longer than this.
const SPLIT_BYTES: std::ops::RangeInclusive<u64> = 16 << 10..=64 << 20;

/// Adds the pipeline to `flow`: alerts go to `output`, payments of unknown accounts to a directory in it.
///
/// # Errors
/// When an input file can't be looked at.
pub(crate) fn build(
    flow: &Dataflow,
    input: &InputFiles,
    pace: Option<Pace>,
    output: &Path,
) -> std::io::Result<()> {
    let transactions = flow
        .source(
            "transactions",
            source::<Transaction>(&input.transactions, pace.map(|pace| pace.transactions))?,
        )
        .event_time(WatermarkStrategy::bounded_out_of_orderness(DISORDER_MAX), |t: &Transaction| t.at)
        .key_by(|t| t.account);
    let accounts = flow
        .source("accounts", source::<Account>(&input.accounts, pace.map(|pace| pace.accounts))?)
        .event_time(WatermarkStrategy::bounded_out_of_orderness(DISORDER_MAX), |account: &Account| {
            account.opened
        })
        .key_by(|account| account.id);
    let enriched = transactions.connect(accounts).process("enrich", Enrich);
    enriched.side_output(&UNKNOWN).sink("unknown", json_lines(output.join("unknown")));

    let velocity = enriched
        .clone()
        .filter(|e| e.transaction.amount > LARGE)
        .key_by(|e| e.transaction.account)
        .window(Sliding::of(minutes(30)).every(minutes(5)))
        .aggregate_then("velocity", CountAndCountry, |account, window, (count, country)| {
            (count >= VELOCITY_COUNT_MIN).then(|| Alert::velocity(*account, country, window.end))
        });

    let probing = Pattern::begin("small", |e: &Enriched| e.transaction.amount < SMALL)
        .next("large", |e| e.transaction.amount > LARGE)
        .within(minutes(5))
        .order_by(|e| e.transaction.id);
    let probing = enriched
        .key_by(|e| e.transaction.card)
        .pattern("probing", probing, |found| Alert::probing(&found["large"][0]));

    velocity
        .union(probing)
        .key_by(|alert| alert.id.clone())
        .window(Tumbling::of(minutes(5)))
        .aggregate_then("deduplicate", FirstAndCount, |_, window, (first, merged)| {
            first.map(|alert: Alert| alert.merged(window.start, merged))
        })
        .sink("alerts", json_lines(output));
    Ok(())
}

/// Payments whose account was not known in time.
static UNKNOWN: SideOutput<Transaction> = SideOutput::new("unknown");

/// The rows of a CSV file, in pieces of even length, at most so many a second.
fn source<T: Record>(path: &Path, rate: Option<u64>) -> std::io::Result<FileSource<Csv<T>>> {
    let bytes = std::fs::metadata(path)?.len() / SPLITS;
    let name =
        path.to_str().ok_or_else(|| std::io::Error::other(format!("{} is not UTF-8", path.display())))?;
    let source = files(name).csv::<T>().split_bytes(bytes.clamp(*SPLIT_BYTES.start(), *SPLIT_BYTES.end()));
    Ok(rate.into_iter().fold(source, FileSource::rate))
}

/// Joins each payment with its account, whichever is read first.
struct Enrich;

#[derive(States)]
struct EnrichState {
    account: ValueState<Account>,
    waiting: ListState<Transaction>,
}

impl CoProcess<i64, Transaction, Account> for Enrich {
    type State = EnrichState;
    type Out = Enriched;

    fn on_left(
        &self,
        transaction: Transaction,
        state: &mut EnrichState,
        cx: &mut Context<i64, Enriched>,
    ) -> Result<(), BoxError> {
        match state.account.get()? {
            Some(account) => cx.emit(Enriched::new(transaction, account)),
            None => {
                cx.set_event_timer(transaction.at + hours(1));
                state.waiting.push(transaction)?;
            }
        }
        Ok(())
    }

    fn on_right(
        &self,
        account: Account,
        state: &mut EnrichState,
        cx: &mut Context<i64, Enriched>,
    ) -> Result<(), BoxError> {
        for transaction in state.waiting.drain()? {
            cx.emit_at(transaction.at, Enriched::new(transaction, &account));
        }
        state.account.set(account)?;
        Ok(())
    }

    fn side_outputs(&self, declare: &mut SideOutputs) {
        declare.add(&UNKNOWN);
    }

    /// Gives up on the payments that have waited for an hour of event time; none waits where the account is known.
    fn on_timer(
        &self,
        at: Timestamp,
        state: &mut EnrichState,
        cx: &mut Context<i64, Enriched>,
    ) -> Result<(), BoxError> {
        for transaction in state.waiting.drain()? {
            if transaction.at + hours(1) <= at {
                cx.emit_to_at(&UNKNOWN, transaction.at, transaction);
            } else {
                state.waiting.push(transaction)?;
            }
        }
        Ok(())
    }
}

/// How many payments, and their account's country.
struct CountAndCountry;

impl Aggregate for CountAndCountry {
    type In = Enriched;
    type Acc = (u64, String);
    type Out = (u64, String);

    fn create(&self) -> (u64, String) {
        (0, String::new())
    }

    fn add(&self, acc: &mut (u64, String), enriched: Enriched) {
        *acc = (acc.0 + 1, enriched.country);
    }

    fn merge(&self, acc: &mut (u64, String), other: (u64, String)) {
        if other.0 > 0 {
            *acc = (acc.0 + other.0, other.1);
        }
    }

    fn finish(&self, acc: &(u64, String)) -> (u64, String) {
        acc.clone()
    }
}

/// The alert with the lowest time, then transaction id, and how many there are.
struct FirstAndCount;

impl Aggregate for FirstAndCount {
    type In = Alert;
    type Acc = (Option<Alert>, u64);
    type Out = (Option<Alert>, u64);

    fn create(&self) -> Self::Acc {
        (None, 0)
    }

    fn add(&self, acc: &mut Self::Acc, alert: Alert) {
        self.merge(acc, (Some(alert), 1));
    }

    fn merge(&self, acc: &mut Self::Acc, (alert, count): Self::Acc) {
        let order = |alert: &Alert| (alert.at, alert.transaction);
        acc.0 = [acc.0.take(), alert].into_iter().flatten().min_by_key(order);
        acc.1 += count;
    }

    fn finish(&self, acc: &Self::Acc) -> Self::Out {
        acc.clone()
    }
}
