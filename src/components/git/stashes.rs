//! Stashes: the log of `refs/stash`. A git bundle has no logs: the older ones travel as refs of their own.

use super::header::Header;
use super::names::Id;
use super::open::failed;
use crate::component::{Error, Result};
use git2::{Repository, Signature};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};

/// The ref of the newest one.
pub const REF: &str = "refs/stash";
/// Where the older ones are in a git bundle: `refs/kbpack/stash/1` is `stash@{1}`.
const OWN: &str = "refs/kbpack/stash/";
/// The most that travel.
pub const MAX: usize = 1000;
/// The longest message, in bytes.
const MAX_MESSAGE: usize = 1024;

/// One stash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stash {
    /// Its commit.
    pub id: Id,
    /// What `git stash list` says of it.
    pub message: String,
}

impl Stash {
    /// Whether the message can stand in a log, where a line is an entry.
    pub fn is_plain(&self) -> bool {
        self.message.len() <= MAX_MESSAGE && !self.message.contains(char::is_control)
    }
}

/// How the stashes of a repository change: as they were and as they will be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stashes {
    /// As they were, the newest first.
    pub old: Vec<Stash>,
    /// As they will be.
    pub new: Vec<Stash>,
}

/// All stashes, the newest first, each once. One whose commit is gone is none.
pub fn list(repo: &Repository) -> Result<Vec<Stash>> {
    let git = |e: git2::Error| failed(repo.path(), &e);
    let Ok(newest) = repo.refname_to_id(REF) else { return Ok(Vec::new()) };
    let mut rows: Vec<(git2::Oid, Vec<u8>)> = Vec::new();
    for entry in repo.reflog(REF).map_err(git)?.iter() {
        rows.push((entry.id_new(), entry.message_bytes().unwrap_or_default().to_vec()));
    }
    if rows.first().is_none_or(|(id, _)| *id != newest) {
        // Its log was not kept, as in a mirror.
        let commit = repo.find_commit(newest).map_err(git)?;
        rows.insert(0, (newest, commit.summary_bytes().unwrap_or_default().to_vec()));
    }
    let mut seen = HashSet::new();
    rows.retain(|(id, _)| seen.insert(*id) && repo.find_commit(*id).is_ok());
    Ok(rows.into_iter().map(|(id, message)| Stash { id: Id(id), message: plain(&message) }).collect())
}

/// A message as text of one line.
fn plain(message: &[u8]) -> String {
    let text = String::from_utf8_lossy(message).replace(char::is_control, " ");
    let end = (0..=MAX_MESSAGE.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text[..end].to_owned()
}

/// The refs of the older ones in a git bundle.
pub fn own_refs(stashes: &[Stash]) -> BTreeMap<String, Id> {
    stashes.iter().enumerate().skip(1).map(|(number, stash)| (format!("{OWN}{number}"), stash.id)).collect()
}

/// Whether a ref of kbpack's own is that of a stash.
pub fn is_own(name: &str) -> bool {
    name.starts_with(OWN)
}

/// Whether `header` has these and no others.
pub fn are_in(header: &Header, stashes: &[Stash]) -> bool {
    header.refs.get(REF).copied() == stashes.first().map(|stash| stash.id) && header.own == own_refs(stashes)
}

/// What a repository that has `old` has when the bundle's come on top of them.
pub fn added(old: &[Stash], incoming: &[Stash]) -> Vec<Stash> {
    without(incoming, old).into_iter().chain(old.iter().cloned()).collect()
}

/// Those of `stashes` that are not among `others`.
pub fn without(stashes: &[Stash], others: &[Stash]) -> Vec<Stash> {
    let there: HashSet<Id> = others.iter().map(|stash| stash.id).collect();
    stashes.iter().filter(|stash| !there.contains(&stash.id)).cloned().collect()
}

/// What an undo leaves where `now` is: what was there before, below what came since.
pub fn undone(now: &[Stash], change: &Stashes) -> Vec<Stash> {
    added(&change.old, &without(now, &change.new))
}

/// Makes the stashes of a repository these, log and ref.
pub fn set(repo: &Repository, stashes: &[Stash]) -> Result<()> {
    let git = |e: git2::Error| failed(repo.path(), &e);
    let mut log = repo.reflog(REF).map_err(git)?;
    // Who stashed, and when, stays.
    let mut who: HashMap<git2::Oid, Signature<'static>> = HashMap::new();
    while let Some((id, by)) = log.get(0).map(|entry| (entry.id_new(), entry.committer().to_owned())) {
        who.insert(id, by);
        log.remove(0, false).map_err(git)?;
    }
    for stash in stashes.iter().rev() {
        let by = match who.remove(&stash.id.0) {
            Some(by) => by,
            None => repo.find_commit(stash.id.0).map_err(git)?.committer().to_owned(),
        };
        log.append(stash.id.0, &by, Some(&stash.message)).map_err(git)?;
    }
    let Some(newest) = stashes.first() else {
        return match repo.find_reference(REF) {
            Ok(mut reference) => reference.delete().map_err(git),
            Err(e) if e.code() == git2::ErrorCode::NotFound => Ok(()),
            Err(e) => Err(git(e)),
        };
    };
    let mut both = repo.transaction().map_err(git)?;
    both.lock_ref(REF).map_err(git)?;
    let by = Signature::now("kbpack", "kbpack@localhost").map_err(git)?;
    both.set_target(REF, newest.id.0, Some(&by), &newest.message).map_err(git)?;
    both.set_reflog(REF, log).map_err(git)?;
    both.commit().map_err(git)
}

/// Rule G15, of facts: there are not too many, each once, and their messages are lines.
pub fn require_sound(stashes: &[Stash]) -> Result<()> {
    let ids: HashSet<Id> = stashes.iter().map(|stash| stash.id).collect();
    match stashes.len() <= MAX && ids.len() == stashes.len() && stashes.iter().all(Stash::is_plain) {
        true => Ok(()),
        false => {
            Err(Error::rule("G15", "the stashes are too many, or twice, or have messages of several lines"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stashes(text: &str) -> Vec<Stash> {
        let id = |c: char| Id::parse(&c.to_string().repeat(40)).unwrap();
        text.chars().map(|c| Stash { id: id(c), message: format!("On main: {c}") }).collect()
    }

    #[test]
    fn incoming_ones_go_on_top_and_an_undo_keeps_what_came_since() {
        let (old, new) = (stashes("21"), added(&stashes("21"), &stashes("431")));
        assert_eq!(new, stashes("4321"));
        let change = Stashes { old: old.clone(), new: new.clone() };
        assert_eq!(undone(&new, &change), old);
        assert_eq!(undone(&old, &change), old);
        let since = undone(&stashes("54321"), &change);
        assert_eq!(since, stashes("521"));
        assert_eq!(undone(&since, &change), since);
        // A rollback, which takes some away.
        let back = Stashes { old: stashes("4321"), new: stashes("21") };
        assert_eq!(undone(&stashes("521"), &back), stashes("54321"));
        assert_eq!(undone(&stashes("4321"), &back), stashes("4321"));
    }

    #[test]
    fn messages_are_lines() {
        assert_eq!(plain(b"a\tb\nc\xff"), "a b c\u{fffd}");
        assert!(plain("é".repeat(1000).as_bytes()).len() <= MAX_MESSAGE);
        let bad = |message: &str| vec![Stash { message: message.into(), ..stashes("1").remove(0) }];
        assert!(require_sound(&bad("a\nb")).is_err() && require_sound(&stashes("11")).is_err());
        require_sound(&stashes("12")).unwrap();
    }
}
