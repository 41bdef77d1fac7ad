//! What the server says, as an error of a component.

use crate::base::libpq;
use crate::component::Error;
use std::fmt::Display;
use std::io;

pub use crate::base::libpq::code_of;

/// `what` failed with `error`.
pub fn failed(what: impl Display, error: &postgres::Error) -> Error {
    libpq::Error::of(what, error).into()
}

/// The same for an error that came out of a COPY's reader or writer.
pub fn copy_failed(what: impl Display, error: io::Error) -> Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<postgres::Error>()) {
        Some(inner) => failed(what, inner),
        None => Error::io(what, error),
    }
}
