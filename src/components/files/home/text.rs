//! A string as it stands in a file, with escapes in it, and what it stands for.

use super::word;
use std::ops::Range;

/// What a string stands for, and from which byte of the file each byte of it comes.
#[derive(Default)]
pub struct Decoded {
    bytes: Vec<u8>,
    from: Vec<u32>,
}

impl Decoded {
    /// Of the string that is `body` in `text`. `escape` tells what character the backslash at a place, and what follows it,
    /// stand for, if any, and how many bytes that is.
    pub fn of(text: &[u8], body: &Range<usize>, escape: impl Fn(usize) -> (Option<char>, usize)) -> Decoded {
        let mut out = Decoded::default();
        let mut at = body.start;
        while at < body.end {
            if text[at] != b'\\' {
                out.byte(text[at], at);
                at += 1;
                continue;
            }
            let (c, len) = escape(at);
            c.into_iter().for_each(|c| out.char(c, at));
            at += len;
        }
        out
    }

    /// Adds the byte that stands at `at` as it is.
    fn byte(&mut self, byte: u8, at: usize) {
        self.bytes.push(byte);
        // Files that are rewritten are far below 4 GiB.
        self.from.push(at as u32);
    }

    /// Adds the character that an escape at `at` stands for.
    fn char(&mut self, c: char, at: usize) {
        c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| self.byte(byte, at));
    }

    /// The bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Where in the file the homes in this string stand; it ends there before `end`.
    pub fn places(&self, end: usize, homes: &[String]) -> impl Iterator<Item = Range<usize>> + '_ {
        let at = move |i: usize| self.from.get(i).map_or(end, |&at| at as usize);
        word::places(&self.bytes, homes).into_iter().map(move |found| at(found.start)..at(found.end))
    }
}

/// Where in the file the homes stand in a string without escapes, `body` of `text`.
pub fn plain<'t>(
    text: &'t [u8],
    body: &Range<usize>,
    homes: &[String],
) -> impl Iterator<Item = Range<usize>> + 't {
    let start = body.start;
    word::places(&text[body.clone()], homes).into_iter().map(move |at| start + at.start..start + at.end)
}

/// The number of `digits` hex digits at `at`.
pub fn hex(text: &[u8], at: usize, digits: usize) -> Option<u32> {
    let digits = std::str::from_utf8(text.get(at..at.checked_add(digits)?)?).ok()?;
    u32::from_str_radix(digits, 16).ok()
}
