//! Source: whether what is to be rewritten on the target can be.

use super::super::index::{Node, Row};
use super::super::pack::Packer;
use super::super::place::refusal;
use super::super::site::io_at;
use super::super::walk::{gone, note, warning, Entry, Kind};
use super::{is_name, names_of, places, Sum, Unfit};
use crate::base::digest::Digest;
use crate::base::path::BundlePath;
use crate::component::{Error, Finding, Result};
use ignore::gitignore::Gitignore;
use std::collections::{HashMap, HashSet};

/// Files that a note names.
const MAX_NAMED: usize = 10;

/// What was seen.
#[derive(Default)]
pub struct Examined {
    /// What the home is called, if anything is to be rewritten: for the facts.
    pub homes: Vec<String>,
    /// What was noticed.
    pub findings: Vec<Finding>,
    /// What was read, to be held against what is packed.
    seen: HashMap<BundlePath, Digest>,
}

/// Reads the files that `patterns` mean. Of a file with several names the first counts.
pub fn examine(patterns: &Gitignore, packer: &Packer<'_>, entries: &[Entry]) -> Result<Examined> {
    let mut out = Examined::default();
    if patterns.is_empty() {
        return Ok(out);
    }
    let host = packer.scope.host;
    out.homes = names_of(host).into_iter().filter(|name| is_name(name)).collect();
    if out.homes.is_empty() {
        let what = "paths in this home cannot be rewritten: its name has other characters than letters, digits and ._-+@";
        out.findings.push(refusal(&host.home, what, "leave rewrite-home out for this component"));
        return Ok(out);
    }
    let (mut files, mut sum) = (HashSet::new(), Sum::default());
    let mut named: Vec<(String, usize)> = Vec::new();
    for entry in entries.iter().filter(|entry| entry.stat.kind == Kind::File) {
        let first = files.insert(entry.stat.file);
        if !first || !super::matches(patterns, &entry.path) {
            continue;
        }
        let at = packer.at(entry);
        let unfit = |why: Unfit| {
            let remedy = "take it out of rewrite-home (a pattern \"!NAME\" does), exclude it, or mend it";
            refusal(&at, &why.to_string(), remedy)
        };
        let syntax = match sum.add(&entry.path, entry.stat.size) {
            Ok(syntax) => syntax,
            Err(why) => {
                let enough = why == Unfit::TooMany;
                out.findings.push(unfit(why));
                match enough {
                    true => break,
                    false => continue,
                }
            }
        };
        let content = match packer.content(entry, syntax.max()) {
            Err(e) if gone(&e) => continue,
            content => content.map_err(|e| io_at(&at, e))?,
        };
        match places(syntax, &content, &out.homes) {
            Ok(places) => {
                out.seen.insert(entry.path.clone(), Digest::of(&content));
                if !places.is_empty() {
                    named.push((entry.path.to_string(), places.len()));
                }
            }
            Err(why) => out.findings.push(unfit(why)),
        }
    }
    if !named.is_empty() {
        let mut list: Vec<String> =
            named.iter().take(MAX_NAMED).map(|(path, places)| format!("{path} ({places})")).collect();
        list.extend((named.len() > MAX_NAMED).then(|| format!("and {} more", named.len() - MAX_NAMED)));
        let what = format!("paths of this home in {} become paths of the target's", list.join(", "));
        out.findings.push(note(&host.home, &what));
    }
    Ok(out)
}

impl Examined {
    /// An error if something else was packed than what was seen.
    pub fn require_same(&self, rows: &[Row], packer: &Packer<'_>) -> Result<()> {
        for row in rows {
            let (Node::File(file), Some(seen)) = (&row.node, self.seen.get(&row.path)) else { continue };
            if file.digest != *seen {
                let at = packer.root.join(row.path.as_path());
                let what =
                    warning(&at, "it changed while it was read, and paths in it are to be rewritten").what;
                return Err(Error::not_ready(what).todo("export again while nothing writes to it"));
            }
        }
        Ok(())
    }
}
