//! `tidegate topology --watch`: the same picture again and again, until the job ends.

use std::time::Duration;

use crate::cli::arguments::TopologyArguments;
use crate::cli::client::AskError;
use crate::cli::commands::Session;
use crate::cli::discovery::has_ended;
use crate::cli::error::CommandError;
use crate::cli::run::Screen;

const CLEAR: &str = "\x1b[H\x1b[2J\x1b[3J"; // cursor home, screen and scroll-back cleared

/// Prints the topology at an interval; the end of the job is the end of the command.
pub(crate) fn watch(session: &mut Session<'_>, arguments: &TopologyArguments) -> Result<(), CommandError> {
    let mut picture = session.ask_topology()?;
    loop {
        if session.screen == Screen::Terminal && !arguments.format.json {
            session.out.write_all(CLEAR.as_bytes())?;
        }
        session.print_topology(&picture, arguments)?;
        if session.screen == Screen::Plain && !arguments.format.json {
            writeln!(session.out)?;
        }
        session.out.flush()?;
        if has_ended(picture.topology.state) {
            return Ok(());
        }
        pause(arguments.interval);
        picture = match session.ask_topology() {
            Ok(picture) => picture,
            Err(AskError::Absent(_)) => {
                if !arguments.format.json {
                    writeln!(session.out, "{} has ended", session.found.file.job)?;
                }
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
    }
}

/// Waits; this is a command at a person's terminal, not a handler.
#[expect(clippy::disallowed_methods, reason = "a command's own thread, between two questions to the job")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}
