//! The least of HTTP/1.1 that asks a control endpoint: one request a connection, an answer of known length.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::control_file::ControlFile;
use crate::protocol::ErrorBody;
use crate::token::Token;

const ANSWER_BYTES_MAX: u64 = 256 * 1024 * 1024; // a topology of 100,000 actors has some 60 MB
const CONNECT_TIME_MAX: Duration = Duration::from_secs(1); // to the same machine

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Post,
}

/// Why there is no good answer.
#[derive(Debug)]
pub(crate) enum AskError {
    /// Nobody, or somebody else, is there: the reason.
    Absent(String),
    /// Connected, but no answer in time.
    Silent(Duration),
    /// The job said no.
    Refused(ErrorBody),
}

/// Asks one control endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    address: SocketAddr,
    token: Token,
    timeout: Duration,
}

struct Answer {
    status: u16,
    body: Vec<u8>,
}

impl Client {
    /// For the endpoint of a control file, with the longest time to wait for an answer.
    pub(crate) fn new(file: &ControlFile, timeout: Duration) -> Self {
        Self { address: file.address, token: file.token.clone(), timeout }
    }

    /// Asks, and reads the answer as JSON.
    pub(crate) fn ask<T: DeserializeOwned>(&self, method: Method, target: &str) -> Result<T, AskError> {
        let text = self.ask_text(method, target)?;
        // The version was checked when the control file was read.
        match serde_json::from_str(&text) {
            Ok(body) => Ok(body),
            Err(error) => Err(AskError::Absent(format!("{} answers something else: {error}", self.address))),
        }
    }

    /// Asks, and gives the answer as it came.
    pub(crate) fn ask_text(&self, method: Method, target: &str) -> Result<String, AskError> {
        let answer = self.exchange(method, target).map_err(|error| self.failed(&error))?;
        let text = String::from_utf8(answer.body)
            .map_err(|_| AskError::Absent(format!("{} answers something that is no text", self.address)))?;
        match answer.status {
            200..300 => Ok(text),
            401 => Err(AskError::Absent(format!("{} is another job's by now", self.address))),
            status => Err(match serde_json::from_str(&text) {
                Ok(refused) => AskError::Refused(refused),
                Err(_) => {
                    AskError::Absent(format!("{} answers with status {status} and no reason", self.address))
                }
            }),
        }
    }

    fn exchange(&self, method: Method, target: &str) -> io::Result<Answer> {
        let mut stream = TcpStream::connect_timeout(&self.address, CONNECT_TIME_MAX)?;
        stream.set_read_timeout(Some(self.timeout))?;
        stream.set_write_timeout(Some(self.timeout))?;
        let method = match method {
            Method::Get => "GET",
            Method::Post => "POST",
        };
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: {}\r\nAuthorization: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            self.address,
            self.token.header()
        );
        stream.write_all(head.as_bytes())?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
        parse(&answer)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is cut or is no HTTP"))
    }

    fn failed(&self, error: &io::Error) -> AskError {
        match error.kind() {
            // A read timeout is WouldBlock on Unix.
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => AskError::Silent(self.timeout),
            io::ErrorKind::ConnectionRefused => {
                AskError::Absent(format!("nobody listens at {}", self.address))
            }
            _ => AskError::Absent(format!("{}: {error}", self.address)),
        }
    }
}

/// Status and body of a whole answer; `None` when it is cut.
fn parse(answer: &[u8]) -> Option<Answer> {
    let head_end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..head_end]).ok()?;
    let body = &answer[head_end + 4..];
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.split(' ').next()?.parse().ok()?;
    let length: usize = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, length)| length.trim().parse().ok())?;
    (body.len() == length).then(|| Answer { status, body: body.to_vec() })
}

/// A value as part of a request's query.
pub(crate) fn query_value(value: &str) -> String {
    value
        .bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{parse, query_value};

    #[test]
    fn a_query_value_carries_any_character() {
        assert_eq!(query_value("worker/region-0/count & sum/0"), "worker/region-0/count%20%26%20sum/0");
        assert_eq!(query_value("größe"), "gr%C3%B6%C3%9Fe");
    }

    #[test]
    fn a_cut_answer_is_none() {
        let whole = b"HTTP/1.1 404 Not Found\r\ncontent-type: a\r\nContent-Length: 5\r\n\r\nhello";
        let answer = parse(whole).expect("whole");
        assert_eq!((answer.status, answer.body.as_slice()), (404, b"hello".as_slice()));
        for length in 0..whole.len() {
            assert!(parse(&whole[..length]).is_none(), "cut at {length}");
        }
    }
}
