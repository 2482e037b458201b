//! From arguments to [`Options`]: `--name value` or `--name=value`, each at most once.

use std::{
    collections::BTreeMap, ffi::OsString, num::NonZeroUsize, path::PathBuf, str::FromStr, time::Duration,
};

use super::{Command, Input, Options, UsageError};
use crate::generate::Recipe;

const SEED_DEFAULT: u64 = 7;
const CHECKPOINT_INTERVAL_DEFAULT: Duration = Duration::from_millis(100);
const WITH_VALUE: [&str; 10] = [
    "--transactions",
    "--accounts",
    "--generate",
    "--seed",
    "--output",
    "--state",
    "--rate",
    "--kill-every",
    "--checkpoint-interval",
    "--parallelism",
];
const WITHOUT_VALUE: [&str; 3] = ["--verify", "--hold", "--help"];

/// Reads the arguments after the program's name.
///
/// # Errors
/// The first option that is unknown, repeated, without its value, malformed, or at odds with another.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, UsageError> {
    let mut given = Given::collect(arguments.into_iter())?;
    if given.flag("--help") {
        return Ok(Command::Help);
    }
    let seed_given = given.values.contains_key("--seed");
    let seed = given.number("--seed")?.unwrap_or(SEED_DEFAULT);
    let options = Options {
        input: given.input(seed)?,
        seed,
        output: given.path("--output"),
        state: given.path("--state"),
        rate: given.positive("--rate")?,
        kill_every: given.duration("--kill-every")?,
        checkpoint_interval: given.duration("--checkpoint-interval")?.unwrap_or(CHECKPOINT_INTERVAL_DEFAULT),
        parallelism: given.positive("--parallelism")?.map(parallelism).transpose()?,
        verify: given.flag("--verify"),
        hold: given.flag("--hold"),
    };
    if seed_given && options.kill_every.is_none() && !matches!(options.input, Input::Generated(_)) {
        return Err(usage("--seed", "has no meaning without --generate or --kill-every"));
    }
    Ok(Command::Run(options))
}

/// The values by option; a flag has an empty one.
struct Given {
    values: BTreeMap<&'static str, OsString>,
}

impl Given {
    fn collect(mut arguments: impl Iterator<Item = OsString>) -> Result<Self, UsageError> {
        let mut values = BTreeMap::new();
        while let Some(argument) = arguments.next() {
            let (name, attached) = divide(&argument);
            let known = |names: &[&'static str]| names.iter().copied().find(|known| *known == name);
            let (option, value) = if let Some(option) = known(&WITH_VALUE) {
                let value = attached.or_else(|| arguments.next()).filter(|value| !value.is_empty());
                (option, value.ok_or_else(|| usage(option, "needs a value"))?)
            } else if let Some(option) = known(&WITHOUT_VALUE) {
                if attached.is_some() {
                    return Err(usage(option, "takes no value"));
                }
                (option, OsString::new())
            } else {
                return Err(usage(&name, "is no option of this program"));
            };
            if values.insert(option, value).is_some() {
                return Err(usage(option, "is given twice"));
            }
        }
        Ok(Self { values })
    }

    fn input(&mut self, seed: u64) -> Result<Input, UsageError> {
        let generated = self.positive("--generate")?;
        match (self.path("--transactions"), self.path("--accounts"), generated) {
            (None, None, None) => Ok(Input::Committed),
            (None, None, Some(transactions)) => Ok(Input::Generated(Recipe { transactions, seed })),
            (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => {
                Err(usage("--generate", "makes its own input: leave out --transactions and --accounts"))
            }
            (Some(transactions), Some(accounts), None) => Ok(Input::Files {
                transactions: existing("--transactions", transactions)?,
                accounts: existing("--accounts", accounts)?,
            }),
            (Some(_), None, None) => Err(usage("--accounts", "is missing: --transactions needs it")),
            (None, Some(_), None) => Err(usage("--transactions", "is missing: --accounts needs it")),
        }
    }

    fn flag(&self, option: &str) -> bool {
        self.values.contains_key(option)
    }

    fn path(&mut self, option: &str) -> Option<PathBuf> {
        self.values.remove(option).map(PathBuf::from)
    }

    fn number<T: FromStr>(&mut self, option: &str) -> Result<Option<T>, UsageError> {
        let Some(value) = self.values.remove(option) else { return Ok(None) };
        let parsed = value.to_str().and_then(|text| text.parse().ok());
        parsed.map(Some).ok_or_else(|| usage(option, format!("{} is no whole number", value.display())))
    }

    fn positive(&mut self, option: &str) -> Result<Option<u64>, UsageError> {
        match self.number(option)? {
            Some(0) => Err(usage(option, "must be at least 1")),
            number => Ok(number),
        }
    }

    fn duration(&mut self, option: &str) -> Result<Option<Duration>, UsageError> {
        let Some(value) = self.values.remove(option) else { return Ok(None) };
        let parsed = value.to_str().and_then(parse_duration);
        let problem = || usage(option, format!("{} is no duration; write 200ms, 5s or 1m", value.display()));
        parsed.map(Some).ok_or_else(problem)
    }
}

/// A whole number of at least 1 and its unit.
fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|character: char| !character.is_ascii_digit())?);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => return None,
    };
    let duration = Duration::from_millis(number.parse::<u64>().ok()?.checked_mul(unit_ms)?);
    (!duration.is_zero()).then_some(duration)
}

fn parallelism(number: u64) -> Result<NonZeroUsize, UsageError> {
    let number = usize::try_from(number).ok().and_then(NonZeroUsize::new);
    number.ok_or_else(|| usage("--parallelism", "is too large"))
}

fn existing(option: &str, path: PathBuf) -> Result<PathBuf, UsageError> {
    match std::fs::metadata(&path) {
        Ok(metadata) if metadata.is_file() => Ok(path),
        Ok(_) => Err(usage(option, format!("{} is no file", path.display()))),
        Err(error) => Err(usage(option, format!("{}: {error}", path.display()))),
    }
}

/// `--name=value` in two; a name that isn't UTF-8 is unknown anyway, so it may be shown approximately.
fn divide(argument: &OsString) -> (String, Option<OsString>) {
    let Some(text) = argument.to_str() else { return (argument.to_string_lossy().into_owned(), None) };
    match text.split_once('=') {
        Some((name, value)) if name.starts_with("--") => (name.to_owned(), Some(value.into())),
        _ => (text.to_owned(), None),
    }
}

fn usage(option: &str, problem: impl Into<String>) -> UsageError {
    UsageError { option: option.to_owned(), problem: problem.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, UsageError> {
        parse(line.split_whitespace().map(OsString::from))
    }

    fn refused(line: &str) -> (String, String) {
        match parsed(line) {
            Err(UsageError { option, problem }) => (option, problem),
            Ok(command) => panic!("{line} was taken as {command:?}"),
        }
    }

    const DEFAULTS: Options = Options {
        input: Input::Committed,
        seed: 7,
        output: None,
        state: None,
        rate: None,
        kill_every: None,
        checkpoint_interval: Duration::from_millis(100),
        parallelism: None,
        verify: false,
        hold: false,
    };

    #[test]
    fn no_arguments_mean_the_committed_data_and_defaults() {
        assert_eq!(parsed(""), Ok(Command::Run(DEFAULTS)));
    }

    #[test]
    fn every_option_is_read_in_both_forms() {
        let line = "--generate 5000 --seed=3 --output out --state=st --rate 100 --kill-every=200ms \
                    --checkpoint-interval 1s --parallelism 4 --verify --hold";
        let expected = Options {
            input: Input::Generated(Recipe { transactions: 5_000, seed: 3 }),
            seed: 3,
            output: Some("out".into()),
            state: Some("st".into()),
            rate: Some(100),
            kill_every: Some(Duration::from_millis(200)),
            checkpoint_interval: Duration::from_secs(1),
            parallelism: NonZeroUsize::new(4),
            verify: true,
            hold: true,
        };
        assert_eq!(parsed(line), Ok(Command::Run(expected)));
        assert_eq!(parsed("--verify --help"), Ok(Command::Help));
    }

    #[test]
    fn a_refusal_names_the_option_and_what_to_do() {
        let cases = [
            ("--nonsense", "--nonsense", "is no option of this program"),
            ("verify", "verify", "is no option of this program"),
            ("--rate", "--rate", "needs a value"),
            ("--rate=", "--rate", "needs a value"),
            ("--rate fast", "--rate", "fast is no whole number"),
            ("--rate -1", "--rate", "-1 is no whole number"),
            ("--rate 0", "--rate", "must be at least 1"),
            ("--parallelism 0", "--parallelism", "must be at least 1"),
            ("--verify=yes", "--verify", "takes no value"),
            ("--verify --verify", "--verify", "is given twice"),
            ("--kill-every 200", "--kill-every", "200 is no duration; write 200ms, 5s or 1m"),
            ("--kill-every 0s", "--kill-every", "0s is no duration; write 200ms, 5s or 1m"),
            ("--kill-every 5h", "--kill-every", "5h is no duration; write 200ms, 5s or 1m"),
            ("--seed 4", "--seed", "has no meaning without --generate or --kill-every"),
            ("--transactions Cargo.toml", "--accounts", "is missing: --transactions needs it"),
            ("--accounts Cargo.toml", "--transactions", "is missing: --accounts needs it"),
        ];
        for (line, option, problem) in cases {
            assert_eq!(refused(line), (option.to_owned(), problem.to_owned()), "{line}");
        }
        assert_eq!(refused("--generate 5 --accounts Cargo.toml").0, "--generate");
    }

    #[test]
    fn an_input_that_is_no_file_is_refused() {
        assert_eq!(
            refused("--transactions src --accounts Cargo.toml"),
            ("--transactions".into(), "src is no file".into())
        );
        let (option, problem) = refused("--transactions Cargo.toml --accounts nowhere.csv");
        assert_eq!(option, "--accounts");
        assert!(problem.starts_with("nowhere.csv: "), "{problem}");
    }
}
