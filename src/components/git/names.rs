//! Names that come out of a bundle: of refs, remotes and objects; and URLs. What git would take for an option, a command
//! or another place is refused.

use serde::{de, Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// The longest name of a ref, in bytes: longer ones cannot be files.
const MAX_REF: usize = 240;

/// The id of an object: 40 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub git2::Oid);

impl Id {
    /// Reads exactly 40 lower-case hex digits.
    pub fn parse(text: &str) -> Option<Id> {
        let plain = text.len() == 40 && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
        let id = plain.then(|| git2::Oid::from_str(text).ok()).flatten()?;
        (!id.is_zero()).then_some(Id(id))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        Id::parse(&text).ok_or_else(|| de::Error::custom("an object's id is 40 lower-case hex digits"))
    }
}

/// Whether `name` is the full name of a ref that may travel: one below `refs/`, formed as `git check-ref-format` says, and
/// not one of kbpack's own.
pub fn is_ref(name: &str) -> bool {
    name.starts_with("refs/")
        && name.len() <= MAX_REF
        && git2::Reference::is_valid_name(name)
        && !name.split('/').any(|part| part.starts_with('-'))
        && !name.starts_with("refs/kbpack/")
}

/// Whether `name` is that of a ref of kbpack's own, which no repository has: an older stash, or what was in no commit.
pub fn is_own(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("refs/kbpack/") else { return false };
    let number =
        |text: &str| text.len() <= 4 && text.bytes().all(|c| c.is_ascii_digit()) && !text.starts_with('0');
    matches!(rest, "index" | "work")
        || rest.strip_prefix("stash/").is_some_and(|n| !n.is_empty() && number(n))
}

/// Whether `name` is a branch's full name. `HEAD` as a branch would be taken for HEAD.
pub fn is_branch(name: &str) -> bool {
    is_ref(name) && name.strip_prefix("refs/heads/").is_some_and(|short| short != "HEAD")
}

/// Whether `pattern` is a ref's full name, or one whose last part is `*`.
pub fn is_pattern(pattern: &str) -> bool {
    match pattern.strip_suffix("/*") {
        Some("refs") => true,
        Some(above) => is_ref(above),
        None => is_ref(pattern),
    }
}

/// Whether a ref is one of those that `pattern` names.
pub fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(above) => name.starts_with(above),
        None => name == pattern,
    }
}

/// Whether `name` can be the name of a remote, and of a section in git's config.
pub fn is_remote(name: &str) -> bool {
    git2::Remote::is_valid_name(name)
        && is_ref(&format!("refs/remotes/{name}/x"))
        && !name.contains(['"', '\\'])
}

/// Whether git may be given `url` as a remote's: nothing that it would take for an option or run as a command
/// (`ext::`), and no control characters, by which one line of its config would become two.
pub fn is_url(url: &str) -> bool {
    let plain = !url.is_empty() && url.len() <= 4096 && !url.contains(char::is_control);
    // `transport::address` names a helper program.
    let helper = url.split_once("::").is_some_and(|(word, _)| !word.contains(['/', ':', '[', '@']));
    let host = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = host.split_once('@').map_or(host, |(_, host)| host);
    plain && !helper && !url.starts_with('-') && !host.starts_with('-')
}

/// Whether `name` can be a submodule's: a path below `.git/modules`, where nothing in it leads elsewhere (CVE-2018-11235), is an
/// option (CVE-2018-17456), or stands for git's own.
pub fn is_module_name(name: &str) -> bool {
    is_module_path(name) && !name.contains(['"', '\\'])
}

/// Whether `path` can be a submodule's in the work tree.
pub fn is_module_path(path: &str) -> bool {
    path.len() <= MAX_REF
        && !path.starts_with('-')
        && !path.contains(char::is_control)
        && path.split('/').all(|part| super::trees::danger(part.as_bytes()).is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refs() {
        for good in ["refs/heads/main", "refs/tags/v1.0", "refs/heads/a/b", "refs/stash", "refs/heads/ümlaut"]
        {
            assert!(is_ref(good), "{good}");
        }
        for bad in [
            "HEAD",
            "main",
            "refs/heads/..",
            "refs/heads/a..b",
            "refs/heads/.x",
            "refs/heads/x.lock",
            "refs/heads/a b",
            "refs/heads/a\nb",
            "refs/heads/-x",
            "refs/-x/y",
            "refs/heads//x",
            "/refs/heads/x",
            "refs/heads/x/",
            "refs/heads/a~1",
            "refs/heads/@{",
            "refs/../config",
            "refs/kbpack/x",
            "refs/heads/a\\b",
            "refs",
        ] {
            assert!(!is_ref(bad), "{bad:?}");
        }
        assert!(!is_ref(&format!("refs/heads/{}", "a".repeat(300))));
        assert!(
            is_branch("refs/heads/main") && !is_branch("refs/tags/main") && !is_branch("refs/heads/HEAD")
        );
    }

    #[test]
    fn own_refs() {
        for good in ["refs/kbpack/stash/1", "refs/kbpack/stash/999", "refs/kbpack/index", "refs/kbpack/work"]
        {
            assert!(is_own(good), "{good}");
        }
        for bad in [
            "refs/kbpack/stash/",
            "refs/kbpack/stash/0",
            "refs/kbpack/stash/01",
            "refs/kbpack/stash/x",
            "refs/kbpack/stash/12345",
            "refs/kbpack/x",
            "refs/stash/1",
        ] {
            assert!(!is_own(bad), "{bad}");
        }
    }

    #[test]
    fn patterns() {
        for good in ["refs/heads/*", "refs/tags/v1", "refs/*"] {
            assert!(is_pattern(good), "{good}");
        }
        for bad in ["main", "refs/heads/m*", "*", "refs/heads/*/x"] {
            assert!(!is_pattern(bad), "{bad}");
        }
        assert!(matches("refs/heads/*", "refs/heads/a/b") && !matches("refs/heads/*", "refs/headsx"));
    }

    #[test]
    fn submodules() {
        for good in ["lib", "vendor/lib", "a b", "libs/x.y"] {
            assert!(is_module_name(good) && is_module_path(good), "{good}");
        }
        for bad in [
            "",
            "..",
            "../x",
            "a/../../x",
            "a//b",
            "/x",
            "x/",
            "-x",
            ".git",
            "a/.GIT/x",
            "git~1",
            "x\ny",
            ".",
        ] {
            assert!(!is_module_name(bad) && !is_module_path(bad), "{bad:?}");
        }
        assert!(!is_module_name("a\"]\n[core") && !is_module_name("..\\x"));
    }

    #[test]
    fn urls_and_remotes() {
        for good in [
            "https://host/x.git",
            "git@host:x.git",
            "ssh://git@host:22/x",
            "/srv/x.git",
            "../x",
            "ssh://[::1]/x",
        ] {
            assert!(is_url(good), "{good}");
        }
        for bad in [
            "",
            "-oProxyCommand=x",
            "ext::sh -c x",
            "fd::3",
            "https://host/\nfetch = x",
            "ssh://-oProxyCommand=x/y",
            "ssh://user@-oProxyCommand=x/y",
            "git@-oProxyCommand=x:y",
        ] {
            assert!(!is_url(bad), "{bad:?}");
        }
        for bad in ["", "a b", "a\"b", "-x", "..", "a\nb", "x.lock"] {
            assert!(!is_remote(bad), "{bad:?}");
        }
        assert!(is_remote("origin"));
    }
}
