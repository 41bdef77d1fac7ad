//! Puts the staged items in place by renames, each written down before it is done.
//!
//! 1. Write down the directories whose content or metadata changes, and open up those with tight modes. Among them is
//!    the last one above the root that the plan found missing and another component has made meanwhile.
//! 2. In batches: look whether the target still is what the plan saw, write the steps down, do them.
//! 3. Set the directories' metadata, deepest first.
//! 4. All on disk.

use super::act::FileAct;
use super::meta::Names;
use super::plan::{DirStep, FilesPlan, Source, Stamp, Step};
use super::seat::{is_tight, is_unmovable, slot_stat, Seat, Slots};
use super::stage::folder_meta;
use super::walk::Kind;
use crate::base::fault::Fault;
use crate::base::path::{shown, BundlePath};
use crate::component::{Error, Journal, Result, Scope};
use std::collections::HashMap;

/// Steps that are written down at once.
const BATCH: usize = 1024;

/// Commits. May run twice: steps that are done already are left alone.
pub fn commit(plan: &FilesPlan, scope: &Scope<'_>, journal: &mut dyn Journal) -> Result<()> {
    commit_until(plan, scope, journal, plan.steps.len() + 1)
}

/// Commits, and stops before the step of the number `stop`: so a test sees every state that a kill can leave.
pub(super) fn commit_until(
    plan: &FilesPlan,
    scope: &Scope<'_>,
    journal: &mut dyn Journal,
    stop: usize,
) -> Result<()> {
    if plan.is_idle() {
        return Ok(());
    }
    let names = Names::default();
    let slots = Slots::open(&plan.side)?.ok_or_else(|| {
        Error::new(Fault::Unexpected, format_args!("{}: the staging area is gone", shown(&plan.side)))
    })?;
    let modes = last_modes(plan);
    let seat = Seat::open(&plan.base)?;
    let mut commit = Commit { seat, slots, names: scope.host.is_root().then_some(&names), modes };

    // 1.
    let base = commit.seat.base_stat().map_err(Error::at(&plan.base))?;
    let open = std::iter::once(FileAct::open(plan, &base));
    let met = commit.folder_met(plan)?;
    let dirs: Vec<&DirStep> = plan.dirs.iter().chain(&met).collect();
    let acts = dirs.iter().map(|dir| FileAct::Dir {
        path: dir.path.clone(),
        old: dir.old.clone(),
        new: dir.new.clone(),
    });
    let empties = plan.empties.iter().map(|path| FileAct::Empty { path: shown(path) });
    for batch in open.chain(acts).chain(empties).collect::<Vec<_>>().chunks(BATCH) {
        journal.intend(&batch.iter().map(FileAct::to_act).collect::<Result<Vec<_>>>()?)?;
    }
    for dir in dirs.iter().filter(|dir| is_tight(dir.old.mode.0)) {
        let opened = commit.seat.set_mode(dir.path.as_ref(), dir.old.mode.0 | 0o700);
        opened.map_err(|e| commit.dir_failed(plan, dir.path.as_ref(), e))?;
    }
    // 2.
    let mut steps_left = stop;
    for batch in plan.steps.chunks(BATCH) {
        let mut todo = Vec::new();
        for step in batch {
            todo.extend(commit.act(step)?.map(|act| (step, act)));
        }
        journal.intend(&todo.iter().map(|(_, act)| act.to_act()).collect::<Result<Vec<_>>>()?)?;
        for (step, _) in todo {
            if steps_left == 0 {
                return Ok(());
            }
            steps_left -= 1;
            commit.step(step)?;
        }
    }
    if steps_left == 0 {
        return Ok(());
    }
    // 3.
    for step in &plan.steps {
        if let Step::Put { path, slot, .. } = step {
            commit.last_bits(path, *slot)?;
        }
    }
    for dir in dirs.iter().rev() {
        let path = dir.path.as_ref();
        let done = match &dir.new {
            Some(new) => {
                commit.seat.set_meta(path, Kind::Dir, new, commit.names.map(|names| names.owner(new)))
            }
            None if is_tight(dir.old.mode.0) => commit.seat.set_mode(path, dir.old.mode.0),
            None => Ok(()),
        };
        done.map_err(|e| commit.dir_failed(plan, path, e))?;
    }
    // 4.
    commit.seat.sync()
}

/// The modes of new directories that get their last bits only in place, by slot.
fn last_modes(plan: &FilesPlan) -> HashMap<u32, u32> {
    let tops = plan.items.iter().filter(|item| !matches!(item.source, Source::LinkTo(_)));
    tops.filter_map(|item| {
        let slot = std::str::from_utf8(item.staged.as_bytes()).ok()?.parse().ok()?;
        let mode = folder_meta(plan, item)?.mode.0;
        (mode & 0o200 == 0).then_some((slot, mode))
    })
    .collect()
}

struct Commit<'a> {
    seat: Seat,
    slots: Slots,
    names: Option<&'a Names>,
    modes: HashMap<u32, u32>,
}

impl Commit<'_> {
    fn dir_failed(&self, plan: &FilesPlan, path: Option<&BundlePath>, error: std::io::Error) -> Error {
        let at = path.map_or_else(|| plan.base.clone(), |path| self.seat.at(path));
        Error::io(shown(&at), error)
    }

    /// The deepest directory above the root that was missing when the plan was made and is there now.
    fn folder_met(&mut self, plan: &FilesPlan) -> Result<Option<DirStep>> {
        let folders = plan.steps.iter().filter_map(|step| match step {
            Step::Folder { path, .. } => Some(path),
            _ => None,
        });
        let mut met = None;
        for path in folders {
            let failed = |e| Error::io(shown(&plan.base.join(path.as_path())), e);
            match self.seat.stat(path).map_err(failed)? {
                Some(stat) if stat.kind == Kind::Dir => met = Some((path, stat)),
                _ => break,
            }
        }
        let Some((path, stat)) = met else { return Ok(None) };
        let xattrs = self.seat.xattrs(path).map_err(|e| self.seat.failed(path, e))?;
        let mut old = stat.meta(&Names::default(), xattrs);
        old.mode.0 = stat.mode;
        Ok(Some(DirStep { path: Some(path.clone()), old, new: None }))
    }

    /// The act for a step, `None` if it is done already; an error if the target is not what the plan saw.
    fn act(&mut self, step: &Step) -> Result<Option<FileAct>> {
        let path = step.path();
        let now = self.seat.stat(path).map_err(|e| self.seat.failed(path, e))?;
        let slot = |dir, slot| slot_stat(dir, slot).map_err(|e| Error::io("the staging area", e));
        match step {
            Step::Folder { path, slot: number } => match (now, slot(&self.slots.new, *number)?) {
                (None, Some(staged)) => {
                    let new = Stamp::of(&staged);
                    Ok(Some(FileAct::Folder { path: path.clone(), slot: *number, new }))
                }
                (Some(now), _) if now.kind == Kind::Dir => Ok(None),
                _ => Err(self.edited(path)),
            },
            Step::Put { path, slot: number, old, keep } => {
                let staged = slot(&self.slots.new, *number)?;
                let aside = slot(&self.slots.old, *number)?;
                let act = |new| {
                    let (path, slot, old, keep) = (path.clone(), *number, *old, *keep);
                    Some(FileAct::Put { path, slot, new, old, keep })
                };
                match (old, now, staged) {
                    (None, None, Some(staged)) => Ok(act(Stamp::of(&staged))),
                    (None, Some(_), None) => Ok(None),
                    (Some(old), Some(now), Some(staged)) if old.is_unedited(&now) => {
                        Ok(act(Stamp::of(&staged)))
                    }
                    (Some(old), Some(_), Some(staged)) if old.is(&staged) => Ok(None),
                    (Some(old), Some(_), None) if aside.is_some_and(|aside| old.is(&aside)) => Ok(None),
                    // The file system cannot exchange, and it was interrupted between its two renames.
                    (Some(old), None, Some(staged)) if aside.is_some_and(|aside| old.is(&aside)) => {
                        Ok(act(Stamp::of(&staged)))
                    }
                    _ => Err(self.edited(path)),
                }
            }
            Step::Remove { path, slot: number, old, keep } => match (now, slot(&self.slots.old, *number)?) {
                (Some(now), None) if old.is_unedited(&now) => {
                    let (path, slot, old, keep) = (path.clone(), *number, *old, *keep);
                    Ok(Some(FileAct::Remove { path, slot, old, keep }))
                }
                (None, Some(aside)) if old.is(&aside) => Ok(None),
                _ => Err(self.edited(path)),
            },
            Step::Meta { path, stamp, old, new } => match now {
                Some(now)
                    if stamp.is(&now)
                        && stamp.size == now.size
                        && [old.mtime, new.mtime].contains(&now.mtime) =>
                {
                    let (path, stamp, old, new) = (path.clone(), *stamp, old.clone(), new.clone());
                    Ok(Some(FileAct::Meta { path, stamp, old, new }))
                }
                _ => Err(self.edited(path)),
            },
        }
    }

    fn edited(&self, path: &BundlePath) -> Error {
        Error::not_ready(format_args!("{}: it was edited since the plan", shown(&self.seat.at(path))))
            .todo("stop what writes to it, and run the import again")
    }

    /// The mode of a new directory that its owner could not have moved with it.
    fn last_bits(&mut self, path: &BundlePath, slot: u32) -> Result<()> {
        match self.modes.get(&slot) {
            Some(&mode) => self.seat.set_mode(Some(path), mode).map_err(|e| self.seat.failed(path, e)),
            None => Ok(()),
        }
    }

    /// Does a step.
    fn step(&mut self, step: &Step) -> Result<()> {
        self.try_step(step).map_err(|e| self.seat.failed(step.path(), e))
    }

    fn try_step(&mut self, step: &Step) -> std::io::Result<()> {
        match step {
            Step::Folder { path, slot } => self.seat.put(&self.slots.new, *slot, path),
            Step::Put { path, slot, old, .. } => {
                if let Some(old) = old {
                    if is_unmovable(old) {
                        self.seat.set_mode(Some(path), old.mode.0 | 0o200)?;
                    }
                    if !self.seat.exchange(&self.slots.new, *slot, path)? {
                        if self.seat.stat(path)?.is_some() {
                            self.seat.take(path, &self.slots.old, *slot)?;
                        }
                        self.seat.put(&self.slots.new, *slot, path)?;
                    }
                } else {
                    self.seat.put(&self.slots.new, *slot, path)?;
                }
                Ok(())
            }
            Step::Remove { path, slot, old, .. } => {
                if is_unmovable(old) {
                    self.seat.set_mode(Some(path), old.mode.0 | 0o200)?;
                }
                self.seat.take(path, &self.slots.old, *slot)
            }
            Step::Meta { path, new, .. } => {
                let kind = self.seat.stat(path)?.map_or(Kind::File, |stat| stat.kind);
                self.seat.set_meta(Some(path), kind, new, self.names.map(|names| names.owner(new)))
            }
        }
    }
}
