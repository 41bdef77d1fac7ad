//! What an export would pack, without packing it.

use super::refuse;
use crate::base::name::ComponentName;
use crate::base::path::{shown_paths, ShownPath};
use crate::component::{Host, Nobody, Scope, Survey};
use crate::engine::claims::{carve, Named};
use crate::engine::error::{In, Result};
use crate::engine::events::Events;
use crate::engine::hooks::describe;
use crate::engine::machine;
use crate::engine::profile::Profile;
use crate::engine::selection::Selection;
use crate::engine::ticket::fit::For;
use crate::format::{Stage, Todo, Where};
use serde::Serialize;
use std::path::PathBuf;

/// What an export would pack: `--dry-run`.
#[derive(Debug, Serialize)]
pub struct ExportPlan {
    /// The profile's path.
    pub profile: ShownPath,
    /// Each component.
    pub components: Vec<Surveyed>,
    /// What is run around it here, or travels to be run on the target.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<SurveyedHook>,
    /// What is left to a person on the target.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub todos: Vec<Todo>,
}

impl ExportPlan {
    /// Stops at what would stop an export.
    pub fn refuse(&self) -> Result<()> {
        refuse(
            self.components.iter().flat_map(|one| one.survey.findings.iter().map(|found| (&one.name, found))),
        )
    }
}

/// One hook of an [`ExportPlan`].
#[derive(Debug, Serialize)]
pub struct SurveyedHook {
    /// When it runs.
    pub stage: Stage,
    /// On which machine.
    #[serde(rename = "where")]
    pub machine: Where,
    /// What it runs, as a person would type it.
    pub what: String,
}

/// One component of an [`ExportPlan`].
#[derive(Debug, Serialize)]
pub struct Surveyed {
    /// Its name.
    pub name: ComponentName,
    /// Its kind.
    pub kind: String,
    /// What is there.
    #[serde(flatten)]
    pub survey: Survey,
    /// Paths inside it that belong to other components.
    pub left_out: Vec<ShownPath>,
}

/// What an export of `profile` would pack, and whether that suits the targets of `tickets`. Writes nothing; needs no key
/// and no recipient.
pub fn survey(
    profile: &Profile,
    host: &Host,
    selection: &Selection,
    tickets: &For,
    events: &dyn Events,
) -> Result<ExportPlan> {
    tickets.check_expiry(machine::now())?;
    let (components, carved) = components_of(profile, host, selection)?;
    let surveyed = survey_each((&components, &carved), profile, host, selection, events)?;
    tickets.check(&components, &surveyed, host, events)?;
    let hooks = profile.hooks.iter().map(|hook| SurveyedHook {
        stage: hook.stage,
        machine: hook.machine(),
        what: describe(hook),
    });
    Ok(ExportPlan {
        profile: profile.path.as_path().into(),
        components: surveyed,
        hooks: hooks.collect(),
        todos: profile.todos.clone(),
    })
}

/// What each component that is taken would pack.
pub(super) fn survey_each(
    (components, carved): (&[Named], &[Vec<PathBuf>]),
    profile: &Profile,
    host: &Host,
    selection: &Selection,
    events: &dyn Events,
) -> Result<Vec<Surveyed>> {
    let mut surveyed = Vec::new();
    for ((name, component), carved) in components.iter().zip(carved) {
        if selection.takes(name) {
            let only = selection.paths_in(name);
            let scope = Scope {
                host,
                carved,
                only: &only,
                run: "",
                threads: machine::threads(),
                progress: events,
                ask: &Nobody,
                trusted: true,
                logins: &[],
            };
            let survey = component.survey(&scope).within(name)?;
            let kind = profile.components[name].kind.clone();
            surveyed.push(Surveyed { name: name.clone(), kind, survey, left_out: shown_paths(carved) });
        }
    }
    Ok(surveyed)
}

/// The profile's components, and what each leaves to others.
pub(super) fn components_of(
    profile: &Profile,
    host: &Host,
    selection: &Selection,
) -> Result<(Vec<Named>, Vec<Vec<PathBuf>>)> {
    let components = profile.components(host)?;
    selection.check(components.iter().map(|(name, _)| name))?;
    let carved = carve(&components, host)?;
    Ok((components, carved))
}
