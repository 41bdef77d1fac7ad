//! Why something failed, in the few words that a caller can act on.
//!
//! Every error type of this crate implements [`Faulty`]. The numbers that the shell sees stand in one
//! place, `cli/error.rs`; an error only says which kind of failure it is and what the person can do.

use std::any::Any;
use std::error::Error;
use std::io;

/// The kinds of failure a person (or a script) can tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A defect of ours or of the machine: I/O errors, invariants that do not hold.
    Unexpected,
    /// The command line or the profile is wrong.
    Usage,
    /// The file is not a bundle, or is damaged.
    Damaged,
    /// Signature, signer, expiry, replay or target: the bundle is not to be trusted.
    Untrusted,
    /// No identity or passphrase opens it.
    CannotDecrypt,
    /// What is inside breaks a rule of the format.
    Rule,
    /// Space, memory, size or another limit.
    Limit,
    /// The source or the target is not in a state to go on.
    NotReady,
    /// It failed, and everything was put back.
    RolledBack,
    /// It failed half-way; recovery is needed.
    RecoveryNeeded,
}

/// An error that knows its [`Fault`] and, where there is one, the way out.
pub trait Faulty: Error {
    /// Which kind of failure this is.
    fn fault(&self) -> Fault;
    /// One line that says what to do, without a full stop. `None` leaves it to the command line's default.
    fn remedy(&self) -> Option<String> {
        None
    }
}

/// A boxed [`Faulty`], the form in which such an error travels through [`io::Error`].
#[derive(Debug)]
pub struct Carried(pub Box<dyn FaultyDebug>);

/// [`Faulty`] with the bounds that [`io::Error`] asks for.
pub trait FaultyDebug: Faulty + Send + Sync + 'static {
    /// For [`carried_as`].
    fn as_any(&self) -> &dyn Any;
}
impl<T: Faulty + Send + Sync + 'static> FaultyDebug for T {
    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl std::fmt::Display for Carried {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(&self.0, f)
    }
}
impl Error for Carried {}

/// Wraps a typed error so that it passes through `Read` and `Write` without losing its kind.
pub fn into_io<E: Faulty + Send + Sync + 'static>(error: E) -> io::Error {
    io::Error::other(Carried(Box::new(error)))
}

/// The typed error inside an [`io::Error`] made by [`into_io`], if there is one.
pub fn carried(error: &io::Error) -> Option<&dyn FaultyDebug> {
    error.get_ref()?.downcast_ref::<Carried>().map(|c| &*c.0)
}

/// The same, if it is a `T`.
pub fn carried_as<T: 'static>(error: &io::Error) -> Option<&T> {
    carried(error)?.as_any().downcast_ref()
}

/// The kind of an [`io::Error`]: the carried one, else a limit for a full disk, not ready for what this user may
/// not do, else unexpected.
pub fn io_fault(error: &io::Error) -> Fault {
    if let Some(inner) = carried(error) {
        return inner.fault();
    }
    match error.kind() {
        io::ErrorKind::StorageFull
        | io::ErrorKind::QuotaExceeded
        | io::ErrorKind::OutOfMemory
        | io::ErrorKind::FileTooLarge => Fault::Limit,
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => Fault::NotReady,
        _ => Fault::Unexpected,
    }
}

/// The remedy of the typed error inside an [`io::Error`], if there is one.
pub fn io_remedy(error: &io::Error) -> Option<String> {
    carried(error).and_then(|inner| inner.remedy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_has_a_kind() {
        let fault = |kind: io::ErrorKind| io_fault(&kind.into());
        assert_eq!(fault(io::ErrorKind::PermissionDenied), Fault::NotReady);
        assert_eq!(fault(io::ErrorKind::StorageFull), Fault::Limit);
        assert_eq!(fault(io::ErrorKind::BrokenPipe), Fault::Unexpected);
    }
}
