//! Rows counted and hashed on the way, whatever their order (`docs/FORMAT.md`, D5).

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

/// How many rows there are, and the sum, modulo 2^128, of the first 16 bytes (big-endian) of the SHA-256 of each row's
/// line of COPY text without its line feed. Two tables with the same rows have the same sum in whatever order they lie.
///
/// It finds what a restore did wrong. It is no seal: who can choose rows can make two tables with one sum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowHash {
    /// Rows.
    pub rows: u64,
    /// The sum.
    pub hash: Sum,
}

/// A sum of hashes: 32 lower-case hex digits.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sum(u128);

impl fmt::Debug for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}
impl From<Sum> for String {
    fn from(sum: Sum) -> String {
        format!("{sum:?}")
    }
}
impl TryFrom<String> for Sum {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let sum = u128::from_str_radix(&text, 16).map(Sum).ok();
        sum.filter(|sum| format!("{sum:?}") == text).ok_or("a sum of hashes is 32 lower-case hex digits")
    }
}

impl RowHash {
    /// The rows of both.
    pub fn and(self, other: RowHash) -> RowHash {
        RowHash { rows: self.rows + other.rows, hash: Sum(self.hash.0.wrapping_add(other.hash.0)) }
    }
}

/// Takes COPY text in pieces of any size.
#[derive(Default)]
pub struct RowHasher {
    done: RowHash,
    line: Sha256,
    /// Whether something of a line came that has not ended.
    open: bool,
}

impl RowHasher {
    /// The next bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            self.line.update(&bytes[..end]);
            let digest: [u8; 32] = self.line.finalize_reset().into();
            let (first, _) = digest.split_at(16);
            let value = first.iter().fold(0, |sum: u128, byte| sum << 8 | u128::from(*byte));
            self.done = self.done.and(RowHash { rows: 1, hash: Sum(value) });
            bytes = &bytes[end + 1..];
            self.open = false;
        }
        if !bytes.is_empty() {
            self.line.update(bytes);
            self.open = true;
        }
    }

    /// What came. `None` if the last line has no end.
    pub fn finish(self) -> Option<RowHash> {
        (!self.open).then_some(self.done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pieces: &[&[u8]]) -> RowHash {
        let mut hasher = RowHasher::default();
        pieces.iter().for_each(|piece| hasher.update(piece));
        hasher.finish().unwrap()
    }

    #[test]
    fn order_and_pieces_do_not_matter_but_rows_do() {
        let rows = of(&[b"a\tb\nc\td\n\n"]);
        assert_eq!(rows, of(&[b"\nc\t", b"d", b"\na\tb", b"\n"]));
        assert_eq!(rows.rows, 3);
        assert_ne!(rows, of(&[b"a\tb\nc\te\n\n"]));
        assert_ne!(of(&[b"a\na\n"]).hash, of(&[b"a\n"]).hash);
        assert_eq!(of(&[b"a\n"]).and(of(&[b"b\n"])), of(&[b"b\na\n"]));
    }

    #[test]
    fn the_sum_is_what_the_format_says() {
        // printf abc | sha256sum: ba7816bf8f01cfea414140de5dae2223...
        assert_eq!(String::from(of(&[b"abc\n"]).hash), "ba7816bf8f01cfea414140de5dae2223");
        assert!(Sum::try_from("BA".to_owned()).is_err());
    }

    #[test]
    fn a_line_without_end_is_none() {
        let mut hasher = RowHasher::default();
        hasher.update(b"a\nb");
        assert_eq!(hasher.finish(), None);
    }
}
