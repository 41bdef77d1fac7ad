//! Source: the tree becomes shards and an index.
//!
//! 1. Walk.
//! 2. Cut what was found into shards and pack them in parallel.
//! 3. The last shard: hard links, then all directories, so that `tar x` of the shards, in order, sets the
//!    directories' modes and times last.
//! 4. The index.

use super::content;
use super::facts::{Absent, Facts, Mode, Options, State, Symlinks};
use super::home::{examine, Examined};
use super::index::{self, Node, Row};
use super::meta::Names;
use super::modes::Modes;
use super::pack::Packer;
use super::place::refusal;
use super::plan::{FilesPlan, Step};
use super::select::{Selection, Verdict};
use super::shards::Shards;
use super::site::{io_at, resolve, Found, Place};
use super::tarfmt::END;
use super::touched::{touched_name, Left, Reach, Touched};
use super::walk::{note, stat_at, warning, Entry, Kind, Walk, Walker};
use super::Files;
use crate::base::fsx::Dir;
use crate::base::name::StreamName;
use crate::base::path::{shown, BundlePath};
use crate::component::{
    parallel, stream_name, Captured, Error, Finding, Holds, Result, Scope, Severity, StreamSink, StreamWrite,
    Survey,
};
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The name of a shard's stream.
pub fn shard_name(number: u32) -> Result<StreamName> {
    stream_name(&format!("tree/{number:06}"))
}

/// The name of the index's stream.
pub fn index_name() -> Result<StreamName> {
    stream_name("index")
}

/// The tree as found: the directory by which all is opened, and what is there.
pub(super) struct Source {
    pub(super) place: Place,
    /// `None` if nothing is there.
    pub(super) dir: Option<Dir>,
    pub(super) walk: Walk,
}

/// Walks the tree.
pub(super) fn look(files: &Files, scope: &Scope<'_>, touched: Option<&Touched>) -> Result<Source> {
    let place = resolve(&files.root)?;
    let selection = Selection::new(&files.exclude, &place, scope, &[], touched)?;
    let mut walk = Walk::default();
    let dir = match place.found {
        Found::Absent => None,
        Found::Dir => {
            let dir = Dir::open(&place.real).map_err(|e| io_at(&place.real, e))?;
            let walker = Walker {
                root: &place.real,
                selection: &selection,
                one_filesystem: files.options.one_filesystem,
                descend: &|_| true,
            };
            walk = walker.walk(&dir)?;
            Some(dir)
        }
        Found::File => {
            let folder = place.real.parent().unwrap_or(Path::new("/"));
            let dir = Dir::open(folder).map_err(|e| io_at(folder, e))?;
            let path = place.entry_name()?;
            if selection.verdict(&path, false) == Verdict::Take {
                let real = place.real.file_name().unwrap_or_default();
                let stat = stat_at(&dir, real).map_err(|e| io_at(&place.real, e))?;
                let (target, xattrs) = (Vec::new(), Default::default());
                walk.entries.push(Entry { path, stat, target, xattrs, pass: false });
            }
            Some(dir)
        }
    };
    if place.real != place.lexical {
        walk.findings.push(note(&place.lexical, &format!("a symlink, taken as {}", shown(&place.real))));
    }
    // A backup may be made of nothing: it says that nothing was there.
    if files.facts.is_none() {
        let missing = |only: &&BundlePath| !walk.entries.iter().any(|e| !e.pass && e.path.is_within(only));
        match (place.found, files.absent) {
            (Found::Absent, _) if files.content.is_some() => walk.findings.push(content::finding(&place)),
            (Found::Absent, Absent::Refuse) => walk.findings.push(refusal(
                &place.lexical,
                "it does not exist",
                "mend the path, leave the component out with --skip, or set absent = \"ok\" for it",
            )),
            (Found::Absent, _) => walk.findings.push(warning(&place.lexical, "it does not exist")),
            _ => {}
        }
        if let Some(only) = scope.only.iter().find(missing).filter(|_| place.found != Found::Absent) {
            return Err(Error::nothing_at(&files.name, only));
        }
    }
    Ok(Source { place, dir, walk })
}

/// What an export would pack.
pub fn survey(files: &Files, scope: &Scope<'_>) -> Result<Survey> {
    let source = look(files, scope, None)?;
    let entries = || source.walk.entries.iter().filter(|e| e.stat.kind != Kind::Special);
    let made = files.content.as_ref().filter(|_| source.place.found == Found::Absent);
    let mut findings = source.walk.findings.clone();
    if let Some(dir) = &source.dir {
        let names = Names::default();
        let packer = packer(&source.place, dir, &names, scope, None);
        findings.extend(examine(&files.rewrite_home, &packer, &source.walk.entries)?.findings);
        findings.extend(idle_modes(files, scope, &source.walk.entries));
    }
    let bytes: u64 = entries().filter(|e| e.stat.kind == Kind::File).map(|e| e.stat.size).sum();
    Ok(Survey {
        origins: vec![shown(&source.place.lexical)],
        items: entries().count() as u64 + u64::from(made.is_some()),
        bytes: bytes + made.map_or(0, |text| text.len() as u64),
        findings,
    })
}

fn packer<'a>(
    place: &'a Place,
    dir: &'a Dir,
    names: &'a Names,
    scope: &'a Scope<'a>,
    modes: Option<&'a Modes>,
) -> Packer<'a> {
    let single = (place.found == Found::File).then(|| place.real.file_name()).flatten();
    Packer { dir, root: &place.real, single, names, scope, modes }
}

/// The patterns of `modes` that mean nothing; where only a part is packed, that says nothing.
fn idle_modes(files: &Files, scope: &Scope<'_>, entries: &[Entry]) -> Vec<Finding> {
    match scope.only.is_empty() {
        true => files.modes.idle(entries).collect(),
        false => Vec::new(),
    }
}

/// Writes the streams.
pub fn capture(files: &Files, scope: &Scope<'_>, sink: &dyn StreamSink) -> Result<Captured> {
    let facts = Facts { only: scope.only.to_vec(), options: files.options.clone(), ..Facts::default() };
    let place = resolve(&files.root)?;
    if let Some(text) = files.content.as_ref().filter(|_| place.found == Found::Absent) {
        return content::capture(files, &place, text, scope, sink, facts);
    }
    capture_part(files, scope, sink, facts, Part { touched: None, root: scope.only.is_empty() })
}

/// Which part of the tree is captured.
struct Part<'a> {
    /// This, or all that the scope says.
    touched: Option<&'a Touched>,
    /// Whether the metadata of a root that is a directory belongs to it.
    root: bool,
}

/// Writes what `plan` is about to touch, in the form in which a rollback takes it.
pub fn back_up(
    files: &Files,
    scope: &Scope<'_>,
    plan: &FilesPlan,
    sink: &dyn StreamSink,
) -> Result<Captured> {
    // What is touched was narrowed to `--only` by the plan.
    let scope = &Scope { only: &[], ..*scope };
    let place = resolve(&files.root)?;
    let mut touched = Touched::of(plan, &place)?;
    add_other_names(files, scope, &mut touched)?;
    let all = goes_as_a_whole(plan, &place);
    let mut stream = sink.create(&touched_name()?, Holds::Data)?;
    touched.write(&mut *stream)?;
    stream.finish()?;
    let above = plan.steps.iter().filter(|step| matches!(step, Step::Folder { .. })).count();
    // What is not there is to go, and what is there is to be what it was.
    let options = Options {
        mode: Mode::Mirror,
        symlinks: Symlinks::Replace,
        // It is this machine's own: as it is here, it comes back.
        rewrite_home: Vec::new(),
        ..files.options.clone()
    };
    let facts = Facts { options, touched: true, all, above: above as u32, ..Facts::default() };
    let root = all || plan.dirs.iter().any(|dir| dir.path.is_none());
    let part = Part { touched: (!all).then_some(&touched), root };
    let captured = capture_part(files, scope, sink, facts, part)?;
    // That others are around it is no news.
    Ok(Captured { findings: Vec::new(), ..captured })
}

/// A file that is touched under some of its names is to have all of them again: the others belong to the backup too.
fn add_other_names(files: &Files, scope: &Scope<'_>, touched: &mut Touched) -> Result<()> {
    let linked = |entry: &&Entry| entry.stat.kind == Kind::File && entry.stat.nlink > 1;
    let mut missing: HashMap<(u64, u64), u32> = HashMap::new();
    for entry in look(files, scope, Some(touched))?.walk.entries.iter().filter(linked) {
        *missing.entry(entry.stat.file).or_insert(entry.stat.nlink) -= 1;
    }
    missing.retain(|_, names| *names > 0);
    if !missing.is_empty() {
        for entry in look(files, scope, None)?.walk.entries {
            if missing.contains_key(&entry.stat.file) && touched.reach(&entry.path) == Reach::Beside {
                touched.add(Some(entry.path), Left::Content);
            }
        }
    }
    Ok(())
}

/// Whether `plan` takes the root, a directory, away by one rename.
fn goes_as_a_whole(plan: &FilesPlan, place: &Place) -> bool {
    let is_root = |step: &Step| matches!(step, Step::Remove { path, .. } if plan.base.join(path.as_path()) == place.real);
    place.found == Found::Dir && plan.steps.iter().any(is_root)
}

/// Writes the streams of a part of the tree, and completes `facts`.
fn capture_part(
    files: &Files,
    scope: &Scope<'_>,
    sink: &dyn StreamSink,
    mut facts: Facts,
    part: Part<'_>,
) -> Result<Captured> {
    // 1. What is there.
    let Source { place, dir, walk } = look(files, scope, part.touched)?;
    let Walk { entries, mut findings, .. } = walk;
    let names = Names::default();
    let top = match (&dir, place.found) {
        (Some(dir), Found::Dir) if part.root => Some(super::walk::meta_of(dir, &names, &place.real)?),
        _ => None,
    };
    let plan = Shards::cut(&entries);
    let files_in = entries.iter().filter(|e| e.stat.kind == Kind::File);
    scope.progress.expect(files_in.map(|e| e.stat.size).sum());

    // 2. and 3. The shards.
    let mut rows = Vec::with_capacity(entries.len());
    let mut homes = Vec::new();
    if let Some(dir) = &dir {
        let own = facts.touched;
        let packer = packer(&place, dir, &names, scope, (!own).then_some(&files.modes));
        let examined =
            if own { Examined::default() } else { examine(&files.rewrite_home, &packer, &entries)? };
        if examined.findings.iter().any(|finding| finding.severity == Severity::Refusal) {
            // There is no need to pack what stops the export.
            return Captured::new(&facts, examined.findings);
        }
        for packed in pack_parallel(&packer, &entries, &plan.shards, sink)? {
            rows.extend(packed.rows);
            findings.extend(packed.findings);
        }
        let tail = pack_tail(&packer, &entries, &plan, &rows, sink)?;
        rows.extend(tail.rows);
        findings.extend(tail.findings);
        examined.require_same(&rows, &packer)?;
        findings.extend(examined.findings);
        findings.extend(if own { Vec::new() } else { idle_modes(files, scope, &entries) });
        homes = examined.homes;
    }
    if homes.is_empty() {
        facts.options.rewrite_home.clear();
    }
    rows.sort_unstable_by(|a, b| a.path.cmp(&b.path));

    // 4. The index.
    let mut stream = sink.create(&index_name()?, Holds::Data)?;
    index::write(&rows, &mut *stream)?;
    stream.finish()?;

    let facts = Facts {
        root: files.root_text.clone(),
        state: match place.found {
            Found::Absent => State::Absent,
            Found::File => State::File,
            Found::Dir => State::Directory,
        },
        top,
        homes,
        entries: rows.len() as u64,
        bytes: rows.iter().map(|row| if let Node::File(f) = &row.node { f.size } else { 0 }).sum(),
        ..facts
    };
    Captured::new(&facts, findings)
}

/// Rows of what was packed, and what was noticed.
#[derive(Default)]
struct Packed {
    rows: Vec<Row>,
    findings: Vec<Finding>,
}

fn pack_parallel(
    packer: &Packer<'_>,
    entries: &[Entry],
    shards: &[Vec<usize>],
    sink: &dyn StreamSink,
) -> Result<Vec<Packed>> {
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let work = || -> Result<Packed> {
        let mut packed = Packed::default();
        let mut buffer = vec![0; 256 * 1024];
        while !stop.load(Ordering::Relaxed) {
            let i = next.fetch_add(1, Ordering::Relaxed);
            let Some(shard) = shards.get(i) else { break };
            let number = i as u32 + 1;
            let mut pack = || -> Result<()> {
                let mut out = sink.create(&shard_name(number)?, Holds::Data)?;
                for &i in shard {
                    let row =
                        packer.pack(&entries[i], number, &mut *out, &mut buffer, &mut packed.findings)?;
                    packed.rows.extend(row);
                }
                end(out)
            };
            pack().inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
        }
        Ok(packed)
    };
    parallel(packer.scope.threads.min(shards.len()), work)
}

fn pack_tail(
    packer: &Packer<'_>,
    entries: &[Entry],
    plan: &Shards,
    rows: &[Row],
    sink: &dyn StreamSink,
) -> Result<Packed> {
    let mut packed = Packed::default();
    if plan.links.is_empty() && plan.dirs.is_empty() {
        return Ok(packed);
    }
    let shard = plan.shards.len() as u32 + 1;
    let mut out = sink.create(&shard_name(shard)?, Holds::Data)?;
    let mut buffer = vec![0; 256 * 1024];
    // A first name that vanished before it was packed gives its place to the next one.
    let mut firsts: HashMap<usize, BundlePath> = HashMap::new();
    if !plan.links.is_empty() {
        let there: std::collections::HashSet<_> = rows.iter().map(|row| &row.path).collect();
        let first = plan.links.iter().map(|&(_, first)| first).filter(|&i| there.contains(&entries[i].path));
        firsts.extend(first.map(|i| (i, entries[i].path.clone())));
    }
    for &(i, first) in &plan.links {
        let entry = &entries[i];
        if let Some(path) = firsts.get(&first) {
            let row = Row { path: entry.path.clone(), shard, node: Node::Link(path.clone()) };
            packer.put_header(&row, &mut *out)?;
            packed.rows.push(row);
        } else if let Some(row) = packer.pack(entry, shard, &mut *out, &mut buffer, &mut packed.findings)? {
            firsts.insert(first, row.path.clone());
            packed.rows.push(row);
        }
    }
    for &i in plan.dirs.iter().rev() {
        let entry = &entries[i];
        packer.tell_special_bits(entry, &mut packed.findings);
        let meta = entry.stat.meta(packer.names, entry.xattrs.clone());
        let row = Row { path: entry.path.clone(), shard, node: Node::Dir(meta) };
        packer.put_header(&row, &mut *out)?;
        packed.rows.push(row);
    }
    end(out)?;
    Ok(packed)
}

pub fn end(mut out: Box<dyn StreamWrite>) -> Result<()> {
    out.write_all(&END).map_err(|e| Error::io("the end of a shard", e))?;
    out.finish()
}
