//! What a component holds, as a list of things: each secret by its name, with its value for a comparison in memory.

use super::disk::{self, Links};
use super::document::same_apart;
use super::item::{Item, What};
use super::model::{EnvEntry, Format, Model};
use super::policy::Policy;
use super::source::variables;
use super::values::Values;
use super::{expand, pgpass};
use crate::base::secret::Secret;
use crate::component::{Against, Host, Result, Thing};

/// What a bundle holds; without `values`, by name alone. `model` is what this machine makes of it.
pub(super) fn held(model: &Model, values: Option<&Values>) -> Vec<Thing> {
    let value = |item: &Item<'_>| -> Option<Secret> {
        let values = values?;
        let value = match item.what {
            What::Variable { file, name } => {
                values.env.iter().find(|v| v.file == file && v.name == name.as_str()).map(|v| &v.value)
            }
            What::Password { line, .. } => {
                values.pgpass.iter().find(|v| v.line == line.to_string()).map(|v| &v.value)
            }
            What::File(path) => values.files.iter().find(|v| v.path == path).map(|v| &v.value),
        };
        value.filter(|_| *item.policy == Policy::Copy).map(|value| value.0.clone())
    };
    model
        .items()
        .filter(|item| item.policy.brings())
        .map(|item| thing(model, &item, value(&item), None))
        .collect()
}

/// Those that are on this machine. A document of which keys stay is the one of `against` if it says the same but for these.
pub(super) fn present(host: &Host, model: &Model, against: &Against<'_>) -> Result<Vec<Thing>> {
    let mut things = Vec::new();
    for entry in model.env.iter().filter(|entry| entry.policy.brings()) {
        let mut all = of_file(host, model, entry)?;
        for name in &entry.names {
            let Some(last) = all.iter().rposition(|variable| variable.name == name.as_str()) else {
                continue;
            };
            // One that is set under a condition is there, and has no one value.
            things.push(thing(model, &entry.item(name), all.remove(last).fixed().ok(), None));
        }
    }
    if let Some(entry) = model.pgpass.as_ref().filter(|entry| entry.policy.brings()) {
        let seen = disk::read(&expand(host, &entry.file)?, Links::Follow)?;
        for line in &entry.lines {
            let password = seen.as_ref().and_then(|seen| pgpass::find(seen.bytes.expose(), line));
            things.extend(password.map(|password| thing(model, &entry.item(line), Some(password), None)));
        }
    }
    for entry in model.files.iter().filter(|entry| entry.policy.brings()) {
        if let Some(seen) = disk::read(&expand(host, &entry.path)?, Links::Follow)? {
            let mut file = thing(model, &entry.item(), Some(seen.bytes), Some(seen.mode & 0o777));
            let known = against.find(&file.name).and_then(|known| known.secret.as_ref());
            if let (false, Some(here), Some(known)) = (entry.keep.is_empty(), &file.secret, known) {
                if same_apart(here.expose(), known.expose(), &entry.keep) {
                    file.secret = Some(known.clone());
                }
            }
            things.push(file);
        }
    }
    Ok(things)
}

/// The variables of the file that `entry` came from, and of the one that loads them here.
fn of_file(host: &Host, model: &Model, entry: &EnvEntry) -> Result<Vec<super::source::Variable>> {
    let mut all = variables(host, &expand(host, &entry.file)?, entry.format)?;
    let loads = model.shell_file_of(entry);
    if entry.format == Format::Shell && loads != entry.file {
        all.extend(variables(host, &expand(host, loads)?, entry.format)?);
    }
    Ok(all)
}

/// A secret; of a file with the mode `seen`. A mode that keeps more people out than the bundle's is no difference.
fn thing(model: &Model, item: &Item<'_>, secret: Option<Secret>, seen: Option<u32>) -> Thing {
    let (what, mode) = match item.what {
        What::Variable { .. } => ("variable", None),
        What::Password { .. } => ("password", None),
        What::File(path) => {
            let entry = model.files.iter().find(|entry| entry.path == path);
            let wanted = entry.map_or(0o600, super::model::FileEntry::final_mode);
            ("secret file", Some(seen.filter(|seen| seen & !wanted != 0).unwrap_or(wanted)))
        }
    };
    let what = match item.policy {
        Policy::Prompt => "secret that an import asks for",
        Policy::Command(_) => "secret that an import fetches",
        _ => what,
    };
    // A value that somebody else brings is theirs to choose.
    let is_outside = *item.policy != Policy::Copy;
    let secret = secret.filter(|_| !is_outside);
    Thing { mode, secret, is_secret: true, is_outside, ..Thing::new(item.what.to_string(), what) }
}
