//! What can be wrong with a bundle's outside and with its manifest, each with the rule it breaks.

use super::id::FORMAT_VERSION;
use super::member::MemberName;
use crate::base::fault::{io_fault, io_remedy, Fault, Faulty};
use std::io;

/// A rule of `docs/FORMAT.md` that a file breaks. `at` is an offset in the file, in bytes.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// Reading or writing failed.
    #[error("{0}")]
    Io(#[from] io::Error),

    /// The file does not begin as a bundle does.
    #[error("this is not a kbpack bundle (rule C2)")]
    NotABundle,
    /// The file is a bundle of another version.
    #[error(
        "the bundle's format is version '{found}', this kbpack reads version {FORMAT_VERSION} (rule C2)"
    )]
    Version {
        /// The version as it stands there, escaped and cut.
        found: String,
    },
    /// `KBPACK` is not its two lines.
    #[error("the member KBPACK is not the two lines 'kbpack 1' and 'id <64 hex digits>' (rule C2)")]
    IdFile,
    /// The file ends in the middle.
    #[error("the bundle is cut off: it ends at byte {end}, inside {inside} (rule C1)")]
    Cut {
        /// Length of the file.
        end: u64,
        /// What should have gone on.
        inside: String,
    },
    /// A header block is not the one that its name and size call for.
    #[error("the header at byte {at} is not the one kbpack writes: {what} (rule C3)")]
    Header {
        /// Where it begins.
        at: u64,
        /// What is odd about it.
        what: &'static str,
    },
    /// A member that a bundle does not have, or a name that is not spelled canonically.
    #[error("the header at byte {at} names '{name}', which is no member of a bundle (rule C4)")]
    Name {
        /// Where the header begins.
        at: u64,
        /// The name, escaped.
        name: String,
    },
    /// The folder is not named after the id in `KBPACK`.
    #[error("the member at byte {at} lies in the folder '{folder}', but the id in KBPACK calls for '{expected}' (rule C5)")]
    Folder {
        /// Where the header begins.
        at: u64,
        /// The folder's name, escaped.
        folder: String,
        /// What it should be.
        expected: String,
    },
    /// A member stands where it may not.
    #[error("{name} must not {} (rule C6)", after(.last))]
    OutOfOrder {
        /// The member.
        name: MemberName,
        /// The one before it.
        last: Option<MemberName>,
    },
    /// The archive ends without `SHA256SUMS.sig`.
    #[error("the archive ends at byte {at}, before its seal SHA256SUMS.sig (rule C6)")]
    NoSeal {
        /// Where the end mark begins.
        at: u64,
    },
    /// A part is repeated, left out, out of order, or follows a short one.
    #[error("{name} is not the next part of its stream (rule C8)")]
    PartOrder {
        /// The part.
        name: MemberName,
    },
    /// A stream's number is not used.
    #[error("stream {stream:06} has no parts (rule C9)")]
    MissingStream {
        /// Its number.
        stream: u32,
    },
    /// Parts of other streams stand between or behind those of the manifest.
    #[error("the parts of stream {stream:06}, the manifest, are not the last ones (rule C9)")]
    ManifestNotLast {
        /// The highest number of a stream.
        stream: u32,
    },
    /// A member is larger than its kind may be.
    #[error("{name} has {size} bytes, more than the {max} allowed (rule C10)")]
    TooLarge {
        /// The member.
        name: MemberName,
        /// Its size in bytes.
        size: u64,
        /// The most it may have.
        max: u64,
    },
    /// A member has no content.
    #[error("{name} is empty (rule C10)")]
    Empty {
        /// The member.
        name: MemberName,
    },
    /// There are more of something than allowed.
    #[error("the bundle has more than {max} {what} (rule C7)")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many may be there.
        max: usize,
    },
    /// A content is not filled up with zeros.
    #[error("the padding of {name} is not zeros (rule C12)")]
    Padding {
        /// The member.
        name: MemberName,
    },
    /// Behind the seal there is not exactly the end of the archive.
    #[error(
        "after byte {at}, the end of the seal, there is something else than two blocks of zeros (rule C13)"
    )]
    End {
        /// Where the two blocks should begin.
        at: u64,
    },

    /// A line of `SHA256SUMS` is not the one that the archive calls for.
    #[error("line {line} of SHA256SUMS is not '<64 hex digits>  {expected}' (rule S1)")]
    SumsLine {
        /// Counted from 1.
        line: usize,
        /// The member that should stand there.
        expected: MemberName,
    },
    /// `SHA256SUMS` goes on after its last line.
    #[error("SHA256SUMS has more than the {lines} lines that the archive calls for (rule S1)")]
    SumsEnd {
        /// How many there should be.
        lines: usize,
    },

    /// The manifest is not the JSON it should be.
    #[error("the manifest cannot be read: {what} (rule M1)")]
    ManifestJson {
        /// What the reader of JSON says, escaped and cut.
        what: String,
    },
    /// The manifest has too many bytes.
    #[error("the manifest has {size} bytes, more than the {max} allowed (rule M1)")]
    ManifestSize {
        /// Its size in bytes.
        size: u64,
        /// The most it may have.
        max: u64,
    },
    /// A value in the manifest breaks a rule.
    #[error("the manifest breaks a rule: {field} {what} (rule {rule})")]
    Manifest {
        /// The rule's number.
        rule: &'static str,
        /// Where: the field's path, names escaped.
        field: String,
        /// What is wrong with it.
        what: &'static str,
    },
}

impl FormatError {
    /// The number of the rule that is broken; empty for an I/O error.
    pub fn rule(&self) -> &'static str {
        use FormatError::*;
        match self {
            Io(_) => "",
            Cut { .. } => "C1",
            NotABundle | Version { .. } | IdFile => "C2",
            Header { .. } => "C3",
            Name { .. } => "C4",
            Folder { .. } => "C5",
            OutOfOrder { .. } | NoSeal { .. } => "C6",
            PartOrder { .. } => "C8",
            MissingStream { .. } | ManifestNotLast { .. } => "C9",
            TooLarge { .. } | Empty { .. } => "C10",
            TooMany { .. } => "C7",
            Padding { .. } => "C12",
            End { .. } => "C13",
            SumsLine { .. } | SumsEnd { .. } => "S1",
            ManifestJson { .. } | ManifestSize { .. } => "M1",
            Manifest { rule, .. } => rule,
        }
    }
}

impl Faulty for FormatError {
    fn fault(&self) -> Fault {
        use FormatError::*;
        match self {
            Io(error) => io_fault(error),
            TooLarge { .. } | TooMany { .. } | ManifestSize { .. } => Fault::Limit,
            ManifestJson { .. } | Manifest { .. } => Fault::Rule,
            _ => Fault::Damaged,
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            FormatError::Io(error) => io_remedy(error),
            FormatError::Version { .. } => Some("open it with a newer kbpack".to_owned()),
            FormatError::Cut { .. } => {
                Some("copy the file again, and compare its size with the source's".to_owned())
            }
            _ => None,
        }
    }
}

fn after(last: &Option<MemberName>) -> String {
    match last {
        Some(last) => format!("follow {last}"),
        None => "be the first member".to_owned(),
    }
}
