//! The options of a python component, as a profile has them.

use super::names;
use crate::component::{Error, Result};
use serde::{de, Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use std::fmt;

/// A component in a profile. In the target's own profile each word overrides the bundle's.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Profile {
    /// Where the environment is: `~/...` or absolute.
    pub path: Option<String>,
    /// The file with what it is made from; without one, what is installed is frozen.
    pub requirements: Option<String>,
    /// Whether the wheels travel, too.
    wheels: Option<bool>,
    /// Whether what has no wheel may be built on the target, which runs code of its author's.
    pub sdists: Option<bool>,
    /// Which Pythons will do.
    pub python: Option<Need>,
    /// The target's interpreter: a path, or a name in `PATH`.
    pub interpreter: Option<String>,
    /// Modules that are imported as a check.
    pub imports: Option<Vec<String>>,
    /// Programs of the environment that are run as a check, each a name in its `bin` and arguments.
    pub scripts: Option<Vec<Vec<String>>>,
}

impl Profile {
    /// Reads the options of a component's table.
    pub fn read(options: &Value) -> Result<Profile> {
        let profile = Profile::deserialize(options).map_err(Error::options)?;
        let checks = require_checks(profile.imports.as_deref(), profile.scripts.as_deref());
        checks.map_err(Error::options)?;
        let program = profile.interpreter.as_deref().unwrap_or("python3");
        if program.is_empty() || program.contains(char::is_control) {
            return Err(Error::options(format_args!("interpreter {program:?} is no program")));
        }
        Ok(profile)
    }

    /// Whether the wheels travel, too.
    pub fn wheels(&self) -> bool {
        self.wheels.unwrap_or(false)
    }
}

/// Holds what is to be imported and run to its rules, wherever it comes from.
pub fn require_checks(
    imports: Option<&[String]>,
    scripts: Option<&[Vec<String>]>,
) -> std::result::Result<(), String> {
    let (imports, scripts) = (imports.unwrap_or_default(), scripts.unwrap_or_default());
    if imports.len() > names::MAX_CHECKS || scripts.len() > names::MAX_CHECKS {
        return Err(format!("at most {} imports and as many scripts", names::MAX_CHECKS));
    }
    if let Some(bad) = imports.iter().find(|module| !names::is_module(module)) {
        return Err(format!("{bad:?} is not the name of a module"));
    }
    let bad = scripts.iter().find(|words| !names::is_script(words));
    bad.map_or(Ok(()), |bad| Err(format!("{bad:?} is not the name of a program and its arguments")))
}

/// Which Pythons will do: `3.11` is that or a later one, `==3.11` is 3.11.x alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// Of 3.
    pub minor: u32,
    /// Not a later one.
    pub exactly: bool,
}

impl Need {
    /// Reads the text form.
    pub fn parse(text: &str) -> Option<Need> {
        let (exactly, version) = match text.strip_prefix("==") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let minor: u32 = version.strip_prefix("3.")?.parse().ok()?;
        let need = Need { minor, exactly };
        (minor < 1000 && need.to_string() == text).then_some(need)
    }

    /// Whether Python 3.`minor` will do.
    pub fn takes(&self, minor: u32) -> bool {
        minor == self.minor || !self.exactly && minor > self.minor
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}3.{}", if self.exactly { "==" } else { "" }, self.minor)
    }
}

impl Serialize for Need {
    fn serialize<S: Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Need {
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        let wrong = || de::Error::custom("a Python is \"3.MINOR\" (or later), or \"==3.MINOR\"");
        Need::parse(&text).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn options() {
        let profile =
            json!({ "path": "~/v", "python": "==3.13", "imports": ["a.b"], "scripts": [["a", "--version"]] });
        assert!(Profile::read(&profile).unwrap().python.unwrap().exactly);
        for bad in [
            json!({ "paht": 1 }),
            json!({ "python": "3" }),
            json!({ "python": "2.7" }),
            json!({ "python": "3.011" }),
            json!({ "python": ">=3.11" }),
            json!({ "imports": ["os; import x"] }),
            json!({ "scripts": ["a --version"] }),
            json!({ "scripts": [[]] }),
            json!({ "scripts": [["../a"]] }),
            json!({ "interpreter": "" }),
        ] {
            assert!(Profile::read(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn which_pythons_will_do() {
        let takes = |need: &str, minor| Need::parse(need).unwrap().takes(minor);
        assert!(takes("3.11", 11) && takes("3.11", 13) && !takes("3.11", 10));
        assert!(takes("==3.11", 11) && !takes("==3.11", 12));
    }
}
