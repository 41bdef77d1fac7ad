//! Which commit comes from which: the stream `graph`, by which a plan knows what would be a fast-forward before it has
//! any of the bundle's objects.

use super::names::Id;
use crate::component::{Error, Result};
use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Read, Write};

/// The most commits of one repository.
const MAX_COMMITS: usize = 20_000_000;
/// The longest line: an octopus of a thousand arms.
const MAX_LINE: u64 = 64 * 1024;

/// Commits and their parents.
#[derive(Debug, Default)]
pub struct Graph(HashMap<Id, Vec<Id>>);

impl Graph {
    /// Whether `ancestor` is `commit`, or comes before it.
    pub fn leads_to(&self, ancestor: Id, commit: Id) -> bool {
        let mut left = vec![commit];
        let mut seen = HashSet::new();
        while let Some(id) = left.pop() {
            if id == ancestor {
                return true;
            }
            if seen.insert(id) {
                left.extend(self.0.get(&id).into_iter().flatten());
            }
        }
        false
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

/// Writes all commits that the `tips` lead to.
pub fn write(repo: &git2::Repository, tips: &[git2::Oid], to: &mut dyn Write) -> Result<()> {
    let git = |e: git2::Error| super::open::failed(repo.path(), &e);
    let mut walk = repo.revwalk().map_err(git)?;
    for tip in tips {
        // A tag may name a tree or a blob, which has no history.
        if let Ok(commit) = repo.find_object(*tip, None).and_then(|object| object.peel_to_commit()) {
            walk.push(commit.id()).map_err(git)?;
        }
    }
    for id in walk {
        let commit = repo.find_commit(id.map_err(git)?).map_err(git)?;
        let mut line = commit.id().to_string();
        commit.parent_ids().for_each(|parent| line.push_str(&format!(" {parent}")));
        line.push('\n');
        to.write_all(line.as_bytes()).map_err(|e| Error::io("stream graph", e))?;
    }
    Ok(())
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
        assert!(graph.leads_to(id('1'), id('4')) && graph.leads_to(id('4'), id('4')));
        assert!(!graph.leads_to(id('4'), id('1')) && !graph.leads_to(id('9'), id('4')));
        for bad in ["x\n", "\n", row("1").trim(), &(row("1") + &row("1"))] {
            assert!(Graph::read(bad.as_bytes()).unwrap_err().to_string().contains("G5"), "{bad:?}");
        }
    }
}
