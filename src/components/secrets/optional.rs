//! The source: secrets that may be absent, and are.

use super::disk::{self, Links};
use super::model::{EnvEntry, FileEntry, Model, PgpassEntry};
use super::pgpass;
use super::policy::Policy;
use super::source::variables;
use super::{expand, item::What};
use crate::component::{Error, Host, Result};

/// `model` without those of its secrets that may be absent and are; and their names.
pub(super) fn there(host: &Host, model: &Model) -> Result<(Model, Vec<String>)> {
    let mut model = model.clone();
    let mut absent = Vec::new();
    for entry in model.env.iter_mut().filter(|e| e.optional && e.policy == Policy::Copy) {
        absent.extend(take_variables(host, entry)?);
    }
    model.env.retain(|entry| !entry.names.is_empty());
    if let Some(entry) = model.pgpass.as_mut().filter(|p| p.optional && p.policy == Policy::Copy) {
        absent.extend(take_lines(host, entry)?);
    }
    model.pgpass = model.pgpass.filter(|entry| !entry.lines.is_empty());
    for entry in std::mem::take(&mut model.files) {
        match is_absent(host, &entry)? {
            true => absent.push(entry.path),
            false => model.files.push(entry),
        }
    }
    if model.count() == 0 && !absent.is_empty() {
        return Err(Error::not_ready(format_args!("none of its secrets is there: {}", absent.join(", ")))
            .todo("leave the component out of the profile, or out of this export with --skip"));
    }
    Ok((model, absent))
}

fn take_variables(host: &Host, entry: &mut EnvEntry) -> Result<Vec<String>> {
    let all = variables(host, &expand(host, &entry.file)?, entry.format)?;
    let set = |name: &str| all.iter().any(|variable| variable.name == name);
    let names = std::mem::take(&mut entry.names);
    let (there, absent): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| set(name.as_str()));
    entry.names = there;
    let named = |name| What::Variable { file: &entry.file, name }.to_string();
    Ok(absent.iter().map(named).collect())
}

fn take_lines(host: &Host, entry: &mut PgpassEntry) -> Result<Vec<String>> {
    let seen = disk::read(&expand(host, &entry.file)?, Links::Follow)?;
    let has = |key: &pgpass::Key| {
        seen.as_ref().is_some_and(|seen| pgpass::find(seen.bytes.expose(), key).is_some())
    };
    let (there, absent): (Vec<_>, Vec<_>) = std::mem::take(&mut entry.lines).into_iter().partition(has);
    entry.lines = there;
    let named = |line| What::Password { file: &entry.file, line }.to_string();
    Ok(absent.iter().map(named).collect())
}

fn is_absent(host: &Host, entry: &FileEntry) -> Result<bool> {
    let may_be = entry.optional && entry.policy == Policy::Copy;
    Ok(may_be && disk::read(&expand(host, &entry.path)?, Links::Refuse)?.is_none())
}
