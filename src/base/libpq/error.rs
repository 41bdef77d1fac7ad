//! What stands between us and a server, and what the server says: one line, with the right fault, without the data in it.

use crate::base::fault::{io_fault, Fault, Faulty};
use std::fmt::Display;
use std::io;
use std::path::PathBuf;

/// What a way to a server's functions return.
pub type Result<T> = std::result::Result<T, Error>;

/// Why there is no session, or why it did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The service file has no such service, or cannot be used.
    #[error("service '{name}'{}: {why}", .file.as_ref().map(|f| format!(" in {}", f.display())).unwrap_or_default())]
    Service {
        /// Which service.
        name: String,
        /// Where it was looked for, if that is not in `why`.
        file: Option<PathBuf>,
        /// What is wrong.
        why: String,
        /// What to do.
        remedy: &'static str,
    },
    /// Nobody said which role, and the user has no name.
    #[error("user {0} has no name to log in to the server with")]
    NoName(u32),
    /// libpq does not use such a password file, and so we do not.
    #[error("{}: others may read it, so it is not used", .0.display())]
    Exposed(PathBuf),
    /// A file could not be read.
    #[error("{}: {error}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The authorities of `sslmode` cannot be used.
    #[error("{}: {why}", .file.display())]
    Authorities {
        /// Their file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// TLS is not to be had.
    #[error("TLS: {0}")]
    Tls(String),
    /// The server was not reached, or the connection broke.
    #[error("{what}: {why}")]
    Unreachable {
        /// What was wanted of it.
        what: String,
        /// Why there was no answer.
        why: String,
    },
    /// It asks for a password, and there is none.
    #[error("{0}: password missing")]
    NoPassword(String),
    /// The server's own words: the first line and the code only, for details quote rows.
    #[error("{what}: {message} ({code})")]
    Server {
        /// What was wanted of it.
        what: String,
        /// What it says.
        message: String,
        /// SQLSTATE.
        code: String,
    },
}

impl Error {
    /// `what` failed with `error`.
    pub fn of(what: impl Display, error: &postgres::Error) -> Error {
        let what = what.to_string();
        if let Some(db) = error.as_db_error() {
            let (message, code) = (one_line(db.message()), db.code().code().to_owned());
            return Error::Server { what, message, code };
        }
        let why = std::error::Error::source(error).map_or_else(|| error.to_string(), |why| why.to_string());
        // The words of the client: it has no type for this.
        match why == "password missing" {
            true => Error::NoPassword(what),
            false => Error::Unreachable { what, why: one_line(&why) },
        }
    }

    /// The server's code, where it answered.
    pub fn code(&self) -> Option<&str> {
        match self {
            Error::Server { code, .. } => Some(code),
            _ => None,
        }
    }
}

impl Faulty for Error {
    fn fault(&self) -> Fault {
        match self {
            Error::Service { .. } => Fault::Usage,
            Error::File { error, .. } => io_fault(error),
            Error::Server { code, .. } => fault(code),
            _ => Fault::NotReady,
        }
    }

    fn remedy(&self) -> Option<String> {
        let text = match self {
            Error::Service { remedy, .. } => remedy,
            Error::NoName(_) => "name a user in the profile",
            Error::Exposed(path) => return Some(format!("chmod 600 {}", path.display())),
            Error::Authorities { .. } => {
                "put the certificates of the authorities that sign the server's there, in PEM"
            }
            Error::Unreachable { .. } => {
                "check that the server runs and that the profile's host, port and user are right"
            }
            Error::NoPassword(_) => return remedy("28P01").map(str::to_owned),
            Error::Server { code, .. } => return remedy(code).map(str::to_owned),
            Error::File { .. } | Error::Tls(_) => return None,
        };
        Some(text.to_owned())
    }
}

/// The SQLSTATE in an error of the server, of whatever origin.
pub fn code_of(error: &postgres::Error) -> &str {
    error.code().map_or("", |code| code.code())
}

const OUT_OF_MEMORY: &str = "53200";
/// What a server most often ran out of that says `out of shared memory`: each table of a database takes a lock.
pub const MORE_LOCKS: &str =
    "give the server more memory for locks: raise max_locks_per_transaction, restart it, and run it again";

/// By the classes of SQLSTATE (PostgreSQL manual, appendix A).
fn fault(code: &str) -> Fault {
    match code {
        "55P03" | "55006" | "42501" | "0A000" => Fault::NotReady,
        _ => match code.get(..2) {
            Some("53" | "54") => Fault::Limit,
            Some("08" | "28" | "3D" | "57" | "58") => Fault::NotReady,
            _ => Fault::Unexpected,
        },
    }
}

fn remedy(code: &str) -> Option<&'static str> {
    match code {
        "55P03" | "55006" => Some("something else works on it: wait for that, or end it, and run it again"),
        OUT_OF_MEMORY => Some(MORE_LOCKS),
        "42501" => Some("grant the role what it lacks, or name an admin-url in the profile"),
        _ => match code.get(..2) {
            Some("53" | "54") => Some("give the server more of what it ran out of, and run it again"),
            Some("28") => {
                Some("check the role, its line in .pgpass (mode 0600), and the server's pg_hba.conf")
            }
            Some("3D") => Some("check the name of the database"),
            Some("08" | "57" | "58") => Some("check that the server runs, and run it again"),
            _ => None,
        },
    }
}

/// Text in one line.
pub fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_follow_the_classes() {
        assert_eq!(fault("53100"), Fault::Limit);
        assert_eq!(fault("28P01"), Fault::NotReady);
        assert_eq!(fault("42501"), Fault::NotReady);
        assert_eq!(fault("23514"), Fault::Unexpected);
    }
}
