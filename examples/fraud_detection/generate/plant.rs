//! The payments of one moment: mostly an ordinary one, now and then fraud, or what only just is none.

use super::{Account, Ledger, Payment, Population, Random};

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
/// Amounts are whole cents here.
const EURO: u64 = 100;

/// How many of a thousand moments plant each scenario; the rest are ordinary payments.
const SCENARIOS: [(u64, Scenario); 15] = [
    (30, Scenario::Burst),
    (10, Scenario::BurstTooShort),
    (10, Scenario::BurstTooLong),
    (40, Scenario::Probing),
    (10, Scenario::ProbingAtTheLimit),
    (10, Scenario::ProbingTooSlow),
    (10, Scenario::ProbingInterrupted),
    (10, Scenario::ProbingInterruptedByUnknown),
    (10, Scenario::ProbingAtTheAmounts),
    (10, Scenario::ProbingTied),
    (10, Scenario::ProbingTiedTheWrongWay),
    (15, Scenario::ProbingRepeated),
    (10, Scenario::ProbingOnASharedCard),
    (5, Scenario::UnknownBurst),
    (50, Scenario::UnknownPayment),
];
/// Scenarios have their shares of this many moments.
const MOMENTS: u64 = 10_000;

#[derive(Clone, Copy)]
enum Scenario {
    /// Three to six large payments of one account within 30 minutes: an alert for every window that holds three.
    Burst,
    /// Two large payments, and a third of exactly 1,000.
    BurstTooShort,
    /// Three large payments over exactly 30 minutes: no window holds them all.
    BurstTooLong,
    /// A small payment, then a large one within five minutes.
    Probing,
    /// The large one comes a millisecond before five minutes are over.
    ProbingAtTheLimit,
    /// The large one comes after exactly five minutes.
    ProbingTooSlow,
    /// An ordinary payment of the card lies between.
    ProbingInterrupted,
    /// A payment of an unknown account lies between, which doesn't count.
    ProbingInterruptedByUnknown,
    /// Exactly 10.00 isn't small and exactly 1,000.00 isn't large.
    ProbingAtTheAmounts,
    /// Both at one timestamp, the small one's id below the large one's.
    ProbingTied,
    /// Both at one timestamp, the large one's id first.
    ProbingTiedTheWrongWay,
    /// Two to four times within seconds, to be merged.
    ProbingRepeated,
    /// Twice at one timestamp on the card of two accounts: the first transaction id decides whose alert it is.
    ProbingOnASharedCard,
    /// A burst of an account that nobody knows.
    UnknownBurst,
    /// One payment of an account that nobody knows.
    UnknownPayment,
}

/// Adds the payments that begin at `now_ms`; those of a scenario may lie up to half an hour later.
pub(super) fn payments_at(now_ms: i64, population: &Population, random: &mut Random, ledger: &mut Ledger) {
    let mut draw = random.below(MOMENTS);
    let account = population.an_account(now_ms, random);
    for (share, scenario) in SCENARIOS {
        if draw < share {
            let other = population.an_account(now_ms, random);
            let unknown = population.an_unknown_id(random);
            Planting { now_ms, account, other, unknown, card: account.a_card(random), random, ledger }
                .plant(scenario);
            return;
        }
        draw -= share;
    }
    let card = account.a_card(random);
    let cents = ordinary_cents(random);
    ledger.add(Payment { account: account.id, card, cents, at_ms: now_ms }, random);
}

fn ordinary_cents(random: &mut Random) -> u64 {
    match random.below(100) {
        0..=9 => small(random),
        10..=97 => middling(random),
        _ => large(random),
    }
}

fn small(random: &mut Random) -> u64 {
    random.between(50, 10 * EURO - 1)
}

/// Neither small nor large, and cheaper more often than not.
fn middling(random: &mut Random) -> u64 {
    let bound = random.between(20 * EURO, 1_000 * EURO);
    random.between(10 * EURO, bound)
}

fn large(random: &mut Random) -> u64 {
    random.between(1_000 * EURO + 1, 5_000 * EURO)
}

struct Planting<'a> {
    now_ms: i64,
    account: &'a Account,
    other: &'a Account,
    unknown: u64,
    card: u64,
    random: &'a mut Random,
    ledger: &'a mut Ledger,
}

impl Planting<'_> {
    fn plant(mut self, scenario: Scenario) {
        let soon = self.within(5 * MINUTE);
        match scenario {
            Scenario::Burst => self.burst(self.account.id),
            Scenario::UnknownBurst => self.burst(self.unknown),
            Scenario::BurstTooShort => self.burst_too_short(),
            Scenario::BurstTooLong => self.burst_too_long(),
            Scenario::Probing => self.probing(soon),
            Scenario::ProbingAtTheLimit => self.probing(5 * MINUTE - 1),
            Scenario::ProbingTooSlow => self.probing(5 * MINUTE),
            Scenario::ProbingInterrupted => self.probing_around(self.account.id, soon),
            Scenario::ProbingInterruptedByUnknown => self.probing_around(self.unknown, soon),
            Scenario::ProbingAtTheAmounts => self.probing_at_the_amounts(soon),
            Scenario::ProbingTied => self.probing(0),
            Scenario::ProbingTiedTheWrongWay => self.probing_tied_the_wrong_way(),
            Scenario::ProbingRepeated => self.probing_repeated(),
            Scenario::ProbingOnASharedCard => self.probing_on_a_shared_card(),
            Scenario::UnknownPayment => {
                let cents = ordinary_cents(self.random);
                self.pay(self.unknown, cents, 0);
            }
        }
    }

    fn burst(&mut self, account: u64) {
        for _ in 0..self.random.between(3, 6) {
            let cents = large(self.random);
            let after_ms = self.within(28 * MINUTE);
            self.pay(account, cents, after_ms);
        }
    }

    fn burst_too_short(&mut self) {
        for cents in [1_000 * EURO, large(self.random), large(self.random)] {
            let after_ms = self.within(20 * MINUTE);
            self.pay(self.account.id, cents, after_ms);
        }
    }

    fn burst_too_long(&mut self) {
        for after_ms in [0, 15 * MINUTE, 30 * MINUTE] {
            let cents = large(self.random);
            self.pay(self.account.id, cents, after_ms);
        }
    }

    fn probing(&mut self, after_ms: i64) {
        let (first, then) = (small(self.random), large(self.random));
        self.pay(self.account.id, first, 0);
        self.pay(self.account.id, then, after_ms);
    }

    fn probing_around(&mut self, between: u64, after_ms: i64) {
        let cents = middling(self.random);
        self.pay(between, cents, after_ms / 2);
        self.probing(after_ms);
    }

    fn probing_at_the_amounts(&mut self, after_ms: i64) {
        let (first, then) = if self.random.below(2) == 0 {
            (10 * EURO, large(self.random))
        } else {
            (small(self.random), 1_000 * EURO)
        };
        self.pay(self.account.id, first, 0);
        self.pay(self.account.id, then, after_ms);
    }

    fn probing_tied_the_wrong_way(&mut self) {
        let (first, then) = (large(self.random), small(self.random));
        self.pay(self.account.id, first, 0);
        self.pay(self.account.id, then, 0);
    }

    fn probing_repeated(&mut self) {
        let mut after_ms = 0;
        for _ in 0..self.random.between(2, 4) {
            let (first, then) = (small(self.random), large(self.random));
            self.pay(self.account.id, first, after_ms);
            after_ms += self.within(20 * SECOND);
            self.pay(self.account.id, then, after_ms);
            after_ms += self.within(20 * SECOND);
        }
    }

    fn probing_on_a_shared_card(&mut self) {
        for account in [self.account.id, self.other.id] {
            let (first, then) = (small(self.random), large(self.random));
            self.pay(account, first, 0);
            self.pay(account, then, 0);
        }
    }

    fn within(&mut self, bound_ms: i64) -> i64 {
        self.random.below(bound_ms.cast_unsigned()).cast_signed()
    }

    fn pay(&mut self, account: u64, cents: u64, after_ms: i64) {
        let payment = Payment { account, card: self.card, cents, at_ms: self.now_ms + after_ms };
        self.ledger.add(payment, self.random);
    }
}
