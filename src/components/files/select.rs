//! Which paths of a tree belong to the component: excludes, carved-out parts, `--only`.

use super::site::Place;
use super::touched::{Reach, Touched};
use crate::base::path::{shown, BundlePath};
use crate::base::side::STAGE_PREFIX;
use crate::component::{Error, Result, Scope};
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What happens to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It belongs to the component.
    Take,
    /// A directory on the way to what `--only` names: it is needed, but not itself meant.
    Pass,
    /// It, and all that is below it, does not belong.
    Leave,
}

/// The rules, for paths relative to the component's root. To be asked from the top down: what lies below
/// a path that is left is never asked for.
pub struct Selection<'a> {
    exclude: &'a Gitignore,
    left: HashSet<Vec<u8>>,
    /// Each a list of paths of which one must hold what is taken.
    limits: Vec<&'a [BundlePath]>,
    /// Of a backup: nothing else is meant.
    touched: Option<&'a Touched>,
}

/// Patterns that a component may have.
const MAX_PATTERNS: usize = 10_000;
/// Bytes of one. Their compiler works its way down nested braces by recursion.
const MAX_PATTERN: usize = 1024;

/// Compiles gitignore patterns of the option `option`, as in a `.gitignore` at the root.
pub fn patterns(option: &str, lines: &[String]) -> std::result::Result<Gitignore, String> {
    let mut builder = GitignoreBuilder::new(".");
    // git takes such a pattern to match nothing: one that matches nothing is a mistake worth a word.
    builder.allow_unclosed_class(false);
    if lines.len() > MAX_PATTERNS {
        return Err(format!("more than {MAX_PATTERNS} {option} patterns"));
    }
    for line in lines {
        if line.len() > MAX_PATTERN {
            return Err(format!("one of the {option} patterns is longer than {MAX_PATTERN} bytes"));
        }
        if line.chars().any(|c| c == '\n' || c == '\0') {
            return Err(format!("{option} pattern {line:?}: it has a line end or a NUL"));
        }
        builder.add_line(None, line).map_err(|e| format!("{option} pattern {line:?}: {}", reason(&e)))?;
    }
    builder.build().map_err(|e| format!("{option} patterns: {e}"))
}

/// What is wrong with a pattern, without the pattern itself.
fn reason(error: &ignore::Error) -> String {
    match error {
        ignore::Error::Glob { err, .. } => err.clone(),
        other => other.to_string(),
    }
}

impl<'a> Selection<'a> {
    /// The rules for a tree at `place`. `bundle_only` is the part that the bundle was made of, `touched` that of a backup.
    pub fn new(
        exclude: &'a Gitignore,
        place: &Place,
        scope: &Scope<'a>,
        bundle_only: &'a [BundlePath],
        touched: Option<&'a Touched>,
    ) -> Result<Self> {
        let mut left = HashSet::new();
        let own = scope.host.own.iter();
        let own: Vec<_> =
            own.flat_map(|path| [Some(path.clone()), path.canonicalize().ok()]).flatten().collect();
        for path in &own {
            if place.real.starts_with(path) || place.lexical.starts_with(path) {
                return Err(Error::usage(format_args!("{}: it is kbpack's own", shown(&place.lexical))));
            }
        }
        for path in scope.carved.iter().chain(&own) {
            for root in [&place.real, &place.lexical] {
                if let Ok(inner) = path.strip_prefix(root) {
                    left.insert(inner.as_os_str().as_bytes().to_vec());
                }
            }
        }
        let limits = [scope.only, bundle_only].into_iter().filter(|paths| !paths.is_empty()).collect();
        Ok(Selection { exclude, left, limits, touched })
    }

    /// What happens to `path`, whose parent is not left.
    pub fn verdict(&self, path: &BundlePath, is_dir: bool) -> Verdict {
        let mut verdict = Verdict::Take;
        for limit in &self.limits {
            if limit.iter().any(|only| path.is_within(only)) {
                continue;
            }
            if !is_dir || !limit.iter().any(|only| only.is_within(path)) {
                return Verdict::Leave;
            }
            verdict = Verdict::Pass;
        }
        match self.touched.map(|touched| touched.reach(path)) {
            Some(Reach::Beside) => return Verdict::Leave,
            Some(Reach::Above) => verdict = Verdict::Pass,
            Some(Reach::Within) | None => {}
        }
        let staging = path.file_name().as_bytes().starts_with(STAGE_PREFIX);
        if staging || self.left.contains(path.as_bytes()) || self.excludes(path.as_path(), is_dir) {
            return Verdict::Leave;
        }
        verdict
    }

    /// Whether something at `path` (`None`: the root) or below it belongs to others, who move its time.
    pub fn is_shared(&self, path: Option<&BundlePath>) -> bool {
        let below = |inner: &Vec<u8>| match path {
            None => true,
            Some(path) => inner.strip_prefix(path.as_bytes()).is_some_and(|rest| rest.starts_with(b"/")),
        };
        self.left.iter().any(below)
    }

    /// Whether everything is meant, the root itself too.
    pub fn is_whole(&self) -> bool {
        self.limits.is_empty()
    }

    fn excludes(&self, path: &Path, is_dir: bool) -> bool {
        self.exclude.matched(path, is_dir).is_ignore()
    }
}
