//! The secrets inside a secret file: if it is JSON, the strings whose key says so. A token that was copied out of
//! `credentials.json` into a log is found by them, and would not be by the whole file.

use crate::base::secret::Secret;
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::Deserializer;
use std::fmt;

/// The strings of a JSON document that are secrets by their key, with that key. Nothing if it is not JSON.
pub(super) fn in_json(bytes: &[u8]) -> Vec<(String, Secret)> {
    let mut found = Vec::new();
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let walk = Walk { key: "", found: &mut found };
    match walk.deserialize(&mut json).and_then(|()| json.end()) {
        Ok(()) => found,
        Err(_) => Vec::new(),
    }
}

fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    ["token", "secret", "password", "key", "credential"].iter().any(|word| key.contains(word))
}

struct Walk<'a> {
    key: &'a str,
    found: &'a mut Vec<(String, Secret)>,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        if is_secret(self.key) && !text.is_empty() {
            self.found.push((self.key.to_owned(), Secret::from(text.as_bytes().to_vec())));
        }
        Ok(())
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(Walk { key: self.key, found: self.found })?.is_some() {}
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            map.next_value_seed(Walk { key: &key, found: self.found })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_tell() {
        let found = in_json(
            br#"{"a":{"accessToken":"t1","scopes":["x"],"expiresAt":1},"apiKeys":["k1","k2"],"n":null}"#,
        );
        let found: Vec<_> = found.iter().map(|(key, value)| (key.as_str(), value.expose())).collect();
        assert_eq!(found, [("accessToken", &b"t1"[..]), ("apiKeys", b"k1"), ("apiKeys", b"k2")]);
        assert!(in_json(b"token=x").is_empty() && in_json(b"{\"token\":\"x\"").is_empty());
    }
}
