//! Which commit comes from which: the stream `graph`, by which a plan knows what would be a fast-forward before it has
//! any of the bundle's objects.

use super::names::Id;
use crate::component::{Error, Result};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::{BufRead, BufReader, Read, Write};

/// The most commits of one repository.
const MAX_COMMITS: usize = 20_000_000;
/// The longest line: an octopus of a thousand arms.
const MAX_LINE: u64 = 64 * 1024;

/// Commits and their parents.
#[derive(Debug, Default)]
pub struct Graph(HashMap<Id, Vec<Id>>);

impl Graph {
    /// Whether `ancestor` is `commit`, or comes before it; `beyond` tells of commits that are not in the graph.
    pub fn leads_to(&self, ancestor: Id, commit: Id, beyond: &dyn Fn(Id) -> bool) -> bool {
        let mut left = vec![commit];
        let mut seen = HashSet::new();
        while let Some(id) = left.pop() {
            if id == ancestor {
                return true;
            }
            if seen.insert(id) {
                match self.0.get(&id) {
                    Some(parents) => left.extend(parents),
                    None if beyond(id) => return true,
                    None => {}
                }
            }
        }
        false
    }

    /// The parents of a commit that is in it.
    pub fn parents(&self, commit: Id) -> Option<Vec<Id>> {
        self.0.get(&commit).cloned()
    }

    /// Reads the stream, held to rule G5.
    pub fn read(stream: impl Read) -> Result<Graph> {
        let broken = |what: &str| Error::rule("G5", format_args!("stream graph: {what}"));
        let mut stream = BufReader::new(stream);
        let mut graph = HashMap::new();
        loop {
            let mut line = Vec::new();
            let mut limited = (&mut stream).take(MAX_LINE);
            limited.read_until(b'\n', &mut line).map_err(|e| Error::io("stream graph", e))?;
            if line.is_empty() {
                return Ok(Graph(graph));
            }
            let text = std::str::from_utf8(&line).ok().and_then(|text| text.strip_suffix('\n'));
            let ids: Option<Vec<Id>> = text.and_then(|text| text.split(' ').map(Id::parse).collect());
            let Some((commit, parents)) = ids.as_deref().and_then(|ids| ids.split_first()) else {
                return Err(broken("a line is not ids of commits"));
            };
            if graph.insert(*commit, parents.to_vec()).is_some() {
                return Err(broken("a commit stands there twice"));
            }
            if graph.len() > MAX_COMMITS {
                return Err(broken("too many commits"));
            }
        }
    }
}

/// How many commits `one` leads to and `other` does not, and the other way round. `None` if either is not known to `parents`.
pub fn ahead_behind(one: Id, other: Id, parents: &dyn Fn(Id) -> Option<Vec<Id>>) -> Option<(u64, u64)> {
    let reach = |from: Id| -> Option<HashSet<Id>> {
        let (mut seen, mut left) = (HashSet::from([from]), parents(from)?);
        while let Some(id) = left.pop() {
            if seen.insert(id) {
                left.extend(parents(id).unwrap_or_default());
            }
        }
        Some(seen)
    };
    let (one, other) = (reach(one)?, reach(other)?);
    Some((one.difference(&other).count() as u64, other.difference(&one).count() as u64))
}

/// Writes all commits that the `tips` lead to, but those that the commits `known` lead to. Returns which of these the others
/// and the tips need.
pub fn write(
    repo: &git2::Repository,
    tips: &[git2::Oid],
    known: &[git2::Oid],
    to: &mut dyn Write,
) -> Result<BTreeSet<Id>> {
    let git = |e: git2::Error| super::open::failed(repo.path(), &e);
    let mut walk = repo.revwalk().map_err(git)?;
    let mut named = HashSet::new();
    for tip in tips {
        // A tag may name a tree or a blob, which has no history.
        if let Ok(commit) = repo.find_object(*tip, None).and_then(|object| object.peel_to_commit()) {
            walk.push(commit.id()).map_err(git)?;
            named.insert(commit.id());
        }
    }
    known.iter().try_for_each(|id| walk.hide(*id)).map_err(git)?;
    let mut written = HashSet::new();
    for id in walk {
        let commit = repo.find_commit(id.map_err(git)?).map_err(git)?;
        let mut line = commit.id().to_string();
        commit.parent_ids().for_each(|parent| line.push_str(&format!(" {parent}")));
        line.push('\n');
        to.write_all(line.as_bytes()).map_err(|e| Error::io("stream graph", e))?;
        if !known.is_empty() {
            written.insert(commit.id());
            named.extend(commit.parent_ids());
        }
    }
    match known.is_empty() {
        true => Ok(BTreeSet::new()),
        false => Ok(named.difference(&written).map(|id| Id(*id)).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ancestry() {
        let id = |c: char| Id::parse(&c.to_string().repeat(40)).unwrap();
        let row = |ids: &str| ids.chars().map(|c| id(c).to_string()).collect::<Vec<_>>().join(" ") + "\n";
        let text = row("4").replace('\n', " ") + &row("32") + &row("31") + &row("21") + &row("1");
        let graph = Graph::read(text.replacen(&row("31"), "", 1).as_bytes()).unwrap();
        let leads_to = |from: char, to: char| graph.leads_to(id(from), id(to), &|_| false);
        assert!(leads_to('1', '4') && leads_to('4', '4'));
        assert!(!leads_to('4', '1') && !leads_to('9', '4'));
        let apart = |one: char, other: char| ahead_behind(id(one), id(other), &|id| graph.parents(id));
        assert_eq!(
            (apart('4', '1'), apart('1', '4'), apart('2', '2')),
            (Some((3, 0)), Some((0, 3)), Some((0, 0)))
        );
        assert_eq!(apart('4', '9'), None);
        // What is beyond the graph's end is told by another.
        assert!(graph.leads_to(id('9'), id('5'), &|end| end == id('5')));
        assert!(!graph.leads_to(id('9'), id('4'), &|end| end == id('5')));
        for bad in ["x\n", "\n", row("1").trim(), &(row("1") + &row("1"))] {
            assert!(Graph::read(bad.as_bytes()).unwrap_err().to_string().contains("G5"), "{bad:?}");
        }
    }
}
