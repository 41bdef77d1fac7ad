//! Packs one entry: opens it, writes its header and content, and looks whether it held still.

use super::index::{FileNode, Node, Row};
use super::meta::{read_xattrs, Names, Xattrs};
use super::modes::{without_acl, Modes};
use super::site::io_at;
use super::sparse::{self, Pieces};
use super::tarfmt::{header, padding, stored_size};
use super::walk::{gone, stat_fd, untold, vanished, warning, Entry, Kind, Stat};
use crate::base::digest::{Digest, Hasher};
use crate::base::fsx::Dir;
use crate::component::{Error, Finding, Result, Scope, StreamWrite};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// What packing an entry needs to know.
pub struct Packer<'a> {
    /// By which everything is opened.
    pub dir: &'a Dir,
    /// The component's root, for messages.
    pub root: &'a Path,
    /// The name to open, where the component is a single file.
    pub single: Option<&'a OsStr>,
    /// Owners.
    pub names: &'a Names,
    /// The surroundings.
    pub scope: &'a Scope<'a>,
    /// Modes that files get, if any.
    pub modes: Option<&'a Modes>,
}

const ZEROS: [u8; 4096] = [0; 4096];

impl Packer<'_> {
    /// Packs a file or a symlink. `None` if it is gone; that is among the findings then.
    pub fn pack(
        &self,
        entry: &Entry,
        shard: u32,
        out: &mut dyn StreamWrite,
        buffer: &mut [u8],
        findings: &mut Vec<Finding>,
    ) -> Result<Option<Row>> {
        if entry.stat.kind == Kind::Symlink {
            let mut meta = entry.stat.meta(self.names, Default::default());
            meta.mode.0 = 0o777;
            let row =
                Row { path: entry.path.clone(), shard, node: Node::Symlink(meta, entry.target.clone()) };
            self.put_header(&row, out)?;
            return Ok(Some(row));
        }
        let at = self.at(entry);
        let failed = |e| io_at(&at, e);
        let mut file = match self.open(entry) {
            Ok(file) => file,
            Err(e) if gone(&e) => {
                findings.push(vanished(&at));
                return Ok(None);
            }
            Err(e) => return Err(failed(e)),
        };
        let Some(look) = look(&mut file, entry, buffer).map_err(failed)? else {
            findings.push(vanished(&at));
            return Ok(None);
        };
        let Look { stat, xattrs, dropped, whole } = look;
        self.tell_special_bits(&Entry { stat, ..entry.clone() }, findings);
        findings.extend(dropped.iter().map(|name| untold(&at, name)));
        let pieces = if has_holes(&stat) { sparse::pieces(&file, stat.size).map_err(failed)? } else { None };
        let map = pieces.as_ref().map(|pieces| sparse::map(pieces, stat.size));
        let stored = map.as_ref().zip(pieces.as_ref()).map(|(map, p)| map.len() as u64 + sparse::data(p));
        let mut meta = stat.meta(self.names, xattrs);
        if self.modes.is_some_and(|modes| modes.apply(&entry.path, &mut meta)) {
            findings.push(without_acl(&at));
        }
        let mut node = FileNode { meta, size: stat.size, digest: Hasher::new().finish(), stored };
        // The header does not depend on the digest, which is known only afterwards.
        let mut row = Row { path: entry.path.clone(), shard, node: Node::File(node.clone()) };
        self.put_header(&row, out)?;
        if whole {
            node.digest = self.put_whole(&buffer[..stat.size as usize], out)?;
            put(out, &ZEROS[..padding(stored_size(&row))])?;
            row.node = Node::File(node);
            return Ok(Some(row));
        }
        put(out, &map.unwrap_or_default())?;
        let pieces = pieces.unwrap_or_else(|| vec![(0, stat.size)]);
        node.digest =
            self.put_content(&mut file, &pieces, stat.size, out, buffer).map_err(
                |failure| match failure {
                    Failure::Read(e) => failed(e),
                    Failure::Write(e) => e,
                },
            )?;
        put(out, &ZEROS[..padding(stored_size(&row))])?;
        if moved(&stat, &stat_fd(&file).map_err(failed)?) {
            findings.push(
                warning(&at, "it changed while it was read; the bundle has what was read")
                    .todo("export again while nothing writes to it"),
            );
        }
        row.node = Node::File(node);
        Ok(Some(row))
    }

    /// Writes the header of an entry; what follows belongs to it.
    pub fn put_header(&self, row: &Row, out: &mut dyn StreamWrite) -> Result<()> {
        out.label(&row.path.to_string());
        put(out, &header(row))
    }

    /// Says which bits of the mode do not travel.
    pub fn tell_special_bits(&self, entry: &Entry, findings: &mut Vec<Finding>) {
        if entry.stat.has_special_bits() {
            let kept =
                if entry.stat.kind == Kind::Dir { "setuid bit" } else { "setuid, setgid or sticky bit" };
            findings.push(
                warning(&self.at(entry), &format!("its {kept} does not travel"))
                    .todo("set it by hand on the target, if it is wanted there"),
            );
        }
    }

    /// The first bytes of a file, one more than `max` of them at most.
    pub fn content(&self, entry: &Entry, max: u64) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        self.open(entry)?.take(max + 1).read_to_end(&mut content)?;
        Ok(content)
    }

    /// Where an entry lies.
    pub fn at(&self, entry: &Entry) -> PathBuf {
        match self.single {
            Some(_) => self.root.to_owned(),
            None => self.root.join(entry.path.as_path()),
        }
    }

    /// Opens a file, without leaving a trace in its access time where that is allowed.
    fn open(&self, entry: &Entry) -> io::Result<File> {
        let path = self.single.map_or_else(|| entry.path.as_path(), Path::new);
        let plain = OFlags::RDONLY | OFlags::NONBLOCK;
        let host = self.scope.host;
        if host.is_root() || entry.stat.uid == host.uid {
            match self.dir.open_at(path, plain | OFlags::NOATIME, Mode::empty()) {
                Err(e) if Errno::from_io_error(&e) == Some(Errno::PERM) => {}
                opened => return opened.map(File::from),
            }
        }
        self.dir.open_at(path, plain, Mode::empty()).map(File::from)
    }

    /// Writes content that was read already, and gives its digest.
    fn put_whole(&self, content: &[u8], out: &mut dyn StreamWrite) -> Result<Digest> {
        put(out, content)?;
        self.scope.progress.advance(content.len() as u64);
        Ok(Digest::of(content))
    }

    /// Writes the pieces of a file; what is missing of them by now stands as zeros. Gives the digest of the whole.
    fn put_content(
        &self,
        file: &mut File,
        pieces: &Pieces,
        size: u64,
        out: &mut dyn StreamWrite,
        buffer: &mut [u8],
    ) -> std::result::Result<Digest, Failure> {
        let mut hasher = Hasher::new();
        for &(start, len) in pieces {
            if hasher.len() < start {
                let hole = start - hasher.len();
                sparse::hash_hole(&mut hasher, hole, self.scope.progress).map_err(Failure::Read)?;
                file.seek(SeekFrom::Start(start)).map_err(Failure::Read)?;
            }
            let mut left = len;
            while left > 0 {
                let want = left.min(buffer.len() as u64) as usize;
                let n = match file.read(&mut buffer[..want]) {
                    Ok(0) => {
                        buffer[..want].fill(0);
                        want
                    }
                    Ok(n) => n,
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                    Err(e) => return Err(Failure::Read(e)),
                };
                hasher.update(&buffer[..n]);
                put(out, &buffer[..n]).map_err(Failure::Write)?;
                self.scope.progress.advance(n as u64);
                left -= n as u64;
            }
        }
        let end = size - hasher.len();
        sparse::hash_hole(&mut hasher, end, self.scope.progress).map_err(Failure::Read)?;
        Ok(hasher.finish())
    }
}

/// What is known of a file before its header is written.
struct Look {
    stat: Stat,
    xattrs: Xattrs,
    /// Names of attributes that do not travel.
    dropped: Vec<String>,
    /// Its content is in the buffer, and it held still all the time.
    whole: bool,
}

/// Looks at an open file; `None` if it is none any more. A small one is read on the spot: if it is then still what the
/// walk saw, there is no need to look before and after.
fn look(file: &mut File, entry: &Entry, buffer: &mut [u8]) -> io::Result<Option<Look>> {
    let seen = entry.stat;
    if let Some(content) = buffer.get_mut(..seen.size as usize).filter(|_| !has_holes(&seen)) {
        let (xattrs, dropped) = read_xattrs(&*file)?;
        let read = file.read_exact(content);
        let stat = stat_fd(&*file)?;
        if stat.kind != Kind::File {
            return Ok(None);
        }
        if read.is_ok() && !moved(&seen, &stat) {
            return Ok(Some(Look { stat, xattrs, dropped, whole: true }));
        }
        file.rewind()?;
    }
    let stat = stat_fd(&*file)?;
    if stat.kind != Kind::File {
        return Ok(None);
    }
    let (xattrs, dropped) = read_xattrs(&*file)?;
    Ok(Some(Look { stat, xattrs, dropped, whole: false }))
}

/// Whether a file takes less room than its size says.
fn has_holes(stat: &Stat) -> bool {
    stat.blocks.saturating_mul(512) < stat.size
}

/// On which side reading and writing failed.
enum Failure {
    Read(io::Error),
    Write(Error),
}

fn put(out: &mut dyn StreamWrite, bytes: &[u8]) -> Result<()> {
    out.write_all(bytes).map_err(|e| Error::io("a shard of the tree", e))
}

/// Whether a file did not hold still between two looks.
fn moved(before: &Stat, after: &Stat) -> bool {
    (before.size, before.mtime, before.ctime) != (after.size, after.mtime, after.ctime)
}
