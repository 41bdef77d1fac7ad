//! `file`: what stands at a path. Looks and reads, and nothing else.

use super::{Site, Trial, Tried};
use crate::base::digest::{Digest, Hasher};
use crate::format::{Absent, FileProbe, FileType};
use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Instant;

/// A path, and what must stand there.
pub(super) struct File {
    probe: FileProbe,
}

impl File {
    pub(super) fn new(probe: &FileProbe) -> Self {
        File { probe: probe.clone() }
    }

    fn exists(&self) -> bool {
        self.probe.exists.unwrap_or(true)
    }
}

impl Trial for File {
    fn what(&self) -> String {
        let FileProbe { path, kind, mode, owner, min_size, sha256, .. } = &self.probe;
        if !self.exists() {
            return format!("looks that there is no {path}");
        }
        let kind = kind.map(|kind| format!("a {}", word(kind)));
        let mode = mode.as_ref().map(|mode| format!("mode {mode}"));
        let owner = owner.as_ref().map(|owner| format!("owner {owner}"));
        let size = min_size.map(|size| format!("at least {size} bytes"));
        let digest = sha256.map(|digest| format!("SHA-256 {digest}"));
        let wants: Vec<String> = [kind, mode, owner, size, digest].into_iter().flatten().collect();
        let if_there = if self.probe.absent == Absent::Ok { ", if it is there" } else { "" };
        match wants.is_empty() {
            true => format!("looks that {path} is there"),
            false => format!("looks at {path}{if_there}: {}", wants.join(", ")),
        }
    }

    fn needs_trust(&self) -> Option<String> {
        None
    }

    fn attempt(&self, site: &Site) -> Tried {
        let Some(path) = site.host.expand(&self.probe.path) else {
            return Tried::failed(format!("{} is not a path", self.probe.path));
        };
        let link = self.probe.kind == Some(FileType::Symlink) || !self.exists();
        let meta = if link { fs::symlink_metadata(&path) } else { fs::metadata(&path) };
        let at = [format!("path {}", path.display())];
        let meta = match meta {
            Ok(_) if !self.exists() => return Tried::failed("it is there").with(at),
            Ok(meta) => meta,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let must = self.exists() && self.probe.absent == Absent::Refuse;
                let tried = if must { Tried::failed("it is not there") } else { Tried::passed() };
                return tried.with(at);
            }
            Err(error) => return Tried::failed(error.to_string()).with(at),
        };
        let wrong = self.wrong(&path, &meta, site);
        wrong.map_or_else(Tried::passed, Tried::failed).with(at)
    }
}

impl File {
    /// What is not as it must be.
    fn wrong(&self, path: &Path, meta: &Metadata, site: &Site) -> Option<String> {
        let FileProbe { kind, mode, owner, min_size, sha256, .. } = &self.probe;
        if let Some(kind) = kind.filter(|kind| found(meta) != Some(*kind)) {
            return Some(format!("it is not a {}", word(kind)));
        }
        let bits = meta.mode() & 0o7777;
        if let Some(mode) = mode.as_ref().filter(|mode| u32::from_str_radix(mode, 8) != Ok(bits)) {
            return Some(format!("its mode is {bits:04o}, not {mode}"));
        }
        if let Some(owner) = owner {
            let user = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(meta.uid())).ok().flatten();
            let name = user.map_or_else(|| meta.uid().to_string(), |user| user.name);
            if name != *owner {
                return Some(format!("it belongs to {name}, not to {owner}"));
            }
        }
        if let Some(least) = min_size.filter(|least| meta.len() < *least) {
            return Some(format!("it has {} bytes, fewer than {least}", meta.len()));
        }
        let expected = (*sha256)?;
        match digest(path, Instant::now() + site.limit) {
            Ok(digest) if digest == expected => None,
            Ok(digest) => Some(format!("its SHA-256 is {digest}")),
            Err(error) => Some(format!("it cannot be read: {error}")),
        }
    }
}

fn word(kind: FileType) -> &'static str {
    match kind {
        FileType::File => "regular file",
        FileType::Directory => "directory",
        FileType::Symlink => "symlink",
    }
}

fn found(meta: &Metadata) -> Option<FileType> {
    let kind = meta.file_type();
    let found = [(kind.is_file(), FileType::File), (kind.is_dir(), FileType::Directory)];
    let link = (kind.is_symlink(), FileType::Symlink);
    found.into_iter().chain([link]).find_map(|(is, kind)| is.then_some(kind))
}

/// The digest of a regular file; of nothing else, for opening or reading a device may do something.
fn digest(path: &Path, until: Instant) -> io::Result<Digest> {
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let mut file = fs::File::options().read(true).custom_flags(nonblocking).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            n => hasher.update(&buffer[..n]),
        }
        if Instant::now() >= until {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::child::tests::site;
    use super::super::Verdict;
    use super::*;
    use serde_json::json;

    #[test]
    fn every_property() {
        let (_dir, site) = site(false);
        let file = site.host.home.join("x");
        fs::write(&file, "abc").unwrap();
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
        fs::create_dir(site.host.home.join("d")).unwrap();
        std::os::unix::fs::symlink("none", site.host.home.join("dangling")).unwrap();
        let me = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap().name;
        let attempt =
            |probe: serde_json::Value| File::new(&serde_json::from_value(probe).unwrap()).attempt(&site);
        let abc = Digest::of(b"abc").to_string();
        for good in [
            json!({"path": "~/x"}),
            json!({"path": "~/x", "type": "file", "mode": "0640", "owner": me, "min-size": 3, "sha256": abc}),
            json!({"path": "~/d", "type": "directory"}),
            json!({"path": "~/dangling", "type": "symlink"}),
            json!({"path": "~/none", "exists": false}),
            json!({"path": "~/none", "absent": "ok", "mode": "600"}),
            json!({"path": "~/x", "absent": "ok", "mode": "640"}),
        ] {
            assert_eq!(attempt(good.clone()).verdict, Verdict::Passed, "{good}");
        }
        for (bad, why) in [
            (json!({"path": "~/none"}), "it is not there"),
            (json!({"path": "~/x/y"}), "Not a directory"),
            (json!({"path": "~/dangling"}), "it is not there"),
            (json!({"path": "~/dangling", "exists": false}), "it is there"),
            (json!({"path": "~/x", "type": "directory"}), "it is not a directory"),
            (json!({"path": "~/x", "mode": "600"}), "its mode is 0640, not 600"),
            (json!({"path": "~/x", "mode": "600", "absent": "ok"}), "its mode is 0640, not 600"),
            (json!({"path": "~/x", "owner": "nobody-else"}), "not to nobody-else"),
            (json!({"path": "~/x", "min-size": 4}), "it has 3 bytes, fewer than 4"),
            (json!({"path": "~/x", "sha256": Digest::of(b"").to_string()}), "its SHA-256 is ba78"),
            (json!({"path": "/dev/zero", "sha256": abc}), "it is not a regular file"),
        ] {
            let tried = attempt(bad.clone());
            assert!(tried.why.as_ref().is_some_and(|said| said.contains(why)), "{bad}: {tried:?}");
            assert_eq!(tried.verdict, Verdict::Failed);
        }
    }
}
