//! The machine that a component works on.

use super::{Error, Result};
use std::path::{Path, PathBuf};

/// The machine and the user that a component works for.
#[derive(Debug, Clone)]
pub struct Host {
    /// The user's home directory, absolute, symlinks resolved.
    pub home: PathBuf,
    /// Effective user id.
    pub uid: u32,
    /// kbpack's own config and state directories: never claimed, never captured, never written by a component.
    pub own: Vec<PathBuf>,
    /// `--map FROM=TO` in their order: a path that is FROM or lies below it moves to TO.
    pub maps: Vec<(PathBuf, PathBuf)>,
}

impl Host {
    /// Whether owners can be set.
    pub fn is_root(&self) -> bool {
        self.uid == 0
    }

    /// The absolute path that `text` stands for: `~` and `~/...` are the home, then the first matching
    /// map applies. `None` if the result is not absolute, or has `.`, `..` or a NUL in it.
    pub fn expand(&self, text: &str) -> Option<PathBuf> {
        let path = match text.strip_prefix('~') {
            Some("") => self.home.clone(),
            Some(rest) => self.home.join(rest.strip_prefix('/')?),
            None => PathBuf::from(text),
        };
        let written = |p: &str| p.split('/').any(|s| s == "." || s == "..");
        if !path.is_absolute() || written(text) || text.contains('\0') {
            return None;
        }
        let path: PathBuf = path.components().collect();
        let mapped = self.maps.iter().find_map(|(from, to)| {
            path.strip_prefix(from).ok().map(|rest| {
                if rest.as_os_str().is_empty() {
                    to.clone()
                } else {
                    to.join(rest)
                }
            })
        });
        Some(mapped.unwrap_or(path))
    }

    /// The place that a component's `path` names, `what` being there (`file`, `folder`), and its portable form.
    pub fn place(&self, path: &str, what: &str) -> Result<(PathBuf, String)> {
        let absolute = self.expand(path).filter(|path| path.file_name().is_some()).ok_or_else(|| {
            Error::usage(format_args!("path {path:?} is not the path of a {what}"))
                .todo("write an absolute path or one that begins with ~/, without '.' and '..'")
        })?;
        let text = self.contract(&absolute).unwrap_or_else(|| path.to_owned());
        Ok((absolute, text))
    }

    /// The place of a component in a profile, where `path` must not be missing.
    pub fn place_in_profile(&self, path: Option<&str>, what: &str) -> Result<(PathBuf, String)> {
        let missing = || Error::usage("it has no path").todo("add path = \"~/...\"");
        self.place(path.ok_or_else(missing)?, what)
    }

    /// The place of a component in a bundle: `path`, which breaks `rule` if it can be none, or, if this machine's profile
    /// names one, its `own`.
    pub fn place_in_bundle(
        &self,
        path: &str,
        own: Option<&str>,
        what: &str,
        rule: &str,
    ) -> Result<(PathBuf, String)> {
        let place = self.place(path, what).map_err(|e| Error::rule(rule, e))?;
        own.map_or(Ok(place), |own| self.place(own, what))
    }

    /// The portable form of an absolute path: `~/...` for what lies in the home. `None` if not UTF-8.
    pub fn contract(&self, path: &Path) -> Option<String> {
        match path.strip_prefix(&self.home) {
            Ok(rest) if rest.as_os_str().is_empty() => Some("~".to_owned()),
            Ok(rest) => Some(format!("~/{}", rest.to_str()?)),
            Err(_) => Some(path.to_str()?.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Host {
        Host {
            home: "/home/ada".into(),
            uid: 1000,
            own: vec![],
            maps: vec![("/srv/old".into(), "/srv/new".into()), ("/home/ada/x".into(), "/data".into())],
        }
    }

    #[test]
    fn expand_and_contract() {
        let host = host();
        let expanded = |s: &str| host.expand(s).map(|p| p.to_str().unwrap().to_owned());
        assert_eq!(expanded("~").as_deref(), Some("/home/ada"));
        assert_eq!(expanded("~/a//b/").as_deref(), Some("/home/ada/a/b"));
        assert_eq!(expanded("/srv/old/a").as_deref(), Some("/srv/new/a"));
        assert_eq!(expanded("/srv/older").as_deref(), Some("/srv/older"));
        assert_eq!(expanded("~/x").as_deref(), Some("/data"));
        for bad in ["~eve/x", "a/b", "", "~/../etc", "/a/./b", "/a/../b", "~/a\0b"] {
            assert_eq!(expanded(bad), None, "{bad}");
        }
        assert_eq!(host.contract(Path::new("/home/ada/.claude")).as_deref(), Some("~/.claude"));
        assert_eq!(host.contract(Path::new("/etc")).as_deref(), Some("/etc"));
    }
}
