//! Which paths are meant: a home where a word, or an element of a list like `PATH`, begins, up to the end of the word or a `/`.
//!
//! So `/home/ada` and `/home/ada/x` in `bash "/home/ada/x" --log=/home/ada/log` or `PATH=/bin:/home/ada/bin`, and neither
//! `/home/adam` nor `/mnt/home/ada` nor `host:/home/ada`, which is elsewhere.

use memchr::memmem;
use std::ops::Range;

/// Where in `text` one of `homes` is meant, in order.
pub fn places(text: &[u8], homes: &[String]) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for home in homes {
        let at = memmem::find_iter(text, home.as_bytes()).map(|start| start..start + home.len());
        found.extend(at.filter(|at| begins(&text[..at.start]) && ends(&text[at.end..])));
    }
    // Of two homes of which one lies in the other, the longer.
    found.sort_unstable_by(|a, b| (a.start, b.end).cmp(&(b.start, a.end)));
    found.dedup_by_key(|at| at.start);
    found
}

/// Whether a path may begin behind `before`.
fn begins(before: &[u8]) -> bool {
    match before.split_last() {
        None => true,
        Some((b':', list)) => is_list(list),
        Some((b'/', _)) => before.ends_with(b"file://"),
        Some((c, _)) => separates(*c) || b"[{".contains(c),
    }
}

/// Whether what stands before a `:` is an element of a list of paths: a path, a variable, or nothing. `host:/path` and
/// `key:/path` are not.
fn is_list(before: &[u8]) -> bool {
    let start = before.iter().rposition(|c| separates(*c) || *c == b':').map_or(0, |at| at + 1);
    let element = &before[start..];
    match (element.first(), element.last()) {
        (Some(first), Some(last)) => {
            b"~$.".contains(first) || b")}".contains(last) || element.contains(&b'/')
        }
        _ => true,
    }
}

/// What stands between words, of text and of commands.
fn separates(c: u8) -> bool {
    c.is_ascii_whitespace() || b"\"'`=,;|&<>(".contains(&c)
}

/// Whether a home ends before `after`. What climbs out of it again does not lie in it.
fn ends(after: &[u8]) -> bool {
    match after {
        [] => true,
        [b'/', b'.', b'.'] | [b'/', b'.', b'.', b'/', ..] => false,
        [c, ..] => b"/:)]}".contains(c) || c.is_ascii_whitespace() || b"\"'`,;|&<>".contains(c),
    }
}
