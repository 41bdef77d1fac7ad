//! Names of components and of their streams: short, printable, safe in a path, a log and a terminal.

use serde::{de, Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A component's name: 1 to 64 of `a-z 0-9 - _`, beginning with a letter or digit.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ComponentName(String);

/// A stream's name inside its component: segments of `a-z 0-9 - _ .` joined by `/`, 1 to 128 bytes;
/// no segment is empty, `.` or `..`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamName(String);

fn plain(c: u8) -> bool {
    matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_')
}

impl ComponentName {
    /// Takes `text` if it is a valid name.
    pub fn new(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let ok = (1..=64).contains(&bytes.len())
            && bytes.iter().all(|&c| plain(c))
            && !matches!(bytes[0], b'-' | b'_');
        ok.then(|| ComponentName(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ComponentName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        ComponentName::new(text).ok_or_else(|| "not a component's name".to_owned())
    }
}

impl StreamName {
    /// Takes `text` if it is a valid name.
    pub fn new(text: &str) -> Option<Self> {
        let segment =
            |s: &str| !s.is_empty() && s != "." && s != ".." && s.bytes().all(|c| plain(c) || c == b'.');
        ((1..=128).contains(&text.len()) && text.split('/').all(segment)).then(|| StreamName(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! text_newtype {
    ($type:ty, $what:literal) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = String::deserialize(d)?;
                Self::new(&text).ok_or_else(|| de::Error::custom(concat!("not a valid ", $what)))
            }
        }
    };
}
text_newtype!(ComponentName, "component name (1 to 64 of a-z 0-9 - _)");
text_newtype!(StreamName, "stream name (segments of a-z 0-9 - _ . joined by /)");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn component_names() {
        for good in ["a", "claude-config", "0x", &"a".repeat(64)] {
            assert!(ComponentName::new(good).is_some(), "{good}");
        }
        for bad in ["", "-a", "_a", "A", "a b", "a/b", "..", "a\u{1b}[2J", "é", &"a".repeat(65)] {
            assert!(ComponentName::new(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn stream_names() {
        for good in ["index", "tree/000001", "a.b/c_d"] {
            assert!(StreamName::new(good).is_some(), "{good}");
        }
        for bad in ["", "/a", "a/", "a//b", "../a", "a/./b", "A", "a\n"] {
            assert!(StreamName::new(bad).is_none(), "{bad:?}");
        }
    }
}
