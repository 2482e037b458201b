//! Card fraud detection, the main example: see `--help`.

mod generate;
mod options;
mod verify;

use std::{error::Error, path::PathBuf, process::ExitCode};

use generate::Recipe;
use options::{Command, HELP, Input, Options};

fn main() -> ExitCode {
    let options = match options::parse(std::env::args_os().skip(1)) {
        Ok(Command::Help) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Ok(Command::Run(options)) => options,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    match compare(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Makes the input and compares it with what is committed.
fn compare(options: &Options) -> Result<(), Box<dyn Error>> {
    let (transactions, accounts) = input_files(&options.input)?;
    let output = options.output.clone().ok_or("--output is missing")?;
    let verdict = verify::verify(&transactions, &accounts, &output)?;
    print!("{verdict}");
    if verdict.holds() { Ok(()) } else { Err("the committed output differs".into()) }
}

fn input_files(input: &Input) -> Result<(PathBuf, PathBuf), Box<dyn Error>> {
    match input {
        Input::Committed => {
            Ok(("examples/data/transactions.csv".into(), "examples/data/accounts.csv".into()))
        }
        Input::Files { transactions, accounts } => Ok((transactions.clone(), accounts.clone())),
        Input::Generated(recipe) => Ok(generated_files(*recipe)?),
    }
}

fn generated_files(recipe: Recipe) -> std::io::Result<(PathBuf, PathBuf)> {
    let name = format!("tidegate-fraud-{}-{}", recipe.transactions, recipe.seed);
    let directory = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&directory)?;
    generate::write_files(recipe, &directory)
}
