//! First half of planning: which row goes where on this target, and what is there already.

use super::facts::{Mode, State, Symlinks};
use super::index::{Node, Row};
use super::select::{Selection, Verdict};
use super::site::{io_at, is_read_only, resolve, side_home, Found, Place};
use super::walk::{note, stat_at, warning, Entry, Kind, Walk, Walker};
use super::Files;
use crate::base::fsx::Dir;
use crate::base::path::{path_text, shown, BundlePath};
use crate::base::side::side_of;
use crate::component::{Error, Finding, Result, Scope, Severity};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

/// The target as it is.
pub struct Target {
    /// The directory to which all target paths are relative.
    pub base: PathBuf,
    /// The same, open.
    pub dir: Dir,
    /// The staging area that this plan will use.
    pub side: PathBuf,
    /// Where, relative to the base, the component's root is; `None` if it is the base itself.
    pub root: Option<BundlePath>,
    /// Whether the root is there.
    pub found: Found,
    /// What is below the base, as far as it matters.
    pub walk: Walk,
    /// The name inside the component of a root that is a file, or is to be one.
    single: Option<BundlePath>,
    by_path: HashMap<BundlePath, usize>,
}

/// A row that is to be restored.
pub struct Placed {
    /// Its number.
    pub row: usize,
    /// Its path on the target, relative to the base.
    pub path: BundlePath,
    /// The number of the target's entry there.
    pub there: Option<usize>,
    /// It is only on the way to what `--only` names.
    pub pass: bool,
}

impl Target {
    /// Looks at the target. Read-only.
    pub fn look(
        files: &Files,
        state: State,
        rows: &[Row],
        place: &Place,
        selection: &Selection<'_>,
        scope: &Scope<'_>,
    ) -> Result<Target> {
        let (base, root) = match place.found {
            Found::Dir => (place.real.clone(), None),
            Found::File => split_at(&place.real, place.real.parent())?,
            Found::Absent => split_at(&place.real, place.real.ancestors().find(|path| path.is_dir()))?,
        };
        let dir = Dir::open(&base).map_err(|e| io_at(&base, e))?;
        let mut walk = Walk::default();
        match place.found {
            Found::Dir => {
                let folders: HashSet<&BundlePath> =
                    rows.iter().filter(|r| matches!(r.node, Node::Dir(_))).map(|r| &r.path).collect();
                // An overlay need not know what is in directories that the bundle does not have.
                let everything = files.options.mode == Mode::Mirror
                    || files.options.symlinks == Symlinks::WriteThrough
                    || state != State::Directory;
                let walker = Walker {
                    root: &base,
                    selection,
                    one_filesystem: files.options.one_filesystem,
                    descend: &|path| everything || folders.contains(path),
                };
                walk = walker.walk(&dir)?;
            }
            Found::File => {
                if let Some(path) = root.clone() {
                    let stat = stat_at(&dir, path.as_path()).map_err(|e| io_at(&place.real, e))?;
                    let (target, xattrs) = (Vec::new(), Default::default());
                    walk.entries.push(Entry { path, stat, target, xattrs, pass: false });
                }
            }
            Found::Absent => {}
        }
        let home = if place.found == Found::Dir { side_home(&base) } else { base.clone() };
        let by_path = walk.entries.iter().enumerate().map(|(i, e)| (e.path.clone(), i)).collect();
        let side = side_of(&home, scope.run, files.name.as_str());
        let is_file = place.found == Found::File || place.found == Found::Absent && state == State::File;
        let single = is_file.then(|| place.entry_name()).transpose()?;
        Ok(Target { base, dir, side, root, found: place.found, walk, single, by_path })
    }

    /// The number of the entry at `path`.
    pub fn entry(&self, path: &BundlePath) -> Option<usize> {
        self.by_path.get(path).copied()
    }

    /// A path for a plan, relative to the component's root; the root itself is `.`, or its name if it is a file.
    pub fn shown(&self, path: Option<&BundlePath>) -> String {
        if let Some(name) = self.single.as_ref().filter(|_| path == self.root.as_ref()) {
            return name.to_string();
        }
        let path = path.map_or(&b""[..], BundlePath::as_bytes);
        let root = self.root.as_ref().map_or(&b""[..], BundlePath::as_bytes);
        let inner = path.strip_prefix(root).unwrap_or(path);
        match inner.strip_prefix(b"/").unwrap_or(inner) {
            b"" => ".".to_owned(),
            inner => path_text(inner),
        }
    }

    /// The path inside the component of one that lies below its root, in a backup.
    pub fn inner(&self, path: &BundlePath) -> BundlePath {
        if let Some(name) = &self.single {
            return name.clone();
        }
        let below = self
            .root
            .as_ref()
            .and_then(|root| path.as_bytes().strip_prefix(root.as_bytes())?.strip_prefix(b"/"));
        below.and_then(|below| BundlePath::new(below).ok()).unwrap_or_else(|| path.clone())
    }

    /// A path for people.
    pub fn at(&self, path: &BundlePath) -> PathBuf {
        self.base.join(path.as_path())
    }
}

fn split_at(path: &Path, base: Option<&Path>) -> Result<(PathBuf, Option<BundlePath>)> {
    let base = base.unwrap_or(Path::new("/"));
    let rest = path.strip_prefix(base).unwrap_or(path);
    let rest = BundlePath::new(rest.as_os_str().as_encoded_bytes())
        .map_err(|e| Error::usage(format_args!("{}: {e}", shown(path))))?;
    Ok((base.to_owned(), Some(rest)))
}

/// `path` below `above`.
pub fn join(above: Option<&BundlePath>, path: &[u8]) -> Result<BundlePath> {
    let joined = match above {
        Some(above) => [above.as_bytes(), b"/", path].concat(),
        None => path.to_vec(),
    };
    BundlePath::new(joined).map_err(|e| Error::not_ready(format_args!("a path on this target: {e}")))
}

/// Where all rows go.
#[derive(Default)]
pub struct Placement {
    /// The rows that are to be restored.
    pub placed: Vec<Placed>,
    /// Numbers of entries of the target that stay as they are: symlinks.
    pub kept: Vec<usize>,
}

/// Says for every row where it goes; rows that do not belong here are left out.
pub fn place_rows(
    files: &Files,
    rows: &[Row],
    target: &Target,
    selection: &Selection<'_>,
    single: bool,
    findings: &mut Vec<Finding>,
) -> Result<Placement> {
    let mut out = Placement::default();
    // Paths of the bundle whose insides are left out; and, for links that are written through, the paths of the
    // bundle that lie elsewhere on the target.
    let mut skipped: HashSet<&BundlePath> = HashSet::new();
    let mut moved: Vec<(&BundlePath, BundlePath)> = Vec::new();
    let mut taken: HashMap<BundlePath, &BundlePath> = HashMap::new();
    for (number, row) in rows.iter().enumerate() {
        let is_dir = matches!(row.node, Node::Dir(_));
        let verdict = match row.path.parent() {
            Some(parent) if skipped.contains(&parent) => Verdict::Leave,
            _ => selection.verdict(&row.path, is_dir),
        };
        if verdict == Verdict::Leave {
            skipped.insert(&row.path);
            continue;
        }
        let mut path = match moved.iter().rev().find(|(from, _)| row.path.is_within(from)) {
            Some((from, to)) => join(Some(to), &row.path.as_bytes()[from.as_bytes().len() + 1..])?,
            // A single file has on the target the name that its own path there says.
            None if single => target.root.clone().unwrap_or_else(|| row.path.clone()),
            None => join(target.root.as_ref(), row.path.as_bytes())?,
        };
        let mut there = target.entry(&path);
        let is_link = there.is_some_and(|i| target.walk.entries[i].stat.kind == Kind::Symlink);
        if is_link && !matches!(row.node, Node::Symlink(..)) {
            let at = target.at(&path);
            match files.options.symlinks {
                Symlinks::Replace => {}
                Symlinks::Keep => {
                    findings.push(
                        warning(&at, "a symlink here; it stays, and what the bundle has there is not restored")
                            .todo("set symlinks = \"replace\" or \"write-through\" for this component on the target"),
                    );
                    out.kept.extend(there);
                    skipped.insert(&row.path);
                    continue;
                }
                Symlinks::WriteThrough => match through(target, selection, &at, is_dir) {
                    Some(real) => {
                        findings.push(note(
                            &at,
                            &format!("a symlink, written through to {}", shown(&target.at(&real))),
                        ));
                        out.kept.extend(there);
                        there = target.entry(&real);
                        path = real;
                        moved.push((&row.path, path.clone()));
                    }
                    None => {
                        findings.push(refusal(
                            &at,
                            "a symlink that does not lead to a place inside the root that belongs to the component",
                            "set symlinks = \"keep\" or \"replace\" for this component on the target",
                        ));
                        skipped.insert(&row.path);
                        continue;
                    }
                },
            }
        }
        if let Some(other) = taken.insert(path.clone(), &row.path) {
            let what = format!("both {other} and {} of the bundle lead here", row.path);
            findings.push(refusal(
                &target.at(&path),
                &what,
                "set symlinks = \"keep\" or \"replace\" on the target",
            ));
            continue;
        }
        out.placed.push(Placed { row: number, path, there, pass: verdict == Verdict::Pass });
    }
    Ok(out)
}

/// A refusal about one path.
pub fn refusal(at: &Path, what: &str, remedy: &str) -> Finding {
    Finding::new(Severity::Refusal, format_args!("{}: {what}", shown(at))).todo(remedy)
}

/// Of a folder in which this process may not make and remove names; `what` says so, where that is for want of permission.
pub fn closed(at: &Path, what: &str) -> Finding {
    match is_read_only(at) {
        true => refusal(
            at,
            "its file system is mounted read-only",
            "mount it for writing; if it was, the kernel's log says what happened to it",
        ),
        false => refusal(at, what, "run kbpack as a user who may"),
    }
}

/// Where a symlink leads, if that is inside the root, belongs to the component and was seen there.
fn through(target: &Target, selection: &Selection<'_>, link: &Path, is_dir: bool) -> Option<BundlePath> {
    let real = resolve(link).ok()?.real;
    let inner = real.strip_prefix(&target.base).ok()?;
    let path = BundlePath::new(inner.as_os_str().as_encoded_bytes()).ok()?;
    let seen = target.entry(&path)?;
    let kind = target.walk.entries[seen].stat.kind;
    let fits = kind == if is_dir { Kind::Dir } else { Kind::File };
    (fits && selection.verdict(&path, is_dir) == Verdict::Take).then_some(path)
}
