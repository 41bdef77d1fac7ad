//! `--only NAME[:PATH]` and `--skip NAME`: which components, and which part of them.

use crate::base::name::ComponentName;
use crate::base::path::BundlePath;
use crate::engine::error::{EngineError, Result};

/// One `--only`: a component, or a path inside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Only {
    /// The component.
    pub name: ComponentName,
    /// The path inside it; `None` is all of it.
    pub path: Option<BundlePath>,
}

impl std::str::FromStr for Only {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (name, path) = match text.split_once(':') {
            Some((name, path)) => (name, Some(path)),
            None => (text, None),
        };
        let name = ComponentName::new(name).ok_or_else(|| format!("'{name}' is not a component's name"))?;
        let path = match path {
            Some(path) => Some(BundlePath::new(path.trim_end_matches('/')).map_err(|e| e.to_string())?),
            None => None,
        };
        Ok(Only { name, path })
    }
}

/// Which components take part. Empty: all.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// `--only`, in their order.
    pub only: Vec<Only>,
    /// `--skip`.
    pub skip: Vec<ComponentName>,
}

impl Selection {
    /// Fails if it names a component that is not among `names`.
    pub fn check<'a>(&self, names: impl Iterator<Item = &'a ComponentName> + Clone) -> Result<()> {
        let asked = self.only.iter().map(|o| &o.name).chain(&self.skip);
        for name in asked {
            if !names.clone().any(|n| n == name) {
                let there: Vec<&str> = names.map(ComponentName::as_str).collect();
                return Err(EngineError::NoSuchComponent {
                    name: name.to_string(),
                    of: format!("; there are: {}", there.join(", ")),
                });
            }
        }
        match names.into_iter().any(|name| self.takes(name)) {
            true => Ok(()),
            false => Err(EngineError::NothingSelected),
        }
    }

    /// Whether `name` takes part.
    pub fn takes(&self, name: &ComponentName) -> bool {
        let named = self.only.is_empty() || self.only.iter().any(|o| o.name == *name);
        named && !self.skip.contains(name)
    }

    /// The paths inside `name` that it is narrowed to; none if all of it is meant.
    pub fn paths_in(&self, name: &ComponentName) -> Vec<BundlePath> {
        let mine = || self.only.iter().filter(|only| only.name == *name);
        match mine().any(|only| only.path.is_none()) {
            true => Vec::new(),
            false => mine().filter_map(|only| only.path.clone()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_with_and_without_path() {
        let only: Only = "config:plugins/a/".parse().unwrap();
        assert_eq!(only.path.unwrap().to_string(), "plugins/a");
        assert!("config".parse::<Only>().unwrap().path.is_none());
        assert!("../x".parse::<Only>().is_err());
        assert!("config:../x".parse::<Only>().is_err());
    }
}
