//! Reads one shard back. It must be, byte for byte, what the index says; of its entries those that are wanted
//! are written, each digested on the way.

use super::index::{FileNode, Node, Row};
use super::meta::{apply_to_link, apply_to_new, private, Names};
use super::sparse;
use super::tarfmt::{header, padding, stored_size, END};
use crate::base::digest::Hasher;
use crate::base::fault::carried;
use crate::base::fsx::Dir;
use crate::base::path::BundlePath;
use crate::component::{Error, Result, Scope};
use rustix::fs::OFlags;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// Where wanted entries are written.
pub struct Unpacker<'a> {
    /// The directory beneath which everything is made.
    pub into: &'a Dir,
    /// Owners, if they are to be set.
    pub names: Option<&'a Names>,
    /// The surroundings.
    pub scope: &'a Scope<'a>,
}

impl Unpacker<'_> {
    /// Reads a shard whose entries are `rows`, in their order: everything but directories by path, then the
    /// directories, the last path first. With each row goes the place to write it to, if it is wanted.
    pub fn shard<'r>(
        &self,
        source: impl Read,
        rows: impl Iterator<Item = (&'r Row, Option<&'r BundlePath>)>,
    ) -> Result<()> {
        let mut source = BufReader::with_capacity(256 * 1024, source);
        let mut buffer = vec![0; 256 * 1024];
        for (row, wanted) in rows {
            let want = header(row);
            if buffer.len() < want.len() {
                buffer.resize(want.len(), 0);
            }
            let got = &mut buffer[..want.len()];
            source.read_exact(got).map_err(|e| broken(row, e))?;
            if *got != want[..] {
                return Err(differs(row));
            }
            match (&row.node, wanted) {
                (Node::File(file), Some(to)) => self.file(&mut source, row, file, to, &mut buffer)?,
                (Node::Symlink(meta, target), Some(to)) => {
                    let at = |e| Error::io(&row.path, e);
                    let (dir, name) = self.folder(to).map_err(at)?;
                    let dir = dir.as_ref().unwrap_or(self.into);
                    rustix::fs::symlinkat(target.as_slice(), dir, name).map_err(|e| at(e.into()))?;
                    let owner = self.names.map(|names| names.owner(meta));
                    apply_to_link(dir, name, meta.mtime, owner).map_err(at)?;
                }
                _ => skip(&mut source, stored_size(row), &mut buffer).map_err(|e| broken(row, e))?,
            }
            let padding = &mut buffer[..padding(stored_size(row))];
            source.read_exact(padding).map_err(|e| broken(row, e))?;
            if padding.iter().any(|&c| c != 0) {
                return Err(differs(row));
            }
        }
        let mut end = [1; END.len()];
        let ended = source.read_exact(&mut end).and_then(|()| source.read(&mut buffer[..1]));
        match ended {
            Ok(0) if end == END => Ok(()),
            Err(e) if e.kind() != io::ErrorKind::UnexpectedEof => Err(Error::io("a shard of the tree", e)),
            _ => Err(Error::rule("F7", "a shard does not end where the index says")),
        }
    }

    /// The folder that `path` is to be made in, and its name there.
    fn folder<'p>(&self, path: &'p BundlePath) -> io::Result<(Option<Dir>, &'p Path)> {
        let name = Path::new(path.file_name());
        match path.parent() {
            Some(parent) => Ok((Some(self.into.reach(parent.as_path())?), name)),
            None => Ok((None, name)),
        }
    }

    fn file(
        &self,
        source: &mut impl Read,
        row: &Row,
        node: &FileNode,
        to: &BundlePath,
        buffer: &mut [u8],
    ) -> Result<()> {
        let failed = |e: io::Error| Error::io(format_args!("staging {}", row.path), e);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let mut file = File::from(self.into.open_at(to.as_path(), flags, private(false)).map_err(failed)?);
        let pieces = match node.stored {
            Some(stored) => sparse::read_map(source, node.size, stored).map_err(|e| broken(row, e))??,
            None => vec![(0, node.size)],
        };
        if node.stored.is_some() {
            // A size that the file system cannot have is noticed before its holes are digested.
            file.set_len(node.size).map_err(failed)?;
        }
        let mut hasher = Hasher::new();
        for (start, len) in pieces {
            if hasher.len() < start {
                let hole = start - hasher.len();
                sparse::hash_hole(&mut hasher, hole, self.scope.progress).map_err(failed)?;
                file.seek(SeekFrom::Start(start)).map_err(failed)?;
            }
            let mut left = len;
            while left > 0 {
                let want = left.min(buffer.len() as u64) as usize;
                let n = match source.read(&mut buffer[..want]) {
                    Ok(0) => return Err(broken(row, io::ErrorKind::UnexpectedEof.into())),
                    Ok(n) => n,
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                    Err(e) => return Err(broken(row, e)),
                };
                hasher.update(&buffer[..n]);
                file.write_all(&buffer[..n]).map_err(failed)?;
                self.scope.progress.advance(n as u64);
                left -= n as u64;
            }
        }
        if hasher.len() < node.size {
            let hole = node.size - hasher.len();
            sparse::hash_hole(&mut hasher, hole, self.scope.progress).map_err(failed)?;
        }
        if hasher.finish() != node.digest {
            return Err(Error::rule(
                "F9",
                format_args!("{}: its content is not what the index says", row.path),
            ));
        }
        apply_to_new(&file, &node.meta, self.names.map(|names| names.owner(&node.meta))).map_err(failed)
    }
}

fn skip(source: &mut impl Read, mut len: u64, buffer: &mut [u8]) -> io::Result<()> {
    while len > 0 {
        let n = len.min(buffer.len() as u64) as usize;
        source.read_exact(&mut buffer[..n])?;
        len -= n as u64;
    }
    Ok(())
}

fn differs(row: &Row) -> Error {
    Error::rule("F7", format_args!("{}: its entry in the tar is not what the index says", row.path))
}

/// A read error inside an entry. A stream that ends early is a broken rule, for its own digest was right.
fn broken(row: &Row, error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::UnexpectedEof && carried(&error).is_none() {
        return differs(row);
    }
    Error::io(format_args!("reading {}", row.path), error)
}
