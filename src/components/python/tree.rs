//! A backup: an environment as the files it is, in a PAX tar, and back.

use super::site::{walk, MARK};
use crate::base::fsx::Dir;
use crate::base::path::{shown, BundlePath};
use crate::component::{Error, Result, Scope, StreamWrite};
use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use tar::{Archive, Builder, EntryType, Header};

/// Writes the tree at `root`: folders, files and symlinks with their modes, owners and times. A file that has several names
/// becomes several files.
pub fn pack(root: &Path, scope: &Scope<'_>, stream: &mut dyn StreamWrite) -> Result<()> {
    let mut out = Builder::new(stream);
    out.mode(tar::HeaderMode::Complete);
    pack_folder(root, root, scope, &mut out)?;
    out.finish().map_err(Error::at(root))
}

fn pack_folder(
    root: &Path,
    dir: &Path,
    scope: &Scope<'_>,
    out: &mut Builder<&mut dyn StreamWrite>,
) -> Result<()> {
    walk(dir, &mut |path| {
        let meta = fs::symlink_metadata(path).map_err(Error::at(path))?;
        let name = path.strip_prefix(root).unwrap_or(path).as_os_str().as_bytes();
        let link = if meta.is_symlink() {
            fs::read_link(path).map_err(Error::at(path))?
        } else {
            Default::default()
        };
        let time = format!("{}.{:09}", meta.mtime(), meta.mtime_nsec());
        let link = link.as_os_str().as_bytes();
        let records: [(&str, &[u8]); 3] = [("path", name), ("mtime", time.as_bytes()), ("linkpath", link)];
        let kind = match meta.file_type() {
            t if t.is_dir() => EntryType::Directory,
            t if t.is_symlink() => EntryType::Symlink,
            t if t.is_file() => EntryType::Regular,
            _ => return Ok(()),
        };
        let given = records.into_iter().filter(|(key, _)| *key != "linkpath" || meta.is_symlink());
        out.append_pax_extensions(given).map_err(Error::at(path))?;
        let mut head = Header::new_ustar();
        head.set_entry_type(kind);
        head.set_mode(meta.mode() & 0o777);
        head.set_uid(meta.uid().into());
        head.set_gid(meta.gid().into());
        head.set_mtime(u64::try_from(meta.mtime()).unwrap_or(0));
        head.set_size(0);
        // The names stand in the PAX records.
        if kind != EntryType::Regular {
            head.set_cksum();
            out.append(&head, io::empty()).map_err(Error::at(path))?;
            return if kind == EntryType::Directory { pack_folder(root, path, scope, out) } else { Ok(()) };
        }
        let mut file = File::open(path).map_err(Error::at(path))?;
        head.set_size(meta.len());
        head.set_cksum();
        scope.progress.expect(meta.len());
        // A file that grows meanwhile is cut.
        let mut content = (&mut file).take(meta.len());
        out.append(&head, &mut content).map_err(Error::at(path))?;
        if content.limit() > 0 {
            return Err(Error::not_ready(format_args!(
                "{}: it became shorter while it was read",
                shown(path)
            ))
            .todo("stop what writes to the environment, and import again"));
        }
        scope.progress.advance(meta.len());
        Ok(())
    })
}

/// Builds the tree in the new folder `to`. It is this machine's own backup; no entry leads out of the folder all the same.
pub fn unpack(from: impl Read, to: &Path, scope: &Scope<'_>) -> Result<()> {
    fs::create_dir(to).map_err(Error::at(to))?;
    let top = Dir::open(to).map_err(Error::at(to))?;
    let broken = |what: &dyn std::fmt::Display| Error::rule("V6", format_args!("stream tree: {what}"));
    let mut archive = Archive::new(from);
    for entry in archive.entries().map_err(Error::at(to))? {
        let mut entry = entry.map_err(Error::at(to))?;
        let path = BundlePath::new(entry.path_bytes().into_owned()).map_err(|e| broken(&e))?;
        let mut time = None;
        for record in entry.pax_extensions().map_err(Error::at(to))?.into_iter().flatten() {
            let record = record.map_err(Error::at(to))?;
            time = if record.key_bytes() == b"mtime" { record.value().ok().and_then(time_of) } else { time };
        }
        let time = time.ok_or_else(|| broken(&"an entry without its time"))?;
        let (kind, mode) =
            (entry.header().entry_type(), entry.header().mode().map_err(Error::at(to))? & 0o777);
        let place = to.join(path.as_path());
        let name = path.file_name();
        let parent = match path.parent() {
            Some(parent) => top.dir(parent.as_path()),
            None => Dir::open(to),
        };
        let parent = parent.map_err(Error::at(&place))?;
        match kind {
            EntryType::Directory => {
                rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(mode | 0o700)).map_err(io::Error::from)
            }
            EntryType::Symlink => {
                let link = entry.link_name_bytes().ok_or_else(|| broken(&"a symlink to nothing"))?;
                rustix::fs::symlinkat(&*link, &parent, name).map_err(io::Error::from)
            }
            EntryType::Regular => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
                let file = parent.open_at(Path::new(name), flags, Mode::from_raw_mode(0o600));
                file.and_then(|fd| write_file(File::from(fd), &mut entry, mode, scope))
            }
            _ => return Err(broken(&"an entry that is no folder, file or symlink")),
        }
        .map_err(Error::at(&place))?;
        if scope.host.is_root() {
            let (uid, gid) = (entry.header().uid(), entry.header().gid());
            let (uid, gid) = (uid.map_err(Error::at(&place))?, gid.map_err(Error::at(&place))?);
            std::os::unix::fs::lchown(&place, Some(uid as u32), Some(gid as u32))
                .map_err(Error::at(&place))?;
        }
        let times = Timestamps { last_access: time, last_modification: time };
        let set = rustix::fs::utimensat(&parent, name, &times, AtFlags::SYMLINK_NOFOLLOW);
        set.map_err(|e| Error::at(&place)(e.into()))?;
    }
    Ok(())
}

fn write_file(mut file: File, from: &mut impl Read, mode: u32, scope: &Scope<'_>) -> io::Result<()> {
    let bytes = io::copy(from, &mut file)?;
    scope.progress.advance(bytes);
    crate::base::fsx::chmod_fd(&file, mode)?;
    file.flush()
}

fn time_of(text: &str) -> Option<Timespec> {
    let (seconds, nanoseconds) = text.split_once('.')?;
    let tv_nsec = nanoseconds.parse().ok().filter(|_| nanoseconds.len() == 9)?;
    Some(Timespec { tv_sec: seconds.parse().ok()?, tv_nsec })
}

/// What is in a backup, entry by entry.
pub fn list(from: impl Read, each: &mut dyn FnMut(String, &'static str, u64)) -> Result<()> {
    let mut archive = Archive::new(from);
    let io = |e| Error::io("stream tree", e);
    for entry in archive.entries().map_err(io)? {
        let entry = entry.map_err(io)?;
        let path = BundlePath::new(entry.path_bytes().into_owned()).map_err(|e| Error::rule("V6", e))?;
        let what = match entry.header().entry_type() {
            EntryType::Directory => "directory",
            EntryType::Symlink => "symlink",
            _ => "file",
        };
        if path.as_path() != Path::new(MARK) {
            each(path.to_string(), what, entry.size());
        }
    }
    Ok(())
}
