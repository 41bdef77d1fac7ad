//! The component's part of the manifest.

use super::installed::SEEDS;
use super::names::is_version;
use super::profile::{require_checks, Need};
use crate::base::digest::Digest;
use crate::component::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What was at the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// An environment, told by what it is made from.
    Environment,
    /// In a backup: nothing.
    Absent,
    /// In a backup: a symlink.
    Link,
    /// In a backup: an environment, as the files it is.
    Tree,
}

/// An environment, told by what it is made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Environment {
    /// The version of the source's Python.
    pub python: String,
    /// Its platform, as `sysconfig.get_platform()` has it.
    pub platform: String,
    /// The version of its GNU C library, if it has that.
    #[serde(default, deserialize_with = "crate::base::json::set", skip_serializing_if = "Option::is_none")]
    pub glibc: Option<String>,
    /// Which Pythons will do.
    pub needs: Need,
    /// Which of pip and setuptools were there as a new environment has them.
    pub seeds: Vec<String>,
    /// Where the requirements were; missing if what was installed was frozen.
    #[serde(default, deserialize_with = "crate::base::json::set", skip_serializing_if = "Option::is_none")]
    pub requirements: Option<String>,
    /// Rows of the stream `installed`.
    pub distributions: u64,
    /// Bytes of the environment on the source.
    pub size: u64,
    /// Rows of the stream `wheels`; missing if none travel.
    #[serde(default, deserialize_with = "crate::base::json::set", skip_serializing_if = "Option::is_none")]
    pub wheels: Option<u64>,
    /// Whether what has no wheel is to be built on the target.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sdists: bool,
    /// Modules that are to be imported as a check.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub imports: Vec<String>,
    /// Programs that are to be run as a check.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scripts: Vec<Vec<String>>,
}

/// What the import that a backup was made for leaves at the path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Left {
    /// Nothing.
    Nothing,
    /// An environment that was built in this run.
    Built(String),
    /// What has this fingerprint.
    Seen(Digest),
}

/// The component's part of the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Facts {
    /// Where it is: `~/...` or absolute.
    pub path: String,
    /// What was there.
    pub state: State,
    /// An environment.
    #[serde(default, deserialize_with = "crate::base::json::set", skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// In a backup of a symlink or a tree: its fingerprint.
    #[serde(default, deserialize_with = "crate::base::json::set", skip_serializing_if = "Option::is_none")]
    pub seen: Option<Digest>,
    /// In a backup of a tree: bytes of its files.
    #[serde(default, deserialize_with = "crate::base::json::set", skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// In a backup: what the import that it was made for leaves.
    #[serde(default, deserialize_with = "crate::base::json::set", skip_serializing_if = "Option::is_none")]
    pub left: Option<Left>,
    /// In a backup of a path where nothing was: how many folders above it were not there either.
    #[serde(default, skip_serializing_if = "crate::base::json::is_zero")]
    pub above: u32,
}

impl Facts {
    /// Of an environment at `path`.
    pub fn of(path: &str, environment: Environment) -> Facts {
        Facts { environment: Some(environment), ..Facts::backup(path, State::Environment) }
    }

    /// Of something at `path` that is in `state`.
    pub fn backup(path: &str, state: State) -> Facts {
        let path = path.to_owned();
        Facts { path, state, environment: None, seen: None, size: None, left: None, above: 0 }
    }

    /// From a manifest, held to the rules V1 and V2.
    pub fn read(facts: &Value) -> Result<Facts> {
        let facts = Facts::deserialize(facts).map_err(|e| Error::rule("V1", e))?;
        let backup = facts.state != State::Environment;
        let whole = matches!(facts.state, State::Link | State::Tree);
        if facts.environment.is_some() == backup
            || facts.left.is_some() != backup
            || facts.seen.is_some() != whole
            || facts.size.is_some() != (facts.state == State::Tree)
            || facts.above > 0 && facts.state != State::Absent
        {
            return Err(Error::rule("V1", "the facts do not go together"));
        }
        facts.environment.as_ref().map_or(Ok(()), Environment::require)?;
        Ok(facts)
    }
}

impl Environment {
    fn require(&self) -> Result<()> {
        let wrong = |what: &str| Err(Error::rule("V2", what));
        let plain = |text: &str| {
            (1..=100).contains(&text.len())
                && text.bytes().all(|c| c.is_ascii_alphanumeric() || b"._-".contains(&c))
        };
        if !is_version(&self.python) || !plain(&self.platform) || !self.glibc.as_deref().is_none_or(plain) {
            return wrong("the Python of the source is none");
        }
        let known = |seed: &String| SEEDS.contains(&seed.as_str());
        if !self.seeds.iter().all(known) || !self.seeds.windows(2).all(|two| two[0] < two[1]) {
            return wrong("seeds are pip and setuptools");
        }
        if self.requirements.as_ref().is_some_and(|path| path.len() > 4096 || path.contains(char::is_control))
        {
            return wrong("the requirements' path is none");
        }
        require_checks(Some(&self.imports), Some(&self.scripts)).or_else(|what| wrong(&what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn good() -> Value {
        json!({ "path": "~/v", "state": "environment", "environment": {
            "python": "3.11.2", "platform": "linux-x86_64", "glibc": "2.36", "needs": "3.11", "seeds": ["pip"],
            "distributions": 2, "size": 4096, "wheels": 2, "imports": ["a"], "scripts": [["a", "--version"]] } })
    }

    #[test]
    fn facts_are_held_to_their_rules() {
        assert_eq!(json!(Facts::read(&good()).unwrap()), good());
        let digest = Digest::of(b"");
        let left = json!({ "built": "0123456789abcdef" });
        for backup in [
            json!({ "path": "~/v", "state": "absent", "left": left, "above": 1 }),
            json!({ "path": "~/v", "state": "link", "left": "nothing", "seen": digest }),
            json!({ "path": "~/v", "state": "tree", "left": { "seen": digest }, "seen": digest, "size": 1 }),
        ] {
            assert_eq!(json!(Facts::read(&backup).unwrap()), backup);
        }
        let with = |key: &str, value: Value| {
            let mut facts = good();
            facts["environment"][key] = value;
            facts
        };
        for (facts, part) in [
            (json!({ "path": "~/v", "state": "environment" }), "V1"),
            (json!({ "path": "~/v", "state": "absent" }), "V1"),
            (json!({ "path": "~/v", "state": "tree", "left": left }), "V1"),
            (json!({ "path": "~/v", "state": "link", "left": left, "seen": digest, "above": 1 }), "V1"),
            (with("more", json!(1)), "V1"),
            (with("wheels", json!(null)), "V1"),
            (with("needs", json!("3")), "V1"),
            (with("seeds", json!(["wheel"])), "V2"),
            (with("seeds", json!(["pip", "pip"])), "V2"),
            (with("python", json!("3 --x")), "V2"),
            (with("platform", json!("a/b")), "V2"),
            (with("requirements", json!("a\nb")), "V2"),
            (with("imports", json!(["os; evil()"])), "V2"),
            (with("scripts", json!([["/bin/sh"]])), "V2"),
        ] {
            let error = Facts::read(&facts).unwrap_err().to_string();
            assert!(error.contains(part), "{facts}: {error}");
        }
    }
}
