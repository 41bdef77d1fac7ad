//! What an import touches: a backup holds that and nothing else. The stream `touched` of a backup says of each path what
//! the import was about to put there, so that a rollback knows what was edited since.

use super::index::{text_bytes, Node, MAX_ROWS};
use super::place::join;
use super::plan::{FilesPlan, Source, Step};
use super::site::Place;
use crate::base::digest::Digest;
use crate::base::json;
use crate::base::limits::MAX_LIST_LINE;
use crate::base::name::StreamName;
use crate::base::path::{path_text, BundlePath};
use crate::component::{stream_name, Error, Result, StreamWrite};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
use std::io::{BufRead, BufReader, Read};

/// What an import leaves at a path that it touches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Left {
    /// Nothing: it was removed.
    Nothing,
    /// A file with this content.
    File {
        /// Bytes.
        size: u64,
        /// Of its content, holes as zeros.
        digest: Digest,
    },
    /// A symbolic link that holds these bytes.
    Symlink(Vec<u8>),
    /// A new directory.
    Dir,
    /// What was there, with other metadata.
    Content,
    /// The directory that was there; names in it, or its metadata, change.
    Folder,
}

/// The paths that an import touches, relative to the component's root.
#[derive(Debug, Default, Clone)]
pub struct Touched {
    paths: BTreeMap<BundlePath, Left>,
    /// Everything that lies above one of them, and every [`Left::Folder`].
    above: HashSet<BundlePath>,
}

/// Whether a path is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// It is touched, or lies below what is.
    Within,
    /// Something below it is, or only its metadata.
    Above,
    /// It is not.
    Beside,
}

/// The name of the stream.
pub fn touched_name() -> Result<StreamName> {
    stream_name("touched")
}

impl Touched {
    /// What `plan` touches below the root at `place`, which is as the plan found it.
    pub fn of(plan: &FilesPlan, place: &Place) -> Result<Touched> {
        let root = place.real.strip_prefix(&plan.base).unwrap_or(&place.real);
        let root = root.as_os_str().as_encoded_bytes();
        // Inside the component: a root that is a file has its own name there (one that goes as a whole needs none).
        // `None` is what lies above the root.
        let inner = |path: &BundlePath| -> Result<Option<BundlePath>> {
            if path.as_bytes() == root {
                return place.entry_name().map(Some);
            }
            let below = match root {
                b"" => Some(path.as_bytes()),
                root => path.as_bytes().strip_prefix(root).and_then(|rest| rest.strip_prefix(b"/")),
            };
            below.map(|below| join(None, below)).transpose()
        };
        let mut touched = Touched::default();
        for item in &plan.items {
            let left = plan.left_by(&item.source);
            // A root that is a directory is the component itself.
            if item.path.as_bytes() != root || left != Left::Dir {
                touched.add(inner(&item.path)?, left);
            }
        }
        for step in &plan.steps {
            match step {
                Step::Remove { path, .. } => touched.add(inner(path)?, Left::Nothing),
                Step::Meta { path, .. } => touched.add(inner(path)?, Left::Content),
                Step::Folder { .. } | Step::Put { .. } => {}
            }
        }
        for path in plan.dirs.iter().filter_map(|dir| dir.path.as_ref()) {
            touched.add(inner(path)?, Left::Folder);
        }
        Ok(touched)
    }

    /// Adds a path; `None` is not below the root.
    pub fn add(&mut self, path: Option<BundlePath>, left: Left) {
        let Some(path) = path else { return };
        self.above.extend(std::iter::successors(path.parent(), BundlePath::parent));
        if left == Left::Folder {
            self.above.insert(path.clone());
        }
        self.paths.insert(path, left);
    }

    /// What was left at `path`.
    pub fn at(&self, path: &BundlePath) -> Option<&Left> {
        self.paths.get(path)
    }

    /// Whether `path` is meant.
    pub fn reach(&self, path: &BundlePath) -> Reach {
        let meant = |path: &BundlePath| self.at(path).is_some_and(|left| *left != Left::Folder);
        if std::iter::successors(Some(path.clone()), BundlePath::parent).any(|path| meant(&path)) {
            Reach::Within
        } else if self.above.contains(path) {
            Reach::Above
        } else {
            Reach::Beside
        }
    }

    /// Writes the stream: one JSON object a line, in the order of the paths.
    pub fn write(&self, out: &mut dyn StreamWrite) -> Result<()> {
        for (path, left) in &self.paths {
            out.label(&path.to_string());
            let mut line =
                serde_json::to_vec(&Line::of(path, left)).map_err(|e| Error::io("touched", e.into()))?;
            line.push(b'\n');
            out.write_all(&line).map_err(|e| Error::io("touched", e))?;
        }
        Ok(())
    }

    /// Reads the stream.
    pub fn read(source: impl Read) -> Result<Touched> {
        let mut source = BufReader::with_capacity(128 * 1024, source);
        let mut touched = Touched::default();
        let mut line = Vec::new();
        loop {
            line.clear();
            let mut bounded = (&mut source).take(MAX_LIST_LINE as u64 + 1);
            if bounded.read_until(b'\n', &mut line).map_err(|e| Error::io("touched", e))? == 0 {
                return Ok(touched);
            }
            let number = touched.paths.len() + 1;
            let bad = |why: &dyn std::fmt::Display| {
                Error::rule("F10", format_args!("touched, row {number}: {why}"))
            };
            if line.pop() != Some(b'\n') || number > MAX_ROWS {
                return Err(bad(&"no end of line, or too many rows"));
            }
            let parsed: Line = json::from_slice(&line).map_err(|e| bad(&e))?;
            let (path, left) = parsed.row().ok_or_else(|| bad(&"its fields are not those of its type"))?;
            if touched.paths.last_key_value().is_some_and(|(last, _)| *last >= path) {
                return Err(bad(&"the paths are not in order, or one is repeated"));
            }
            touched.add(Some(path), left);
        }
    }
}

impl FilesPlan {
    /// What a staged item leaves at its path.
    fn left_by(&self, source: &Source) -> Left {
        let row = match source {
            Source::Folder(_) => return Left::Dir,
            Source::Row(row) => *row,
            Source::LinkTo(item) => return self.left_by(&self.items[*item].source),
        };
        match &self.rows[row].node {
            Node::File(file) => Left::File { size: file.size, digest: file.digest },
            Node::Symlink(_, target) => Left::Symlink(target.clone()),
            // A hard link is `LinkTo`, or made anew from the row that has the content.
            Node::Dir(_) | Node::Link(_) => Left::Dir,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Type {
    Nothing,
    File,
    Symlink,
    Dir,
    Content,
    Folder,
}

/// A row as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    path: BundlePath,
    left: Type,
    #[serde(default, deserialize_with = "json::set", skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(default, deserialize_with = "json::set", skip_serializing_if = "Option::is_none")]
    sha256: Option<Digest>,
    #[serde(default, deserialize_with = "json::set", skip_serializing_if = "Option::is_none")]
    target: Option<String>,
}

impl Line {
    fn of(path: &BundlePath, left: &Left) -> Line {
        let blank = |left| Line { path: path.clone(), left, size: None, sha256: None, target: None };
        match left {
            Left::Nothing => blank(Type::Nothing),
            Left::File { size, digest } => {
                Line { size: Some(*size), sha256: Some(*digest), ..blank(Type::File) }
            }
            Left::Symlink(target) => Line { target: Some(path_text(target)), ..blank(Type::Symlink) },
            Left::Dir => blank(Type::Dir),
            Left::Content => blank(Type::Content),
            Left::Folder => blank(Type::Folder),
        }
    }

    fn row(self) -> Option<(BundlePath, Left)> {
        let left = match (self.left, self.size, self.sha256, self.target) {
            (Type::File, Some(size), Some(digest), None) => Left::File { size, digest },
            (Type::Symlink, None, None, Some(target)) => Left::Symlink(text_bytes(&target)?),
            (Type::Nothing, None, None, None) => Left::Nothing,
            (Type::Dir, None, None, None) => Left::Dir,
            (Type::Content, None, None, None) => Left::Content,
            (Type::Folder, None, None, None) => Left::Folder,
            _ => return None,
        };
        Some((self.path, left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [&str; 6] = [
        r#"{"path":"a","left":"nothing"}"#,
        r#"{"path":"b","left":"file","size":3,"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}"#,
        r#"{"path":"c","left":"symlink","target":"../x%25"}"#,
        r#"{"path":"d","left":"dir"}"#,
        r#"{"path":"e/f","left":"content"}"#,
        r#"{"path":"g","left":"folder"}"#,
    ];

    fn read(lines: &[&str]) -> Result<Touched> {
        Touched::read((lines.join("\n") + "\n").as_bytes())
    }

    fn path(text: &str) -> BundlePath {
        BundlePath::new(text).unwrap()
    }

    #[test]
    fn what_is_meant() {
        let touched = read(&GOOD).unwrap();
        assert_eq!(touched.at(&path("c")), Some(&Left::Symlink(b"../x%".to_vec())));
        for within in ["a", "a/b/c", "d/new", "e/f"] {
            assert_eq!(touched.reach(&path(within)), Reach::Within, "{within}");
        }
        for above in ["e", "g"] {
            assert_eq!(touched.reach(&path(above)), Reach::Above, "{above}");
        }
        for beside in ["ab", "e/g", "g/h", "z"] {
            assert_eq!(touched.reach(&path(beside)), Reach::Beside, "{beside}");
        }
    }

    #[test]
    fn rows_that_break_rule_f10() {
        for bad in [
            "",
            "{}",
            "[]",
            r#"{"path":"z","left":"gone"}"#,
            r#"{"path":"z","left":"file"}"#,
            r#"{"path":"z","left":"file","size":1}"#,
            r#"{"path":"z","left":"dir","size":1}"#,
            r#"{"path":"z","left":"symlink"}"#,
            r#"{"path":"z","left":"symlink","target":"%2f"}"#,
            r#"{"path":"z","left":"nothing","target":"x"}"#,
            r#"{"path":"z","left":"dir","left":"dir"}"#,
            r#"{"path":"z","left":"dir","more":1}"#,
            r#"{"path":"../z","left":"dir"}"#,
            r#"{"path":"/z","left":"dir"}"#,
            GOOD[5],
            GOOD[0],
        ] {
            let error = read(&[&GOOD[..], &[bad]].concat()).unwrap_err();
            assert!(error.to_string().contains("(rule F10)"), "{bad}: {error}");
        }
        assert!(Touched::read(GOOD[0].as_bytes()).is_err(), "no end of line");
    }
}
