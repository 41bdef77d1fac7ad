//! `.env` files: lines `KEY=value`, as systemd's `EnvironmentFile=`, docker compose and the dotenv libraries read them.
//!
//! They differ in the corners. Here a value is read where they agree; where they do not (an unquoted `#` or backslash,
//! `\n` in double quotes, `$NAME`, something after the closing quote), it is refused as not static.

use super::buffer::SecretBuf;
use super::quote;
use super::shell::{Broken, Lex, Value};
use super::shell_words::is_name;
use crate::base::secret::Secret;
use std::ops::Range;

/// One assignment: offsets of its name and of its value with quotes.
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) value: Value,
    pub(super) at: usize,
    raw: Range<usize>,
}

impl Entry {
    /// The offset behind its value.
    pub(super) fn end(&self) -> usize {
        self.raw.end
    }
}

/// Reads a `.env` file. Lines that assign nothing are passed over.
pub(super) fn parse(src: &[u8]) -> Lex<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut pos = 0;
    while pos < src.len() {
        let end = line_end(src, pos);
        let line = &src[pos..end];
        let indent = line.iter().take_while(|c| c.is_ascii_whitespace()).count();
        let at = pos + indent;
        let name = line[indent..].split(|&c| c == b'=').next().unwrap_or_default();
        let equals = at + name.len();
        let export = name.strip_prefix(b"export ").unwrap_or(name).trim_ascii();
        if equals >= end || !is_name(export) {
            pos = end + 1;
            continue;
        }
        let name = String::from_utf8_lossy(export).into_owned();
        let (value, raw) = value(src, equals + 1)?;
        pos = line_end(src, raw.end) + 1;
        entries.push(Entry { name, value, at, raw });
    }
    Ok(entries)
}

fn line_end(src: &[u8], from: usize) -> usize {
    src[from..].iter().position(|&c| c == b'\n').map_or(src.len(), |len| from + len)
}

fn value(src: &[u8], from: usize) -> Lex<(Value, Range<usize>)> {
    let end = line_end(src, from);
    let blanks = src[from..end].iter().take_while(|c| matches!(c, b' ' | b'\t')).count();
    let start = from + blanks;
    match src.get(start) {
        Some(&quote @ (b'\'' | b'"')) => quoted(src, start, quote),
        _ => {
            let raw = src[start..end].trim_ascii_end();
            let odd = raw.iter().any(|c| b"'\"\\`$#".contains(c) || c.is_ascii_control());
            let value = match odd {
                true => Value::Dynamic("an unquoted special character"),
                false => Value::Static(Secret::from(raw.to_vec())),
            };
            Ok((value, start..start + raw.len()))
        }
    }
}

fn quoted(src: &[u8], open: usize, quote: u8) -> Lex<(Value, Range<usize>)> {
    let mut text = SecretBuf::default();
    let mut dynamic = None;
    let mut pos = open + 1;
    loop {
        let next = src.get(pos + 1).copied();
        match src.get(pos).copied() {
            None => return Err(Broken::at(open, "a quote is not closed")),
            Some(c) if c == quote => break,
            Some(b'\\') if quote == b'"' => match next {
                Some(c @ (b'"' | b'\\' | b'`' | b'$')) => {
                    text.push(c);
                    pos += 1;
                }
                _ => dynamic = Some("a backslash that not all readers understand alike"),
            },
            Some(b'$')
                if quote == b'"' && next.is_some_and(|c| c.is_ascii_alphabetic() || b"_{(".contains(&c)) =>
            {
                dynamic = Some("a variable");
            }
            Some(b'`') if quote == b'"' => dynamic = Some("a command substitution"),
            Some(c) => text.push(c),
        }
        pos += 1;
    }
    let end = pos + 1;
    if !src[end..line_end(src, end)].trim_ascii().is_empty() {
        dynamic = Some("text after the closing quote");
    }
    let value = dynamic.map_or_else(|| Value::Static(text.into_secret()), Value::Dynamic);
    Ok((value, open..end))
}

/// `src` with each of `values` in place: every assignment of the name gets the new value, a new name goes to the end,
/// all else stays byte for byte.
pub(super) fn merge(src: &[u8], values: &[(&str, &Secret)]) -> Lex<Secret> {
    let entries = parse(src)?;
    let mut out = SecretBuf::with_capacity(src.len() + 64);
    let mut copied = 0;
    for entry in &entries {
        let Some((_, value)) = values.iter().find(|(name, _)| *name == entry.name) else { continue };
        if matches!(&entry.value, Value::Static(old) if old == *value) {
            continue;
        }
        out.extend(&src[copied..entry.raw.start]);
        quote::dotenv(value.expose(), &mut out);
        copied = match entry.value {
            Value::Static(_) => entry.raw.end,
            // What follows the value on its line is part of what could not be read.
            Value::Dynamic(_) => line_end(src, entry.raw.end),
        };
    }
    out.extend(&src[copied..]);
    for (name, value) in values {
        if entries.iter().any(|entry| entry.name == *name) {
            continue;
        }
        if out.bytes().last().is_some_and(|&c| c != b'\n') {
            out.push(b'\n');
        }
        out.extend(name.as_bytes());
        out.push(b'=');
        quote::dotenv(value.expose(), &mut out);
        out.push(b'\n');
    }
    Ok(out.into_secret())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(src: &[u8], name: &str) -> Option<Vec<u8>> {
        match parse(src).unwrap().into_iter().rev().find(|e| e.name == name)?.value {
            Value::Static(value) => Some(value.expose().to_vec()),
            Value::Dynamic(_) => None,
        }
    }

    #[test]
    fn values_on_which_readers_agree() {
        let src = b"# c\nA=1\nexport B = 'x y'\n ; no\nC=\"a\\\"b\\\\n\\$\nz\"\nD=\nE=p@ss:w/d \r\nA=2\n";
        for (name, value) in
            [("A", &b"2"[..]), ("B", b"x y"), ("C", b"a\"b\\n$\nz"), ("D", b""), ("E", b"p@ss:w/d")]
        {
            assert_eq!(read(src, name).as_deref(), Some(value), "{name}");
        }
    }

    #[test]
    fn values_on_which_they_do_not() {
        for src in [
            "A=a#b",
            "A=a\\b",
            "A=\"a\\nb\"",
            "A=$HOME",
            "A=\"${HOME}\"",
            "A=\"`id`\"",
            "A='a'b",
            "A=\"a\" # c",
            "A=a'b'",
        ] {
            assert!(matches!(parse(src.as_bytes()).unwrap()[0].value, Value::Dynamic(_)), "{src}");
        }
        assert!(parse(b"A='x").is_err());
    }

    #[test]
    fn a_merge_changes_only_its_own() {
        let secret = |s: &str| Secret::from(s.as_bytes().to_vec());
        let (a, b, c) = (secret("new 'v\" $x`\\"), secret("b"), secret("line\nline"));
        let src = b"# keep\nexport A=old\nX=$HOME # odd\nB='b'\nA=\"older\"";
        let merged = merge(src, &[("A", &a), ("B", &b), ("C", &c)]).unwrap();
        let text = String::from_utf8(merged.expose().to_vec()).unwrap();
        assert!(text.starts_with("# keep\nexport A=\"new 'v\\\""), "{text}");
        assert!(text.contains("\nX=$HOME # odd\nB='b'\nA=\""), "{text}");
        for (name, value) in [("A", &a), ("B", &b), ("C", &c)] {
            assert_eq!(read(merged.expose(), name).as_deref(), Some(value.expose()));
        }
        assert_eq!(merge(merged.expose(), &[("A", &a), ("B", &b), ("C", &c)]).unwrap(), merged);
    }
}
