//! What a component can fail with.

use crate::base::fault::{io_fault, io_remedy, Fault, Faulty};
use crate::base::libpq;
use crate::base::name::ComponentName;
use crate::base::path::{shown, BundlePath};
use std::fmt;
use std::io;
use std::path::Path;

/// What to do about options in general.
pub const OPTIONS_TODO: &str = "correct it in the profile; docs/PROFILE.md lists the options of each kind";

/// What went wrong in a component: which kind of failure, what and where, and what to do.
#[derive(Debug)]
pub struct Error {
    fault: Fault,
    what: String,
    remedy: Option<String>,
    option: Option<String>,
}

/// What a component's acts return.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Any fault. `what` is one line that says what and where.
    pub fn new(fault: Fault, what: impl fmt::Display) -> Self {
        Error { fault, what: what.to_string(), remedy: None, option: None }
    }

    /// What is inside the bundle breaks a rule of `docs/FORMAT.md`, named by its number (`F3`).
    pub fn rule(rule: &str, what: impl fmt::Display) -> Self {
        Error::new(Fault::Rule, format_args!("{what} (rule {rule})"))
    }

    /// The source or the target is not in a state to go on.
    pub fn not_ready(what: impl fmt::Display) -> Self {
        Error::new(Fault::NotReady, what)
    }

    /// The options of a component, in a profile, are wrong.
    pub fn usage(what: impl fmt::Display) -> Self {
        Error::new(Fault::Usage, what)
    }

    /// `--only` names a path inside a component of a kind that is moved as a whole.
    pub fn not_narrowed(kind: &str) -> Self {
        Error::usage(format_args!("a component of kind {kind} cannot be narrowed to a path"))
            .todo("name the component alone, without ':PATH'")
    }

    /// `--only` names a path under which the component `name` has nothing.
    pub fn nothing_at(name: &ComponentName, path: &BundlePath) -> Self {
        Error::usage(format_args!("there is no '{path}' in component {name}")).todo(
            "name a path as the component has it, relative to its root: kbpack inspect --files lists them",
        )
    }

    /// The same, with what to do about options in general.
    pub fn options(what: impl fmt::Display) -> Self {
        Error::usage(what).todo(OPTIONS_TODO)
    }

    /// What only a component of a bundle can do was asked of one of a profile.
    pub fn not_of_a_bundle() -> Self {
        Error::new(Fault::Unexpected, "a component of a profile has nothing to restore")
    }

    /// An error that says all of it: its fault, its words, its remedy.
    pub fn of(error: impl Faulty) -> Self {
        Error { fault: error.fault(), what: error.to_string(), remedy: error.remedy(), option: None }
    }

    /// An I/O error at `place` (a path, a stream). A typed error that travelled inside it keeps its fault.
    pub fn io(place: impl fmt::Display, error: io::Error) -> Self {
        let what = format!("{place}: {error}");
        Error { fault: io_fault(&error), remedy: io_remedy(&error), what, option: None }
    }

    /// The same at a path.
    pub fn at(path: &Path) -> impl Fn(io::Error) -> Error + Copy + '_ {
        move |error| Error::io(shown(path), error)
    }

    /// What an import put at `path` cannot be taken back: its staging area, with what was there before, is gone.
    pub fn side_is_gone(path: &Path, side: &Path) -> Self {
        Error::not_ready(format_args!(
            "the staging area {} is gone, and what the import put at {} is still there",
            shown(side),
            shown(path)
        ))
    }

    /// Adds which option of a profile is wrong: the names and numbers of the way to it, with dots between.
    pub fn in_option(mut self, option: impl fmt::Display) -> Self {
        self.option = Some(option.to_string());
        self
    }

    /// Which option of a profile is wrong, if that is known.
    pub fn option(&self) -> Option<&str> {
        self.option.as_deref()
    }

    /// Adds the line that says what to do.
    pub fn todo(mut self, remedy: impl fmt::Display) -> Self {
        self.remedy = Some(remedy.to_string());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}
impl std::error::Error for Error {}
impl From<libpq::Error> for Error {
    fn from(error: libpq::Error) -> Self {
        Error::of(error)
    }
}
impl Faulty for Error {
    fn fault(&self) -> Fault {
        self.fault
    }
    fn remedy(&self) -> Option<String> {
        self.remedy.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_another_module_keeps_its_remedy() {
        let error = Error::of(crate::base::interrupt::Interrupted);
        assert_eq!(error.remedy().as_deref(), Some("nothing was changed; run it again"));
    }
}
