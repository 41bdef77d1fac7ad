//! JSON as kbpack reads it: strict. What serde leaves open is closed here before it sees a byte.

use crate::base::limits::{MAX_JSON_DEPTH, MAX_JSON_VALUES};
use serde::de::{DeserializeOwned, DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;

/// Reads one JSON document into `T`.
///
/// Refused: repeated keys anywhere (also inside free-form values), nesting deeper than
/// [`MAX_JSON_DEPTH`], more than [`MAX_JSON_VALUES`] values (two bytes can be a value that takes 32 in memory),
/// anything but white space after the document. `T` itself should deny unknown fields.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, serde_json::Error> {
    let mut scan = serde_json::Deserializer::from_slice(bytes);
    Strict { depth: 0, left: &Cell::new(MAX_JSON_VALUES) }.deserialize(&mut scan)?;
    scan.end()?;
    serde_json::from_slice(bytes)
}

/// For `deserialize_with`: a field that may be absent, but not `null`; one spelling for each meaning.
pub fn set<'de, T: Deserialize<'de>, D: Deserializer<'de>>(d: D) -> Result<Option<T>, D::Error> {
    T::deserialize(d).map(Some)
}

/// For `deserialize_with`: a list that is absent where it would be empty.
pub fn some<'de, T: Deserialize<'de>, D: Deserializer<'de>>(d: D) -> Result<Vec<T>, D::Error> {
    let list = Vec::deserialize(d)?;
    match list.is_empty() {
        true => Err(D::Error::custom("an empty list where none should stand")),
        false => Ok(list),
    }
}

/// For `skip_serializing_if`: a number that is absent where it would be zero.
pub fn is_zero(number: &(impl Default + PartialEq)) -> bool {
    *number == Default::default()
}

/// Visits a value and keeps nothing of it but the rules.
#[derive(Clone, Copy)]
struct Strict<'c> {
    depth: usize,
    /// How many more values there may be.
    left: &'c Cell<usize>,
}

impl Strict<'_> {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth >= MAX_JSON_DEPTH {
            return Err(E::custom(format_args!("nested deeper than {MAX_JSON_DEPTH}")));
        }
        Ok(Strict { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        let left = self.left.get().checked_sub(1);
        let left =
            left.ok_or_else(|| D::Error::custom(format_args!("more than {MAX_JSON_VALUES} values")))?;
        self.left.set(left);
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
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
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(self.deeper()?)?.is_some() {}
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if seen.contains(&key) {
                return Err(A::Error::custom(format_args!("the key {key:?} is repeated")));
            }
            map.next_value_seed(self.deeper()?)?;
            seen.insert(key);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn repeated_keys_are_refused_at_any_depth() {
        assert!(from_slice::<Value>(br#"{"a":1,"b":{"c":1}}"#).is_ok());
        assert!(from_slice::<Value>(br#"{"a":1,"a":1}"#).is_err());
        assert!(from_slice::<Value>(br#"{"a":[{"b":{"c":1,"c":2}}]}"#).is_err());
        assert!(from_slice::<Value>(br#"{"a":1,"\u0061":1}"#).is_err());
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(from_slice::<Value>(nested(MAX_JSON_DEPTH).as_bytes()).is_ok());
        assert!(from_slice::<Value>(nested(MAX_JSON_DEPTH + 1).as_bytes()).is_err());
        assert!(from_slice::<Value>(nested(1_000_000).as_bytes()).is_err());
    }

    #[test]
    fn values_are_counted() {
        let list = |n: usize| format!("[{}0]", "0,".repeat(n - 2));
        assert!(from_slice::<Value>(list(MAX_JSON_VALUES).as_bytes()).is_ok());
        let error = from_slice::<Value>(list(MAX_JSON_VALUES + 1).as_bytes()).unwrap_err();
        assert!(error.to_string().contains("more than 2000000 values"), "{error}");
    }

    #[test]
    fn nothing_may_follow() {
        assert!(from_slice::<Value>(b"{} \n").is_ok());
        assert!(from_slice::<Value>(b"{}{}").is_err());
        assert!(from_slice::<Value>(b"{}\0").is_err());
    }
}
