//! The generator keeps the rules that the pipeline and the verifier rely on.

use std::collections::{BTreeMap, BTreeSet};

use super::{DISORDER_MAX_MS, Recipe, write_csv};

const SMALL: Recipe = Recipe { transactions: 5_000, seed: 11 };
/// What `examples/data` was made with.
const COMMITTED: Recipe = Recipe { transactions: 100_000, seed: 7 };

fn files(recipe: Recipe) -> (String, String) {
    let (mut transactions, mut accounts) = (Vec::new(), Vec::new());
    write_csv(recipe, &mut transactions, &mut accounts).expect("memory takes every write");
    (String::from_utf8(transactions).expect("ASCII"), String::from_utf8(accounts).expect("ASCII"))
}

fn column(file: &str, nth: usize) -> Vec<i64> {
    let field = |line: &str| line.split(',').nth(nth).and_then(|text| text.parse().ok()).expect("a number");
    file.lines().skip(1).map(field).collect()
}

fn disorder_ms(times: &[i64]) -> i64 {
    let mut latest = i64::MIN;
    let mut behind = 0;
    for time in times {
        latest = latest.max(*time);
        behind = behind.max(latest - time);
    }
    behind
}

#[test]
fn equal_recipes_make_equal_files_and_another_seed_others() {
    assert_eq!(files(SMALL), files(SMALL));
    assert_ne!(files(SMALL), files(Recipe { seed: 12, ..SMALL }));
}

#[test]
fn the_files_have_the_wanted_rows_with_unique_ids() {
    let (transactions, accounts) = files(SMALL);
    assert!(transactions.starts_with("transaction_id,account_id,card_id,amount,timestamp_ms\n"));
    assert!(accounts.starts_with("account_id,country,opened_ms\n"));
    assert_eq!(column(&transactions, 0).into_iter().collect::<BTreeSet<_>>(), (1..=5_000).collect());
    assert_eq!(column(&accounts, 0).into_iter().collect::<BTreeSet<_>>(), (1..=500).collect());
    assert_eq!(accounts.lines().count(), 501);
}

#[test]
fn disorder_exists_and_stays_within_its_bound() {
    for seed in 0..5 {
        let (transactions, accounts) = files(Recipe { transactions: 30_000, seed });
        for behind in [disorder_ms(&column(&transactions, 4)), disorder_ms(&column(&accounts, 2))] {
            assert!((1..=DISORDER_MAX_MS).contains(&behind), "seed {seed}: {behind} ms");
        }
    }
}

#[test]
fn no_account_opens_after_its_first_payment_and_many_are_read_after_it() {
    let (transactions, accounts) = files(SMALL);
    let opened: BTreeMap<i64, (usize, i64)> =
        column(&accounts, 0).into_iter().zip(column(&accounts, 2).into_iter().enumerate()).collect();
    let mut read_before_their_account = 0;
    let mut unknown = 0;
    for (row, (account, at)) in column(&transactions, 1).into_iter().zip(column(&transactions, 4)).enumerate()
    {
        match opened.get(&account) {
            Some((place, opened_ms)) => {
                assert!(*opened_ms <= at, "account {account}");
                // Both files have ten payments a row of accounts, so read at one pace they meet at this place.
                read_before_their_account += usize::from(place * 10 > row);
            }
            None => unknown += 1,
        }
    }
    assert!(read_before_their_account > 500, "{read_before_their_account}");
    assert!((10..250).contains(&unknown), "{unknown}");
}

#[test]
fn the_committed_data_is_what_the_generator_makes() {
    let (transactions, accounts) = files(COMMITTED);
    assert!(
        transactions == include_str!("../../data/transactions.csv"),
        "examples/data/transactions.csv differs"
    );
    assert!(accounts == include_str!("../../data/accounts.csv"), "examples/data/accounts.csv differs");
}
