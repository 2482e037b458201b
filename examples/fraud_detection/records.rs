//! What flows: payments and accounts as they are read, and alerts as they are raised and written.

use serde::{Deserialize, Serialize};
use tidegate::prelude::Timestamp;

/// One row of the transactions file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Transaction {
    #[serde(rename = "transaction_id")]
    pub(crate) id: i64,
    #[serde(rename = "account_id")]
    pub(crate) account: i64,
    #[serde(rename = "card_id")]
    pub(crate) card: i64,
    pub(crate) amount: f64,
    #[serde(rename = "timestamp_ms")]
    pub(crate) at: Timestamp,
}

/// One row of the accounts file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Account {
    #[serde(rename = "account_id")]
    pub(crate) id: i64,
    pub(crate) country: String,
    #[serde(rename = "opened_ms")]
    pub(crate) opened: Timestamp,
}

/// A transaction whose account is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Enriched {
    pub(crate) transaction: Transaction,
    pub(crate) country: String,
}

impl Enriched {
    pub(crate) fn new(transaction: Transaction, account: &Account) -> Self {
        Self { transaction, country: account.country.clone() }
    }
}

/// Why an alert was raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Three or more large payments of one account within half an hour.
    Velocity,
    /// A small payment of one card, then a large one.
    Pattern,
}

/// An alert before repeats are merged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Alert {
    pub(crate) id: String,
    pub(crate) kind: Kind,
    pub(crate) account: i64,
    pub(crate) card: Option<i64>,
    pub(crate) country: String,
    pub(crate) at: Timestamp,
    /// Decides which of two alerts at one time is the first; a velocity alert is alone at its own.
    pub(crate) transaction: i64,
}

impl Alert {
    /// The alert of one account's window that ends at `end`.
    pub(crate) fn velocity(account: i64, country: String, end: Timestamp) -> Self {
        let at = Timestamp(end.millis() - 1);
        let id = format!("velocity/{account}");
        Self { id, kind: Kind::Velocity, account, card: None, country, at, transaction: 0 }
    }

    /// The alert of a large payment that directly follows a small one of its card.
    pub(crate) fn probing(large: &Enriched) -> Self {
        let Transaction { id, account, card, at, .. } = large.transaction;
        Self {
            id: format!("pattern/{card}"),
            kind: Kind::Pattern,
            account,
            card: Some(card),
            country: large.country.clone(),
            at,
            transaction: id,
        }
    }

    /// The line for this alert as the first of `merged` in the window that starts at `window_start`.
    pub(crate) fn merged(self, window_start: Timestamp, merged: u64) -> AlertLine {
        AlertLine {
            alert_id: self.id,
            kind: self.kind,
            account_id: self.account,
            card_id: self.card,
            country: self.country,
            window_start_ms: window_start,
            first_ms: self.at,
            merged,
        }
    }
}

/// One line of the output: an alert with the number of its repeats, itself included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AlertLine {
    pub(crate) alert_id: String,
    pub(crate) kind: Kind,
    pub(crate) account_id: i64,
    pub(crate) card_id: Option<i64>,
    pub(crate) country: String,
    pub(crate) window_start_ms: Timestamp,
    pub(crate) first_ms: Timestamp,
    pub(crate) merged: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_written_in_the_documented_form() {
        let velocity =
            Alert::velocity(7, "NL".to_owned(), Timestamp(1_800_000)).merged(Timestamp(1_500_000), 1);
        assert_eq!(
            serde_json::to_string(&velocity).expect("JSON"),
            r#"{"alert_id":"velocity/7","kind":"velocity","account_id":7,"card_id":null,"country":"NL","window_start_ms":1500000,"first_ms":1799999,"merged":1}"#
        );
        let transaction = Transaction { id: 3, account: 7, card: 28, amount: 2_000.0, at: Timestamp(5) };
        let probing =
            Alert::probing(&Enriched { transaction, country: "NL".to_owned() }).merged(Timestamp(0), 2);
        assert_eq!(
            serde_json::to_string(&probing).expect("JSON"),
            r#"{"alert_id":"pattern/28","kind":"pattern","account_id":7,"card_id":28,"country":"NL","window_start_ms":0,"first_ms":5,"merged":2}"#
        );
    }

    #[test]
    fn a_transaction_is_written_as_it_is_read() {
        let transaction = Transaction { id: 1, account: 2, card: 3, amount: 4.5, at: Timestamp(6) };
        assert_eq!(
            serde_json::to_string(&transaction).expect("JSON"),
            r#"{"transaction_id":1,"account_id":2,"card_id":3,"amount":4.5,"timestamp_ms":6}"#
        );
    }
}
