//! Every object of a pack that stock git has indexed, held to the rules G6 and G7: all that objects and tips name is there
//! and is what it should be, and no tree has a name that it may not have. In the order of the pack, each object once.

use super::names::Id;
use super::open::failed;
use super::pack::broken;
use super::stock::{self, Stock};
use super::trees::{self, Entry};
use crate::base::interrupt;
use crate::component::{Error, Result};
use git2::{Oid, Repository};
use std::collections::HashSet;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::thread;

/// The largest commit, tree or tag: they pass through memory.
const MAX_BYTES: usize = 256 << 20;
/// The longest line that git says of an object.
const MAX_LINE: u64 = 128;

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Commit,
    Tree,
    Blob,
    Tag,
}

impl Kind {
    fn read(word: &str) -> Option<Kind> {
        match word {
            "commit" => Some(Kind::Commit),
            "tree" => Some(Kind::Tree),
            "blob" => Some(Kind::Blob),
            "tag" => Some(Kind::Tag),
            _ => None,
        }
    }
}

/// Holds the only pack of `repo` to the rules.
pub fn check(repo: &Repository, tips: &[Oid]) -> std::result::Result<(), Stock> {
    let (known, asked) = list(repo)?;
    let has = |id: &Oid| known.kind(id.as_bytes()).is_some();
    if let Some(missing) = tips.iter().find(|tip| !has(tip)) {
        return Err(Stock::Failed(trees::missing(*missing)));
    }
    let modules = read(repo, &known, &asked)?;
    let odb = repo.odb().map_err(|e| failed(repo.path(), &e))?;
    Ok(modules.into_iter().try_for_each(|id| trees::check_modules(&odb, id))?)
}

/// What is in the pack.
struct Known {
    /// In the order of their ids.
    rows: Vec<([u8; 20], Kind)>,
    /// Where in `rows` the ids begin whose first two bytes are this number.
    starts: Vec<u32>,
}

impl Known {
    fn new(mut rows: Vec<([u8; 20], Kind)>) -> Known {
        rows.sort_unstable_by_key(|row| row.0);
        let mut starts = vec![0; (1 << 16) + 1];
        rows.iter().for_each(|row| starts[beginning(&row.0) + 1] += 1);
        for n in 1..starts.len() {
            starts[n] += starts[n - 1];
        }
        Known { rows, starts }
    }

    fn kind(&self, id: &[u8]) -> Option<Kind> {
        let (from, to) = (self.starts[beginning(id)] as usize, self.starts[beginning(id) + 1] as usize);
        let rows = &self.rows[from..to];
        rows.binary_search_by(|row| row.0.as_slice().cmp(id)).ok().map(|at| rows[at].1)
    }

    fn require(&self, id: &[u8], kind: Kind) -> Result<()> {
        match self.kind(id) == Some(kind) {
            true => Ok(()),
            false => Err(trees::missing(Oid::from_bytes(id).unwrap_or(Oid::ZERO_SHA1))),
        }
    }
}

fn beginning(id: &[u8]) -> usize {
    usize::from(id[0]) << 8 | usize::from(id[1])
}

/// All objects of the pack; and those but the blobs in the order of the pack, in which git reads them quickest.
fn list(repo: &Repository) -> std::result::Result<(Known, Vec<Oid>), Stock> {
    let args = ["cat-file", "--batch-all-objects", "--unordered", "--buffer"];
    let command = stock::git(repo).args(args).args(["--batch-check=%(objectname) %(objecttype)"]);
    let talked = command.talk(|_, stdout| {
        let (mut rows, mut asked) = (Vec::new(), Vec::new());
        let mut stdout = BufReader::with_capacity(128 * 1024, stdout);
        let mut line = String::new();
        while next(&mut stdout, &mut line)? {
            let row = line.split_once(' ').and_then(|(id, kind)| Some((Id::parse(id)?.0, Kind::read(kind)?)));
            let (id, kind) = row.ok_or_else(|| odd(&line))?;
            let bytes = id.as_bytes().try_into().map_err(|_| odd(&line))?;
            rows.push((bytes, kind));
            if kind != Kind::Blob {
                asked.push(id);
            }
        }
        Ok((rows, asked))
    });
    let (rows, asked) = stock::judge(repo, talked, |why| broken(why))?;
    Ok((Known::new(rows), asked))
}

/// Reads the objects of `asked` and looks at each. Returns the blobs that stand for `.gitmodules`.
fn read(repo: &Repository, known: &Known, asked: &[Oid]) -> std::result::Result<HashSet<Oid>, Stock> {
    let command = stock::git(repo).args(["cat-file", "--batch", "--buffer"]);
    let talked = command.talk(|mut stdin, stdout| {
        thread::scope(|scope| {
            // Another thread asks, for git answers before it has heard everything.
            scope.spawn(move || {
                asked.chunks(4096).try_for_each(|ids| stdin.write_all(stock::lines(ids).as_bytes()))
            });
            let mut stdout = BufReader::with_capacity(128 * 1024, stdout);
            let mut look = Look { known, modules: HashSet::new() };
            let (mut line, mut bytes) = (String::new(), Vec::new());
            for id in asked {
                if !next(&mut stdout, &mut line)? {
                    return Ok(None);
                }
                let mut words = line.split(' ');
                let said =
                    (words.next().and_then(Id::parse), words.next().and_then(Kind::read), words.next());
                let (Some(said_id), Some(kind), Some(Ok(size))) =
                    (said.0, said.1, said.2.map(str::parse::<usize>))
                else {
                    return Err(odd(&line));
                };
                if said_id.0 != *id || size > MAX_BYTES {
                    return Err(odd(&line));
                }
                bytes.resize(size + 1, 0);
                stdout.read_exact(&mut bytes).map_err(cut_off)?;
                look.at(*id, kind, &bytes[..size])?;
            }
            Ok(Some(look.modules))
        })
    });
    let modules = stock::judge(repo, talked, |why| broken(why))?;
    Ok(modules.ok_or_else(|| broken("git does not answer to the end"))?)
}

/// The next line that git says, without its end; false at the end of all.
fn next(stdout: &mut impl BufRead, line: &mut String) -> Result<bool> {
    line.clear();
    let read = stdout.take(MAX_LINE).read_line(line).map_err(cut_off)?;
    if line.pop().is_some_and(|end| end != '\n') {
        return Err(odd(line));
    }
    Ok(read > 0)
}

fn odd(line: &str) -> Error {
    broken(format_args!("git says of an object {line:?}"))
}

fn cut_off(e: io::Error) -> Error {
    Error::io("the objects of the pack", e)
}

struct Look<'a> {
    known: &'a Known,
    modules: HashSet<Oid>,
}

impl Look<'_> {
    fn at(&mut self, id: Oid, kind: Kind, bytes: &[u8]) -> Result<()> {
        interrupt::check().map_err(Error::of)?;
        match kind {
            Kind::Tree => trees::check_tree(id, bytes, &mut |entry| self.entry(entry)),
            Kind::Commit => self.commit(bytes).unwrap_or_else(|| Err(malformed(id))),
            Kind::Tag => self.tag(bytes).unwrap_or_else(|| Err(malformed(id))),
            Kind::Blob => Ok(()),
        }
    }

    fn entry(&mut self, entry: Entry<'_>) -> Result<()> {
        match entry {
            Entry::Tree(id) => self.known.require(id, Kind::Tree),
            Entry::Blob(id) => self.known.require(id, Kind::Blob),
            Entry::Modules(id) => {
                self.modules.extend(Oid::from_bytes(id));
                self.known.require(id, Kind::Blob)
            }
            // A commit of another repository.
            Entry::Submodule => Ok(()),
        }
    }

    /// `None`: it is not one.
    fn commit(&self, bytes: &[u8]) -> Option<Result<()>> {
        let mut lines = bytes.split(|&c| c == b'\n');
        let named = |line: &[u8], word: &str| line.strip_prefix(word.as_bytes()).map(parse);
        if let Err(e) = self.known.require(named(lines.next()?, "tree ")??.as_bytes(), Kind::Tree) {
            return Some(Err(e));
        }
        for line in lines {
            let Some(parent) = named(line, "parent ") else { break };
            if let Err(e) = self.known.require(parent?.as_bytes(), Kind::Commit) {
                return Some(Err(e));
            }
        }
        Some(Ok(()))
    }

    fn tag(&self, bytes: &[u8]) -> Option<Result<()>> {
        let mut lines = bytes.split(|&c| c == b'\n');
        let id = parse(lines.next()?.strip_prefix(b"object ")?)?;
        let kind = std::str::from_utf8(lines.next()?.strip_prefix(b"type ")?).ok()?;
        Some(self.known.require(id.as_bytes(), Kind::read(kind)?))
    }
}

fn parse(hex: &[u8]) -> Option<Oid> {
    std::str::from_utf8(hex).ok().and_then(Id::parse).map(|id| id.0)
}

fn malformed(id: Oid) -> Error {
    broken(format_args!("{id} is not what it says it is"))
}
