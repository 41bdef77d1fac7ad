//! The head of a git bundle, version 2 (gitformat-bundle(5)): what it holds, before the pack.

use super::names::{self, Id};
use crate::component::{Error, Result};
use std::collections::BTreeMap;
use std::io::{BufRead, Read};

const SIGNATURE: &str = "# v2 git bundle\n";
/// The longest line: an id and a ref's name.
const MAX_LINE: u64 = 1024;
/// The most refs.
const MAX_REFS: usize = 1_000_000;

/// The longest comment, in bytes.
const MAX_COMMENT: usize = 200;

/// What stands before the pack.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Header {
    /// Commits that are not in the pack, for the reader has them, each with a word on it: the prerequisites.
    pub needs: BTreeMap<Id, String>,
    /// Refs by their full names.
    pub refs: BTreeMap<String, Id>,
    /// The commit of HEAD, if it has one.
    pub head: Option<Id>,
    /// kbpack's own refs.
    pub own: BTreeMap<String, Id>,
}

impl Header {
    /// The bytes, as git writes them: HEAD last.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = SIGNATURE.to_owned();
        for (id, comment) in &self.needs {
            text.push_str(&format!("-{id} {}\n", short(comment)));
        }
        for (name, id) in self.refs.iter().chain(&self.own) {
            text.push_str(&format!("{id} {name}\n"));
        }
        if let Some(head) = self.head {
            text.push_str(&format!("{head} HEAD\n"));
        }
        text.push('\n');
        text.into_bytes()
    }

    /// Reads the head of a bundle, held to rule G4. What follows in `stream` is the pack.
    pub fn read(stream: &mut impl BufRead) -> Result<Header> {
        let broken = |what: &dyn std::fmt::Display| Error::rule("G4", format_args!("the git bundle: {what}"));
        if line(stream)? != SIGNATURE {
            return Err(broken(&"it is not a git bundle, version 2"));
        }
        let mut header = Header::default();
        loop {
            let line = line(stream)?;
            if line == "\n" {
                break;
            }
            let row = line.strip_suffix('\n').and_then(|row| row.split_once(' '));
            let needed = row.and_then(|(id, comment)| Some((Id::parse(id.strip_prefix('-')?)?, comment)));
            if let Some((id, comment)) = needed {
                if header.needs.insert(id, comment.to_owned()).is_some() || !header.is_without_refs() {
                    return Err(broken(&"a prerequisite stands there twice, or after a ref"));
                }
                continue;
            }
            let Some((id, name)) = row.and_then(|(id, name)| Some((Id::parse(id)?, name))) else {
                return Err(broken(&"a line of its head is not an id and a name"));
            };
            let again = match name {
                "HEAD" => header.head.replace(id).is_some(),
                name if names::is_own(name) => header.own.insert(name.to_owned(), id).is_some(),
                name if !names::is_ref(name) => {
                    return Err(Error::rule("G2", format_args!("not a name of a ref: {name:?}")))
                }
                name => header.refs.insert(name.to_owned(), id).is_some(),
            };
            if again {
                return Err(broken(&format_args!("{name} stands there twice")));
            }
            if header.refs.len() + header.own.len() + header.needs.len() > MAX_REFS {
                return Err(broken(&format_args!("it has more than {MAX_REFS} refs")));
            }
        }
        // One file cannot be a folder as well.
        let names: Vec<&String> = header.refs.keys().collect();
        for name in &names {
            let mut above = name.as_str();
            while let Some((shorter, _)) = above.rsplit_once('/') {
                if header.refs.contains_key(shorter) {
                    return Err(Error::rule("G2", format_args!("{shorter} and {name} cannot both be")));
                }
                above = shorter;
            }
        }
        Ok(header)
    }

    fn is_without_refs(&self) -> bool {
        self.refs.is_empty() && self.own.is_empty() && self.head.is_none()
    }

    /// All that the refs name.
    pub fn tips(&self) -> Vec<git2::Oid> {
        let mut tips: Vec<_> =
            self.refs.values().chain(self.own.values()).chain(&self.head).map(|id| id.0).collect();
        tips.sort_unstable();
        tips.dedup();
        tips
    }
}

/// The beginning of a comment.
fn short(comment: &str) -> &str {
    let end = (0..=MAX_COMMENT.min(comment.len())).rev().find(|at| comment.is_char_boundary(*at));
    &comment[..end.unwrap_or(0)]
}

fn line(stream: &mut impl BufRead) -> Result<String> {
    let mut bytes = Vec::new();
    stream.take(MAX_LINE).read_until(b'\n', &mut bytes).map_err(|e| Error::io("the git bundle", e))?;
    let text = String::from_utf8(bytes).ok().filter(|text| text.ends_with('\n'));
    text.ok_or_else(|| Error::rule("G4", "the git bundle: its head is cut off, too long or not text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_as_they_are_written_and_else_refused() {
        let id = Id::parse(&"1".repeat(40)).unwrap();
        let mut header = Header { head: Some(id), ..Header::default() };
        header.refs.insert("refs/heads/main".into(), id);
        header.refs.insert("refs/tags/v1".into(), id);
        header.own.insert("refs/kbpack/stash/1".into(), id);
        header.needs.insert(id, "a commit".into());
        let bytes = header.to_bytes();
        let mut stream = &[&bytes[..], b"PACK"].concat()[..];
        assert_eq!(Header::read(&mut stream).unwrap(), header);
        assert_eq!(stream, b"PACK");
        let ones = "1".repeat(40);
        let text = |rows: &[&str]| {
            format!("{SIGNATURE}{}\n", rows.iter().map(|r| format!("{r}\n")).collect::<String>())
        };
        for (bad, rule) in [
            (String::new(), "G4"),
            ("# v3 git bundle\n\n".to_owned(), "G4"),
            (text(&[&format!("-{ones} x"), &format!("-{ones} x")]), "G4"),
            (text(&[&format!("{ones} HEAD"), &format!("-{ones} x")]), "G4"),
            (text(&[&format!("-{ones}")]), "G4"),
            (text(&[&format!("{ones} refs/kbpack/stash/01")]), "G2"),
            (text(&[&format!("{ones} HEAD"), &format!("{ones} HEAD")]), "G4"),
            (text(&[&format!("{ones} refs/heads/a"), &format!("{ones} refs/heads/a")]), "G4"),
            (text(&[&format!("{ones} refs/heads/a"), &format!("{ones} refs/heads/a/b")]), "G2"),
            (text(&[&format!("{ones} refs/heads/../x")]), "G2"),
            (text(&[&format!("{} refs/heads/a", "0".repeat(40))]), "G4"),
            (text(&[&format!("{} refs/heads/a", "A".repeat(40))]), "G4"),
            (format!("{SIGNATURE}{ones} refs/heads/a"), "G4"),
            (format!("{SIGNATURE}{}", "1".repeat(5000)), "G4"),
        ] {
            let error = Header::read(&mut bad.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(rule), "{error}: {bad}");
        }
    }
}
