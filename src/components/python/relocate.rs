//! An environment is built in one place and works in another: wherever its files name the first, they are made to name the
//! second. Those are the first lines of its scripts, the scripts that activate it, and its own description; that nothing
//! else names the place where it was built is proven, not assumed.

use super::site::walk;
use crate::base::digest::Digest;
use crate::base::path::shown;
use crate::component::{Error, Result};
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::Engine;
use memchr::memmem;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Scripts are text, and small.
const MAX_SCRIPT: u64 = 4 << 20;

/// Makes the environment at `new` one that works at `path`.
pub fn relocate(new: &Path, path: &Path) -> Result<()> {
    let mut changed = BTreeMap::new();
    let config = new.join("pyvenv.cfg");
    rewrite(&config, new, path)?;
    walk(&new.join("bin"), &mut |file| {
        let meta = fs::symlink_metadata(file).map_err(Error::at(file))?;
        if meta.is_file() && meta.len() <= MAX_SCRIPT {
            if let Some(content) = rewrite(file, new, path)? {
                changed.insert(file.to_owned(), content);
            }
        }
        Ok(())
    })?;
    each_record(&new.join("lib"), &mut |record| correct(record, &changed))
}

/// Writes `path` in the place of `new`. Returns what is in the file then, if that changed it.
fn rewrite(file: &Path, new: &Path, path: &Path) -> Result<Option<Vec<u8>>> {
    let content = fs::read(file).map_err(Error::at(file))?;
    let (from, to) = (new.as_os_str().as_bytes(), path.as_os_str().as_bytes());
    let mut text = Vec::with_capacity(content.len());
    let mut rest = 0;
    for found in memmem::find_iter(&content, from) {
        text.extend_from_slice(&content[rest..found]);
        text.extend_from_slice(to);
        rest = found + from.len();
    }
    if rest == 0 {
        return Ok(None);
    }
    text.extend_from_slice(&content[rest..]);
    // Into the file that is there, which keeps its mode.
    fs::write(file, &text).map_err(Error::at(file))?;
    Ok(Some(text))
}

/// Finds the lists of files that pip keeps of what it installed.
fn each_record(lib: &Path, each: &mut dyn FnMut(&Path) -> Result<()>) -> Result<()> {
    walk(lib, &mut |python| {
        let packages = python.join("site-packages");
        if !packages.is_dir() {
            return Ok(());
        }
        walk(&packages, &mut |info| {
            let record = info.join("RECORD");
            let is_info = info.extension().is_some_and(|end| end == "dist-info");
            if is_info && record.is_file() {
                each(&record)
            } else {
                Ok(())
            }
        })
    })
}

/// Digest and size of the changed files in such a list: `../../../bin/x,sha256=...,123`.
fn correct(record: &Path, changed: &BTreeMap<PathBuf, Vec<u8>>) -> Result<()> {
    let text = fs::read_to_string(record).map_err(Error::at(record))?;
    let bin = "../../../bin/";
    let content = |name: &str| changed.iter().find(|(path, _)| path.file_name().is_some_and(|n| n == name));
    let line = |line: &str| {
        let name = line.strip_prefix(bin).and_then(|rest| rest.split_once(",sha256=")).map(|(name, _)| name);
        match name.and_then(content) {
            None => line.to_owned(),
            Some((path, content)) => {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let digest = URL_SAFE_NO_PAD.encode(Digest::of(content).0);
                format!("{bin}{name},sha256={digest},{}", content.len())
            }
        }
    };
    let new: String = text.lines().map(|l| line(l) + "\n").collect();
    match new == text {
        true => Ok(()),
        false => fs::write(record, new).map_err(Error::at(record)),
    }
}

/// Refuses if any file still names the staging area `side`: it would look for something that will not be there.
pub fn require_none_left(new: &Path, side: &Path) -> Result<()> {
    let finder = memmem::Finder::new(side.as_os_str().as_bytes());
    each_file(new, &mut |file| {
        let meta = fs::symlink_metadata(file).map_err(Error::at(file))?;
        let named = match meta.is_symlink() {
            true => {
                let target = fs::read_link(file).map_err(Error::at(file))?;
                finder.find(target.as_os_str().as_bytes()).is_some()
            }
            false => names(file, &finder)?,
        };
        if !named {
            return Ok(());
        }
        let file = file.strip_prefix(new).unwrap_or(file);
        Err(Error::not_ready(format_args!("{}: it has the place where it was built written into it", shown(file)))
            .todo("what it belongs to cannot be moved: leave it out of the requirements, and install it by hand afterwards"))
    })
}

fn each_file(path: &Path, each: &mut dyn FnMut(&Path) -> Result<()>) -> Result<()> {
    let meta = fs::symlink_metadata(path).map_err(Error::at(path))?;
    match meta.is_dir() {
        true => walk(path, &mut |entry| each_file(entry, each)),
        false => each(path),
    }
}

/// Whether a file has the text somewhere. Read in pieces that overlap.
fn names(path: &Path, finder: &memmem::Finder<'_>) -> Result<bool> {
    let mut file = File::open(path).map_err(Error::at(path))?;
    let overlap = finder.needle().len();
    let mut buffer = vec![0; (256 * 1024).max(overlap * 2)];
    let mut kept = 0;
    loop {
        let n = file.read(&mut buffer[kept..]).map_err(Error::at(path))?;
        let filled = kept + n;
        if finder.find(&buffer[..filled]).is_some() {
            return Ok(true);
        }
        if n == 0 {
            return Ok(false);
        }
        kept = filled.min(overlap);
        buffer.copy_within(filled - kept..filled, 0);
    }
}

/// Gives all of it to another user.
pub fn give(path: &Path, uid: u32, gid: u32) -> Result<()> {
    let meta = fs::symlink_metadata(path).map_err(Error::at(path))?;
    if meta.is_dir() {
        walk(path, &mut |entry| give(entry, uid, gid))?;
    }
    std::os::unix::fs::lchown(path, Some(uid), Some(gid)).map_err(Error::at(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_across_two_pieces_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        let finder = memmem::Finder::new("/the/staging/area");
        for before in [0, 1, 256 * 1024 - 17, 256 * 1024 - 9, 256 * 1024 - 1, 256 * 1024, 300_000] {
            let mut content = vec![b'x'; before];
            fs::write(&file, &content).unwrap();
            assert!(!names(&file, &finder).unwrap());
            content.extend_from_slice(b"/the/staging/area/and/more");
            fs::write(&file, &content).unwrap();
            assert!(names(&file, &finder).unwrap(), "{before}");
        }
    }

    #[test]
    fn what_cannot_be_moved_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (side, new) = (dir.path().join("side"), dir.path().join("side/new/venv"));
        fs::create_dir_all(new.join("lib")).unwrap();
        fs::write(new.join("lib/a.so"), b"\x7fELF").unwrap();
        require_none_left(&new, &side).unwrap();
        fs::write(new.join("lib/a.so"), [b"\x7fELF", new.as_os_str().as_bytes()].concat()).unwrap();
        let error = require_none_left(&new, &side).unwrap_err().to_string();
        assert_eq!(error, "lib/a.so: it has the place where it was built written into it");
    }
}
