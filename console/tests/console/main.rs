//! The endpoint and the command, each through the other: against a job that is made up, and against a real one.

mod command;
mod discovery;
mod endpoint;
mod fake;
mod http;
mod live;
mod pipeline;
