//! What an import leaves: a backup's stream `left` says so, and a rollback knows by it what was done since.

use super::facts::Head;
use super::header::Header;
use super::names::{self, Id};
use super::open::open;
use super::pending::Pending;
use super::plan::{Planned, Todo, Update};
use super::stashes::{self, Stashes};
use super::{refs, LEFT};
use crate::component::{stream_name, Error, Holds, Result, StreamSink, StreamSource};
use git2::Repository;
use std::io::{BufReader, Write};

/// Refs, the commit of HEAD, older stashes and what is in no commit, in the form that the head of a git bundle has.
pub struct Left(Header);

impl Left {
    /// What `plan` leaves.
    pub fn by(plan: &Planned) -> Result<Left> {
        let is_there = super::open::is_repository(&plan.path);
        let mut left = match &plan.todo {
            Todo::Remove { .. } => Header::default(),
            Todo::Nothing if !is_there => Header::default(),
            Todo::Clone => of_bundle(plan),
            Todo::Nothing => of(&open(&plan.path)?)?,
            Todo::Update(update) => after(update, of(&open(&plan.path)?)?),
        };
        // Of others a rollback takes it that they are new: they are kept.
        left.refs.retain(|name, _| names::is_ref(name));
        left.own.retain(|name, _| names::is_own(name));
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

    /// Whether a stash was left.
    pub fn has_stash(&self, id: Id) -> bool {
        let Header { refs, own, .. } = &self.0;
        refs.get(stashes::REF) == Some(&id)
            || own.iter().any(|(name, left)| *left == id && stashes::is_own(name))
    }

    /// What was in no commit and was put back.
    pub fn pending(&self) -> Option<Pending> {
        Pending::of(&self.0)
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

/// What a new repository has.
fn of_bundle(plan: &Planned) -> Header {
    let mut header = plan.header.clone();
    header.needs.clear();
    plan.facts.uncommitted.iter().for_each(|pending| pending.put(&mut header.own));
    header
}

/// What a repository has.
fn of(repo: &Repository) -> Result<Header> {
    let own = stashes::own_refs(&stashes::list(repo)?);
    Ok(Header { refs: refs::all(repo)?, head: refs::head_commit(repo)?, own, ..Header::default() })
}

/// The same after an update.
fn after(update: &Update, mut header: Header) -> Header {
    for one in &update.refs {
        match one.new {
            Some(new) => header.refs.insert(one.name.clone(), new),
            None => header.refs.remove(&one.name),
        };
    }
    if let Some(Stashes { new, .. }) = &update.stashes {
        header.own = stashes::own_refs(new);
        match new.first() {
            Some(newest) => header.refs.insert(stashes::REF.to_owned(), newest.id),
            None => header.refs.remove(stashes::REF),
        };
    }
    update.pending.iter().for_each(|pending| pending.put(&mut header.own));
    header.head = match &update.head.1 {
        Head::Branch(name) => header.refs.get(name).copied(),
        Head::Detached(id) => Some(*id),
    };
    header
}
