//! Sealed documents: JSON with a signature behind it, in one text file that people can read and stock `ssh-keygen` can
//! verify. Tickets and receipts are such documents: a host's own word, signed with that host's key.
//!
//! Their chapters in `docs/FORMAT.md` number the same rules alike: 1 size, 2 two parts, 3 signature, 4 trust,
//! 5 JSON, 6 fields, 7 host.
//!
//! ```text
//! file      the two parts: put together, read, told apart        believe   whose documents count
//! error     which rule of which chapter is broken
//! ```

use crate::crypto::sign::Namespace;
use serde::de::DeserializeOwned;
use serde::Serialize;

pub mod believe;
pub mod error;
pub mod file;

pub use believe::{Believe, Believed};
pub use error::{Broken, SealedError};

/// A kind of sealed document.
#[derive(Debug, PartialEq, Eq)]
pub struct Form {
    /// What it is called: `receipt`.
    pub what: &'static str,
    /// Its chapter in `docs/FORMAT.md`.
    pub chapter: char,
    /// What it is signed for.
    pub namespace: Namespace,
    /// What its field `format` says.
    pub format: &'static str,
    /// What to do where another file was named.
    pub name_it: &'static str,
}

impl Form {
    /// An error for what breaks rule `rule` of the chapter.
    pub fn broken(&'static self, rule: u8, broken: Broken) -> SealedError {
        SealedError { form: self, rule, broken }
    }

    /// Fails with rule `rule` unless `holds`: `field` has a value that it may not have, and `what` says why.
    pub fn require(
        &'static self,
        holds: bool,
        rule: u8,
        field: &'static str,
        what: &'static str,
    ) -> Result<(), SealedError> {
        match holds {
            true => Ok(()),
            false => Err(self.broken(rule, Broken::Field { field, what })),
        }
    }
}

/// What a document is to be sealed or read: serde's form of it is exact, and `validate` holds it to the rest.
pub trait Document: Serialize + DeserializeOwned {
    /// Its kind.
    const FORM: &'static Form;
    /// The host that it speaks for: the fingerprint of the key that signs it.
    fn host(&self) -> &str;
    /// The rules from 6 on, but for 7, which is every document's.
    fn validate(&self) -> Result<(), SealedError>;
}

/// What is wrong with a field that is to be text.
pub const NOT_TEXT: &str = "is not 1 to 255 bytes without control characters";
/// What is wrong with a field that is to be a fingerprint.
pub const NOT_A_FINGERPRINT: &str = "is not SHA256: and 43 digits of base64";

/// `raw` as a document may have it: 1 to 255 bytes, no control character.
pub fn text(raw: &str) -> String {
    let mut text = String::new();
    for c in raw.chars().map(|c| if c.is_control() { '?' } else { c }) {
        if text.len() + c.len_utf8() > 255 {
            break;
        }
        text.push(c);
    }
    if text.is_empty() {
        text.push('?');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::is_text;

    #[test]
    fn any_words_become_text() {
        for raw in ["", "plain", "a\u{1b}[2J\n", &"é".repeat(200), &"x".repeat(300)] {
            assert!(is_text(&text(raw)), "{raw:?}");
        }
        assert_eq!(text("a\nb"), "a?b");
        assert_eq!(text(&"é".repeat(200)).len(), 254);
    }
}
