//! The option `modes`: the modes that files get by their names, whatever they have.

use super::index::{Node, Row};
use super::meta::{Meta, Perm};
use super::select;
use super::walk::{warning, Entry, Kind};
use crate::base::path::BundlePath;
use crate::component::{Error, Finding, Result, Severity};
use ignore::gitignore::Gitignore;
use serde::Deserialize;
use serde_json::Value;
use std::fmt::Display;
use std::path::Path;

/// Rules that a component may have.
const MAX_RULES: usize = 1000;
/// The ACL of a file, which says more than its mode can.
const ACL: &str = "system.posix_acl_access";

/// One rule as a profile has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    /// A gitignore pattern.
    r#match: String,
    /// Three or four octal digits.
    mode: String,
}

/// The bits, if they are ones that travel; why not, otherwise.
fn permissions(text: &str) -> std::result::Result<Perm, &'static str> {
    let octal = matches!(text.len(), 3 | 4) && text.bytes().all(|c| matches!(c, b'0'..=b'7'));
    match u32::from_str_radix(text, 8).ok().filter(|_| octal) {
        None => Err("a mode is three or four octal digits, as \"644\""),
        Some(mode) if mode > 0o777 => {
            Err("setuid, setgid and sticky bits do not travel: a mode is at most \"777\"")
        }
        Some(mode) => Ok(Perm(mode)),
    }
}

/// The rules, compiled.
#[derive(Default)]
pub struct Modes(Vec<(String, Gitignore, Perm)>);

impl Modes {
    /// From a profile: `null` is none.
    pub fn read(rules: &Value) -> Result<Modes> {
        let wrong = |option: &str, why: &dyn Display| Error::usage(why).in_option(option);
        let rules = match rules {
            Value::Null => return Ok(Modes::default()),
            Value::Array(rules) if rules.len() <= MAX_RULES => rules,
            Value::Array(_) => return Err(wrong("modes", &format_args!("modes: more than {MAX_RULES}"))),
            _ => return Err(wrong("modes", &"modes: a list of { match = \"PATTERN\", mode = \"MODE\" }")),
        };
        let compile = |(number, rule): (usize, &Value)| {
            let bad = |key: &str, why: &dyn Display| wrong(&format!("modes.{number}{key}"), why);
            let rule = Rule::deserialize(rule).map_err(|e| bad("", &format_args!("modes: {e}")))?;
            let mode = permissions(&rule.mode).map_err(|e| bad(".mode", &format_args!("modes: {e}")))?;
            let pattern = select::patterns("modes", std::slice::from_ref(&rule.r#match));
            Ok((rule.r#match, pattern.map_err(|e| bad(".match", &e))?, mode))
        };
        rules.iter().enumerate().map(compile).collect::<Result<_>>().map(Modes)
    }

    /// The mode that a file gets; of several rules the last that matches.
    pub fn of(&self, path: &BundlePath) -> Option<u32> {
        let matching = |(_, pattern, _): &&(String, Gitignore, Perm)| matches(pattern, path);
        self.0.iter().rev().find(matching).map(|(_, _, mode)| mode.0)
    }

    /// Gives a file its mode. Its ACL goes then: whether anything went.
    pub fn apply(&self, path: &BundlePath, meta: &mut Meta) -> bool {
        let Some(mode) = self.of(path) else { return false };
        meta.mode = Perm(mode);
        meta.xattrs.0.remove(ACL).is_some()
    }

    /// The same for rows of a bundle.
    pub fn apply_to_rows(&self, rows: &mut [Row], mut before: impl FnMut(usize, &Row)) {
        for (number, row) in rows.iter_mut().enumerate().filter(|_| !self.0.is_empty()) {
            let mut new = row.clone();
            if let Node::File(file) = &mut new.node {
                self.apply(&row.path, &mut file.meta);
            }
            if new != *row {
                before(number, row);
                *row = new;
            }
        }
    }

    /// The patterns that mean none of the files there are.
    pub fn idle<'a>(&'a self, entries: &'a [Entry]) -> impl Iterator<Item = Finding> + 'a {
        let files = || entries.iter().filter(|entry| entry.stat.kind == Kind::File);
        let idle = move |pattern: &Gitignore| !files().any(|entry| matches(pattern, &entry.path));
        self.0.iter().filter(move |(_, pattern, _)| idle(pattern)).map(|(text, ..)| {
            Finding::new(Severity::Warning, format_args!("modes: no file matches {text:?}"))
                .todo("mend the pattern, or take it out; one with a '/' in it begins at the component's root")
        })
    }
}

/// What is said of a file whose ACL does not travel.
pub fn without_acl(path: &Path) -> Finding {
    warning(path, "its ACL does not travel: its mode is the one that modes says")
}

fn matches(pattern: &Gitignore, path: &BundlePath) -> bool {
    pattern.matched_path_or_any_parents(path.as_path(), false).is_ignore()
}
