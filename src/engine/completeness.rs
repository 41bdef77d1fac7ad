//! Whether an export holds what it should: an empty folder or a database that lost its rows makes a fine bundle, and a bad
//! archive. What it holds is compared with the profile's minimums and with the last export of the profile.

use crate::base::fault::{Fault, Faulty};
use crate::base::name::ComponentName;
use crate::components;
use crate::engine::error::Result;
use crate::engine::exports::{exports, PastExport};
use crate::engine::machine;
use crate::engine::profile::Profile;
use crate::engine::selection::Selection;
use crate::engine::state::State;
use crate::format::ComponentEntry;
use std::collections::BTreeMap;

/// How much a component holds, by the names of what is counted.
pub type Amounts = BTreeMap<String, u64>;

/// What every component is measured by: plaintext.
pub const BYTES: &str = "bytes";

/// Of less than this many bytes, a part of them says nothing.
const MANY_BYTES: u64 = 1024 * 1024;
/// Of fewer things than this, too.
const MANY: u64 = 10;

/// An export that does not hold what it should.
#[derive(Debug, thiserror::Error)]
pub enum Incomplete {
    /// Less than a `minimum` of the profile.
    #[error("{0}")]
    TooLittle(String),
    /// Much less than the last export.
    #[error("{0}")]
    Shrunk(String),
    /// A `minimum` of something that is not counted.
    #[error("component '{name}': nothing called '{what}' is counted of it")]
    NoSuchAmount {
        /// Which.
        name: ComponentName,
        /// What the profile has.
        what: String,
        /// What there is.
        known: String,
    },
}

impl Faulty for Incomplete {
    fn fault(&self) -> Fault {
        match self {
            Incomplete::NoSuchAmount { .. } => Fault::Usage,
            _ => Fault::NotReady,
        }
    }
    fn remedy(&self) -> Option<String> {
        Some(match self {
            Incomplete::TooLittle(_) => {
                "find out what became of the rest, or lower the minimum in the profile".into()
            }
            Incomplete::Shrunk(_) => {
                "find out what became of the rest; if it is as it should be, export with --accept-shrink"
                    .into()
            }
            Incomplete::NoSuchAmount { known, .. } => format!("a minimum can be of {known}"),
        })
    }
}

/// How much each of `entries` holds; not of one that was narrowed to a path, for it says nothing of the whole.
pub fn measure(entries: &[ComponentEntry], selection: &Selection) -> BTreeMap<ComponentName, Amounts> {
    let whole = entries.iter().filter(|entry| selection.paths_in(&entry.name).is_empty());
    let amounts = |entry: &ComponentEntry| {
        let kind = components::kind(&entry.kind);
        let counts = kind.map_or_else(Vec::new, |kind| kind.measure(&entry.facts));
        let bytes = entry.streams.iter().map(|stream| stream.size).sum();
        counts.into_iter().chain([(BYTES, bytes)]).map(|(name, amount)| (name.to_owned(), amount)).collect()
    };
    whole.map(|entry| (entry.name.clone(), amounts(entry))).collect()
}

/// Refuses a component that holds less than its `minimum` says.
pub fn require_minimums(profile: &Profile, measured: &BTreeMap<ComponentName, Amounts>) -> Result<()> {
    let mut wrong = Vec::new();
    for (name, amounts) in measured {
        for (what, least) in &profile.components[name].minimum {
            match amounts.get(what) {
                Some(amount) if amount >= least => {}
                Some(amount) => wrong
                    .push(format!("component '{name}' has {amount} {what}, and at least {least} are wanted")),
                None => {
                    let known: Vec<&str> = amounts.keys().map(String::as_str).collect();
                    return Err(Incomplete::NoSuchAmount {
                        name: name.clone(),
                        what: what.clone(),
                        known: known.join(", "),
                    }
                    .into());
                }
            }
        }
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(Incomplete::TooLittle(wrong.join("; ")).into()),
    }
}

/// What shrank by more than the profile lets it, against the last export that had it: in words, each.
pub fn shrunk(
    profile: &Profile,
    state: &State,
    measured: &BTreeMap<ComponentName, Amounts>,
) -> Result<Vec<String>> {
    let (known, _) = exports(state)?;
    let mut past: Vec<PastExport> = known.into_iter().map(|known| known.export).collect();
    past.retain(|export| export.profile == profile.name);
    past.sort_by_key(|export| export.sequence);
    let mut words = Vec::new();
    for (name, amounts) in measured {
        let last = past.iter().rev().find_map(|export| Some((export, export.amounts.get(name)?)));
        let Some((export, before)) = last else { continue };
        for (what, &was) in before {
            let is = amounts.get(what).copied().unwrap_or(0);
            let enough = if what == BYTES { MANY_BYTES } else { MANY };
            if was >= enough && is_less(was, is, profile.max_shrink) {
                let when = machine::timestamp(export.created);
                words.push(format!("component '{name}' has {is} {what}, and had {was} on {when}"));
            }
        }
    }
    Ok(words)
}

/// Whether `is` is less than `was` by more than `percent`.
fn is_less(was: u64, is: u64, percent: u8) -> bool {
    let least = u128::from(was) * u128::from(100 - percent.min(100));
    u128::from(is) * 100 < least
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_by_more_than_so_many_percent() {
        assert!(!is_less(100, 50, 50) && is_less(100, 49, 50));
        assert!(!is_less(100, 200, 0) && is_less(100, 99, 0));
        assert!(!is_less(100, 0, 100) && !is_less(0, 0, 0));
        assert!(is_less(u64::MAX, 1, 99));
    }
}
