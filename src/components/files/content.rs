//! Source: a file whose text the profile has, for where nothing is at the root.

use super::capture::{end, index_name, shard_name};
use super::facts::{Facts, State};
use super::index::{self, FileNode, Node, Row};
use super::meta::{Meta, Names, Perm, Time};
use super::site::Place;
use super::tarfmt::{header, padding};
use super::walk::note;
use super::Files;
use crate::base::digest::Digest;
use crate::component::{Captured, Error, Finding, Holds, Result, Scope, StreamSink};

/// What is said of it.
pub fn finding(place: &Place) -> Finding {
    note(&place.lexical, "it does not exist: the profile's content is packed for it")
}

/// Writes the streams of one file with `text`. Its time is that of no day, so that each export has the same file.
pub fn capture(
    files: &Files,
    place: &Place,
    text: &str,
    scope: &Scope<'_>,
    sink: &dyn StreamSink,
    facts: Facts,
) -> Result<Captured> {
    let failed = |e| Error::io("a shard of the tree", e);
    let row = row(place, text)?;
    let size = text.len() as u64;
    scope.progress.expect(size);
    let mut out = sink.create(&shard_name(1)?, Holds::Data)?;
    out.label(&row.path.to_string());
    out.write_all(&header(&row)).map_err(failed)?;
    out.write_all(text.as_bytes()).map_err(failed)?;
    out.write_all(&[0; 512][..padding(size)]).map_err(failed)?;
    end(out)?;
    scope.progress.advance(size);
    let mut stream = sink.create(&index_name()?, Holds::Data)?;
    index::write(&[row], &mut *stream)?;
    stream.finish()?;
    let root = files.root_text.clone();
    let facts = Facts { root, state: State::File, entries: 1, bytes: size, ..facts };
    Captured::new(&facts, vec![finding(place)])
}

/// The one row of its index.
pub fn row(place: &Place, text: &str) -> Result<Row> {
    let names = Names::default();
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let meta = Meta {
        mode: Perm(0o644),
        mtime: Time { s: 0, ns: 0 },
        uid,
        gid,
        user: names.user(uid),
        group: names.group(gid),
        xattrs: Default::default(),
    };
    let (size, digest) = (text.len() as u64, Digest::of(text.as_bytes()));
    let node = FileNode { meta, size, digest, stored: None };
    Ok(Row { path: place.entry_name()?, shard: 1, node: Node::File(node) })
}
