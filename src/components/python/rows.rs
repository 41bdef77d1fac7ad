//! The streams `installed` and `wheels`: one JSON object a line.

use super::names::{is_name, is_version, normal};
use super::wheel::WheelName;
use crate::base::digest::Digest;
use crate::base::json;
use crate::base::limits::MAX_LIST_LINE;
use crate::component::{Error, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Read};

/// Rows of one list.
const MAX_ROWS: u64 = 10_000;

/// A distribution and its version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// As it says it.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// A wheel in the bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WheelRow {
    /// The file's name.
    pub file: String,
    /// Its bytes.
    pub size: u64,
    /// Of its content.
    pub sha256: Digest,
}

/// The lines.
pub fn write<T: Serialize>(rows: &[T]) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    for row in rows {
        serde_json::to_writer(&mut text, row).map_err(|e| Error::io("a list", e.into()))?;
        text.push(b'\n');
    }
    Ok(text)
}

/// Reads `rows` lines. Rule V4.
fn read<T: DeserializeOwned>(of: &str, from: impl Read, rows: u64) -> Result<Vec<T>> {
    let wrong = |what: &dyn std::fmt::Display| Error::rule("V4", format_args!("stream {of}: {what}"));
    if rows > MAX_ROWS {
        return Err(wrong(&format_args!("more than {MAX_ROWS} rows")));
    }
    let mut lines = BufReader::new(from);
    let mut all = Vec::new();
    loop {
        let mut line = Vec::new();
        let limited = (&mut lines).take(MAX_LIST_LINE as u64 + 1).read_until(b'\n', &mut line);
        limited.map_err(|e| Error::io(format_args!("stream {of}"), e))?;
        match line.pop() {
            None if all.len() as u64 == rows => return Ok(all),
            None => return Err(wrong(&"it has not the rows that the facts call for")),
            Some(b'\n') => all.push(json::from_slice(&line).map_err(|e| wrong(&e))?),
            Some(_) => return Err(wrong(&"a line that is too long or has no end")),
        }
        if all.len() as u64 > rows {
            return Err(wrong(&"it has not the rows that the facts call for"));
        }
    }
}

/// Reads the stream `installed`.
pub fn read_pins(from: impl Read, rows: u64) -> Result<Vec<Pin>> {
    let pins: Vec<Pin> = read("installed", from, rows)?;
    let valid = pins.iter().all(|pin| is_name(&pin.name) && is_version(&pin.version));
    let ordered = pins.windows(2).all(|two| normal(&two[0].name) < normal(&two[1].name));
    match valid && ordered {
        true => Ok(pins),
        false => Err(Error::rule("V4", "stream installed: names and versions, each once and in order")),
    }
}

/// Reads the stream `wheels`.
pub fn read_wheels(from: impl Read, rows: u64) -> Result<Vec<(WheelName, WheelRow)>> {
    let rows: Vec<WheelRow> = read("wheels", from, rows)?;
    if !rows.windows(2).all(|two| two[0].file < two[1].file) {
        return Err(Error::rule("V4", "stream wheels: each file once and in order"));
    }
    let name = |row: WheelRow| {
        let name = WheelName::new(&row.file);
        let wrong = || Error::rule("V5", format_args!("{:?} is not the name of a wheel", row.file));
        name.map(|name| (name, row.clone())).ok_or_else(wrong)
    };
    rows.into_iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_held_to_their_rules() {
        let pins = [("a", "1"), ("B-c", "2.0+x")];
        let pins = pins.map(|(name, version)| Pin { name: name.to_owned(), version: version.to_owned() });
        let text = write(&pins).unwrap();
        assert_eq!(read_pins(&text[..], 2).unwrap(), pins);
        for (bad, rows) in [
            (&b"{\"name\":\"a\",\"version\":\"1\"}"[..], 1),
            (b"{\"name\":\"a\",\"version\":\"1\"}\n", 2),
            (b"{\"name\":\"a\",\"version\":\"1\"}\n\n", 1),
            (b"{\"name\":\"a\",\"version\":\"1 -e x\"}\n", 1),
            (b"{\"name\":\"a\",\"version\":\"1\",\"more\":1}\n", 1),
            (b"{\"name\":\"b\",\"version\":\"1\"}\n{\"name\":\"a\",\"version\":\"1\"}\n", 2),
            (b"{\"name\":\"a-b\",\"version\":\"1\"}\n{\"name\":\"A_b\",\"version\":\"1\"}\n", 2),
            (b"", MAX_ROWS + 1),
        ] {
            assert!(read_pins(bad, rows).is_err(), "{}", String::from_utf8_lossy(bad));
        }
        let digest = Digest::of(b"");
        let wheel = |file: &str| format!("{{\"file\":\"{file}\",\"size\":1,\"sha256\":\"{digest}\"}}\n");
        assert_eq!(read_wheels(wheel("x-1-py3-none-any.whl").as_bytes(), 1).unwrap().len(), 1);
        for bad in ["../x-1-py3-none-any.whl", "/x-1-py3-none-any.whl", "x.whl", ""] {
            let error = read_wheels(wheel(bad).as_bytes(), 1).unwrap_err();
            assert!(error.to_string().contains("V5"), "{error}");
        }
    }
}
