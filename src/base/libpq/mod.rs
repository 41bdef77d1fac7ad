//! libpq's rules, for all who speak to a PostgreSQL server: where it is, as whom, with which password, how well sealed.
//!
//! [`url`] and [`service`] are how a place is said, [`address`] settles what it means here, [`pgpass`] has the passwords,
//! [`tls`] what `sslmode` asks for, [`session`] goes there, [`reader`] brings
//! much from there.

pub mod address;
mod error;
pub mod pgpass;
pub mod reader;
pub mod service;
pub mod session;
mod tls;
pub mod url;

pub use error::{code_of, one_line, Error, Result, MORE_LOCKS};
