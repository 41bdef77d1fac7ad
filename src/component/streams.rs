//! How a component writes and reads its streams.

use super::{Error, Result};
use crate::base::fault::Fault;
use crate::base::name::StreamName;
use std::io::{Read, Write};

/// Whether a stream is searched for secrets that do not belong there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// Ordinary data: searched.
    Data,
    /// Secrets, declared as such: not searched.
    Secrets,
}

/// The name of a stream that a kind writes.
pub fn stream_name(name: &str) -> Result<StreamName> {
    let invalid = || Error::new(Fault::Unexpected, format_args!("'{name}' is no stream's name"));
    StreamName::new(name).ok_or_else(invalid)
}

/// A stream being written. Dropping it without [`finish`](StreamWrite::finish) spoils the bundle, on purpose.
pub trait StreamWrite: Write + Send {
    /// What the bytes from here on belong to (a file's path, a table), so that a secret found in them can be placed.
    fn label(&mut self, label: &str);
    /// Ends the stream.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// Where capture puts its streams. Several may be written at once, from several threads, at most
/// [`threads`](super::Scope::threads) + 1 at a time.
pub trait StreamSink: Sync {
    /// Opens a stream of this component. Names are unique within it.
    fn create(&self, name: &StreamName, holds: Holds) -> Result<Box<dyn StreamWrite>>;
}

/// What the manifest says of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamInfo {
    /// Its name inside the component.
    pub name: StreamName,
    /// Bytes of its plaintext.
    pub size: u64,
}

/// Where plan and stage read a component's streams. Any may be opened at any time, several at once, from
/// several threads, and more than once.
pub trait StreamSource: Sync {
    /// The component's streams, in the order in which they were created.
    fn list(&self) -> &[StreamInfo];
    /// Opens one. Its reader gives an error, never a short end, if the content is not what the manifest
    /// says; it must be read to its end (`Ok(0)`) for the last of these checks to be made.
    fn open(&self, name: &StreamName) -> Result<Box<dyn Read + Send>>;
}
