//! What was found, as data. Nothing here holds a secret, nor the digest of anything.

use crate::base::fault::{Fault, Faulty};
use crate::base::name::ComponentName;
use crate::component::{ChangeKind, Contrast, Thing};
use crate::engine::error::Result;
use crate::engine::gate::Bundle;
use crate::engine::machine;
use crate::format::BundleId;
use serde::Serialize;

/// All of it: the left side and the right, and each component.
#[derive(Debug, Serialize)]
pub struct DiffReport {
    /// What is compared.
    pub left: Side,
    /// With what.
    pub right: Side,
    /// Each component.
    pub components: Vec<ComponentDiff>,
}

/// One side.
#[derive(Debug, Serialize)]
pub struct Side {
    /// A bundle's path, `standard input`, or `this machine`.
    pub place: String,
    /// The bundle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<BundleId>,
    /// Its profile's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// When it was made: RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// `user@host` that it came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
}

/// How the two sides of a component stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// No difference was found.
    Same,
    /// Some were.
    Different,
    /// Nothing of it is on the right.
    OnlyLeft,
    /// Nothing of it is on the left.
    OnlyRight,
    /// It could not be compared.
    Unknown,
}

/// One component.
#[derive(Debug, Serialize)]
pub struct ComponentDiff {
    /// Its name.
    pub name: ComponentName,
    /// Its kind.
    pub kind: String,
    /// How the two sides stand to each other.
    pub state: State,
    /// How many things of each sort.
    pub counts: Counts,
    /// What is not the same, in the order of names.
    pub differences: Vec<Difference>,
    /// Why it could not be compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What to do about that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub todo: Option<String>,
}

/// How many things.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// On the right alone.
    pub added: u64,
    /// On the left alone.
    pub removed: u64,
    /// On both sides, and not the same.
    pub changed: u64,
    /// The same, as far as is known.
    pub same: u64,
    /// Of these, secrets that are on both sides, and whose values could not be compared.
    pub values_not_compared: u64,
}

/// One thing that is not the same.
#[derive(Debug, Serialize)]
pub struct Difference {
    /// Seen from the left.
    pub change: ChangeKind,
    /// Its name.
    pub name: String,
    /// In what it changed: `kind`, `size`, `rows`, `content`, `value`, `mode`, `owner`, `attributes`, `time`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aspects: Vec<&'static str>,
    /// As it is on the left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left: Option<Told>,
    /// As it is on the right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub right: Option<Told>,
    /// Commits that the right has and the left has not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ahead: Option<u64>,
    /// Commits that the left has and the right has not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behind: Option<u64>,
}

/// What can be told of a thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Told {
    /// What it is.
    pub what: String,
    /// Bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Permission bits: four octal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// A commit, a version, where a symlink leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Owner and group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// When it was last modified: seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
}

impl Side {
    pub(super) fn machine() -> Self {
        Side { place: "this machine".to_owned(), id: None, profile: None, created: None, origin: None }
    }

    pub(super) fn of(bundle: &Bundle) -> Self {
        let manifest = bundle.opened.manifest();
        Side {
            place: bundle.place.clone(),
            id: Some(manifest.id),
            profile: Some(manifest.profile.clone()),
            created: Some(machine::timestamp(manifest.created)),
            origin: Some(format!("{}@{}", manifest.origin.user, manifest.origin.host)),
        }
    }
}

impl ComponentDiff {
    /// What the left `holds` against what is `present` on the right, each in the order of names; `None`: nothing of it is there.
    pub(in crate::engine) fn of(
        name: &ComponentName,
        kind: &str,
        holds: &[Thing],
        present: Option<&[Thing]>,
    ) -> Self {
        let Some(present) = present.or_else(|| holds.is_empty().then_some(&[])) else {
            return ComponentDiff::only(name, kind, State::OnlyLeft, holds.len() as u64);
        };
        let contrast = Contrast::of(holds, present);
        let differences: Vec<Difference> = contrast
            .differences
            .into_iter()
            .map(|(left, right, aspects)| Difference::new(left, right, aspects))
            .collect();
        let count = |kind| differences.iter().filter(|one| one.change == kind).count() as u64;
        let counts = Counts {
            added: count(ChangeKind::Added),
            removed: count(ChangeKind::Removed),
            changed: count(ChangeKind::Changed),
            same: contrast.same,
            values_not_compared: contrast.open,
        };
        let state = if differences.is_empty() { State::Same } else { State::Different };
        ComponentDiff { state, counts, differences, ..ComponentDiff::only(name, kind, state, 0) }
    }

    /// One that is on one side alone, where it holds so many things.
    pub(in crate::engine) fn only(name: &ComponentName, kind: &str, state: State, removed: u64) -> Self {
        ComponentDiff {
            name: name.clone(),
            kind: kind.to_owned(),
            state,
            counts: Counts { removed, ..Counts::default() },
            differences: Vec::new(),
            error: None,
            todo: None,
        }
    }

    /// One that could not be compared.
    pub(in crate::engine) fn unknown(name: &ComponentName, kind: &str, error: &dyn Faulty) -> Self {
        let (what, todo) = (error.to_string(), error.remedy());
        ComponentDiff { error: Some(what), todo, ..ComponentDiff::only(name, kind, State::Unknown, 0) }
    }
}

impl Difference {
    fn new(left: Option<&Thing>, right: Option<&Thing>, aspects: Vec<&'static str>) -> Self {
        let change = match (left, right) {
            (None, _) => ChangeKind::Added,
            (Some(_), None) => ChangeKind::Removed,
            (Some(_), Some(_)) => ChangeKind::Changed,
        };
        let apart = right.and_then(|right| right.ahead_behind);
        Difference {
            change,
            name: left.or(right).map_or_else(String::new, |thing| thing.name.clone()),
            aspects,
            left: left.map(Told::of),
            right: right.map(Told::of),
            ahead: apart.map(|(ahead, _)| ahead),
            behind: apart.map(|(_, behind)| behind),
        }
    }
}

impl Told {
    fn of(thing: &Thing) -> Self {
        Told {
            what: thing.what.clone().into_owned(),
            size: thing.size,
            mode: thing.mode.map(|mode| format!("{mode:04o}")),
            rows: thing.rows,
            value: thing.value.clone(),
            owner: thing.owner.clone(),
            time: thing.time.clone(),
        }
    }
}

impl DiffReport {
    /// An error if something could not be compared, and with `strict` also if something differs.
    pub fn verdict(&self, strict: bool) -> Result<()> {
        verdict(&self.components, strict)
    }
}

/// An error if a component could not be compared, and with `strict` also if one differs.
pub(in crate::engine) fn verdict(components: &[ComponentDiff], strict: bool) -> Result<()> {
    let names = |unknown: bool| -> Vec<&str> {
        let wanted = components
            .iter()
            .filter(|one| one.state != State::Same && (one.state == State::Unknown) == unknown);
        wanted.map(|one| one.name.as_str()).collect()
    };
    let (unknown, different) = (names(true), names(false));
    match (unknown.is_empty(), different.is_empty()) {
        (false, _) => Err(DiffError::Unknown(unknown.join(", ")).into()),
        (true, false) if strict => Err(DiffError::Different(different.join(", ")).into()),
        _ => Ok(()),
    }
}

/// What a comparison ends with, where it does not end well.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    /// It could not be made.
    #[error("could not be compared: {0}")]
    Unknown(String),
    /// `--exit-code`, and something differs.
    #[error("not the same: {0}")]
    Different(String),
    /// `--max-age`, and something is older.
    #[error("too old: {0}")]
    Stale(String),
}

impl Faulty for DiffError {
    fn fault(&self) -> Fault {
        Fault::NotReady
    }
    fn remedy(&self) -> Option<String> {
        let text = match self {
            DiffError::Unknown(_) => "put right what is said of each, and run it again",
            DiffError::Different(_) => {
                "export or import again, if the two are to be the same; -v lists every difference"
            }
            DiffError::Stale(_) => "export or import again, and find out why that was not done in time",
        };
        Some(text.to_owned())
    }
}
