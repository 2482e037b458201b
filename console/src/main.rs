//! The `tidegate` command: prints what a running job's control endpoint says.

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use tidegate_console::Registry;
use tidegate_console::cli::{Screen, Surroundings, run};

fn main() -> ExitCode {
    let screen = if io::stdout().is_terminal() { Screen::Terminal } else { Screen::Plain };
    let surroundings = Surroundings {
        // A deleted directory holds no job; the registry is searched all the same.
        current_dir: std::env::current_dir().unwrap_or_default(),
        registry: Registry::of_user(),
        screen,
    };
    let status = run(std::env::args_os(), &surroundings, &mut io::stdout().lock(), &mut io::stderr().lock());
    ExitCode::from(status.code())
}
