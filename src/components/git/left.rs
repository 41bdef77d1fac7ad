//! What an import leaves: a backup's stream `left` says so, and a rollback knows by it what was done since.

use super::facts::Head;
use super::header::Header;
use super::names::{self, Id};
use super::open::open;
use super::plan::{Planned, Todo, Update};
use super::{refs, stream_name, LEFT};
use crate::component::{Error, Holds, Result, StreamSink, StreamSource};
use git2::Repository;
use std::io::{BufReader, Write};

/// Refs, and the commit of HEAD, in the form that the head of a git bundle has.
pub struct Left(Header);

impl Left {
    /// What `plan` leaves.
    pub fn by(plan: &Planned) -> Result<Left> {
        let mut left = match &plan.todo {
            Todo::Remove { .. } => Header::default(),
            Todo::Clone => plan.header.clone(),
            Todo::Nothing if !super::open::is_repository(&plan.path) => Header::default(),
            Todo::Nothing => of(&open(&plan.path)?)?,
            Todo::Update(update) => after(update, of(&open(&plan.path)?)?),
        };
        // Of others a rollback takes it that they are new: they are kept.
        left.refs.retain(|name, _| names::is_ref(name));
        Ok(Left(left))
    }

    /// Nothing: what goes as a whole.
    pub fn nothing() -> Left {
        Left(Header::default())
    }

    /// From a backup.
    pub fn read(streams: &dyn StreamSource) -> Result<Left> {
        let mut stream = BufReader::new(streams.open(&stream_name(LEFT)?)?);
        let header = Header::read(&mut stream)?;
        // To its end: that it is what the manifest says shows only there.
        match std::io::copy(&mut stream, &mut std::io::sink()) {
            Ok(0) => Ok(Left(header)),
            Ok(_) => Err(Error::rule("G9", format_args!("stream {LEFT}: more than refs"))),
            Err(e) => Err(Error::io(format_args!("stream {LEFT}"), e)),
        }
    }

    /// Into a backup.
    pub fn write(&self, sink: &dyn StreamSink) -> Result<()> {
        let mut stream = sink.create(&stream_name(LEFT)?, Holds::Data)?;
        stream.label("refs");
        stream.write_all(&self.0.to_bytes()).map_err(|e| Error::io(format_args!("stream {LEFT}"), e))?;
        stream.finish()
    }

    /// Whether the ref `name` was left as it is.
    pub fn has(&self, name: &str, now: Id) -> bool {
        self.0.refs.get(name) == Some(&now)
    }

    /// Whether `commit` is where HEAD was left, or a ref.
    pub fn leads_to(&self, commit: Id) -> bool {
        self.0.head == Some(commit) || self.0.refs.values().any(|id| *id == commit)
    }

    /// Whether every ref of a repository, and the commit of its HEAD, was left as it is.
    pub fn is_all_of(&self, repo: &Repository) -> Result<bool> {
        let refs = refs::all(repo)?;
        let head = refs::head_commit(repo)?;
        Ok(refs.iter().all(|(name, id)| self.has(name, *id)) && head.is_none_or(|id| self.leads_to(id)))
    }
}

/// What a repository has.
fn of(repo: &Repository) -> Result<Header> {
    Ok(Header { refs: refs::all(repo)?, head: refs::head_commit(repo)? })
}

/// The same after an update.
fn after(update: &Update, mut header: Header) -> Header {
    for one in &update.refs {
        match one.new {
            Some(new) => header.refs.insert(one.name.clone(), new),
            None => header.refs.remove(&one.name),
        };
    }
    header.head = match &update.head.1 {
        Head::Branch(name) => header.refs.get(name).copied(),
        Head::Detached(id) => Some(*id),
    };
    header
}
