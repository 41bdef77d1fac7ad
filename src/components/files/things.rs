//! The tree as a list of things: out of an index, and as it is now.

use super::capture::{index_name, look, Source};
use super::compare::count_shards;
use super::content;
use super::facts::State;
use super::home::{written, Moved};
use super::index::{self, Node, Row};
use super::meta::{read_xattrs, Meta, Names, Xattrs};
use super::site::io_at;
use super::sparse;
use super::walk::{gone, meta_of, Entry, Kind};
use super::Files;
use crate::base::digest::Digest;
use crate::base::path::{path_text, BundlePath};
use crate::component::{parallel, Against, Result, Scope, StreamSource, Thing};
use rustix::fs::{Mode, OFlags};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a bundle holds, or the part of it that counts.
pub fn held(files: &Files, streams: &dyn StreamSource, only: &[BundlePath]) -> Result<Vec<Thing>> {
    let facts = files.facts()?;
    let shards = count_shards(streams, facts.touched)?;
    let counts = |path: &BundlePath| only.is_empty() || only.iter().any(|only| path.is_within(only));
    let mut things: Vec<Thing> = facts.top.iter().filter(|_| only.is_empty()).map(root).collect();
    index::read_each(streams.open(&index_name()?)?, shards, &mut |row| {
        things.extend(counts(&row.path).then(|| of_row(&row)));
    })?;
    Ok(things)
}

/// What is there. A file whose size and time are those of the other side is not read again.
pub fn present(files: &Files, scope: &Scope<'_>, against: &Against<'_>) -> Result<Option<Vec<Thing>>> {
    // The part that the bundle was made of, or less.
    let packed = files.facts.as_ref().map_or(&[][..], |facts| &facts.only);
    let only = if scope.only.is_empty() { packed } else { scope.only };
    let mut source = look(files, &Scope { only, ..*scope }, None)?;
    // A file is the same one under another name.
    let was_file = files.facts.as_ref().is_some_and(|facts| facts.state == State::File);
    let is_file = was_file && source.place.found == super::site::Found::File;
    if let (true, [entry], [known]) = (is_file, &mut source.walk.entries[..], against.things) {
        entry.path = BundlePath::parse(&known.name).unwrap_or_else(|_| entry.path.clone());
    }
    let Source { place, dir: Some(dir), walk } = &source else {
        // Where nothing is, the profile's content would be packed.
        let made = files.content.as_ref().filter(|_| source.place.found == super::site::Found::Absent);
        let made = made.map(|text| content::row(&source.place, text).map(|row| vec![of_row(&row)]));
        return made.transpose();
    };
    let names = Names::default();
    let mut things = Vec::with_capacity(walk.entries.len() + 1);
    if only.is_empty() && place.found == super::site::Found::Dir {
        things.push(root(&meta_of(dir, &names, &place.real)?));
    }
    let entries: Vec<&Entry> =
        walk.entries.iter().filter(|entry| !entry.pass && entry.stat.kind != Kind::Special).collect();
    let mut firsts: HashMap<(u64, u64), String> = HashMap::new();
    let mut to_read = Vec::new();
    for entry in entries {
        let name = entry.path.to_string();
        let meta = entry.stat.meta(&names, Xattrs::default());
        let thing = match entry.stat.kind {
            Kind::Dir => with_meta(Thing::new(name, "directory"), &meta),
            Kind::Symlink => symlink(name, &entry.target),
            _ => match firsts.get(&entry.stat.file) {
                Some(first) => link(name, first.clone()),
                None => {
                    if entry.stat.nlink > 1 {
                        firsts.insert(entry.stat.file, name.clone());
                    }
                    to_read.push((things.len(), entry));
                    file(name, entry.stat.size, &meta)
                }
            },
        };
        // Only an import by root sets owners.
        let owner = thing.owner.filter(|_| scope.host.is_root());
        things.push(Thing { owner, ..thing });
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let mut seen = Vec::new();
        while let Some((at, entry)) = to_read.get(next.fetch_add(1, Ordering::Relaxed)) {
            let known = against.find(&things[*at].name).filter(|known| is_like(known, &things[*at], entry));
            seen.push((*at, read(&source, entry, known.and_then(|known| known.content), scope)?));
        }
        Ok(seen)
    };
    let seen: Vec<_> = parallel(scope.threads, work)?.into_iter().flatten().collect();
    for (at, inside) in seen {
        (things[at].content, things[at].attributes) = inside;
    }
    for (at, entry) in &to_read {
        give_mode(files, &entry.path, &mut things[*at], against);
    }
    if let (Some(facts), Some(streams)) = (&files.facts, against.streams) {
        if let Some(moved) = Moved::of(facts, scope.host) {
            give_home(files, &moved, streams, &to_read, &mut things, against)?;
        }
    }
    Ok(Some(things))
}

/// The mode that `modes` gives a file, when it is packed or when it is put in place, makes it no other file.
fn give_mode(files: &Files, path: &BundlePath, thing: &mut Thing, against: &Against<'_>) {
    let Some(known) = against.find(&thing.name) else { return };
    let given = |mode: Option<u32>| files.modes.of(path).or(mode);
    if given(thing.mode) == known.mode || given(known.mode) == thing.mode {
        thing.mode = known.mode;
    }
}

/// Neither does what `rewrite-home` makes of it.
fn give_home(
    files: &Files,
    moved: &Moved,
    streams: &dyn StreamSource,
    read: &[(usize, &Entry)],
    things: &mut [Thing],
    against: &Against<'_>,
) -> Result<()> {
    let differs = |thing: &Thing| {
        against
            .find(&thing.name)
            .is_some_and(|known| thing.content.is_some() && known.content != thing.content)
    };
    let paths = read.iter().filter(|(at, _)| differs(&things[*at])).map(|(_, entry)| &entry.path).collect();
    let written = written(files, moved, streams, &paths)?;
    for (at, entry) in read {
        let thing = &mut things[*at];
        let (Some(known), Some(digest)) = (against.find(&thing.name), written.get(&entry.path)) else {
            continue;
        };
        if thing.content == Some(*digest) {
            (thing.content, thing.size) = (known.content, known.size);
            thing.time.clone_from(&known.time);
        }
    }
    Ok(())
}

/// Whether size and time prove the content to be the other side's. A time in whole seconds was set by a tool, and proves nothing.
fn is_like(known: &Thing, thing: &Thing, entry: &Entry) -> bool {
    known.what == thing.what
        && known.size == thing.size
        && known.time == thing.time
        && entry.stat.mtime.ns != 0
}

type Inside = (Option<Digest>, Option<Digest>);

/// The digests of a file's content, if that is not `known`, and of its attributes. Of one that its user may not read, or that
/// is gone by now, nothing is known.
fn read(source: &Source, entry: &Entry, known: Option<Digest>, scope: &Scope<'_>) -> Result<Inside> {
    let Source { place, dir: Some(dir), .. } = source else { return Ok((None, None)) };
    let at = place.real.join(entry.path.as_path());
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW;
    let opened = match place.found {
        super::site::Found::File => File::open(&place.real),
        _ => dir.open_at(entry.path.as_path(), flags, Mode::empty()).map(File::from),
    };
    let mut opened = match opened {
        Err(e) if gone(&e) || e.kind() == io::ErrorKind::PermissionDenied => return Ok((None, None)),
        opened => opened.map_err(|e| io_at(&at, e))?,
    };
    let (xattrs, _) = read_xattrs(&opened).map_err(|e| io_at(&at, e))?;
    let content = match known {
        Some(known) => known,
        None => {
            scope.progress.expect(entry.stat.size);
            sparse::digest(&mut opened, scope.progress).map_err(|e| io_at(&at, e))?
        }
    };
    Ok((Some(content), Some(of_attributes(&xattrs))))
}

fn of_row(row: &Row) -> Thing {
    let name = row.path.to_string();
    match &row.node {
        Node::File(node) => Thing {
            content: Some(node.digest),
            attributes: Some(of_attributes(&node.meta.xattrs)),
            ..file(name, node.size, &node.meta)
        },
        Node::Symlink(_, target) => symlink(name, target),
        Node::Dir(meta) => with_meta(Thing::new(name, "directory"), meta),
        Node::Link(first) => link(name, first.to_string()),
    }
}

/// The root directory itself.
fn root(meta: &Meta) -> Thing {
    Thing { owner: None, ..with_meta(Thing::new(".", "directory"), meta) }
}

fn file(name: String, size: u64, meta: &Meta) -> Thing {
    let time = Some(meta.mtime.to_string());
    Thing { size: Some(size), time, ..with_meta(Thing::new(name, "file"), meta) }
}

fn symlink(name: String, target: &[u8]) -> Thing {
    Thing { value: Some(path_text(target)), ..Thing::new(name, "symlink") }
}

/// Another name of a file.
fn link(name: String, first: String) -> Thing {
    Thing { value: Some(first), ..Thing::new(name, "hard link") }
}

fn with_meta(thing: Thing, meta: &Meta) -> Thing {
    let name = |name: &Option<super::meta::Name>, id: u32| {
        name.as_ref().map_or_else(|| id.to_string(), ToString::to_string)
    };
    let owner = format!("{}:{}", name(&meta.user, meta.uid), name(&meta.group, meta.gid));
    Thing { mode: Some(meta.mode.0), owner: Some(owner), ..thing }
}

fn of_attributes(xattrs: &Xattrs) -> Digest {
    let mut text = Vec::new();
    for (name, value) in &xattrs.0 {
        text.extend_from_slice(name.as_bytes());
        text.push(b'=');
        text.extend_from_slice(&(value.len() as u64).to_be_bytes());
        text.extend_from_slice(value);
    }
    Digest::of(&text)
}
