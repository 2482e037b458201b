//! Hand-made inputs with the output that the rules demand, written out.

use std::{fs::File, io::Write, path::PathBuf};

use flate2::{Compression, write::GzEncoder};
use tempfile::TempDir;

use super::{
    compare::{Difference, Verdict, verify},
    expect::{Alert, Expected, expected},
    input::{Account, Transaction},
};

const MINUTE: i64 = 60_000;
/// A multiple of 30 minutes, so that windows start here.
const NOON: i64 = 1_759_752_000_000;

/// Transactions on card 70 unless told otherwise: `(id, account, amount, minutes and milliseconds after noon)`.
fn payments(rows: &[(i64, i64, f64, i64)]) -> Vec<Transaction> {
    let payment = |(id, account, amount, after_ms): &(i64, i64, f64, i64)| Transaction {
        id: *id,
        account: *account,
        card: 70,
        amount: *amount,
        at_ms: NOON + after_ms,
    };
    rows.iter().map(payment).collect()
}

fn accounts() -> Vec<Account> {
    let account = |(id, country): (i64, &str)| Account { id, country: country.to_owned(), opened_ms: 0 };
    [(7, "NL"), (8, "DE")].map(account).to_vec()
}

fn alerts(rows: &[(i64, i64, f64, i64)]) -> Vec<Alert> {
    expected(payments(rows), &accounts()).alerts
}

fn velocity(end_minute: i64) -> Alert {
    Alert {
        alert_id: "velocity/7".to_owned(),
        kind: "velocity",
        account_id: 7,
        card_id: None,
        country: "NL".to_owned(),
        window_start_ms: NOON + (end_minute - 5) * MINUTE,
        first_ms: NOON + end_minute * MINUTE - 1,
        merged: 1,
    }
}

fn pattern(first_ms: i64, merged: usize) -> Alert {
    Alert {
        alert_id: "pattern/70".to_owned(),
        kind: "pattern",
        account_id: 7,
        card_id: Some(70),
        country: "NL".to_owned(),
        window_start_ms: NOON + first_ms.div_euclid(5 * MINUTE) * 5 * MINUTE,
        first_ms: NOON + first_ms,
        merged,
    }
}

#[test]
fn three_large_payments_alert_in_each_window_that_holds_them() {
    let rows = [(1, 7, 1000.01, 0), (2, 7, 2000.0, 10 * MINUTE), (3, 7, 3000.0, 20 * MINUTE)];
    assert_eq!(alerts(&rows), [velocity(25), velocity(30)]);
}

#[test]
fn three_payments_over_exactly_thirty_minutes_share_no_window() {
    assert_eq!(alerts(&[(1, 7, 2000.0, 0), (2, 7, 2000.0, MINUTE), (3, 7, 2000.0, 30 * MINUTE)]), []);
    assert_eq!(
        alerts(&[(1, 7, 2000.0, 0), (2, 7, 2000.0, MINUTE), (3, 7, 2000.0, 30 * MINUTE - 1)]),
        [velocity(30)]
    );
}

#[test]
fn windows_lie_on_multiples_of_five_minutes_so_a_burst_across_one_still_needs_a_window_of_its_own() {
    // 29 minutes apart, yet no aligned window of 30 minutes covers minute 4 to minute 33.
    assert_eq!(
        alerts(&[(1, 7, 2000.0, 4 * MINUTE), (2, 7, 2000.0, 5 * MINUTE), (3, 7, 2000.0, 33 * MINUTE)]),
        []
    );
}

#[test]
fn exactly_a_thousand_and_other_accounts_do_not_count() {
    assert_eq!(alerts(&[(1, 7, 1000.0, 0), (2, 7, 2000.0, 1), (3, 7, 2000.0, 2)]), []);
    assert_eq!(alerts(&[(1, 8, 2000.0, 0), (2, 7, 2000.0, 1), (3, 7, 2000.0, 2)]), []);
}

#[test]
fn bursts_far_apart_and_before_the_epoch_alert_in_their_own_windows() {
    let mut rows = vec![(1, 7, 2000.0, 0), (2, 7, 2000.0, 0), (3, 7, 2000.0, 0)];
    rows.extend([(4, 7, 2000.0, 600 * MINUTE), (5, 7, 2000.0, 600 * MINUTE), (6, 7, 2000.0, 600 * MINUTE)]);
    let ends: Vec<i64> = alerts(&rows).iter().map(|alert| (alert.first_ms + 1 - NOON) / MINUTE).collect();
    assert_eq!(ends, [5, 10, 15, 20, 25, 30, 605, 610, 615, 620, 625, 630]);

    let before = alerts(&[(1, 7, 2000.0, -1 - NOON), (2, 7, 2000.0, -1 - NOON), (3, 7, 2000.0, -1 - NOON)]);
    let starts: Vec<i64> = before.iter().map(|alert| alert.window_start_ms / MINUTE).collect();
    assert_eq!(starts, [-5, 0, 5, 10, 15, 20]);
}

#[test]
fn a_small_payment_directly_followed_by_a_large_one_alerts_at_the_large_one() {
    assert_eq!(alerts(&[(1, 7, 9.99, 0), (2, 7, 1000.01, 2 * MINUTE)]), [pattern(2 * MINUTE, 1)]);
}

#[test]
fn the_large_one_must_come_less_than_five_minutes_later() {
    assert_eq!(alerts(&[(1, 7, 1.0, 0), (2, 7, 2000.0, 5 * MINUTE - 1)]), [pattern(5 * MINUTE - 1, 1)]);
    assert_eq!(alerts(&[(1, 7, 1.0, 0), (2, 7, 2000.0, 5 * MINUTE)]), []);
}

#[test]
fn amounts_at_the_limits_do_not_probe() {
    assert_eq!(alerts(&[(1, 7, 10.0, 0), (2, 7, 2000.0, 1)]), []);
    assert_eq!(alerts(&[(1, 7, 1.0, 0), (2, 7, 1000.0, 1)]), []);
}

#[test]
fn only_payments_of_known_accounts_come_between() {
    assert_eq!(alerts(&[(1, 7, 1.0, 0), (2, 8, 50.0, 1), (3, 7, 2000.0, 2)]), []);
    let rows = [(1, 7, 1.0, 0), (2, 99, 50.0, 1), (3, 7, 2000.0, 2)];
    let unknown = payments(&rows[1..2]);
    assert_eq!(expected(payments(&rows), &accounts()), Expected { alerts: vec![pattern(2, 1)], unknown });
}

#[test]
fn transaction_ids_order_one_timestamp_whatever_the_file_says() {
    assert_eq!(alerts(&[(2, 7, 2000.0, 0), (1, 7, 1.0, 0)]), [pattern(0, 1)]);
    assert_eq!(alerts(&[(2, 7, 1.0, 0), (1, 7, 2000.0, 0)]), []);
}

#[test]
fn repeats_within_one_aligned_window_merge_into_the_first() {
    let small_and_large =
        [(1, 7, 1.0, 0), (2, 7, 2000.0, MINUTE), (3, 7, 1.0, 2 * MINUTE), (4, 7, 2000.0, 3 * MINUTE)];
    assert_eq!(alerts(&small_and_large), [pattern(MINUTE, 2)]);
    let across = [(1, 7, 1.0, 4 * MINUTE), (2, 7, 2.0, 5 * MINUTE - 2), (3, 7, 2000.0, 5 * MINUTE - 1)];
    let then = [(4, 7, 2.0, 5 * MINUTE - 1), (5, 7, 2000.0, 5 * MINUTE)];
    assert_eq!(
        alerts(&[&across[..], &then[..]].concat()),
        [pattern(5 * MINUTE - 1, 1), pattern(5 * MINUTE, 1)]
    );
}

#[test]
fn of_two_alerts_at_one_time_the_lower_transaction_id_is_first_with_its_own_account() {
    let rows = [(3, 7, 1.0, 0), (4, 7, 2000.0, 0), (1, 7, 1.0, 0), (2, 8, 2000.0, 0)];
    let first = Alert { account_id: 8, country: "DE".to_owned(), ..pattern(0, 2) };
    assert_eq!(alerts(&rows), [first]);
}

/// A run's directory with one burst, one probing and one unknown transaction, and the output they demand.
struct Run {
    directory: TempDir,
    alerts: Vec<&'static str>,
    unknown: Vec<&'static str>,
}

const TRANSACTIONS: &str = "transaction_id,account_id,card_id,amount,timestamp_ms
1,7,70,9.50,1759752000000
2,7,70,1500.00,1759752060000
3,7,71,1000.01,1759752050000
4,9,71,3,1759752055000
5,7,71,4000,1759752120000
";
const ACCOUNTS: &str = "account_id,country,opened_ms\n7,NL,1759752000000\n";

impl Run {
    fn new() -> Self {
        let run = Self {
            directory: TempDir::new().expect("a temporary directory"),
            alerts: vec![
                r#"{"alert_id":"pattern/70","kind":"pattern","account_id":7,"card_id":70,"country":"NL","window_start_ms":1759752000000,"first_ms":1759752060000,"merged":1}"#,
                r#"{"alert_id":"velocity/7","kind":"velocity","account_id":7,"card_id":null,"country":"NL","window_start_ms":1759752000000,"first_ms":1759752299999,"merged":1}"#,
                r#"{"alert_id":"velocity/7","kind":"velocity","account_id":7,"card_id":null,"country":"NL","window_start_ms":1759752300000,"first_ms":1759752599999,"merged":1}"#,
                r#"{"alert_id":"velocity/7","kind":"velocity","account_id":7,"card_id":null,"country":"NL","window_start_ms":1759752600000,"first_ms":1759752899999,"merged":1}"#,
                r#"{"alert_id":"velocity/7","kind":"velocity","account_id":7,"card_id":null,"country":"NL","window_start_ms":1759752900000,"first_ms":1759753199999,"merged":1}"#,
                r#"{"alert_id":"velocity/7","kind":"velocity","account_id":7,"card_id":null,"country":"NL","window_start_ms":1759753200000,"first_ms":1759753499999,"merged":1}"#,
                r#"{"alert_id":"velocity/7","kind":"velocity","account_id":7,"card_id":null,"country":"NL","window_start_ms":1759753500000,"first_ms":1759753799999,"merged":1}"#,
            ],
            unknown: vec![
                r#"{"transaction_id":4,"account_id":9,"card_id":71,"amount":3.0,"timestamp_ms":1759752055000}"#,
            ],
        };
        run.write("transactions.csv", TRANSACTIONS);
        run.write("accounts.csv", ACCOUNTS);
        run
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a directory above")).expect("a directory");
        File::create(path).and_then(|mut file| file.write_all(text.as_bytes())).expect("a written file");
    }

    /// Commits the output in two files of alerts, the last of them first, and one of unknown transactions.
    fn verdict(&self) -> Verdict {
        let (front, back) = self.alerts.split_at(self.alerts.len() / 2);
        self.write("out/b.jsonl", &front.iter().map(|line| format!("{line}\n")).collect::<String>());
        self.write("out/a.jsonl", &back.join("\n"));
        self.write("out/.pending/c.jsonl", "unfinished");
        self.write("out/notes.txt", "no output");
        self.write("out/unknown/a.jsonl", &self.unknown.join("\n"));
        verify(&self.path("transactions.csv"), &self.path("accounts.csv"), &self.path("out"))
            .expect("readable files")
    }
}

fn difference(kind: &'static str, line: &str) -> Vec<Difference> {
    vec![Difference { kind, lines: vec![line.to_owned()] }]
}

#[test]
fn the_demanded_output_holds_in_any_order_and_any_number_of_files() {
    let mut run = Run::new();
    run.alerts.reverse();
    let counts = Verdict {
        transactions: 5,
        accounts: 1,
        expected_alerts: 7,
        committed_alerts: 7,
        expected_unknown: 1,
        committed_unknown: 1,
        ..Verdict::default()
    };
    assert_eq!(run.verdict(), counts);
    assert!(run.verdict().holds());
}

#[test]
fn a_lost_a_doubled_and_a_changed_alert_are_differences() {
    const FIRST: &str = r#"{"account_id":7,"alert_id":"pattern/70","card_id":70,"country":"NL","first_ms":1759752060000,"kind":"pattern","merged":1,"window_start_ms":1759752000000}"#;
    let mut run = Run::new();
    let first = run.alerts.remove(0);
    let verdict = run.verdict();
    assert_eq!(
        verdict.differences,
        difference("alerts missing", &format!("expected 1, committed 0: {FIRST}"))
    );
    assert!(!verdict.holds());

    run.alerts.extend([first, first]);
    let surplus = "alerts committed that must not be, or too often";
    assert_eq!(run.verdict().differences, difference(surplus, &format!("expected 1, committed 2: {FIRST}")));

    run.alerts.pop();
    *run.alerts.last_mut().expect("seven alerts") = "{\"alert_id\":";
    let kinds: Vec<_> = run.verdict().differences.into_iter().map(|Difference { kind, .. }| kind).collect();
    assert_eq!(kinds, ["alerts missing", surplus]);
}

#[test]
fn a_lost_and_an_invented_unknown_transaction_are_differences() {
    const INVENTED: &str =
        r#"{"transaction_id":5,"account_id":7,"card_id":71,"amount":4000.0,"timestamp_ms":1759752120000}"#;
    let mut run = Run::new();
    run.unknown = vec![INVENTED];
    let kinds: Vec<_> = run.verdict().differences.into_iter().map(|Difference { kind, .. }| kind).collect();
    let surplus = "unknown transactions committed that must not be, or too often";
    assert_eq!(kinds, ["unknown transactions missing", surplus]);
}

#[test]
fn at_most_ten_differences_of_a_kind_are_printed() {
    let run = Run::new();
    let burst = (10..30).map(|id| format!("{id},9,71,3,1759752{id}0000\n")).collect::<String>();
    run.write("transactions.csv", &format!("{TRANSACTIONS}{burst}"));
    let printed = run.verdict().to_string();
    assert!(printed.contains("unknown transactions missing: 20\n"), "{printed}");
    assert_eq!(printed.matches("\n  expected 1, committed 0: ").count(), 10, "{printed}");
    assert!(printed.contains("\n  and 10 more\n") && printed.ends_with("verify: FAILED\n"), "{printed}");
}

#[test]
fn disorder_beyond_ten_seconds_fails_and_says_so() {
    let run = Run::new();
    // Line 4 is 10 s behind line 3, which is allowed: its amount makes the burst, so all still holds.
    assert!(run.verdict().holds());
    run.write("transactions.csv", &TRANSACTIONS.replace("1759752050000", "1759752049999"));
    let verdict = run.verdict();
    assert_eq!((verdict.differences.len(), verdict.faults.len(), verdict.holds()), (0, 1, false));
    let printed = verdict.to_string();
    assert!(printed.contains("transactions.csv, line 4: 10001 ms behind an earlier row"), "{printed}");
    run.write("transactions.csv", TRANSACTIONS);
    run.write("accounts.csv", &format!("{ACCOUNTS}8,DE,1759751989999\n"));
    assert!(run.verdict().faults[0].contains("accounts.csv, line 3: 10001 ms"), "{:?}", run.verdict());
}

#[test]
fn broken_rules_about_accounts_are_noted_and_only_differences_fail() {
    let run = Run::new();
    run.write("accounts.csv", "account_id,country,opened_ms\n7,NL,1759752000000\n7,NL,1759752000001\n");
    let verdict = run.verdict();
    assert_eq!(verdict.notes.len(), 2, "{verdict}");
    assert!(verdict.holds(), "{verdict}");
}

#[test]
fn gzip_quotes_other_column_orders_and_carriage_returns_are_read() {
    let run = Run::new();
    run.write("accounts.csv", "\u{feff}country,\"opened_ms\",account_id\r\n\"NL\",1759752000000,7\r\n\r\n");
    assert!(run.verdict().holds());
    let packed = File::create(run.path("transactions.csv.gz")).expect("a file");
    let mut packed = GzEncoder::new(packed, Compression::default());
    packed.write_all(TRANSACTIONS.as_bytes()).and_then(|()| packed.finish()).expect("a written file");
    let verdict = verify(&run.path("transactions.csv.gz"), &run.path("accounts.csv"), &run.path("out"));
    assert!(verdict.expect("readable files").holds());
}

#[test]
fn a_bad_input_line_is_an_error_with_its_place() {
    let run = Run::new();
    let message = |transactions: &str| {
        run.write("transactions.csv", transactions);
        let verdict = verify(&run.path("transactions.csv"), &run.path("accounts.csv"), &run.path("out"));
        verdict.expect_err("a bad line").to_string().replace(&run.path("").display().to_string(), "")
    };
    let bad_number = TRANSACTIONS.replace("1500.00", "lots");
    assert_eq!(message(&bad_number), r#"transactions.csv, line 3: amount is "lots", which is no number"#);
    let short = TRANSACTIONS.replace("2,7,70,", "2,7,");
    assert_eq!(message(&short), "transactions.csv, line 3: has 4 fields, the header has 5");
    let header = TRANSACTIONS.replace("card_id", "card");
    let expected = "transaction_id,account_id,card_id,amount,timestamp_ms";
    assert_eq!(
        message(&header),
        format!("transactions.csv, line 1: the header has no column card_id; expected {expected}")
    );
    assert_eq!(message(""), format!("transactions.csv: is empty; expected the header {expected}"));
}
