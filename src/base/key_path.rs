//! Names of places in JSON documents.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Bytes of a [`KeyPath`], and keys in one.
const MAX_PATH: usize = 1024;
const MAX_KEYS: usize = 16;

/// Where in a document: keys joined by dots. A dot or a backslash that is part of a key has a backslash before it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyPath {
    text: String,
    keys: Vec<String>,
}

impl KeyPath {
    /// The keys, from the outermost.
    pub fn keys(&self) -> &[String] {
        &self.keys
    }
}

impl TryFrom<String> for KeyPath {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.len() > MAX_PATH || text.chars().any(char::is_control) {
            return Err("a key is at most 1024 bytes, without control characters");
        }
        let mut keys = vec![String::new()];
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            let plain = match c {
                '.' => {
                    keys.push(String::new());
                    continue;
                }
                '\\' => match chars.next() {
                    Some(escaped @ ('.' | '\\')) => escaped,
                    _ => return Err("after a backslash in a key comes a dot or a backslash"),
                },
                plain => plain,
            };
            keys.last_mut().unwrap_or(&mut String::new()).push(plain);
        }
        if keys.len() > MAX_KEYS || keys.iter().any(String::is_empty) {
            return Err("keys are joined by dots, at most 16, none of them empty");
        }
        Ok(KeyPath { text, keys })
    }
}

impl From<KeyPath> for String {
    fn from(path: KeyPath) -> String {
        path.text
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> KeyPath {
        KeyPath::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn paths() {
        assert_eq!(path(r"a.b\.c.\\").keys(), ["a", "b.c", "\\"]);
        for bad in ["", ".", "a.", ".a", "a..b", "a\\b", "a\\", "a\nb", &"a.".repeat(20), &"a".repeat(1025)] {
            assert!(KeyPath::try_from(bad.to_owned()).is_err(), "{bad:?}");
        }
    }
}
