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

use std::process::ExitCode;

use options::{Command, HELP};
use run::{FAILED, Trouble};

const REFUSED: u8 = 2;

fn main() -> ExitCode {
    let options = match options::parse(std::env::args_os().skip(1)) {
        Ok(Command::Run(options)) => options,
        Ok(Command::Help) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(REFUSED);
        }
    };
    match run::run(&options) {
        Ok(code) => ExitCode::from(code),
        Err(trouble) => {
            eprintln!("error: {trouble}");
            ExitCode::from(if matches!(trouble, Trouble::Refused(_)) { REFUSED } else { FAILED })
        }
    }
}
