//! The demo's repository: made with libgit2, so that it needs no git on the machine.

use git2::{Repository, Signature};
use std::io;
use std::path::Path;

/// Where it stands in a home.
const PLACE: &str = "projects/kage-bunshin";

fn failed(error: git2::Error) -> io::Error {
    io::Error::other(error)
}

/// Makes it in `home`, with a few commits on a branch.
pub(super) fn make(home: &Path) -> io::Result<()> {
    let path = home.join(PLACE);
    std::fs::create_dir_all(&path)?;
    let repository = Repository::init(&path).map_err(failed)?;
    repository.set_head("refs/heads/main").map_err(failed)?;
    for (file, text) in [
        ("README.md", "# Kage Bunshin\n"),
        ("main.py", "print('many of one')\n"),
        ("main.py", "print('one of many')\n"),
    ] {
        std::fs::write(path.join(file), text)?;
        commit(&repository, file).map_err(failed)?;
    }
    Ok(())
}

fn commit(repository: &Repository, file: &str) -> Result<(), git2::Error> {
    let mut index = repository.index()?;
    index.add_path(Path::new(file))?;
    index.write()?;
    let tree = repository.find_tree(index.write_tree()?)?;
    let who = Signature::now("Demo", "demo@example.com")?;
    let parent = repository.head().ok().map(|head| head.peel_to_commit()).transpose()?;
    let parents: Vec<_> = parent.iter().collect();
    repository.commit(Some("HEAD"), &who, &who, &format!("change {file}"), &tree, &parents)?;
    Ok(())
}

/// How many commits `target` has, if its history and its work tree are those of `source`.
pub(super) fn same(source: &Path, target: &Path) -> io::Result<usize> {
    let (ours, theirs) = (history(source)?, history(target)?);
    let clean = |home: &Path| -> Result<bool, git2::Error> {
        Ok(Repository::open(home.join(PLACE))?.statuses(None)?.is_empty())
    };
    match ours == theirs && clean(target).map_err(failed)? {
        true => Ok(theirs.len()),
        false => Err(io::Error::other("the repository on the target is another one")),
    }
}

/// The ids of all commits of HEAD's branch, with its name.
fn history(home: &Path) -> io::Result<Vec<String>> {
    let read = || {
        let repository = Repository::open(home.join(PLACE))?;
        let mut walk = repository.revwalk()?;
        walk.push_head()?;
        let name = repository.head()?.name().unwrap_or_default().to_owned();
        walk.map(|id| Ok(format!("{name} {}", id?))).collect::<Result<Vec<_>, git2::Error>>()
    };
    read().map_err(failed)
}
