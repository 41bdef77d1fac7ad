//! What the server says, as an error of a component: one line, with the right fault, without the data in it.

use crate::base::fault::Fault;
use crate::component::Error;
use std::fmt::Display;
use std::io;

/// `what` failed with `error`. Of the server's words only its first line and the code are kept: details quote rows.
pub fn failed(what: impl Display, error: &postgres::Error) -> Error {
    let Some(db) = error.as_db_error() else {
        let why =
            std::error::Error::source(error).map_or_else(|| error.to_string(), |source| source.to_string());
        return Error::not_ready(format_args!("{what}: {}", one_line(&why)))
            .todo("check that the server runs and that the profile's host, port and user are right");
    };
    let code = db.code().code();
    let error = Error::new(fault(code), format_args!("{what}: {} ({code})", one_line(db.message())));
    match remedy(code) {
        Some(remedy) => error.todo(remedy),
        None => error,
    }
}

/// The same for an error that came out of a COPY's reader or writer.
pub fn copy_failed(what: impl Display, error: io::Error) -> Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<postgres::Error>()) {
        Some(inner) => failed(what, inner),
        None => Error::io(what, error),
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

fn one_line(text: &str) -> String {
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
