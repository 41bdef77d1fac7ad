//! JSON as text: where each value of a document stands in it. For documents of which a part stays as it is, and for questions
//! about one value: nothing is made of the others, so that no secret among them is left behind in memory.

use crate::base::key_path::KeyPath;
use serde::de::IgnoredAny;
use std::collections::{HashMap, HashSet};
use std::fmt;
use zeroize::Zeroizing;

/// Nesting of a document.
pub const MAX_DEPTH: usize = 64;

/// Why bytes are not such a document. Nothing of its values is in it.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// Not JSON in UTF-8.
    #[error("it is not JSON: {0}")]
    Syntax(String),
    /// Who reads it may take the one or the other.
    #[error("the key {0:?} is there twice")]
    Repeated(String),
    /// It is not for anybody to read.
    #[error("it is nested deeper than {MAX_DEPTH}")]
    TooDeep,
}

/// One value of a document: its bytes, without white space around them.
#[derive(Clone, Copy)]
pub struct Node<'t>(&'t [u8]);

/// A member of an object, and what is written around it.
#[derive(Clone)]
pub struct Member<'t> {
    /// Its key.
    pub key: String,
    /// White space before the key.
    pub lead: &'t [u8],
    /// From the key's quote to the value.
    pub name: &'t [u8],
    /// Its value.
    pub value: Node<'t>,
    /// White space after the value.
    pub trail: &'t [u8],
}

/// Reads a document: JSON, no key twice in an object, nested at most [`MAX_DEPTH`] deep.
pub fn document(bytes: &[u8]) -> Result<Node<'_>, TextError> {
    std::str::from_utf8(bytes).map_err(|_| TextError::Syntax("it is not UTF-8".to_owned()))?;
    serde_json::from_slice::<IgnoredAny>(bytes).map_err(|error| TextError::Syntax(error.to_string()))?;
    let node = Node(bytes.trim_ascii());
    node.check(0)?;
    Ok(node)
}

impl<'t> Node<'t> {
    /// The empty object.
    pub const EMPTY: Node<'static> = Node(b"{}");

    /// As it is written.
    pub fn text(&self) -> &'t [u8] {
        self.0
    }

    /// The members of an object, in their order. `None` if it is none.
    pub fn members(&self) -> Option<Vec<Member<'t>>> {
        let mut members = Vec::new();
        for (start, end) in self.parts(b'{')? {
            let part = &self.0[start..end];
            let key_at = after_space(part, 0);
            let key_end = end_of(part, key_at);
            let value_at = after_space(part, after_space(part, key_end) + 1);
            let value_end = end_of(part, value_at);
            members.push(Member {
                key: string(&part[key_at..key_end]).unwrap_or_default().to_string(),
                lead: &part[..key_at],
                name: &part[key_at..value_at],
                value: Node(&part[value_at..value_end]),
                trail: &part[value_end..],
            });
        }
        Some(members)
    }

    /// The elements of an array. `None` if it is none.
    pub fn elements(&self) -> Option<Vec<Node<'t>>> {
        Some(
            self.parts(b'[')?.into_iter().map(|(start, end)| Node(self.0[start..end].trim_ascii())).collect(),
        )
    }

    /// The text that a string stands for. `None` if it is none, or no text (half of a surrogate pair).
    pub fn string(&self) -> Option<Zeroizing<String>> {
        string(self.0)
    }

    /// The value at `path`: through objects by key, through arrays by number.
    pub fn at(&self, path: &KeyPath) -> Option<Node<'t>> {
        path.keys().iter().try_fold(*self, |node, key| match node.members() {
            Some(members) => members.into_iter().find(|member| member.key == *key).map(|member| member.value),
            None => node.elements()?.get(key.parse::<usize>().ok()?).copied(),
        })
    }

    /// Whether both say the same, however it is written: the members of objects in any order, numbers by their exact value.
    pub fn same(&self, other: &Node<'_>) -> bool {
        if self.0 == other.0 {
            return true;
        }
        if let (Some(mine), Some(theirs)) = (self.members(), other.members()) {
            let theirs: HashMap<&str, Node<'_>> = theirs.iter().map(|m| (m.key.as_str(), m.value)).collect();
            let has = |m: &Member<'_>| theirs.get(m.key.as_str()).is_some_and(|value| m.value.same(value));
            return mine.len() == theirs.len() && mine.iter().all(has);
        }
        match (self.elements(), other.elements()) {
            (Some(mine), Some(theirs)) => {
                mine.len() == theirs.len() && mine.iter().zip(&theirs).all(|(a, b)| a.same(b))
            }
            (None, None) if self.kind() == "a number" && other.kind() == "a number" => {
                decimal(self.0).is_some_and(|value| Some(value) == decimal(other.0))
            }
            (None, None) => self.string().is_some_and(|text| Some(text) == other.string()),
            _ => false,
        }
    }

    /// What stands between the commas of an object or an array, with the white space around it.
    fn parts(&self, open: u8) -> Option<Vec<(usize, usize)>> {
        if self.0.first() != Some(&open) {
            return None;
        }
        let close = self.0.len() - 1;
        let mut parts = Vec::new();
        let mut start = 1;
        let mut at = after_space(self.0, 1);
        while at < close {
            at = end_of(self.0, at);
            at = after_space(self.0, at);
            match self.0[at] {
                b':' => at = after_space(self.0, at + 1),
                _ => {
                    parts.push((start, at));
                    start = at + 1;
                    at = after_space(self.0, start.min(close));
                }
            }
        }
        Some(parts)
    }

    fn check(&self, depth: usize) -> Result<(), TextError> {
        let (members, elements) = (self.members(), self.elements());
        if depth >= MAX_DEPTH && (members.is_some() || elements.is_some()) {
            return Err(TextError::TooDeep);
        }
        let mut keys = HashSet::new();
        for Member { key, name, value, .. } in members.unwrap_or_default() {
            if string(&name[..end_of(name, 0)]).is_none() {
                return Err(TextError::Syntax("a key is not text".to_owned()));
            }
            value.check(depth + 1)?;
            if let Some(twice) = keys.replace(key) {
                return Err(TextError::Repeated(twice));
            }
        }
        elements.unwrap_or_default().iter().try_for_each(|element| element.check(depth + 1))
    }
}

/// Says nothing of the value.
impl fmt::Debug for Node<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}

impl Node<'_> {
    /// Its type, as people say it.
    pub fn kind(&self) -> &'static str {
        match self.0.first() {
            Some(b'{') => "an object",
            Some(b'[') => "a list",
            Some(b'"') => "a text",
            Some(b't' | b'f') => "a truth value",
            Some(b'n') => "null",
            _ => "a number",
        }
    }
}

fn string(text: &[u8]) -> Option<Zeroizing<String>> {
    text.starts_with(b"\"").then(|| serde_json::from_slice(text).ok().map(Zeroizing::new)).flatten()
}

/// The exact value of a number: its sign, its digits without zeros around them, and the power of ten of the last one.
fn decimal(number: &[u8]) -> Option<(bool, String, i64)> {
    let text = std::str::from_utf8(number).ok()?;
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (digits, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    let significant = digits.trim_end_matches('0');
    let zeros = (digits.len() - significant.len()) as i64 - fraction.len() as i64;
    let exponent = exponent.parse::<i64>().ok()?.checked_add(zeros)?;
    Some((negative, significant.to_owned(), if significant.is_empty() { 0 } else { exponent }))
}

fn after_space(text: &[u8], from: usize) -> usize {
    text[from..].iter().position(|c| !b" \t\r\n".contains(c)).map_or(text.len(), |n| from + n)
}

/// Where the value ends that begins at `from`.
fn end_of(text: &[u8], from: usize) -> usize {
    let mut depth = 0usize;
    let mut at = from;
    while at < text.len() {
        match text[at] {
            b'"' => {
                at += 1;
                while text[at] != b'"' {
                    at += if text[at] == b'\\' { 2 } else { 1 };
                }
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            // A number or a word, one byte after the other.
            _ if depth == 0 => {
                let ends = |c: &u8| b",]}: \t\r\n".contains(c);
                return text[at..].iter().position(ends).map_or(text.len(), |n| at + n);
            }
            _ => {}
        }
        at += 1;
        if depth == 0 {
            break;
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> KeyPath {
        KeyPath::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn values_stand_where_they_are() {
        let text = br#" { "a" : [ 1 ,{"b":"}\"]"} , [] ], "c.d":{"e\\":-1.5e3},"f":true
} "#;
        let node = document(text).unwrap();
        let keys: Vec<String> = node.members().unwrap().into_iter().map(|member| member.key).collect();
        assert_eq!(keys, ["a", "c.d", "f"]);
        let at =
            |text: &str| node.at(&path(text)).map(|node| String::from_utf8(node.text().to_vec()).unwrap());
        assert_eq!(at("a").unwrap(), r#"[ 1 ,{"b":"}\"]"} , [] ]"#);
        assert_eq!(at("a.1.b").unwrap(), r#""}\"]""#);
        assert_eq!(at("a.2").unwrap(), "[]");
        assert_eq!(at(r"c\.d.e\\").unwrap(), "-1.5e3");
        assert_eq!(at("f").unwrap(), "true");
        assert_eq!((at("a.3"), at("f.x"), at("c"), at("a.b")), (None, None, None, None));
        for scalar in ["1", "\"x\"", "null", "true", "[]", "{}", " {  } ", "[1 ]", "{\"a\":{}}"] {
            document(scalar.as_bytes()).unwrap();
        }
    }

    /// Every document that serde_json can write is taken apart and put together again.
    #[test]
    fn members_are_all_there_is() {
        for text in [
            "{}",
            "{ }",
            "{\"a\":1}",
            "{\n  \"a\": 1 ,\n  \"b\": [1, {\"c\": null}]\n}",
            "{\"\": \"\"}",
            "{\"x\":\"\\\\\",\"y\":\"\\\"\"}",
        ] {
            let node = document(text.as_bytes()).unwrap();
            let members = node.members().unwrap();
            let parts: Vec<Vec<u8>> =
                members.iter().map(|m| [m.lead, m.name, m.value.text(), m.trail].concat()).collect();
            if !members.is_empty() {
                assert_eq!(format!("{{{}}}", String::from_utf8(parts.join(&b","[..])).unwrap()), text);
            }
        }
    }

    #[test]
    fn what_is_no_document() {
        for (text, why) in [
            (&b""[..], "not JSON: EOF"),
            (b"{\"a\":1", "not JSON: EOF"),
            (b"{\"a\":01}", "not JSON"),
            (b"{'a':1}", "not JSON"),
            (b"{\"a\":1,}", "not JSON"),
            (b"{} {}", "not JSON: trailing"),
            (b"\xef\xbb\xbf{}", "not JSON"),
            (b"{\"a\":\"\xff\"}", "not UTF-8"),
            (b"{\"a\":1,\"\\u0061\":2}", "the key \"a\" is there twice"),
            (b"[{\"b\":{\"c\":1,\"c\":1}}]", "the key \"c\" is there twice"),
            (b"{\"\\ud800\":1}", "a key is not text"),
        ] {
            let error = document(text).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        let nested = |n: usize| format!("{}1{}", "[".repeat(n), "]".repeat(n));
        document(nested(MAX_DEPTH).as_bytes()).unwrap();
        for depth in [MAX_DEPTH + 1, 1_000_000] {
            assert!(matches!(document(nested(depth).as_bytes()), Err(TextError::TooDeep)));
        }
        // What a program cut in half is a string all the same.
        let half = document(b"[\"\\ud83d\", \"\\ud83d\"]").unwrap().elements().unwrap();
        assert!(half[0].same(&half[1]) && half[0].string().is_none());
    }

    #[test]
    fn the_same_in_other_words() {
        let same = |a: &str, b: &str| document(a.as_bytes()).unwrap().same(&document(b.as_bytes()).unwrap());
        assert!(same(r#"{"a":1,"b":[true,"\u0061"]}"#, r#"{ "b": [ true , "a" ], "a": 1 }"#));
        for (a, b) in [
            ("1", "1.0"),
            ("1.2300", "1.23"),
            ("1200", "12e2"),
            ("0.0012", "1.2E-3"),
            ("0", "0.00e7"),
            ("-1e+2", "-100"),
            ("1e99999999999999999999", "1e99999999999999999999"),
        ] {
            assert!(same(a, b) && same(b, a), "{a} {b}");
        }
        for (a, b) in [
            ("1", "-1"),
            ("1", "10"),
            ("0.1", "0.10000000000000000001"),
            ("1e99999999999999999999", "1e99999999999999999998"),
            ("1", "\"1\""),
            ("12345678901234567890123", "12345678901234567890124"),
            ("[1,2]", "[2,1]"),
            ("{}", "[]"),
            (r#"{"a":1}"#, r#"{"a":1,"b":1}"#),
            (r#""a""#, r#""b""#),
            ("null", "\"\""),
        ] {
            assert!(!same(a, b) && !same(b, a), "{a} {b}");
        }
    }
}
