//! Reads one shard back. It must be, byte for byte, what the index says; of its entries those that are wanted
//! are written, each digested on the way.

use super::home::Moved;
use super::index::{FileNode, Node, Row};
use super::meta::{apply_to_link, apply_to_new, private, Meta, Names};
use super::sparse;
use super::tarfmt::{header, padding, stored_size, END};
use crate::base::digest::{Digest, Hasher};
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
    /// [`read_shard`], and writes what is wanted.
    pub fn shard<'r>(
        &self,
        source: impl Read,
        rows: impl Iterator<Item = (&'r Row, Option<Wanted<'r>>)>,
    ) -> Result<()> {
        read_shard(source, rows, |source, row, wanted, buffer| match (&row.node, &wanted.written.node) {
            (Node::File(file), Node::File(written)) => match wanted.rewritten {
                Some(moved) => self.rewritten(source, row, file, moved, (wanted.to, written), buffer),
                None => self.file(source, row, file, (wanted.to, &written.meta), buffer),
            },
            (Node::Symlink(meta, target), _) => {
                let at = |e| Error::io(&row.path, e);
                let (dir, name) = self.folder(wanted.to).map_err(at)?;
                let dir = dir.as_ref().unwrap_or(self.into);
                rustix::fs::symlinkat(target.as_slice(), dir, name).map_err(|e| at(e.into()))?;
                let owner = self.names.map(|names| names.owner(meta));
                apply_to_link(dir, name, meta.mtime, owner).map_err(at)
            }
            _ => Ok(()),
        })
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
        (to, meta): (&BundlePath, &Meta),
        buffer: &mut [u8],
    ) -> Result<()> {
        let failed = |e: io::Error| Error::io(format_args!("staging {}", row.path), e);
        let mut file = self.create(to).map_err(failed)?;
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
            return Err(other_content(row));
        }
        apply_to_new(&file, meta, self.names.map(|names| names.owner(meta))).map_err(failed)
    }

    fn create(&self, to: &BundlePath) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        self.into.open_at(to.as_path(), flags, private(false)).map(File::from)
    }

    /// A file in which paths are rewritten.
    fn rewritten(
        &self,
        source: &mut impl Read,
        row: &Row,
        node: &FileNode,
        moved: &Moved,
        (to, written): (&BundlePath, &FileNode),
        buffer: &mut [u8],
    ) -> Result<()> {
        let failed = |e: io::Error| Error::io(format_args!("staging {}", row.path), e);
        let bytes = content(source, row, node, buffer)?;
        self.scope.progress.advance(node.size);
        let bytes = moved.apply(&row.path, &bytes).ok().flatten().map(|(bytes, _)| bytes).unwrap_or(bytes);
        if Digest::of(&bytes) != written.digest {
            return Err(other_content(row));
        }
        let mut file = self.create(to).map_err(failed)?;
        file.write_all(&bytes).map_err(failed)?;
        let meta = &written.meta;
        apply_to_new(&file, meta, self.names.map(|names| names.owner(meta))).map_err(failed)
    }
}

/// Something that is to be written.
pub struct Wanted<'a> {
    /// Where.
    pub to: &'a BundlePath,
    /// What is to stand there: of a file, maybe with other metadata or content than was packed.
    pub written: &'a Row,
    /// For a file in which paths are rewritten: how.
    pub rewritten: Option<&'a Moved>,
}

/// Reads a shard whose entries are `rows`, in their order: everything but directories by path, then the
/// directories, the last path first. A file or symlink that something is wanted of goes to `take` with that; of a file, it reads
/// the content from the shard, all of it.
pub fn read_shard<'r, R: Read, T>(
    source: R,
    rows: impl Iterator<Item = (&'r Row, Option<T>)>,
    mut take: impl FnMut(&mut BufReader<R>, &'r Row, T, &mut [u8]) -> Result<()>,
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
            (Node::File(_) | Node::Symlink(..), Some(wanted)) => take(&mut source, row, wanted, &mut buffer)?,
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

/// The content of a file whose header was read: its caller has seen that `node`'s size is small.
pub fn content(source: &mut impl Read, row: &Row, node: &FileNode, buffer: &mut [u8]) -> Result<Vec<u8>> {
    let pieces = match node.stored {
        Some(stored) => sparse::read_map(source, node.size, stored).map_err(|e| broken(row, e))??,
        None => vec![(0, node.size)],
    };
    // What is not there yet is not made room for: the size is the bundle's word.
    let mut bytes = Vec::new();
    for (start, len) in pieces {
        bytes.resize(start as usize, 0);
        let mut left = len;
        while left > 0 {
            let n = left.min(buffer.len() as u64) as usize;
            source.read_exact(&mut buffer[..n]).map_err(|e| broken(row, e))?;
            bytes.extend_from_slice(&buffer[..n]);
            left -= n as u64;
        }
    }
    bytes.resize(node.size as usize, 0);
    match Digest::of(&bytes) == node.digest {
        true => Ok(bytes),
        false => Err(other_content(row)),
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

fn other_content(row: &Row) -> Error {
    Error::rule("F9", format_args!("{}: its content is not what the index says", row.path))
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
