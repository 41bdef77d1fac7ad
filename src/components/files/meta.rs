//! What a file system knows of an entry besides its content: mode, time, owner, extended attributes.

use crate::base::digest::{decode_hex, encode_hex};
use crate::base::fsx::chmod_fd;
use rustix::fs::{self, AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags, UTIME_OMIT};
use rustix::io::Errno;
use serde::{de, Deserialize, Deserializer, Serialize, Serializer};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// A time: whole seconds since 1970 (rounded down) and nanoseconds. As text `seconds.nnnnnnnnn`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Seconds, rounded down.
    pub s: i64,
    /// Nanoseconds to be added, 0 to 999,999,999.
    pub ns: u32,
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.s, self.ns)
    }
}

impl Time {
    fn parse(text: &str) -> Option<Time> {
        let (s, ns) = text.split_once('.')?;
        let time = Time { s: s.parse().ok()?, ns: ns.parse().ok()? };
        (time.to_string() == text && time.ns < 1_000_000_000).then_some(time)
    }

    fn spec(self) -> Timespec {
        Timespec { tv_sec: self.s, tv_nsec: self.ns.into() }
    }
}

macro_rules! as_text {
    ($type:ty, $parse:expr, $what:literal) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = String::deserialize(d)?;
                $parse(&text).ok_or_else(|| de::Error::custom($what))
            }
        }
    };
}
as_text!(Time, Time::parse, "a time is 'seconds.nnnnnnnnn'");

/// Permission bits. As text four octal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Perm(pub u32);

impl fmt::Display for Perm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl Perm {
    fn parse(text: &str) -> Option<Perm> {
        let perm = Perm(u32::from_str_radix(text, 8).ok()?);
        (perm.0 <= 0o7777 && perm.to_string() == text).then_some(perm)
    }
}
as_text!(Perm, Perm::parse, "a mode is four octal digits");

/// Extended attributes by name. As JSON an object; the values are lower-case hex.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Xattrs(pub BTreeMap<String, Vec<u8>>);

impl Xattrs {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Xattrs {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(self.0.iter().map(|(name, value)| (name, encode_hex(value))))
    }
}

impl<'de> Deserialize<'de> for Xattrs {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let mut out = BTreeMap::new();
        for (name, hex) in BTreeMap::<String, String>::deserialize(d)? {
            let mut value = vec![0; hex.len() / 2];
            if !travels(&name) || !decode_hex(&hex, &mut value) {
                return Err(de::Error::custom("not an extended attribute that travels"));
            }
            out.insert(name, value);
        }
        Ok(Xattrs(out))
    }
}

/// The extended attributes that travel: the users' own, and POSIX ACLs. The others (capabilities, labels of
/// a security module, a file system's own) give powers or belong to one machine.
fn travels(name: &str) -> bool {
    let acl = matches!(name, "system.posix_acl_access" | "system.posix_acl_default");
    let plain = |c: char| !c.is_control() && c != '=' && c != '%';
    acl || name.len() <= 255
        && name.strip_prefix("user.").is_some_and(|n| !n.is_empty() && n.chars().all(plain))
}

/// Mode, time, owner and extended attributes of one entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Meta {
    /// Permission bits.
    pub mode: Perm,
    /// Last modification.
    pub mtime: Time,
    /// The owner's number on the source.
    pub uid: u32,
    /// The group's number on the source.
    pub gid: u32,
    /// The owner's name on the source, if it had one.
    #[serde(default, deserialize_with = "crate::base::json::set", skip_serializing_if = "Option::is_none")]
    pub user: Option<Name>,
    /// The group's name on the source, if it had one.
    #[serde(default, deserialize_with = "crate::base::json::set", skip_serializing_if = "Option::is_none")]
    pub group: Option<Name>,
    /// Extended attributes; none for a symlink.
    #[serde(default, skip_serializing_if = "Xattrs::is_empty")]
    pub xattrs: Xattrs,
}

/// The name of a user or group: 1 to 255 bytes without control characters. Shared, for thousands of entries have the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Name(Arc<str>);

impl Name {
    fn parse(text: &str) -> Option<Name> {
        let ok = (1..=255).contains(&text.len()) && !text.chars().any(char::is_control);
        ok.then(|| Name(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
as_text!(Name, Name::parse, "not the name of a user or group");

/// The machine's users and groups, each looked up once.
#[derive(Default)]
pub struct Names {
    users: Mutex<HashMap<u32, Option<Name>>>,
    groups: Mutex<HashMap<u32, Option<Name>>>,
    uids: Mutex<HashMap<Name, Option<u32>>>,
    gids: Mutex<HashMap<Name, Option<u32>>>,
}

fn cached<K: std::hash::Hash + Eq + Clone, V: Clone>(
    map: &Mutex<HashMap<K, V>>,
    key: &K,
    look: impl FnOnce() -> V,
) -> V {
    let mut map = map.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(known) = map.get(key) {
        return known.clone();
    }
    let value = look();
    map.insert(key.clone(), value.clone());
    value
}

impl Names {
    /// The name of a user.
    pub fn user(&self, uid: u32) -> Option<Name> {
        cached(&self.users, &uid, || {
            let user = nix::unistd::User::from_uid(uid.into()).ok().flatten()?;
            Name::parse(&user.name)
        })
    }

    /// The name of a group.
    pub fn group(&self, gid: u32) -> Option<Name> {
        cached(&self.groups, &gid, || {
            let group = nix::unistd::Group::from_gid(gid.into()).ok().flatten()?;
            Name::parse(&group.name)
        })
    }

    /// Who `meta`'s owner is on this machine: by name where the name exists, else by number.
    pub fn owner(&self, meta: &Meta) -> (u32, u32) {
        let uid = meta.user.as_ref().and_then(|name| self.uid(name));
        let gid = meta.group.as_ref().and_then(|name| self.gid(name));
        (uid.unwrap_or(meta.uid), gid.unwrap_or(meta.gid))
    }

    /// The number of a user on this machine.
    pub fn uid(&self, name: &Name) -> Option<u32> {
        cached(&self.uids, name, || {
            nix::unistd::User::from_name(name.as_str()).ok().flatten().map(|u| u.uid.as_raw())
        })
    }

    /// The number of a group on this machine.
    pub fn gid(&self, name: &Name) -> Option<u32> {
        cached(&self.gids, name, || {
            nix::unistd::Group::from_name(name.as_str()).ok().flatten().map(|g| g.gid.as_raw())
        })
    }
}

/// The extended attributes of an open file or directory that travel, and the names of those that should
/// have been worth a word but do not.
pub fn read_xattrs(fd: impl AsFd) -> io::Result<(Xattrs, Vec<String>)> {
    let mut list = Vec::new();
    let mut short = [0u8; 512];
    match fs::flistxattr(&fd, &mut short[..]) {
        Ok(n) => list.extend_from_slice(&short[..n]),
        Err(Errno::OPNOTSUPP) => {}
        Err(Errno::RANGE) => {
            list.resize(64 * 1024, 0);
            let n = fs::flistxattr(&fd, &mut list[..])?;
            list.truncate(n);
        }
        Err(e) => return Err(e.into()),
    }
    let (mut xattrs, mut dropped) = (Xattrs::default(), Vec::new());
    for name in list.split(|&c| c == 0).filter(|n| !n.is_empty()) {
        // A name that is not text cannot stand in the index; to bend it would give two attributes one name.
        let Ok(text) = std::str::from_utf8(name).map(str::to_owned) else {
            dropped.push(String::from_utf8_lossy(name).into_owned());
            continue;
        };
        if !travels(&text) {
            if !text.starts_with("security.") || text == "security.capability" {
                dropped.push(text);
            }
            continue;
        }
        let mut value = vec![0; 64 * 1024];
        match fs::fgetxattr(&fd, name, &mut value[..]) {
            Ok(n) => value.truncate(n),
            Err(Errno::NODATA) => continue,
            Err(e) => return Err(e.into()),
        }
        value.shrink_to_fit();
        xattrs.0.insert(text, value);
    }
    Ok((xattrs, dropped))
}

/// Gives an open file or directory its metadata. `owner` only if it is to be set.
///
/// The order matters: a change of owner clears bits of the mode, an ACL is consistent with a mode that is
/// already set, and the time comes last. The bits are tight until the owner is right.
pub fn apply(fd: impl AsFd, meta: &Meta, owner: Option<(u32, u32)>) -> io::Result<()> {
    let fd = fd.as_fd();
    if let Some((uid, gid)) = owner {
        fs::fchown(fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    }
    apply_xattrs(fd, &meta.xattrs)?;
    chmod_fd(fd, meta.mode.0)?;
    set_mtime(fd, meta.mtime)
}

/// [`apply`] for a file that this process has just made with [`private`] mode and no attributes.
pub fn apply_to_new(fd: impl AsFd, meta: &Meta, owner: Option<(u32, u32)>) -> io::Result<()> {
    let fd = fd.as_fd();
    if !meta.xattrs.is_empty() {
        return apply(fd, meta, owner);
    }
    if let Some((uid, gid)) = owner {
        fs::fchown(fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    }
    chmod_fd(fd, meta.mode.0)?;
    set_mtime(fd, meta.mtime)
}

/// Makes the extended attributes of a new or existing entry what `want` says; those that never travel stay.
fn apply_xattrs(fd: impl AsFd, want: &Xattrs) -> io::Result<()> {
    let (have, _) = read_xattrs(&fd)?;
    let writable = |act: &dyn Fn() -> rustix::io::Result<()>| match act() {
        // An owner may not set attributes of his own read-only file.
        Err(Errno::ACCESS) => chmod_fd(&fd, 0o700).and_then(|()| Ok(act()?)),
        done => Ok(done?),
    };
    for name in have.0.keys().filter(|name| !want.0.contains_key(*name)) {
        writable(&|| fs::fremovexattr(&fd, name.as_str()))?;
    }
    for (name, value) in want.0.iter().filter(|(name, value)| have.0.get(*name) != Some(value)) {
        writable(&|| fs::fsetxattr(&fd, name.as_str(), value, XattrFlags::empty()))?;
    }
    Ok(())
}

fn times(mtime: Time) -> Timestamps {
    let keep = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    Timestamps { last_access: keep, last_modification: mtime.spec() }
}

/// Sets the time of last modification.
pub fn set_mtime(fd: impl AsFd, mtime: Time) -> io::Result<()> {
    Ok(fs::futimens(fd, &times(mtime))?)
}

/// Gives a symlink itself its owner and time. A symlink has no mode of its own.
pub fn apply_to_link(at: impl AsFd, name: &Path, mtime: Time, owner: Option<(u32, u32)>) -> io::Result<()> {
    if let Some((uid, gid)) = owner {
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        fs::chownat(&at, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(fs::utimensat(&at, name, &times(mtime), AtFlags::SYMLINK_NOFOLLOW)?)
}

/// The mode that a new file or directory of ours has until its own is set.
pub fn private(is_dir: bool) -> Mode {
    Mode::from_raw_mode(if is_dir { 0o700 } else { 0o600 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_modes_have_one_text_form() {
        for (s, ns, text) in [
            (0, 0, "0.000000000"),
            (1_700_000_000, 5, "1700000000.000000005"),
            (-5, 500_000_000, "-5.500000000"),
        ] {
            assert_eq!(Time { s, ns }.to_string(), text);
            assert_eq!(Time::parse(text), Some(Time { s, ns }));
        }
        for bad in ["0", "0.0", "+1.000000000", "00.000000000", "1.0000000000", "-0.000000000"] {
            assert_eq!(Time::parse(bad), None, "{bad}");
        }
        assert_eq!(Perm::parse("0644"), Some(Perm(0o644)));
        for bad in ["644", "00644", "17777", "0648", "+644"] {
            assert_eq!(Perm::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_harmless_attributes_travel() {
        for good in ["user.a", "user.über", "system.posix_acl_access", "system.posix_acl_default"] {
            assert!(travels(good), "{good}");
        }
        for bad in ["user.", "user.a=b", "user.a\n", "security.capability", "trusted.x", "system.x", ""] {
            assert!(!travels(bad), "{bad}");
        }
    }
}
