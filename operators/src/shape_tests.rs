//! The shape of the API: the programs that users write compile as they are meant to, and what types can't refuse is
//! reported.

use serde::{Deserialize, Serialize};
use tidegate_derive::States;
use tidegate_runtime::state::{ListState, ValueState};

use crate::testing::{Discard, Numbers, numbers};
use crate::{
    Aggregate, BoxError, CoProcess, Context, Dataflow, Pattern, SideOutput, SideOutputs, Sliding, Stream,
    Timed, Timestamp, Tumbling, WatermarkStrategy, Window, hours, minutes, seconds,
};

type AccountId = u64;

#[derive(Clone, Serialize, Deserialize)]
struct Transaction {
    id: u64,
    account: AccountId,
    card: u64,
    amount: f64,
    at: Timestamp,
}

#[derive(Clone, Serialize, Deserialize)]
struct Account {
    id: AccountId,
    country: String,
    opened: i64,
}

#[derive(Clone, Serialize, Deserialize)]
struct Enriched {
    transaction: Transaction,
    country: String,
}

#[derive(Clone, Serialize, Deserialize)]
struct Alert {
    id: String,
    merged: u64,
}

static UNKNOWN: SideOutput<Transaction> = SideOutput::new("unknown");

struct Enrich;

#[derive(States)]
#[states(crate = "tidegate_runtime")]
struct EnrichState {
    account: ValueState<Account>,
    waiting: ListState<Transaction>,
}

impl CoProcess<AccountId, Transaction, Account> for Enrich {
    type State = EnrichState;
    type Out = Enriched;

    fn on_left(
        &self,
        transaction: Transaction,
        state: &mut EnrichState,
        cx: &mut Context<AccountId, Enriched>,
    ) -> Result<(), BoxError> {
        match state.account.get()? {
            Some(account) => cx.emit(Enriched { transaction, country: account.country.clone() }),
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
        cx: &mut Context<AccountId, Enriched>,
    ) -> Result<(), BoxError> {
        for transaction in state.waiting.drain()? {
            cx.emit_at(transaction.at, Enriched { transaction, country: account.country.clone() });
        }
        state.account.set(account)?;
        Ok(())
    }

    fn on_timer(
        &self,
        at: Timestamp,
        state: &mut EnrichState,
        cx: &mut Context<AccountId, Enriched>,
    ) -> Result<(), BoxError> {
        for transaction in state.waiting.drain()? {
            if transaction.at + hours(1) <= at {
                cx.emit_to(&UNKNOWN, transaction);
            }
        }
        Ok(())
    }

    fn side_outputs(&self, declare: &mut SideOutputs) {
        declare.add(&UNKNOWN);
    }
}

struct CountAndCountry;

impl Aggregate for CountAndCountry {
    type In = Enriched;
    type Acc = (u64, Option<String>);
    type Out = (u64, Option<String>);

    fn create(&self) -> Self::Acc {
        (0, None)
    }

    fn add(&self, acc: &mut Self::Acc, value: Enriched) {
        acc.0 += 1;
        acc.1.get_or_insert(value.country);
    }

    fn merge(&self, acc: &mut Self::Acc, other: Self::Acc) {
        acc.0 += other.0;
        acc.1 = acc.1.take().or(other.1);
    }

    fn finish(&self, acc: &Self::Acc) -> Self::Out {
        acc.clone()
    }
}

fn velocity(account: AccountId, country: Option<String>, window: Window) -> Alert {
    Alert { id: format!("{account} {country:?} {}", window.start), merged: 1 }
}

fn fraud(
    transactions: Stream<Transaction>,
    accounts: Stream<Account>,
) -> (Stream<Alert, Timed>, Stream<Transaction, Timed>) {
    let transactions = transactions
        .event_time(WatermarkStrategy::bounded_out_of_orderness(seconds(10)), |t| t.at)
        .key_by(|t| t.account);
    let accounts = accounts
        .event_time(WatermarkStrategy::bounded_out_of_orderness(seconds(10)), |a| a.opened)
        .key_by(|a| a.id);
    let enriched = transactions.connect(accounts).process("enrich", Enrich);
    let unknown = enriched.side_output(&UNKNOWN);
    let velocity = enriched
        .clone()
        .filter(|e| e.transaction.amount > 1_000.0)
        .key_by(|e| e.transaction.account)
        .window(Sliding::of(minutes(30)).every(minutes(5)))
        .aggregate_then("velocity", CountAndCountry, |account, window, (n, country)| {
            (n >= 3).then(|| velocity(*account, country, window))
        });
    let probing = Pattern::begin("small", |e: &Enriched| e.transaction.amount < 10.0)
        .next("large", |e| e.transaction.amount > 1_000.0)
        .within(minutes(5))
        .order_by(|e| e.transaction.id);
    let probing = enriched.key_by(|e| e.transaction.card).pattern("probing", probing, |found| {
        let large = &found["large"][0];
        Alert { id: format!("{}", large.transaction.card), merged: 1 }
    });
    let alerts = velocity
        .union(probing)
        .key_by(|alert| alert.id.clone())
        .window(Tumbling::of(minutes(5)))
        .reduce_then("deduplicate", |first, _| first.merged += 1, |_, _, alert| Some(alert));
    (alerts, unknown)
}

fn problem(build: impl FnOnce(&Dataflow)) -> String {
    let flow = Dataflow::new("wrong");
    build(&flow);
    flow.explain().expect_err("the graph has a problem").to_string()
}

fn source(flow: &Dataflow) -> Stream<u64, Timed> {
    let numbers: Numbers = numbers(0..10);
    flow.source("numbers", numbers).event_time(WatermarkStrategy::monotonic(), |n| *n as i64)
}

#[test]
fn the_seeds_pipeline_compiles_and_explains_itself() {
    let flow = Dataflow::new("fraud");
    let transactions = flow.source("transactions", numbers(0..10)).map(|id| Transaction {
        id,
        account: id,
        card: id,
        amount: 0.0,
        at: Timestamp(0),
    });
    let accounts =
        flow.source("accounts", numbers(0..10)).map(|id| Account { id, country: String::new(), opened: 0 });
    let (alerts, unknown) = fraud(transactions, accounts);
    alerts.clone().sink("alerts-log", Discard::default());
    alerts.sink("alerts-search", Discard::default()).parallelism(1);
    unknown.sink("unknown", Discard::default());
    let plan = flow.explain().expect("nothing is wrong with it");
    for expected in [
        "operator `enrich` (connect)",
        "state `account`: value of",
        "state `waiting`: list of",
        "state `event-timers`: timers of u64",
        "output `unknown`",
        "sliding window of 1800s every 300s",
        "hash -> `deduplicate`",
        "-> `alerts-search`",
    ] {
        assert!(plan.contains(expected), "`{expected}` is missing in\n{plan}");
    }
}

#[test]
fn a_tag_that_was_not_declared_is_reported() {
    let found = problem(|flow| {
        let reduced = source(flow).key_by(|n| *n).reduce("sum", |sum, n| *sum += n);
        reduced.side_output(&UNKNOWN).print();
    });
    assert!(found.contains("no side output `unknown`"), "{found}");
}

#[test]
fn a_name_used_twice_and_a_window_of_nothing_are_reported() {
    let found = problem(|flow| {
        let keyed = source(flow).key_by(|n| *n);
        keyed.clone().reduce("sum", |sum, n| *sum += n).print();
        keyed.window(Tumbling::of(seconds(0))).reduce("sum", |sum, n| *sum += n).print();
    });
    assert!(found.contains("the name `sum` is used twice") && found.contains("at least 1 ms"), "{found}");
}

#[test]
fn late_records_of_a_window_without_an_aggregate_are_reported() {
    let found = problem(|flow| {
        let windowed = source(flow).key_by(|n| *n).window(Tumbling::of(seconds(1)));
        windowed.late().print();
    });
    assert!(found.contains("window without an aggregate"), "{found}");
}

#[test]
fn streams_of_two_dataflows_and_the_parallelism_of_a_fused_stage_are_reported() {
    let other = Dataflow::new("other");
    let found = problem(|flow| {
        source(flow).union(source(&other)).map(|n| n + 1).print();
        source(flow).map(|n| n + 1).parallelism(3).print();
    });
    assert!(
        found.contains("streams of two dataflows") && found.contains("put `.rebalance()` before it"),
        "{found}"
    );
}

#[test]
fn a_stage_behind_a_rebalance_has_a_parallelism_of_its_own() {
    let flow = Dataflow::new("relay");
    source(&flow).rebalance().map(|n| n + 1).parallelism(3).print();
    let plan = flow.explain().expect("nothing is wrong with it");
    assert!(plan.contains("rebalance -> `relay-2`") && plan.contains("x3"), "{plan}");
}
