//! `control.json`: where a running job listens and the token that it asks for, readable by its user only.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::protocol::PROTOCOL_VERSION;
use crate::token::Token;

const CONTROL_FILE: &str = "control.json";
const CONTROL_FILE_BYTES_MAX: u64 = 64 * 1024; // what a job writes is under 1 KiB

/// Content of `control.json` in the state directory of a running job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ControlFile {
    /// The control protocol that the job speaks.
    pub version: u32,
    /// The job's name.
    pub job: String,
    /// Its process.
    pub pid: u32,
    /// Where it listens, on the loopback interface.
    pub address: SocketAddr,
    /// What requests must carry.
    pub token: Token,
}

impl ControlFile {
    /// Where the control file of a state directory is.
    pub fn path_in(state_dir: &Path) -> PathBuf {
        state_dir.join(CONTROL_FILE)
    }

    /// Reads the control file of a state directory.
    ///
    /// # Errors
    /// It can't be read, is no control file, or is of another protocol version.
    pub fn read(state_dir: &Path) -> Result<Self> {
        let path = Self::path_in(state_dir);
        let size = fs::metadata(&path).map_err(Error::file("read", &path))?.len();
        if size > CONTROL_FILE_BYTES_MAX {
            return Err(Error::NotAControlFile { path, problem: format!("it has {size} bytes") });
        }
        let text = fs::read_to_string(&path).map_err(Error::file("read", &path))?;
        let version = serde_json::from_str::<VersionOnly>(&text)
            .map_err(|error| Error::NotAControlFile { path: path.clone(), problem: error.to_string() })?
            .version;
        if version != PROTOCOL_VERSION {
            return Err(Error::Protocol { path, found: version, expected: PROTOCOL_VERSION });
        }
        serde_json::from_str(&text)
            .map_err(|error| Error::NotAControlFile { path, problem: error.to_string() })
    }

    /// Writes it into a state directory, in one rename, with mode 0600 from the first byte on.
    ///
    /// # Errors
    /// It can't be written.
    pub fn publish(&self, state_dir: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).expect("I40: a control file is plain JSON");
        write_private(&Self::path_in(state_dir), &text)
    }

    /// Removes it, unless a later run has put its own there.
    pub fn withdraw(&self, state_dir: &Path) {
        let is_ours =
            Self::read(state_dir).is_ok_and(|found| self.token.admits(found.token.header().as_bytes()));
        if is_ours {
            // The directory may have been deleted by now: then there is nothing to remove.
            let _ = fs::remove_file(Self::path_in(state_dir));
        }
    }
}

#[derive(Deserialize)]
struct VersionOnly {
    version: u32,
}

/// Replaces a file in one rename; only its owner may read it, at every moment.
#[expect(
    clippy::disallowed_methods,
    reason = "means nothing after the process: not durable, so not of the file layer"
)]
pub(crate) fn write_private(path: &Path, text: &str) -> Result<()> {
    let fresh = path.with_extension(format!("{}.fresh", std::process::id()));
    let _ = fs::remove_file(&fresh); // left behind by a killed process of the same id
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&fresh).map_err(Error::file("create", &fresh))?;
    file.write_all(text.as_bytes()).map_err(Error::file("write", &fresh))?;
    drop(file);
    fs::rename(&fresh, path).map_err(Error::file("rename", path))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::ControlFile;
    use crate::error::Error;
    use crate::protocol::PROTOCOL_VERSION;
    use crate::token::Token;

    fn control_file() -> ControlFile {
        ControlFile {
            version: PROTOCOL_VERSION,
            job: "fraud".to_owned(),
            pid: 7,
            address: ([127, 0, 0, 1], 4_000).into(),
            token: Token::random().expect("random device"),
        }
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).expect("directory");
        entries.map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_published_file_is_read_back_and_private() {
        let dir = tempfile::tempdir().expect("directory");
        let file = control_file();
        file.publish(dir.path()).expect("published");
        let read = ControlFile::read(dir.path()).expect("read");
        assert_eq!((read.job, read.pid, read.address), (file.job, file.pid, file.address));
        assert_eq!(read.token.header(), file.token.header());
        let mode = fs::metadata(ControlFile::path_in(dir.path())).expect("metadata").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(names(dir.path()), ["control.json"]);
    }

    #[test]
    fn a_later_runs_file_is_not_withdrawn() {
        let dir = tempfile::tempdir().expect("directory");
        let (first, second) = (control_file(), control_file());
        first.publish(dir.path()).expect("published");
        second.publish(dir.path()).expect("published");
        first.withdraw(dir.path());
        assert_eq!(names(dir.path()), ["control.json"]);
        second.withdraw(dir.path());
        assert_eq!(names(dir.path()), Vec::<String>::new());
    }

    #[test]
    fn a_file_of_another_protocol_or_shape_is_refused_by_name() {
        let dir = tempfile::tempdir().expect("directory");
        let mut file = control_file();
        file.version = PROTOCOL_VERSION + 1;
        file.publish(dir.path()).expect("published");
        let Err(Error::Protocol { found, expected, .. }) = ControlFile::read(dir.path()) else {
            panic!("another protocol was read");
        };
        assert_eq!((found, expected), (PROTOCOL_VERSION + 1, PROTOCOL_VERSION));
        super::write_private(&ControlFile::path_in(dir.path()), "{\"version\": 1}").expect("written");
        let error = ControlFile::read(dir.path()).expect_err("no control file").to_string();
        assert!(error.contains("control.json is no control file: missing field `job`"), "{error}");
    }
}
