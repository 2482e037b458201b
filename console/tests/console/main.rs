//! The endpoint and the command against a job that is made up, each through the other.

mod command;
mod discovery;
mod endpoint;
mod fake;
mod http;
