//! Planning: holds the index against the target. `place` says which row goes where, `decide` and `sweep` what is to be done.

use super::builder::Builder;
use super::capture::{index_name, shard_name};
use super::edits::{kept, Edits};
use super::facts::{Absent, Facts, Mode, State};
use super::home::{rewrite_rows, Packed};
use super::index::{self, Node, Row};
use super::meta::Names;
use super::place::{closed, join, place_rows, refusal, Target};
use super::plan::{DirStep, FilesPlan, Stamp, Step};
use super::probe::probe;
use super::select::Selection;
use super::site::{io_at, may_change, resolve, Found, Place};
use super::touched::{touched_name, Touched};
use super::walk::{meta_of, note, stat_at};
use super::Files;
use crate::base::fsx::Dir;
use crate::base::path::{path_text, shown, BundlePath};
use crate::base::side::side_of;
use crate::component::{Change, ChangeKind, Error, Host, Plan, Result, Scope, StreamSource};
use rustix::fs::CWD;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// Compares the bundle with the target. Read-only.
pub fn plan(files: &Files, scope: &Scope<'_>, streams: &dyn StreamSource) -> Result<Plan> {
    let facts = files.facts()?;
    let shards = count_shards(streams, facts.touched)?;
    let touched = facts.touched.then(|| Touched::read(streams.open(&touched_name()?)?)).transpose()?;
    let mut rows = index::read(streams.open(&index_name()?)?, shards)?;
    check_shape(facts, &rows)?;
    let known = |only: &&BundlePath| facts.only.contains(only) || rows.iter().any(|r| r.path.is_within(only));
    if let Some(only) = scope.only.iter().find(|only| !known(only)) {
        return Err(Error::nothing_at(&files.name, only));
    }
    let place = resolve(&files.root)?;
    if let Some(plan) = not_comparable(files, facts, scope, &place) {
        return Ok(plan);
    }
    // Where nothing was, everything that is there now came with the import, or later.
    let limit = touched.as_ref().filter(|_| facts.state != State::Absent && !facts.all);
    let selection = Selection::new(&files.exclude, &place, scope, &facts.only, limit)?;
    let target = Target::look(files, facts.state, &rows, &place, &selection, scope)?;
    let edits = touched.as_ref().map(|touched| Edits::find(&target, touched, scope)).transpose()?;
    if facts.state == State::Absent && files.absent != Absent::Remove && has_something(&place, &target)? {
        let mut plan = empty(files, scope, &place);
        plan.findings.push(refusal(
            &place.lexical,
            "it did not exist on the source, and there is something here that would be removed",
            "set mode = \"overlay\" for this component on the target to keep it, or absent = \"remove\" to remove it",
        ));
        return Ok(plan);
    }
    if facts.state == State::Absent && target.walk.left.is_empty() && selection.is_whole() {
        if let Some(plan) = remove_root(files, scope, &place, facts.above, edits.as_ref())? {
            return Ok(plan);
        }
    }
    let mut findings = target.walk.findings.clone();
    if place.real != place.lexical {
        findings.push(note(&place.lexical, &format!("a symlink, taken as {}", shown(&place.real))));
    }
    let placement = place_rows(files, &rows, &target, &selection, facts.state == State::File, &mut findings)?;
    let placed = &placement.placed;
    let (mut packed, moved) = rewrite_rows(files, scope, streams, &mut rows, placed, &mut findings)?;
    files.modes.apply_to_rows(&mut rows, |number, row| {
        packed.entry(number).or_insert_with(|| Packed { row: row.clone(), places: 0 });
    });
    let probes = probe(&target, &rows, placed, &packed, scope)?;
    let mut builder = Builder::new(files, scope, &target, &placement.placed, &rows, probes);
    builder.backup = touched.as_ref();
    (builder.detail.packed, builder.detail.moved) = (packed, moved);
    builder.out.findings = findings;
    builder.root(facts, &selection)?;
    builder.rows()?;
    let removes = files.options.mode == Mode::Mirror || facts.state == State::Absent;
    if removes && target.found == Found::Dir {
        builder.removals(&placement);
    }
    builder.directories(facts, &selection)?;
    builder.owners();
    if let Some(edits) = edits {
        let kept = edits.keep(&mut builder.detail, scope.run, &target);
        builder.out.findings.extend(kept);
    }
    if facts.touched && facts.state == State::Absent && target.found == Found::Dir {
        builder.detail.empties.extend(folders_above(&place.real, facts.above + 1));
    }
    Ok(builder.finish(&place, shards))
}

/// The number of shards; a stream that is neither a shard nor the index, nor in a backup the list of what is touched,
/// is refused.
pub fn count_shards(streams: &dyn StreamSource, is_backup: bool) -> Result<u32> {
    let mut lists = vec![index_name()?];
    lists.extend(is_backup.then(touched_name).transpose()?);
    let shards = streams.list().iter().filter(|info| !lists.contains(&info.name)).count() as u32;
    let names: HashSet<_> = streams.list().iter().map(|info| &info.name).collect();
    let numbered = (1..=shards).map(shard_name).collect::<Result<Vec<_>>>()?;
    if !lists.iter().all(|list| names.contains(list)) || !numbered.iter().all(|name| names.contains(name)) {
        return Err(Error::rule("F1", "the streams are not an index and shards numbered from 1"));
    }
    Ok(shards)
}

/// The index must be the one that the facts speak of.
fn check_shape(facts: &Facts, rows: &[Row]) -> Result<()> {
    let single = |row: &Row| matches!(row.node, Node::File(_)) && row.path.parent().is_none();
    let fits = match facts.state {
        State::Absent => rows.is_empty(),
        State::File => rows.len() <= 1 && rows.iter().all(single),
        State::Directory => true,
    };
    if !fits || facts.entries != rows.len() as u64 {
        return Err(Error::rule("F1", "the index is not what the facts say"));
    }
    Ok(())
}

/// The plan where there is nothing to compare: nothing to do, or a file where a directory should be.
fn not_comparable(files: &Files, facts: &Facts, scope: &Scope<'_>, place: &Place) -> Option<Plan> {
    let keeps =
        files.absent == Absent::Ok || files.options.mode == Mode::Overlay && files.absent != Absent::Remove;
    let finding = match (facts.state, place.found) {
        (State::Absent, Found::Absent) => note(&place.lexical, "it exists neither on the source nor here"),
        (State::Absent, _) if keeps => note(&place.lexical, "it did not exist on the source; nothing to do"),
        (State::Directory, Found::File) => refusal(
            &place.lexical,
            "a file, where the bundle has a directory",
            "move it away, or choose another path",
        ),
        (State::File, Found::Dir) => refusal(
            &place.lexical,
            "a directory, where the bundle has a file",
            "move it away, or choose another path",
        ),
        _ => return None,
    };
    let mut plan = empty(files, scope, place);
    plan.findings.push(finding);
    Some(plan)
}

/// A plan that does nothing.
fn empty(files: &Files, scope: &Scope<'_>, place: &Place) -> Plan {
    let side = side_of(&place.real, scope.run, files.name.as_str());
    let mut plan = Plan::new(FilesPlan { base: place.real.clone(), side, ..FilesPlan::default() });
    plan.destinations = vec![destination(scope.host, &place.real)];
    plan
}

/// A destination for people, and for the memory of them.
pub fn destination(host: &Host, path: &Path) -> String {
    host.contract(path).map_or_else(|| shown(path), |text| path_text(text.as_bytes()))
}

/// Whether there is more at the root than an empty directory.
fn has_something(place: &Place, target: &Target) -> Result<bool> {
    match place.found {
        Found::Absent => Ok(false),
        Found::File => Ok(true),
        Found::Dir if !target.walk.entries.is_empty() => Ok(true),
        Found::Dir => {
            let mut inside = std::fs::read_dir(&place.real).map_err(|e| io_at(&place.real, e))?;
            Ok(inside.next().is_some())
        }
    }
}

/// The plan that takes the whole root away, where it can be taken by one rename.
fn remove_root(
    files: &Files,
    scope: &Scope<'_>,
    place: &Place,
    above: u32,
    edits: Option<&Edits>,
) -> Result<Option<Plan>> {
    let (Some(base), Some(name)) = (place.real.parent(), place.real.file_name()) else { return Ok(None) };
    let stat = |path: &Path| stat_at(CWD, path).map_err(|e| io_at(path, e));
    let root = stat(&place.real)?;
    if root.volume() != stat(base)?.volume() {
        return Ok(None);
    }
    let dir = Dir::open(base).map_err(|e| io_at(base, e))?;
    let old = meta_of(&dir, &Names::default(), base)?;
    let path = join(None, name.as_encoded_bytes())?;
    let keep = edits.is_some_and(Edits::any);
    let kept = keep.then(|| kept(&place.real, &path, scope.run, 0));
    let mut plan = Plan::new(FilesPlan {
        base: base.to_owned(),
        side: side_of(base, scope.run, files.name.as_str()),
        dirs: vec![DirStep { path: None, old, new: None }],
        steps: vec![Step::Remove { path, slot: 0, old: Stamp::of(&root), keep }],
        empties: folders_above(base, above).collect(),
        ..FilesPlan::default()
    });
    plan.findings.extend(kept);
    plan.destinations = vec![destination(scope.host, &place.real)];
    let what = match place.found {
        Found::File => place.entry_name()?.to_string(),
        _ => ".".to_owned(),
    };
    plan.changes.push(Change { kind: ChangeKind::Removed, what });
    if !may_change(base) {
        plan.findings.push(closed(base, "this user may not change what is in it"));
    }
    Ok(Some(plan))
}

/// `path` and the folders above it, `number` in all.
fn folders_above(path: &Path, number: u32) -> impl Iterator<Item = PathBuf> + '_ {
    path.ancestors().take(number as usize).map(Path::to_owned)
}
