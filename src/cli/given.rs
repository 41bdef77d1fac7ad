//! Secrets that a bundle does not bring: given in a file or a descriptor, or asked for at the terminal. Never from argv, never
//! from the environment.

use crate::base::fault::{Fault, Faulty};
use crate::base::path::ShownPath;
use crate::base::secret::Secret;
use crate::cli::error::CliError;
use crate::component::{self, Ask};
use crate::components::secrets::{read_given, GivenError};
use crate::report::console::Console;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The variable that names the file descriptor to read secrets from.
pub const FD_VARIABLE: &str = "KBPACK_SECRETS_FD";
/// Bytes of the file.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// Why a file of secrets is not taken.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("{0}: {1}")]
    Io(String, io::Error),
    #[error("{0}: others on this machine may read or change it")]
    TooOpen(String),
    #[error("{0}: it belongs to another user")]
    NotOurs(String),
    #[error("{0}: it is longer than {MAX_BYTES} bytes")]
    TooLong(String),
    #[error("{0}, {1}")]
    Form(String, GivenError),
    #[error("{FD_VARIABLE} is not the number of a file descriptor that can be read")]
    Descriptor,
    #[error("--secrets-file and {FD_VARIABLE} are both given")]
    Both,
}

impl Faulty for Refused {
    fn fault(&self) -> Fault {
        match self {
            Refused::TooOpen(_) | Refused::NotOurs(_) => Fault::NotReady,
            _ => Fault::Usage,
        }
    }
    fn remedy(&self) -> Option<String> {
        Some(match self {
            Refused::Io(..) => "check the name and the permissions".to_owned(),
            Refused::TooOpen(place) => {
                format!("chmod 600 {place}; and if others have read it, change the secrets")
            }
            Refused::NotOurs(_) => "give it to the user who imports".to_owned(),
            Refused::TooLong(_) => "give it the secrets of this import alone".to_owned(),
            Refused::Form(..) => "write NAME='value' lines, and # before comments".to_owned(),
            Refused::Descriptor => {
                format!("for example: {FD_VARIABLE}=3 kbpack import ... 3< <(pass show NAME)")
            }
            Refused::Both => "leave one of them out".to_owned(),
        })
    }
}

/// Secrets that somebody prepared, by the names that the plan shows.
#[derive(Debug, Default)]
pub struct Given(Vec<(String, Secret)>);

impl Given {
    /// Those in `file`, which nobody else may read, else those in the descriptor that `KBPACK_SECRETS_FD` names. It is read
    /// to its end now, for it is handed on to children: they find a pipe empty. What is a regular file they could read
    /// again, so a pipe is the better choice.
    pub fn read(file: Option<&Path>) -> Result<Self, CliError> {
        let number = std::env::var(FD_VARIABLE).ok().filter(|number| !number.is_empty());
        match (file, number) {
            (Some(_), Some(_)) => Err(Refused::Both),
            (Some(path), None) => Self::of_file(path),
            (None, Some(number)) => Self::of_descriptor(&number),
            (None, None) => Ok(Given::default()),
        }
        .map_err(CliError::new)
    }

    fn of_file(path: &Path) -> Result<Self, Refused> {
        let place = ShownPath::from(path).to_string();
        let failed = |error| Refused::Io(place.clone(), error);
        let file = File::open(path).map_err(failed)?;
        let meta = file.metadata().map_err(failed)?;
        if meta.uid() != rustix::process::geteuid().as_raw() && meta.uid() != 0 {
            return Err(Refused::NotOurs(place));
        }
        if meta.mode() & 0o077 != 0 {
            return Err(Refused::TooOpen(place));
        }
        Self::of(file, place)
    }

    fn of_descriptor(number: &str) -> Result<Self, Refused> {
        let number: u32 = number.parse().map_err(|_| Refused::Descriptor)?;
        let path = PathBuf::from(format!("/proc/self/fd/{number}"));
        let file = File::open(path).map_err(|_| Refused::Descriptor)?;
        Self::of(file, format!("descriptor {number}"))
    }

    fn of(file: File, place: String) -> Result<Self, Refused> {
        // Room for all of it from the start: a buffer that grows leaves copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_BYTES as usize + 1));
        let read = file.take(MAX_BYTES + 1).read_to_end(&mut bytes);
        read.map_err(|error| Refused::Io(place.clone(), error))?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(Refused::TooLong(place));
        }
        read_given(&bytes).map(Given).map_err(|error| Refused::Form(place, error))
    }
}

/// The command line's [`Ask`].
pub struct Asking<'a> {
    /// Where to ask.
    pub console: &'a Console,
    /// What need not be asked for.
    pub given: Given,
}

impl Ask for Asking<'_> {
    fn given(&self, key: &str) -> Option<Secret> {
        self.given.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone())
    }

    fn ask(&self, key: &str, what: &str) -> component::Result<Secret> {
        let todo = format!("give it as {key}=... in a file (--secrets-file FILE), or by {FD_VARIABLE}=N");
        let none =
            |why: &str| component::Error::not_ready(format_args!("no value for {what}: {why}")).todo(&todo);
        // A script that wants a document is not a person.
        if self.console.json() {
            return Err(none("with --json nobody is asked"));
        }
        match self.console.read_secret(&format!("Value of {what}: ")) {
            Ok(value) if value.is_empty() => Err(none("nothing was typed")),
            Ok(value) => Ok(value),
            Err(error)
                if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::UnexpectedEof) =>
            {
                Err(none("nothing was typed"))
            }
            Err(_) => Err(none("there is no terminal to ask at")),
        }
    }
}
