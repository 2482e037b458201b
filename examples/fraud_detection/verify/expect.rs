//! What must come out, by sorting and scanning whole tables.

use std::collections::BTreeMap;

use super::input::{Account, Transaction};

const MINUTE: i64 = 60_000;
const LARGE_ABOVE: f64 = 1_000.0;
const SMALL_BELOW: f64 = 10.0;
const VELOCITY_WINDOW_MS: i64 = 30 * MINUTE;
const VELOCITY_SLIDE_MS: i64 = 5 * MINUTE;
const VELOCITY_COUNT_MIN: usize = 3;
const PROBING_WITHIN_MS: i64 = 5 * MINUTE;
const DEDUPLICATION_WINDOW_MS: i64 = 5 * MINUTE;

/// One expected line of the alerts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Alert {
    pub(super) alert_id: String,
    pub(super) kind: &'static str,
    pub(super) account_id: i64,
    pub(super) card_id: Option<i64>,
    pub(super) country: String,
    pub(super) window_start_ms: i64,
    pub(super) first_ms: i64,
    pub(super) merged: usize,
}

/// Everything that a finished run has committed.
#[derive(Debug, PartialEq)]
pub(super) struct Expected {
    pub(super) alerts: Vec<Alert>,
    pub(super) unknown: Vec<Transaction>,
}

pub(super) fn expected(transactions: Vec<Transaction>, accounts: &[Account]) -> Expected {
    let mut countries: BTreeMap<i64, &str> = BTreeMap::new();
    for account in accounts {
        countries.entry(account.id).or_insert(&account.country);
    }
    let (mut known, unknown): (Vec<_>, Vec<_>) =
        transactions.into_iter().partition(|transaction| countries.contains_key(&transaction.account));
    let mut raised = velocity(&mut known);
    raised.extend(probing(&mut known));
    Expected { alerts: merge(raised, &countries), unknown }
}

/// An alert before repeats are merged.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Raised {
    alert_id: String,
    at_ms: i64,
    /// Decides between alerts of one time; a velocity alert is alone at its own.
    transaction: i64,
    kind: &'static str,
    account: i64,
    card: Option<i64>,
}

fn velocity(known: &mut [Transaction]) -> Vec<Raised> {
    known.sort_unstable_by_key(|transaction| (transaction.account, transaction.at_ms));
    let mut raised = Vec::new();
    for account in known.chunk_by(|left, right| left.account == right.account) {
        let large = account.iter().filter(|transaction| transaction.amount > LARGE_ABOVE);
        let times: Vec<i64> = large.map(|transaction| transaction.at_ms).collect();
        for end_ms in crowded_window_ends(&times) {
            raised.push(Raised {
                alert_id: format!("velocity/{}", account[0].account),
                at_ms: end_ms - 1,
                transaction: 0,
                kind: "velocity",
                account: account[0].account,
                card: None,
            });
        }
    }
    raised
}

/// The ends of the sliding windows that hold enough of the sorted `times`, by moving one window along them.
fn crowded_window_ends(times: &[i64]) -> Vec<i64> {
    let mut ends = Vec::new();
    let mut rest = times;
    let mut end_ms = i64::MIN;
    while let Some(first) = rest.first() {
        // The first window that holds `first` ends at the slide after it: skip the empty ones before.
        end_ms = end_ms.max(first - first.rem_euclid(VELOCITY_SLIDE_MS) + VELOCITY_SLIDE_MS);
        if rest.partition_point(|time| *time < end_ms) >= VELOCITY_COUNT_MIN {
            ends.push(end_ms);
        }
        end_ms += VELOCITY_SLIDE_MS;
        rest = &rest[rest.partition_point(|time| *time < end_ms - VELOCITY_WINDOW_MS)..];
    }
    ends
}

fn probing(known: &mut [Transaction]) -> Vec<Raised> {
    known.sort_unstable_by_key(|transaction| (transaction.card, transaction.at_ms, transaction.id));
    let mut raised = Vec::new();
    for pair in known.windows(2) {
        let (small, large) = (&pair[0], &pair[1]);
        let one_card = small.card == large.card;
        let amounts = small.amount < SMALL_BELOW && large.amount > LARGE_ABOVE;
        if one_card && amounts && large.at_ms - small.at_ms < PROBING_WITHIN_MS {
            raised.push(Raised {
                alert_id: format!("pattern/{}", large.card),
                at_ms: large.at_ms,
                transaction: large.id,
                kind: "pattern",
                account: large.account,
                card: Some(large.card),
            });
        }
    }
    raised
}

fn merge(mut raised: Vec<Raised>, countries: &BTreeMap<i64, &str>) -> Vec<Alert> {
    raised.sort_by(|left, right| {
        left.alert_id
            .cmp(&right.alert_id)
            .then((left.at_ms, left.transaction).cmp(&(right.at_ms, right.transaction)))
    });
    let same = |left: &Raised, right: &Raised| {
        left.alert_id == right.alert_id && window_start_ms(left.at_ms) == window_start_ms(right.at_ms)
    };
    let merged = raised.chunk_by(same).map(|repeats| Alert {
        alert_id: repeats[0].alert_id.clone(),
        kind: repeats[0].kind,
        account_id: repeats[0].account,
        card_id: repeats[0].card,
        country: countries.get(&repeats[0].account).copied().unwrap_or_default().to_owned(),
        window_start_ms: window_start_ms(repeats[0].at_ms),
        first_ms: repeats[0].at_ms,
        merged: repeats.len(),
    });
    merged.collect()
}

fn window_start_ms(at_ms: i64) -> i64 {
    at_ms - at_ms.rem_euclid(DEDUPLICATION_WINDOW_MS)
}
