//! What an import would change in a repository that is there: ref by ref.

use super::draft::{kept_ref, Draft};
use super::facts::{Facts, Head, OnDiverge};
use super::graph::Graph;
use super::header::Header;
use super::left::Left;
use super::names::Id;
use super::plan::{RefChange, Todo, Update};
use super::stashes::{self, Stash, Stashes};
use super::{pending, refs};
use crate::component::{ChangeKind, Result, Severity};
use git2::Repository;
use std::collections::BTreeMap;

impl Draft<'_> {
    /// What becomes of a repository that is there.
    pub fn update(
        &mut self,
        repo: &Repository,
        facts: &Facts,
        header: &Header,
        graph: &Graph,
    ) -> Result<Todo> {
        self.require_needed(repo, header)?;
        let old = refs::all(repo)?;
        let elsewhere = refs::checked_out_elsewhere(repo)?;
        let mut plan = Vec::new();
        for (name, new) in header.refs.iter().filter(|(name, _)| *name != stashes::REF) {
            let now = old.get(name).copied();
            self.one(repo, facts, graph, (name, now, *new), &mut plan);
        }
        if facts.exact {
            let ours = |name: &&String| refs::travels(&[], name) && *name != stashes::REF;
            for (name, id) in old.iter().filter(|(name, _)| ours(name)) {
                if !header.refs.contains_key(name.as_str()) {
                    self.keep(name, *id, &mut plan);
                    plan.push(RefChange { name: name.to_string(), old: Some(*id), new: None });
                }
            }
        }
        for change in &plan {
            let kind = match (change.old, change.new) {
                (None, _) => ChangeKind::Added,
                (_, Some(_)) => ChangeKind::Changed,
                (_, None) => ChangeKind::Removed,
            };
            self.change(kind, Some(&change.name));
            if elsewhere.contains(&change.name) {
                let what = format!("{}: another work tree has {} checked out", self.name, change.name);
                self.refuse(what, "let it check out another branch, and import again");
            }
        }
        let stashes = self.stashes(repo, facts, &mut plan)?;
        let head = self.head(repo, facts, &old, &plan)?;
        if let (Some(left), Head::Detached(id), true) = (&self.left, &head.0, head.0 != head.1) {
            // Nothing else may lead to it.
            if !left.leads_to(*id) {
                self.keep("HEAD", *id, &mut plan);
            }
        }
        let after = |name: &str| match plan.iter().find(|change| change.name == name) {
            Some(change) => change.new,
            None => old.get(name).copied(),
        };
        let target = match &head.1 {
            Head::Branch(name) => after(name),
            Head::Detached(id) => Some(*id),
        };
        let before = refs::head_commit(repo)?;
        // Only on the commit that it stood on.
        let pending =
            facts.uncommitted.filter(|_| target.is_some() && target == header.head && !repo.is_bare());
        let put_back = match pending {
            Some(pending) => pending::differs(repo, pending, self.scope.carved)?.is_some(),
            None => false,
        };
        // What the import put back goes, if it is as it was.
        let left_there = self.left.as_ref().and_then(Left::pending).is_some() && !repo.is_bare();
        let moves = put_back || left_there || pending.is_none() && target != before && !repo.is_bare();
        let new = pending.map(|pending| pending.work).or(target).filter(|_| moves);
        let going = match new {
            Some(_) => self.require_clean(repo)?,
            None => None,
        };
        let from = going.map(|going| going.work).or(before);
        let work = new.filter(|new| Some(*new) != from).map(|new| (from, new));
        if put_back {
            self.change(ChangeKind::Added, Some("uncommitted work"));
        }
        if head.0 != head.1 {
            self.change(ChangeKind::Changed, Some("HEAD"));
        }
        if going.is_some() {
            self.change(ChangeKind::Removed, Some("uncommitted work"));
        }
        if plan.is_empty() && stashes.is_none() && head.0 == head.1 && work.is_none() {
            return Ok(Todo::Nothing);
        }
        let pending = pending.filter(|_| work.is_some());
        let seen = refs::fingerprint(repo)?;
        Ok(Todo::Update(Box::new(Update { refs: plan, stashes, head, work, pending, going, seen })))
    }

    /// What becomes of one ref.
    fn one(
        &mut self,
        repo: &Repository,
        facts: &Facts,
        graph: &Graph,
        (name, now, new): (&str, Option<Id>, Id),
        plan: &mut Vec<RefChange>,
    ) {
        let set = |plan: &mut Vec<RefChange>, name: &str, old, new| {
            plan.push(RefChange { name: name.to_owned(), old, new: Some(new) });
        };
        let Some(old) = now else { return set(plan, name, None, new) };
        let is_tag = name.starts_with("refs/tags/");
        // What the bundle leaves out is here.
        let beyond = |end: Id| facts.needs > 0 && repo.graph_descendant_of(end.0, old.0).unwrap_or(false);
        if old == new {
            self.unchanged += 1;
        } else if !is_tag && graph.leads_to(old, new, &beyond) {
            set(plan, name, now, new);
        } else if facts.exact {
            self.keep(name, old, plan);
            set(plan, name, now, new);
        } else if !is_tag && repo.graph_descendant_of(old.0, new.0).unwrap_or(false) {
            self.unchanged += 1;
            self.note(Severity::Note, format!("{name} is ahead of the bundle's, and stays"));
        } else if self.git.profile.on_diverge == OnDiverge::Take {
            set(plan, &kept_ref(name, self.scope.run), None, old);
            set(plan, name, now, new);
        } else if self.git.profile.on_diverge == OnDiverge::KeepBoth {
            let rest = name.strip_prefix("refs/").unwrap_or(name);
            let incoming = format!("refs/kbpack/incoming/{rest}");
            let before = repo.refname_to_id(&incoming).ok().map(Id);
            if before != Some(new) {
                set(plan, &incoming, before, new);
            }
            self.note(Severity::Warning, format!("{name} has gone another way; the bundle's is {incoming}"));
        } else {
            let what = format!("{}: {name} has gone another way than the bundle's", self.name);
            self.refuse(
                what,
                "merge by hand, or set on-diverge = \"keep-both\" or \"take\" for it in this machine's profile",
            );
        }
    }

    /// What becomes of the stashes: the bundle's go on top of those that are there. In a rollback they are the backup's
    /// alone, and what was stashed since is kept as refs in `plan`.
    fn stashes(
        &mut self,
        repo: &Repository,
        facts: &Facts,
        plan: &mut Vec<RefChange>,
    ) -> Result<Option<Stashes>> {
        let old = stashes::list(repo)?;
        let new = match facts.exact && facts.stashes.len() < stashes::MAX {
            true => facts.stashes.clone(),
            false => stashes::added(&old, &facts.stashes),
        };
        if new == old {
            self.unchanged += u64::from(!old.is_empty());
            return Ok(None);
        }
        let is_left = |stash: &Stash| self.left.as_ref().is_some_and(|left| left.has_stash(stash.id));
        let going = stashes::without(&old, &new);
        let kept: Vec<Stash> = going.into_iter().filter(|stash| !is_left(stash)).collect();
        for (number, stash) in kept.iter().enumerate() {
            let name =
                if number == 0 { stashes::REF.to_owned() } else { format!("{}-{number}", stashes::REF) };
            plan.push(RefChange { name: kept_ref(&name, self.scope.run), old: None, new: Some(stash.id) });
        }
        if let Some(newest) = kept.first() {
            let at = kept_ref(stashes::REF, self.scope.run);
            let more = if kept.len() > 1 { format!(", and {at}-1, ...") } else { String::new() };
            let (count, message) = (kept.len(), &newest.message);
            let what =
                format!("stashed after the import: {count} ({message}); it will be kept as {at}{more}");
            self.note(Severity::Warning, what);
        }
        let kind = match (old.is_empty(), new.is_empty()) {
            (true, _) => ChangeKind::Added,
            (_, true) => ChangeKind::Removed,
            _ => ChangeKind::Changed,
        };
        self.change(kind, Some(stashes::REF));
        Ok(Some(Stashes { old, new }))
    }

    /// HEAD as it is and as it will be: the bundle's, where its branch is the bundle's in the end.
    fn head(
        &self,
        repo: &Repository,
        facts: &Facts,
        old: &BTreeMap<String, Id>,
        plan: &[RefChange],
    ) -> Result<(Head, Head)> {
        let now = refs::head(repo)?;
        let wanted = facts.head.clone().unwrap_or_else(|| now.clone());
        let there = match &wanted {
            Head::Branch(name) => {
                old.contains_key(name) || plan.iter().any(|change| &change.name == name) || facts.exact
            }
            Head::Detached(_) => true,
        };
        Ok((now.clone(), if there { wanted } else { now }))
    }
}
