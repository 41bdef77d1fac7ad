//! The new state out of sight: a whole repository, or the new objects of one that is there.

use super::facts::{Head, State};
use super::header::Header;
use super::names::Id;
use super::open::{failed, open};
use super::plan::{Planned, Todo, Update};
use super::work::few;
use super::{lfs, pack, pending, refs, stashes, submodules, trees, upon, BUNDLE, UNCOMMITTED};
use crate::base::fsx::sync_dir;
use crate::base::path::{path_text, shown};
use crate::base::side::make_side;
use crate::component::{stream_name, Error, Progress, Result, Scope, StreamSource};
use git2::build::CheckoutBuilder;
use git2::{ObjectType, Repository, RepositoryInitMode, RepositoryInitOptions};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A repository that is to be put in place as a whole.
pub fn repo_in(side: &Path) -> PathBuf {
    side.join("repository")
}

/// New objects for a repository that is there.
pub fn objects_in(side: &Path) -> PathBuf {
    side.join("objects.git")
}

/// The same, opened, with what the bundle leaves out.
pub fn staged_objects(plan: &Planned) -> Result<Repository> {
    let repo = open(&objects_in(&plan.side))?;
    if !plan.header.needs.is_empty() {
        upon::stand(&repo, &open(&plan.path)?)?;
    }
    Ok(repo)
}

/// The index as it was.
pub fn index_in(side: &Path) -> PathBuf {
    side.join("index")
}

/// What is removed.
pub fn old_in(side: &Path) -> PathBuf {
    side.join("old")
}

/// Builds it.
pub fn stage(plan: &Planned, scope: &Scope<'_>, streams: &dyn StreamSource) -> Result<()> {
    let io = Error::at(&plan.side);
    match &plan.todo {
        Todo::Nothing if !submodules::any(plan) => return Ok(()),
        Todo::Nothing => make_side(&plan.side).map_err(io)?,
        Todo::Remove { .. } => make_side(&plan.side).map_err(io)?,
        Todo::Clone => {
            make_side(&plan.side).map_err(io)?;
            clone(plan, scope, streams)?;
        }
        Todo::Update(update) => {
            make_side(&plan.side).map_err(io)?;
            objects(plan, update, scope, streams)?;
        }
    }
    if plan.todo != Todo::Clone {
        submodules::stage(plan, scope, streams)?;
    }
    // All of it on disk before a commit moves it: of a tree of thousands of files, at once.
    let side = File::open(&plan.side).map_err(io)?;
    rustix::fs::syncfs(&side).map_err(|e| io(e.into()))?;
    sync_dir(&plan.side).map_err(io)
}

/// A new repository: nothing in it is from a template, and there are no hooks.
pub fn init(path: &Path, bare: bool) -> Result<Repository> {
    if path.exists() {
        fs::remove_dir_all(path).map_err(Error::at(path))?;
    }
    let mut options = RepositoryInitOptions::new();
    options.bare(bare).no_reinit(true).mkdir(true).external_template(false);
    options.mode(RepositoryInitMode::SHARED_UMASK);
    let repo = Repository::init_opts(path, &options).map_err(|e| failed(path, &e))?;
    let hooks = repo.path().join("hooks");
    match fs::remove_dir_all(&hooks) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io(shown(&hooks), e)),
        _ => Ok(repo),
    }
}

/// Reads the packs into `repo` and holds what is in it to the rules.
fn fill(repo: &Repository, plan: &Planned, scope: &Scope<'_>, streams: &dyn StreamSource) -> Result<()> {
    let Some(bundle) = streams.list().iter().find(|stream| stream.name.as_str() == BUNDLE) else {
        return Ok(());
    };
    let progress: &dyn Progress = scope.progress;
    progress.expect(bundle.size);
    let mut stream = BufReader::with_capacity(128 * 1024, streams.open(&stream_name(BUNDLE)?)?);
    Header::read(&mut stream)?;
    let tips = plan.header.tips();
    let each = &mut |n| progress.advance(n);
    if plan.header.needs.is_empty() {
        pack::read(repo, &tips, scope.threads, &mut stream, each)?;
    } else {
        let needs: Vec<_> = plan.header.needs.keys().map(|id| id.0).collect();
        let target = open(&plan.path)?;
        pack::read_upon((repo, &target), (&tips, &needs), scope.threads, &mut stream, each)?;
    }
    if let (Some(pending), Some(head)) = (plan.facts.uncommitted, plan.header.head) {
        pending::read(repo, pending, head, &mut streams.open(&stream_name(UNCOMMITTED)?)?)?;
        trees::check(repo, &[pending.work.0], &[head.0])?;
    }
    lfs::stage(repo, plan, progress, streams)
}

fn clone(plan: &Planned, scope: &Scope<'_>, streams: &dyn StreamSource) -> Result<()> {
    let path = repo_in(&plan.side);
    let bare = plan.facts.state == State::Bare;
    let repo = init(&path, bare)?;
    build(&repo, plan, scope, streams)?;
    match plan.owner {
        Some((uid, gid)) if uid != 0 || gid != 0 => {
            give(&path, uid, gid).map_err(Error::at(&path))?;
            lfs::settle_clone(&repo, plan)?;
            give(repo.path(), uid, gid).map_err(Error::at(&path))
        }
        _ => Ok(()),
    }
}

/// All that a new repository has, and its submodules.
pub fn build(repo: &Repository, plan: &Planned, scope: &Scope<'_>, streams: &dyn StreamSource) -> Result<()> {
    let git = |e: git2::Error| failed(repo.path(), &e);
    let bare = plan.facts.state == State::Bare;
    fill(repo, plan, scope, streams)?;
    write_refs(repo, &plan.header)?;
    if let Some(head) = &plan.facts.head {
        refs::set_head(repo, head)?;
    }
    for remote in &plan.facts.remotes {
        repo.remote(&remote.name, &remote.url).map_err(git)?;
    }
    let config = repo.config().map_err(git)?;
    let mut local = config.open_level(git2::ConfigLevel::Local).map_err(git)?;
    for upstream in &plan.facts.upstreams {
        let key = format!("branch.{}", upstream.branch);
        local.set_str(&format!("{key}.remote"), &upstream.remote).map_err(git)?;
        local.set_str(&format!("{key}.merge"), &upstream.merge).map_err(git)?;
    }
    if !plan.facts.stashes.is_empty() {
        stashes::set(repo, &plan.facts.stashes)?;
    }
    if !bare && plan.header.head.is_some() {
        repo.checkout_head(Some(CheckoutBuilder::new().force())).map_err(git)?;
    }
    if let Some(pending) = plan.facts.uncommitted {
        let work = repo.find_object(pending.work.0, None).map_err(git)?;
        repo.checkout_tree(&work, Some(CheckoutBuilder::new().force())).map_err(git)?;
        pending::put_index(repo, pending.index)?;
    }
    lfs::fill_clone(repo, plan)?;
    submodules::build(repo, plan, scope, streams)
}

/// Writes the refs as `git pack-refs` does: one file, however many there are.
fn write_refs(repo: &Repository, header: &Header) -> Result<()> {
    let mut text = "# pack-refs with: peeled fully-peeled sorted \n".to_owned();
    for (name, id) in &header.refs {
        text.push_str(&format!("{id} {name}\n"));
        let object = repo.find_object(id.0, None).map_err(|_| missing(name))?;
        if object.kind() == Some(ObjectType::Tag) {
            let peeled = object.peel(ObjectType::Any).map_err(|_| missing(name))?;
            text.push_str(&format!("^{}\n", peeled.id()));
        }
        require_commit(name, &object)?;
    }
    let path = repo.path().join("packed-refs");
    fs::write(&path, text).map_err(Error::at(&path))
}

fn missing(name: &str) -> Error {
    Error::rule("G6", format_args!("what {name} names is not in the pack"))
}

/// A branch names a commit.
fn require_commit(name: &str, object: &git2::Object<'_>) -> Result<()> {
    match name.starts_with("refs/heads/") && object.kind() != Some(ObjectType::Commit) {
        true => Err(Error::rule("G6", format_args!("{name} names no commit"))),
        false => Ok(()),
    }
}

fn give(path: &Path, uid: u32, gid: u32) -> io::Result<()> {
    if path.is_dir() && !path.is_symlink() {
        for entry in fs::read_dir(path)? {
            give(&entry?.path(), uid, gid)?;
        }
    }
    std::os::unix::fs::lchown(path, Some(uid), Some(gid))
}

/// The bundle's objects by themselves, checked, and a copy of the index.
fn objects(plan: &Planned, update: &Update, scope: &Scope<'_>, streams: &dyn StreamSource) -> Result<()> {
    let repo = init(&objects_in(&plan.side), true)?;
    fill(&repo, plan, scope, streams)?;
    for (name, id) in &plan.header.refs {
        let object = repo.find_object(id.0, None).map_err(|_| missing(name))?;
        require_commit(name, &object)?;
    }
    if let Some(Head::Detached(id)) = &plan.facts.head {
        repo.find_commit(id.0).map_err(|_| missing("HEAD"))?;
    }
    if let Some((old, new)) = update.work {
        let target = open(&plan.path)?;
        require_room(&repo, new, &target)?;
        let (from, to) = (target.path().join("index"), index_in(&plan.side));
        match fs::copy(&from, &to) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            copied => drop(copied.map_err(Error::at(&from))?),
        }
        if plan.facts.lfs.is_some() || lfs::is_used(&target)? {
            lfs::record(&target, old, &plan.side)?;
        }
    }
    Ok(())
}

/// Refuses where the commit `new` has a file and the work tree of `target` one that git does not know: an ignored one, for
/// any other is a change that the plan has refused.
fn require_room(staged: &Repository, new: Id, target: &Repository) -> Result<()> {
    let git = |e: git2::Error| failed(target.path(), &e);
    let Some(work) = target.workdir() else { return Ok(()) };
    let index = target.index().map_err(git)?;
    let tree = staged.find_commit(new.0).and_then(|commit| commit.tree()).map_err(|_| missing("HEAD"))?;
    let mut in_the_way = Vec::new();
    tree.walk(git2::TreeWalkMode::PreOrder, |root, entry| {
        let name = [root.as_bytes(), entry.name_bytes()].concat();
        let path = Path::new(OsStr::from_bytes(&name));
        let found = fs::symlink_metadata(work.join(path)).is_ok_and(|meta| !meta.is_dir());
        if found && index.get_path(path, 0).is_none() {
            in_the_way.push(path_text(&name));
        }
        git2::TreeWalkResult::Ok
    })
    .map_err(|e| failed(staged.path(), &e))?;
    if in_the_way.is_empty() {
        return Ok(());
    }
    let what =
        format!("{}: files that git ignores are in the way of new ones: {}", shown(work), few(&in_the_way));
    Err(Error::not_ready(what).todo("move them away, and import again"))
}
