//! What a user writes: a pattern's steps, and the elements that a match found for them.

use std::cmp::Ordering;
use std::ops::Index;
use std::sync::Arc;
use std::time::Duration;

use tidegate_runtime::time::Timestamp;

/// Steps that elements of one key must fit one after the other.
///
/// Elements of a key are taken in order of event time. Every element that fits the first step begins a partial match,
/// so matches may overlap (no skipping). The semantics are those of Flink's CEP library.
///
/// ```
/// use tidegate_operators::{Pattern, minutes};
/// let probing = Pattern::begin("small", |amount: &f64| *amount < 10.0)
///     .next("large", |amount| *amount > 1_000.0)
///     .within(minutes(5));
/// # let _ = probing;
/// ```
#[must_use = "a pattern does nothing until it is given to `KeyedStream::pattern`"]
pub struct Pattern<T> {
    pub(super) steps: Vec<Step<T>>,
    pub(super) within: Option<Duration>,
    pub(super) ties: Option<Ties<T>>,
}

/// How elements at one timestamp are ordered.
pub(super) type Ties<T> = Arc<dyn Fn(&T, &T) -> Ordering + Send + Sync>;

/// One step of a pattern.
pub(super) struct Step<T> {
    pub(super) name: String,
    pub(super) contiguity: Contiguity,
    pub(super) fits: Arc<dyn Fn(&T) -> bool + Send + Sync>,
}

/// What may stand between a step's element and the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contiguity {
    /// Nothing of the key.
    Strict,
    /// Anything that does not fit.
    Relaxed,
}

impl<T> Clone for Pattern<T> {
    fn clone(&self) -> Self {
        Self { steps: self.steps.clone(), within: self.within, ties: self.ties.clone() }
    }
}

impl<T> Clone for Step<T> {
    fn clone(&self) -> Self {
        Self { name: self.name.clone(), contiguity: self.contiguity, fits: Arc::clone(&self.fits) }
    }
}

impl<T> Pattern<T> {
    /// A pattern whose first step is `name`.
    pub fn begin(name: &str, fits: impl Fn(&T) -> bool + Send + Sync + 'static) -> Self {
        Self { steps: Vec::new(), within: None, ties: None }.step(name, Contiguity::Strict, fits)
    }

    /// The very next element of the key must fit, or the partial match is over (strict contiguity).
    pub fn next(self, name: &str, fits: impl Fn(&T) -> bool + Send + Sync + 'static) -> Self {
        self.step(name, Contiguity::Strict, fits)
    }

    /// The next element of the key that fits is taken; those between are skipped (relaxed contiguity).
    pub fn followed_by(self, name: &str, fits: impl Fn(&T) -> bool + Send + Sync + 'static) -> Self {
        self.step(name, Contiguity::Relaxed, fits)
    }

    /// A match exists only if the last element's time less the first one's is less than `duration`. Without it, partial
    /// matches of relaxed steps are kept for ever.
    pub fn within(mut self, duration: Duration) -> Self {
        self.within = Some(duration);
        self
    }

    /// Orders elements of one timestamp by a value of theirs; without it they are taken as they arrived.
    pub fn order_by<O: Ord>(mut self, value: impl Fn(&T) -> O + Send + Sync + 'static) -> Self {
        self.ties = Some(Arc::new(move |a, b| value(a).cmp(&value(b))));
        self
    }

    fn step(
        mut self,
        name: &str,
        contiguity: Contiguity,
        fits: impl Fn(&T) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.steps.push(Step { name: name.to_owned(), contiguity, fits: Arc::new(fits) });
        self
    }

    /// The first name that two steps have.
    pub(super) fn repeated_name(&self) -> Option<&str> {
        let names = self.steps.iter().enumerate();
        let mut repeated = names.filter(|(at, step)| self.steps[..*at].iter().any(|s| s.name == step.name));
        repeated.next().map(|(_, step)| step.name.as_str())
    }
}

/// The elements of a match, by the names of the steps that they fit: `found["large"][0]`.
pub struct Found<'a, T> {
    pub(super) steps: &'a [Step<T>],
    pub(super) elements: &'a [T],
    pub(super) timestamps: &'a [Timestamp],
}

impl<T> Found<'_, T> {
    /// Event time of the first element.
    pub fn start(&self) -> Timestamp {
        self.timestamps.first().copied().unwrap_or(Timestamp::MIN)
    }

    /// Event time of the last element: the timestamp of what is emitted for the match.
    pub fn end(&self) -> Timestamp {
        self.timestamps.last().copied().unwrap_or(Timestamp::MIN)
    }
}

impl<T> Index<&str> for Found<'_, T> {
    type Output = [T];

    /// The elements of a step.
    ///
    /// # Panics
    /// If the pattern has no step of that name.
    fn index(&self, name: &str) -> &[T] {
        match self.steps.iter().position(|step| step.name == name) {
            Some(at) => &self.elements[at..=at],
            None => {
                let names: Vec<&str> = self.steps.iter().map(|step| step.name.as_str()).collect();
                panic!("the pattern has no step `{name}`: its steps are {names:?}")
            }
        }
    }
}
