//! Strings in JSON, keys and values alike. What is not one valid document is refused before; so the search for strings need not be.

use super::text::{hex, plain, Decoded};
use super::Unfit;
use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

/// What the search meets.
enum Token {
    /// An object or an array begins.
    Open,
    /// It ends.
    Close,
    /// A key of an object: what stands between its quotes.
    Key(Range<usize>),
    /// A string that is a value.
    Value(Range<usize>),
}

/// Where the homes stand.
pub fn places(text: &[u8], homes: &[String]) -> Result<Vec<Range<usize>>, Unfit> {
    let bad = |why: String| Unfit::Malformed("JSON", why);
    let whole = std::str::from_utf8(text).map_err(|e| bad(e.to_string()))?;
    serde_json::from_str::<serde::de::IgnoredAny>(whole).map_err(|e| bad(e.to_string()))?;
    let mut found = Vec::new();
    tokens(text, &mut |token| {
        let (Token::Key(body) | Token::Value(body)) = token else { return };
        if text[body.clone()].contains(&b'\\') {
            found.extend(decoded(text, &body).places(body.end, homes));
        } else {
            found.extend(plain(text, &body, homes));
        }
    });
    Ok(found)
}

/// How many keys in a valid document stand in an object that has the same key before.
pub fn repeats(text: &[u8]) -> usize {
    // A document may be little but keys: those without escapes are not copied.
    let mut seen: Vec<HashSet<Cow<'_, [u8]>>> = Vec::new();
    let mut repeats = 0;
    tokens(text, &mut |token| match token {
        Token::Open => seen.push(HashSet::new()),
        Token::Close => drop(seen.pop()),
        Token::Key(body) => {
            let key = match text[body.clone()].contains(&b'\\') {
                true => Cow::Owned(decoded(text, &body).into_bytes()),
                false => Cow::Borrowed(&text[body]),
            };
            let fresh = seen.last_mut().is_none_or(|keys| keys.insert(key));
            repeats += usize::from(!fresh);
        }
        Token::Value(_) => {}
    });
    repeats
}

/// Goes through a valid document.
fn tokens(text: &[u8], each: &mut dyn FnMut(Token)) {
    // Of each object or array that is open: whether it is an object.
    let mut open: Vec<bool> = Vec::new();
    let mut key = false;
    let mut at = 0;
    while let Some(&c) = text.get(at) {
        at += 1;
        match c {
            b'{' | b'[' => {
                open.push(c == b'{');
                key = c == b'{';
                each(Token::Open);
            }
            b'}' | b']' => {
                open.pop();
                key = false;
                each(Token::Close);
            }
            b',' => key = open.last() == Some(&true),
            b'"' => {
                let start = at;
                while text.get(at).is_some_and(|&c| c != b'"') {
                    at += if text[at] == b'\\' { 2 } else { 1 };
                }
                let body = start..at.min(text.len());
                at += 1;
                each(if key { Token::Key(body) } else { Token::Value(body) });
                key = false;
            }
            _ => {}
        }
    }
}

/// What a string stands for.
fn decoded(text: &[u8], body: &Range<usize>) -> Decoded {
    Decoded::of(text, body, |at| {
        let (c, len) = match text.get(at + 1) {
            Some(b'n') => ('\n', 2),
            Some(b't') => ('\t', 2),
            Some(b'r') => ('\r', 2),
            Some(b'b') => ('\u{8}', 2),
            Some(b'f') => ('\u{c}', 2),
            Some(b'u') => unicode(text, at),
            Some(&c) => (char::from(c), 2),
            None => ('\\', 1),
        };
        (Some(c), len)
    })
}

/// The character of a `\uXXXX`, or of two that are a surrogate pair, and its length.
fn unicode(text: &[u8], at: usize) -> (char, usize) {
    let Some(first) = hex(text, at + 2, 4) else { return (char::REPLACEMENT_CHARACTER, 2) };
    if let (0xd800..=0xdbff, Some(b"\\u"), Some(second @ 0xdc00..=0xdfff)) =
        (first, text.get(at + 6..at + 8), hex(text, at + 8, 4))
    {
        let both = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        return (char::from_u32(both).unwrap_or(char::REPLACEMENT_CHARACTER), 12);
    }
    (char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER), 6)
}
