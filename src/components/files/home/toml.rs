//! Strings in TOML: keys in quotes and values, of all four kinds. Comments stay. What is not valid TOML is refused before.

use super::text::{hex, plain, Decoded};
use super::Unfit;
use std::ops::Range;

/// Where the homes stand.
pub fn places(text: &[u8], homes: &[String]) -> Result<Vec<Range<usize>>, Unfit> {
    parses(text).map_err(|why| Unfit::Malformed("TOML", why))?;
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(&c) = text.get(at) {
        match c {
            b'#' => at += text[at..].iter().position(|&c| c == b'\n').unwrap_or(text.len() - at),
            b'"' | b'\'' => {
                let (body, after) = string(text, at, c);
                if c == b'"' && text[body.clone()].contains(&b'\\') {
                    found.extend(decoded(text, &body).places(body.end, homes));
                } else {
                    found.extend(plain(text, &body, homes));
                }
                at = after;
            }
            _ => at += 1,
        }
    }
    Ok(found)
}

/// Whether `text` is TOML; if not, why.
pub fn parses(text: &[u8]) -> Result<(), String> {
    let text = std::str::from_utf8(text).map_err(|e| e.to_string())?;
    let line = |at: usize| text.get(..at).map_or(0, |before| before.matches('\n').count()) + 1;
    toml::from_str::<toml::Table>(text).map(drop).map_err(|e| {
        let at = e.span().map_or_else(String::new, |span| format!(" in line {}", line(span.start)));
        format!("{}{at}", e.message().lines().next().unwrap_or_default())
    })
}

/// What stands between the quotes of the string that begins at `start` with `quote`, and where the text goes on.
fn string(text: &[u8], start: usize, quote: u8) -> (Range<usize>, usize) {
    let is = |at: usize| text.get(at) == Some(&quote);
    let long = is(start + 1) && is(start + 2);
    let body = start + if long { 3 } else { 1 };
    let mut at = body;
    while at < text.len() {
        if quote == b'"' && text[at] == b'\\' {
            at += 2;
        } else if long && is(at) && is(at + 1) && is(at + 2) {
            // Up to two more quotes belong to the string.
            let more = (3..5).take_while(|n| is(at + n)).count();
            return (body..at + more, at + more + 3);
        } else if !long && is(at) {
            return (body..at, at + 1);
        } else {
            at += 1;
        }
    }
    (body.min(text.len())..text.len(), text.len())
}

/// What a string in double quotes stands for.
fn decoded(text: &[u8], body: &Range<usize>) -> Decoded {
    Decoded::of(text, body, |at| {
        let number = |digits: usize| {
            let c = hex(text, at + 2, digits).and_then(char::from_u32);
            (c.unwrap_or(char::REPLACEMENT_CHARACTER), 2 + digits)
        };
        let (c, len) = match text.get(at + 1) {
            Some(b'b') => ('\u{8}', 2),
            Some(b't') => ('\t', 2),
            Some(b'n') => ('\n', 2),
            Some(b'f') => ('\u{c}', 2),
            Some(b'r') => ('\r', 2),
            Some(b'e') => ('\u{1b}', 2),
            Some(b'x') => number(2),
            Some(b'u') => number(4),
            Some(b'U') => number(8),
            // The end of a line is skipped, with the blanks that follow.
            Some(c) if c.is_ascii_whitespace() => {
                let blanks = text[at + 1..body.end].iter().take_while(|c| c.is_ascii_whitespace());
                return (None, 1 + blanks.count());
            }
            Some(&c) => (char::from(c), 2),
            None => ('\\', 1),
        };
        (Some(c), len)
    })
}
