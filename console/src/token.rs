//! The secret that a request must carry: who can read the state directory may look at and stop the job, nobody else.

use std::fmt;
use std::fs::File;
use std::hint::black_box;
use std::io::Read;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

const RANDOM_DEVICE: &str = "/dev/urandom";
const TOKEN_BYTES: usize = 32; // cannot be guessed in the life of a job

/// A random secret; its `Debug` form hides it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(String);

impl Token {
    /// A fresh token from the operating system's random numbers.
    ///
    /// # Errors
    /// The random device can't be read.
    pub fn random() -> Result<Self> {
        let mut bytes = [0; TOKEN_BYTES];
        File::open(RANDOM_DEVICE)
            .and_then(|mut device| device.read_exact(&mut bytes))
            .map_err(Error::file("read", RANDOM_DEVICE))?;
        Ok(Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// The value of the `Authorization` header.
    pub fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// Whether `header` is this token's header; takes as long for a nearly right one as for a wrong one.
    pub fn admits(&self, header: &[u8]) -> bool {
        let expected = self.header();
        if header.len() != expected.len() {
            return false;
        }
        let difference =
            expected.bytes().zip(header).fold(0, |sum, (ours, theirs)| black_box(sum | (ours ^ theirs)));
        difference == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::Token;

    #[test]
    fn a_token_admits_its_own_header_and_no_other() {
        let token = Token::random().expect("random device");
        let other = Token::random().expect("random device");
        let header = token.header();
        assert!(token.admits(header.as_bytes()));
        assert!(!token.admits(other.header().as_bytes()));
        assert!(!token.admits(b""));
        assert!(!token.admits(&header.as_bytes()[..header.len() - 1]));
        let mut nearly = header.into_bytes();
        *nearly.last_mut().expect("a header") ^= 1;
        assert!(!token.admits(&nearly));
    }

    #[test]
    fn the_debug_form_hides_the_token() {
        let token = Token::random().expect("random device");
        assert_eq!(format!("{token:?}"), "Token(..)");
    }
}
