//! The header of an entry in a shard: a PAX header where ustar cannot hold it all, then a ustar header.
//!
//! A row of the index leaves nothing open, so there is exactly one header for it. A writer writes it, and a
//! reader does not parse: it makes the same bytes and compares.

use super::index::{Node, Row};
use super::meta::{Meta, Time};
use tar::{EntryType, Header};

/// What ends a shard.
pub const END: [u8; 1024] = [0; 1024];
const PAX_NAME: &[u8] = b"././@PaxHeader";
const SPARSE_PREFIX: &[u8] = b"GNUSparseFile.0/";
/// Octal numbers of 7 and of 11 digits end here.
const OCTAL_7: u64 = 1 << 21;
const OCTAL_11: u64 = 1 << 33;

/// Zeros that follow `size` bytes of content.
pub fn padding(size: u64) -> usize {
    (size.next_multiple_of(512) - size) as usize
}

/// Bytes of content that follow the header of `row`, without padding.
pub fn stored_size(row: &Row) -> u64 {
    match &row.node {
        Node::File(file) => file.stored.unwrap_or(file.size),
        _ => 0,
    }
}

/// The header's bytes, a multiple of 512.
pub fn header(row: &Row) -> Vec<u8> {
    let mut pax = Pax(Vec::new());
    let mut head = Header::new_ustar();
    let mut path = row.path.as_bytes().to_vec();
    let (meta, kind, link): (Option<&Meta>, _, &[u8]) = match &row.node {
        Node::File(file) => (Some(&file.meta), EntryType::Regular, b""),
        Node::Symlink(meta, target) => (Some(meta), EntryType::Symlink, target),
        Node::Dir(meta) => {
            path.push(b'/');
            (Some(meta), EntryType::Directory, b"")
        }
        Node::Link(first) => (None, EntryType::Link, first.as_bytes()),
    };
    head.set_entry_type(kind);
    let sparse = matches!(&row.node, Node::File(file) if file.stored.is_some());
    let name = if sparse {
        [SPARSE_PREFIX, row.path.file_name().as_encoded_bytes()].concat()
    } else {
        if path.len() > 100 {
            pax.record("path", &path);
        }
        path
    };
    if link.len() > 100 {
        pax.record("linkpath", link);
    }
    let stored = stored_size(row);
    head.set_size(pax.number("size", stored, OCTAL_11));
    put_meta(&mut head, &mut pax, meta);
    if let (true, Node::File(file)) = (sparse, &row.node) {
        pax.record("GNU.sparse.major", b"1");
        pax.record("GNU.sparse.minor", b"0");
        pax.record("GNU.sparse.name", row.path.as_bytes());
        pax.record("GNU.sparse.realsize", file.size.to_string().as_bytes());
    }
    for (name, value) in meta.iter().flat_map(|meta| &meta.xattrs.0) {
        pax.record(&format!("SCHILY.xattr.{name}"), value);
    }
    if let Some(ustar) = head.as_ustar_mut() {
        fill(&mut ustar.name, &name);
        fill(&mut ustar.linkname, link);
    }
    head.set_cksum();
    let mut out = pax.finish();
    out.extend_from_slice(head.as_bytes());
    out
}

/// Mode, owner and time. A hard link has none of its own: all zero.
fn put_meta(head: &mut Header, pax: &mut Pax, meta: Option<&Meta>) {
    let Some(meta) = meta else {
        head.set_mode(0);
        head.set_uid(0);
        head.set_gid(0);
        return;
    };
    head.set_mode(meta.mode.0);
    head.set_uid(pax.number("uid", meta.uid.into(), OCTAL_7));
    head.set_gid(pax.number("gid", meta.gid.into(), OCTAL_7));
    let user = meta.user.as_ref().map_or("", |n| n.as_str());
    let group = meta.group.as_ref().map_or("", |n| n.as_str());
    for (key, name) in [("uname", user), ("gname", group)] {
        if !name.is_ascii() || name.len() > 31 {
            pax.record(key, name.as_bytes());
        }
    }
    let short =
        |name: &str| if name.is_ascii() && name.len() <= 31 { name.to_owned() } else { String::new() };
    if let Some(ustar) = head.as_ustar_mut() {
        fill(&mut ustar.uname, short(user).as_bytes());
        fill(&mut ustar.gname, short(group).as_bytes());
    }
    let whole = u64::try_from(meta.mtime.s).ok().filter(|&s| s < OCTAL_11);
    if whole.is_none() || meta.mtime.ns != 0 {
        pax.record("mtime", pax_time(meta.mtime).as_bytes());
    }
    head.set_mtime(whole.unwrap_or(0));
}

/// A time as a signed decimal number, nine digits after the point. (Our own seconds are rounded down, so a
/// time before 1970 has to be turned around.)
fn pax_time(time: Time) -> String {
    if time.s >= 0 || time.ns == 0 {
        return time.to_string();
    }
    format!("-{}.{:09}", (time.s + 1).unsigned_abs(), 1_000_000_000 - time.ns)
}

fn fill(field: &mut [u8], value: &[u8]) {
    let n = value.len().min(field.len());
    field[..n].copy_from_slice(&value[..n]);
}

/// The records of a PAX header (POSIX.1-2001): `length key=value\n`, the length counting itself.
struct Pax(Vec<u8>);

impl Pax {
    fn record(&mut self, key: &str, value: &[u8]) {
        let rest = key.len() + value.len() + 3;
        let mut len = rest + 1;
        while rest + len.to_string().len() != len {
            len = rest + len.to_string().len();
        }
        self.0.extend_from_slice(format!("{len} {key}=").as_bytes());
        self.0.extend_from_slice(value);
        self.0.push(b'\n');
    }

    /// What stands in the ustar field: the number, or 0 beside a record where it is too large for the field.
    fn number(&mut self, key: &str, value: u64, end: u64) -> u64 {
        if value < end {
            return value;
        }
        self.record(key, value.to_string().as_bytes());
        0
    }

    fn finish(self) -> Vec<u8> {
        if self.0.is_empty() {
            return self.0;
        }
        let mut head = Header::new_ustar();
        head.set_entry_type(EntryType::XHeader);
        head.set_mode(0o600);
        head.set_uid(0);
        head.set_gid(0);
        head.set_size(self.0.len() as u64);
        if let Some(ustar) = head.as_ustar_mut() {
            fill(&mut ustar.name, PAX_NAME);
        }
        head.set_cksum();
        let mut out = head.as_bytes().to_vec();
        out.extend_from_slice(&self.0);
        out.resize(out.len().next_multiple_of(512), 0);
        out
    }
}
