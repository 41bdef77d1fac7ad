//! Target: what files will hold here, for the plan.

use super::super::capture::{index_name, shard_name};
use super::super::compare::count_shards;
use super::super::facts::{Facts, State};
use super::super::index::{self, FileNode, Node, Row};
use super::super::meta::Time;
use super::super::place::{refusal, Placed};
use super::super::plan::{entry_order, FilesPlan};
use super::super::unpack::{content, read_shard};
use super::super::Files;
use super::{is_name, matches, rewrite, written_name, Packed, Sum, Syntax, Unfit};
use crate::base::digest::Digest;
use crate::base::interrupt;
use crate::base::path::BundlePath;
use crate::component::{Error, Finding, Host, Result, Rewrite, Scope, Severity, StreamSource};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// From where to where paths move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// What the source's home is called there, and this one's is not.
    pub from: Vec<String>,
    /// What this home is called.
    pub to: String,
}

impl Moved {
    /// `None` where all the source's names are good here too.
    pub fn of(facts: &Facts, host: &Host) -> Option<Moved> {
        let to = written_name(host);
        let here = |name: &&String| **name != to && host.home.as_os_str() != name.as_str();
        let from: Vec<String> = facts.homes.iter().filter(here).cloned().collect();
        (!from.is_empty()).then_some(Moved { from, to })
    }

    /// What `content` of a file at `path` becomes here, and how many paths in it are rewritten; `None` where it stays.
    pub fn apply(
        &self,
        path: &BundlePath,
        content: &[u8],
    ) -> std::result::Result<Option<(Vec<u8>, u64)>, Unfit> {
        rewrite(Syntax::of(path).ok_or(Unfit::Unknown)?, content, &self.from, &self.to)
    }
}

/// Makes of the placed rows what will be written here, and gives what was packed, of those that differ, by number. What cannot
/// be rewritten breaks a rule, or is a refusal where this machine asks for it.
pub fn rewrite_rows(
    files: &Files,
    scope: &Scope<'_>,
    streams: &dyn StreamSource,
    rows: &mut [Row],
    placed: &[Placed],
    findings: &mut Vec<Finding>,
) -> Result<(BTreeMap<usize, Packed>, Option<Moved>)> {
    let mut packed = BTreeMap::new();
    let facts = files.facts()?;
    if files.rewrite_home.is_empty() || facts.touched {
        return Ok((packed, None));
    }
    if facts.homes.is_empty() {
        let what = "rewrite-home does nothing: the bundle does not say what the source's home is called";
        let todo = "export again with rewrite-home in the source's profile too";
        findings.push(Finding::new(Severity::Warning, what).todo(todo));
        return Ok((packed, None));
    }
    let Some(moved) = Moved::of(facts, scope.host) else { return Ok((packed, None)) };

    // 1. Which rows are meant. A link has the content of its first name.
    let by_path: HashMap<&BundlePath, usize> = rows.iter().map(|row| &row.path).zip(0..).collect();
    let content_of = |number: usize| match &rows[number].node {
        Node::Link(first) => by_path.get(first).copied(),
        Node::File(_) => Some(number),
        Node::Symlink(..) | Node::Dir(_) => None,
    };
    let numbers: BTreeSet<usize> =
        placed.iter().filter(|one| !one.pass).filter_map(|one| content_of(one.row)).collect();
    let meant: BTreeSet<usize> =
        numbers.into_iter().filter(|&number| matches(&files.rewrite_home, &rows[number].path)).collect();
    let mut wanted: BTreeSet<usize> = BTreeSet::new();
    let mut unfit = |row: &Row, why: &Unfit| {
        if !files.rewrite_is_own {
            return Err(Error::rule("F11", format_args!("{}: {why}", row.path)));
        }
        let at = match facts.state {
            State::File => files.root.clone(),
            _ => files.root.join(row.path.as_path()),
        };
        findings.push(refusal(&at, &why.to_string(), "take it out of this machine's own rewrite-home"));
        Ok(())
    };
    let mut sum = Sum::default();
    for &number in &meant {
        let Node::File(file) = &rows[number].node else { continue };
        match sum.add(&rows[number].path, file.size) {
            Ok(_) => drop(wanted.insert(number)),
            Err(why) => {
                unfit(&rows[number], &why)?;
                if why == Unfit::TooMany {
                    break;
                }
            }
        }
    }

    // 2. What they will hold.
    let mut written: Vec<(usize, FileNode, u64)> = Vec::new();
    each_content(streams, rows, &wanted, |number, row, file, bytes| {
        match moved.apply(&row.path, bytes) {
            Err(why) => unfit(row, &why)?,
            Ok(None) => {}
            Ok(Some((bytes, places))) => {
                let node = FileNode {
                    meta: file.meta.clone(),
                    size: bytes.len() as u64,
                    digest: Digest::of(&bytes),
                    stored: None,
                };
                written.push((number, node, places));
            }
        }
        Ok(())
    })?;

    // 3. What is written is no longer what was packed: another time says so.
    if !written.is_empty() && !is_name(&moved.to) {
        let what = "paths in this home cannot be written: its name has other characters than letters, digits and ._-+@";
        let remedy = "set rewrite-home = [] for this component in this machine's own profile";
        findings.push(refusal(&scope.host.home, what, remedy));
        return Ok((packed, None));
    }
    for (number, mut node, places) in written {
        node.meta.mtime = after(node.meta.mtime);
        let row = rows[number].clone();
        rows[number].node = Node::File(node);
        packed.insert(number, Packed { row, places });
    }
    Ok((packed, Some(moved)))
}

/// Gives the content of the `wanted` files, shard by shard.
fn each_content(
    streams: &dyn StreamSource,
    rows: &[Row],
    wanted: &BTreeSet<usize>,
    mut each: impl FnMut(usize, &Row, &FileNode, &[u8]) -> Result<()>,
) -> Result<()> {
    let mut shards: BTreeMap<u32, Vec<usize>> =
        wanted.iter().map(|&number| (rows[number].shard, Vec::new())).collect();
    for (number, row) in rows.iter().enumerate() {
        shards.entry(row.shard).and_modify(|members| members.push(number));
    }
    for (shard, members) in shards {
        let order = entry_order(rows, &members)
            .map(|number| (&rows[number], wanted.contains(&number).then_some(number)));
        let source = streams.open(&shard_name(shard)?)?;
        read_shard(source, order, |source, row, number, buffer| {
            let Node::File(file) = &row.node else { return Ok(()) };
            interrupt::check().map_err(Error::of)?;
            each(number, row, file, &content(source, row, file, buffer)?)
        })?;
    }
    Ok(())
}

/// What files of a bundle hold here, of those at `paths` that are rewritten: digests by path.
pub fn written(
    files: &Files,
    moved: &Moved,
    streams: &dyn StreamSource,
    paths: &BTreeSet<&BundlePath>,
) -> Result<HashMap<BundlePath, Digest>> {
    let shards = count_shards(streams, files.facts()?.touched)?;
    let rows = index::read(streams.open(&index_name()?)?, shards)?;
    let mut sum = Sum::default();
    let mut is_meant = |row: &Row| {
        let Node::File(file) = &row.node else { return false };
        paths.contains(&row.path)
            && matches(&files.rewrite_home, &row.path)
            && sum.add(&row.path, file.size).is_ok()
    };
    let wanted = (0..rows.len()).filter(|&number| is_meant(&rows[number])).collect();
    let mut written = HashMap::new();
    each_content(streams, &rows, &wanted, |_, row, _, bytes| {
        if let Ok(Some((bytes, _))) = moved.apply(&row.path, bytes) {
            written.insert(row.path.clone(), Digest::of(&bytes));
        }
        Ok(())
    })?;
    Ok(written)
}

impl FilesPlan {
    /// What the plan rewrites, for people.
    pub fn rewrites(&self, shown: impl Fn(&BundlePath) -> String) -> Vec<Rewrite> {
        let Some(moved) = &self.moved else { return Vec::new() };
        self.rewritten()
            .filter_map(|(path, packed, written)| {
                let digest = packed.digest()?;
                Some(Rewrite {
                    what: shown(path),
                    places: packed.places,
                    from: moved.from.clone(),
                    to: moved.to.clone(),
                    packed: digest,
                    written: written.digest,
                })
            })
            .collect()
    }
}

/// A microsecond later: a file as it was packed and the same one rewritten may be of one size, and must not be taken for each other by
/// size and time. One in whole seconds proves nothing anyway.
fn after(time: Time) -> Time {
    match time.ns {
        0 => time,
        ns if ns + 1000 < 1_000_000_000 => Time { ns: ns + 1000, ..time },
        ns => Time { s: time.s.saturating_add(1), ns: ns + 1000 - 1_000_000_000 },
    }
}
