//! The stream `index`: one row an entry. It says all that there is to know of the tree but the content.

use super::meta::Meta;
use crate::base::digest::Digest;
use crate::base::json;
use crate::base::limits::MAX_LIST_LINE;
use crate::base::path::BundlePath;
use crate::base::side::STAGE_PREFIX;
use crate::component::{Error, Listed, Result, StreamWrite};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};

/// Rows that a reader takes at most.
pub const MAX_ROWS: usize = 10_000_000;

/// Segments that a path may have. Deeper trees could not be removed with the file descriptors that a process has.
pub const MAX_DEPTH: usize = 512;

/// How deep a path is: its number of segments.
pub fn depth(path: &BundlePath) -> usize {
    path.as_bytes().split(|&c| c == b'/').count()
}

/// Bytes of all files together that a reader takes at most: no sum of theirs overflows.
const MAX_BYTES: u64 = (1 << 53) - 1;

/// One entry of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Where it lies, relative to the component's root.
    pub path: BundlePath,
    /// The number of the shard `tree/NNNNNN` that holds it, from 1.
    pub shard: u32,
    /// What it is.
    pub node: Node,
}

impl Row {
    /// The row for `inspect --files`.
    pub fn listed(&self) -> Listed {
        let (what, size, mode) = match &self.node {
            Node::File(file) => ("file", Some(file.size), Some(file.meta.mode.0)),
            Node::Dir(meta) => ("directory", None, Some(meta.mode.0)),
            Node::Symlink(..) => ("symlink", None, None),
            Node::Link(_) => ("hard link", None, None),
        };
        Listed { name: self.path.to_string(), what, size, mode }
    }
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A regular file.
    File(FileNode),
    /// A symbolic link and the bytes that it holds.
    Symlink(Meta, Vec<u8>),
    /// A directory.
    Dir(Meta),
    /// Another name of the file `0`, which comes earlier in the order of paths.
    Link(BundlePath),
}

/// A regular file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileNode {
    /// Its metadata.
    pub meta: Meta,
    /// Bytes of its content, holes included.
    pub size: u64,
    /// Digest of its content, holes as zeros.
    pub digest: Digest,
    /// For a file with holes: bytes of its content in the tar, with the map of the data that begins it.
    pub stored: Option<u64>,
}

/// The words for [`Node`]'s variants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Type {
    File,
    Symlink,
    Dir,
    Link,
}

/// A row as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    path: BundlePath,
    r#type: Type,
    shard: u32,
    #[serde(default, deserialize_with = "crate::base::json::set", skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(default, deserialize_with = "crate::base::json::set", skip_serializing_if = "Option::is_none")]
    sha256: Option<Digest>,
    #[serde(default, deserialize_with = "crate::base::json::set", skip_serializing_if = "Option::is_none")]
    stored: Option<u64>,
    /// Of a symlink: any bytes, in the text form of paths.
    #[serde(default, deserialize_with = "crate::base::json::set", skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    /// Of a hard link: the entry's first name.
    #[serde(default, deserialize_with = "crate::base::json::set", skip_serializing_if = "Option::is_none")]
    first: Option<BundlePath>,
    #[serde(default, deserialize_with = "crate::base::json::set", skip_serializing_if = "Option::is_none")]
    meta: Option<Meta>,
}

impl From<&Row> for Line {
    fn from(row: &Row) -> Line {
        let blank = Line {
            path: row.path.clone(),
            r#type: Type::File,
            shard: row.shard,
            size: None,
            sha256: None,
            stored: None,
            target: None,
            first: None,
            meta: None,
        };
        match &row.node {
            Node::File(file) => Line {
                size: Some(file.size),
                sha256: Some(file.digest),
                stored: file.stored,
                meta: Some(file.meta.clone()),
                ..blank
            },
            Node::Symlink(meta, target) => Line {
                r#type: Type::Symlink,
                target: Some(crate::base::path::path_text(target)),
                meta: Some(meta.clone()),
                ..blank
            },
            Node::Dir(meta) => Line { r#type: Type::Dir, meta: Some(meta.clone()), ..blank },
            Node::Link(first) => Line { r#type: Type::Link, first: Some(first.clone()), ..blank },
        }
    }
}

impl Line {
    /// The row, if exactly the fields that its type asks for are there and hold what they may.
    fn row(self) -> std::result::Result<Row, &'static str> {
        let Line { path, r#type, shard, size, sha256, stored, target, first, meta } = self;
        let node = match (r#type, size, sha256, stored, target, first, meta) {
            (Type::File, Some(size), Some(digest), stored, None, None, Some(meta)) => {
                if meta.mode.0 > 0o777 {
                    return Err("a file has the setuid, setgid or sticky bit");
                }
                if stored.is_some_and(|n| n < 512 || n > size.saturating_add(super::sparse::MAX_MAP)) {
                    return Err("the stored size of a sparse file cannot be");
                }
                Node::File(FileNode { meta, size, digest, stored })
            }
            (Type::Symlink, None, None, None, Some(target), None, Some(meta)) => {
                let target = text_bytes(&target).ok_or("a link's target is not in canonical form")?;
                if target.is_empty() || target.contains(&0) || target.len() > 4095 {
                    return Err("a link's target is empty, too long or has a NUL");
                }
                if meta.mode.0 != 0o777 || !meta.xattrs.0.is_empty() {
                    return Err("a symlink has a mode or attributes");
                }
                Node::Symlink(meta, target)
            }
            (Type::Dir, None, None, None, None, None, Some(meta)) => {
                if meta.mode.0 & 0o4000 != 0 {
                    return Err("a directory has the setuid bit");
                }
                Node::Dir(meta)
            }
            (Type::Link, None, None, None, None, Some(first), None) => Node::Link(first),
            _ => return Err("its fields are not those of its type"),
        };
        Ok(Row { path, shard, node })
    }
}

/// Reads back the text form of any bytes: see [`crate::base::path::path_text`].
pub fn text_bytes(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    bytes.extend_from_slice(parts.next()?.as_bytes());
    for part in parts {
        let hex = part.get(..2)?;
        bytes.push(u8::from_str_radix(hex, 16).ok()?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    (crate::base::path::path_text(&bytes) == text).then_some(bytes)
}

/// Writes the rows, which are in the order of their paths. Names and symlinks can hold secrets too: each row is
/// labelled with its path.
pub fn write(rows: &[Row], out: &mut dyn StreamWrite) -> Result<()> {
    let mut line = Vec::new();
    for row in rows {
        line.clear();
        serde_json::to_writer(&mut line, &Line::from(row)).map_err(|e| Error::io("index", e.into()))?;
        line.push(b'\n');
        if line.len() > MAX_LIST_LINE {
            return Err(Error::new(
                crate::base::fault::Fault::Limit,
                format_args!("{}: its extended attributes are too large", row.path),
            )
            .todo("exclude it"));
        }
        out.label(&row.path.to_string());
        out.write_all(&line).map_err(|e| Error::io("index", e))?;
    }
    Ok(())
}

/// Reads all rows and holds them to the rules F2 to F6. `shards` is the number of shards there are.
pub fn read(source: impl Read, shards: u32) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    read_each(source, shards, &mut |row| rows.push(row))?;
    Ok(rows)
}

/// [`read`], row by row.
pub fn read_each(source: impl Read, shards: u32, each: &mut dyn FnMut(Row)) -> Result<()> {
    let mut source = BufReader::with_capacity(128 * 1024, source);
    let mut last: Option<BundlePath> = None;
    // What each path is, for the rules that look at other rows: whether it is a directory or a file.
    let mut kinds: HashMap<BundlePath, Type> = HashMap::new();
    let mut line = Vec::new();
    let mut bytes: u64 = 0;
    loop {
        line.clear();
        let n = (&mut source)
            .take(MAX_LIST_LINE as u64 + 1)
            .read_until(b'\n', &mut line)
            .map_err(|e| Error::io("index", e))?;
        if n == 0 {
            return Ok(());
        }
        let number = kinds.len() + 1;
        let bad = |rule: &str, why: &dyn std::fmt::Display| {
            Error::rule(rule, format_args!("index, row {number}: {why}"))
        };
        if line.pop() != Some(b'\n') || number > MAX_ROWS {
            return Err(bad("F2", &"no end of line, or too many rows"));
        }
        let parsed: Line = json::from_slice(&line).map_err(|e| bad("F2", &e))?;
        let kind = parsed.r#type;
        let row = parsed.row().map_err(|why| bad("F3", &why))?;
        let place = |why: &str| format!("{}: {why}", row.path);
        if last.as_ref().is_some_and(|last| *last >= row.path) {
            return Err(bad("F4", &place("the paths are not in order, or one is repeated")));
        }
        if !(1..=shards).contains(&row.shard) {
            return Err(bad("F4", &place("there is no such shard")));
        }
        if let Node::File(file) = &row.node {
            bytes = bytes.saturating_add(file.size);
            if bytes > MAX_BYTES {
                return Err(bad(
                    "F3",
                    &place("the sizes of the files so far are more than 2^53 - 1 together"),
                ));
            }
        }
        if row.path.as_bytes().split(|&c| c == b'/').any(|s| s.starts_with(STAGE_PREFIX)) {
            return Err(bad("F4", &place("the name is one of a staging area")));
        }
        if depth(&row.path) > MAX_DEPTH {
            return Err(bad("F4", &place("the tree is too deep")));
        }
        if row.path.parent().is_some_and(|parent| kinds.get(&parent) != Some(&Type::Dir)) {
            return Err(bad("F5", &place("what it lies in is not a directory of the tree")));
        }
        if let Node::Link(first) = &row.node {
            if kinds.get(first) != Some(&Type::File) {
                return Err(bad(
                    "F6",
                    &place("a hard link's first name is not a file of the tree that comes before"),
                ));
            }
        }
        kinds.insert(row.path.clone(), kind);
        last = Some(row.path.clone());
        each(row);
    }
}
