//! Card fraud detection, the main example: a pipeline whose alerts are each committed once, whatever is killed.
//!
//! `pipeline.rs` is the graph; `verify` computes its output again without Tidegate; `--help` lists the options.

mod committed;
mod generate;
mod input;
mod options;
mod pace;
mod pipeline;
mod places;
mod progress;
mod records;
mod run;
mod unreported;
mod verify;

use std::{ffi::OsString, process::ExitCode};

use options::{Command, HELP};
use run::{FAILED, Trouble};

const REFUSED: u8 = 2;

fn main() -> ExitCode {
    ExitCode::from(obey(std::env::args_os().skip(1)))
}

/// Does what the command line says and returns the exit code.
fn obey(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let options = match options::parse(arguments) {
        Ok(Command::Run(options)) => options,
        Ok(Command::Help) => {
            println!("{HELP}");
            return 0;
        }
        Err(error) => {
            eprintln!("error: {error}");
            return REFUSED;
        }
    };
    match run::run(&options) {
        Ok(code) => code,
        Err(trouble) => {
            eprintln!("error: {trouble}");
            if matches!(trouble, Trouble::Refused(_)) { REFUSED } else { FAILED }
        }
    }
}

#[cfg(test)]
mod process_tests;
