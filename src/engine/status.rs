//! `status`: what changed here since the last export, and since the last import. Changes nothing, takes no lock, and needs
//! neither a bundle nor a key: it compares with what was [kept](crate::engine::diff::held).

use crate::base::path::ShownPath;
use crate::component::{Host, Nobody, Scope};
use crate::components;
use crate::engine::diff::held::{find, About, Held, Way};
use crate::engine::diff::{verdict, ComponentDiff, DiffError, Looked, State as Stand};
use crate::engine::error::{EngineError, In, Result};
use crate::engine::events::Events;
use crate::engine::exports::{exports, KnownExport, PastExport};
use crate::engine::history::{history, KeptBackup, PastImport};
use crate::engine::journal::{Begun, End};
use crate::engine::machine;
use crate::engine::profile::Profile;
use crate::engine::receipt::Receipt;
use crate::engine::retention::{decide, Policy};
use crate::engine::state::State;
use crate::engine::unattended::place;
use crate::format::BundleId;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What to look at.
pub struct Status<'a> {
    /// This machine.
    pub host: &'a Host,
    /// What it remembers.
    pub state: &'a State,
    /// Whether only times are looked at, and nothing is compared.
    pub quick: bool,
    /// Seconds after which an export or an import is too old.
    pub max_age: Option<u64>,
    /// Which of a profile's own exports its `[retention]` keeps.
    pub retention: Option<Retained>,
    /// Seconds since 1970.
    pub now: u64,
}

/// What a profile's `[retention]` says.
pub struct Retained {
    profile: String,
    folder: PathBuf,
    policy: Policy,
}

impl Retained {
    /// Of `profile`, if it says something.
    pub fn of(profile: Profile, host: &Host) -> Result<Option<Self>> {
        let Profile { name, retention: Some(retention), .. } = profile else { return Ok(None) };
        let folder = place(host, &retention.folder)?;
        Ok(Some(Retained { profile: name, folder, policy: retention.policy }))
    }

    /// How many of these exports lie in its folder and would go.
    fn too_many(&self, exported: &[KnownExport], now: u64) -> u64 {
        let lies_there = |export: &&PastExport| {
            let folder = file_of(export).and_then(|path| path.parent().map(PathBuf::from));
            export.profile == self.profile && folder.as_ref() == Some(&self.folder)
        };
        let all = exported.iter().map(|known| &known.export).filter(lies_there);
        // One that holds much less counts for itself.
        let times = all.filter(|export| !export.shrunk && is_there(export) == Some(true));
        let reasons = decide(times.map(|export| export.created), &self.policy, now);
        reasons.iter().filter(|reasons| reasons.is_empty()).count() as u64
    }
}

/// Where its bundle was written. A path that is no text is not looked for.
fn file_of(export: &PastExport) -> Option<PathBuf> {
    export.path.as_ref().filter(|path| !path.contains('%')).map(PathBuf::from)
}

/// Whether a file of its size is still there.
fn is_there(export: &PastExport) -> Option<bool> {
    let meta = std::fs::metadata(file_of(export)?);
    Some(meta.is_ok_and(|meta| export.size.is_none_or(|size| size == meta.len())))
}

/// All of it.
#[derive(Debug, Serialize)]
pub struct StatusReport {
    /// `user@host`.
    pub machine: String,
    /// When: RFC 3339.
    pub now: String,
    /// Imports that run now, or were cut off.
    pub unfinished: Vec<String>,
    /// The last export of each profile, by name.
    pub exports: Vec<ExportStatus>,
    /// The last import of each profile that holds, by name.
    pub imports: Vec<ImportStatus>,
}

/// What is the same of both.
#[derive(Debug, Serialize)]
pub struct Since {
    /// The profile's name.
    pub profile: String,
    /// The bundle.
    pub id: BundleId,
    /// Its sequence.
    pub sequence: u64,
    /// When it was exported, or imported: RFC 3339.
    pub at: String,
    /// Seconds since then.
    pub age: u64,
    /// Whether that is more than `--max-age`.
    pub stale: bool,
    /// How this machine stands to it now; `not-compared` comes with `why`.
    pub state: Drift,
    /// Why nothing was compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Each component: what it held on the left, this machine on the right.
    pub components: Vec<ComponentDiff>,
}

/// How a machine stands to what was exported or imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Drift {
    /// As it was.
    Same,
    /// Not as it was.
    Different,
    /// Of a component it cannot be said.
    Unknown,
    /// Nothing was compared.
    NotCompared,
}

/// An export.
#[derive(Debug, Serialize)]
pub struct ExportStatus {
    /// When, and what changed since.
    #[serde(flatten)]
    pub since: Since,
    /// The file; absent for standard output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Whether a file of its size is still there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub there: Option<bool>,
    /// Bytes of the bundle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// How many of the profile's exports `[retention]` would remove.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub too_many: Option<u64>,
    /// Where it is known to have been restored.
    pub receipts: Vec<Receipt>,
}

/// An import.
#[derive(Debug, Serialize)]
pub struct ImportStatus {
    /// When, and what changed since.
    #[serde(flatten)]
    pub since: Since,
    /// Its run.
    pub run: String,
    /// `user@host` that it came from.
    pub origin: String,
    /// Who signed it.
    pub signer: String,
    /// What can take it back.
    pub backup: KeptBackup,
}

impl Status<'_> {
    /// Looks.
    pub fn run(&self, events: &dyn Events) -> Result<StatusReport> {
        // What is damaged of the past costs itself alone; `history` says it.
        let (exported, _) = exports(self.state)?;
        let (imported, _) = history(self.state)?;
        let too_many = self.retention.as_ref().map(|retained| retained.too_many(&exported, self.now));
        let mut last: BTreeMap<String, KnownExport> = BTreeMap::new();
        for known in exported {
            let newer = last
                .get(&known.export.profile)
                .is_none_or(|last| last.export.sequence < known.export.sequence);
            if newer {
                last.insert(known.export.profile.clone(), known);
            }
        }
        let unfinished = imported.iter().filter(|import| import.outcome.is_none());
        let unfinished = unfinished.map(|import| import.run.clone()).collect();
        // The oldest come first; a rollback is no import, and takes one back.
        let holds = |import: &PastImport| {
            import.outcome == Some(End::Imported)
                && import.rolls_back.is_none()
                && import.rolled_back_by.is_none()
        };
        let imported: BTreeMap<String, PastImport> =
            imported.into_iter().filter(holds).map(|import| (import.profile.clone(), import)).collect();
        let here = machine::origin(String::new());
        let mut exports: Vec<_> = last.into_values().map(|known| self.export(known, events)).collect();
        let is_retained = |export: &&mut ExportStatus| {
            self.retention.as_ref().is_some_and(|retained| retained.profile == export.since.profile)
        };
        exports.iter_mut().filter(is_retained).for_each(|export| export.too_many = too_many);
        Ok(StatusReport {
            machine: format!("{}@{}", here.user, here.host),
            now: machine::timestamp(self.now),
            unfinished,
            exports,
            imports: imported.into_values().map(|import| self.import(import, events)).collect(),
        })
    }

    fn export(&self, known: KnownExport, events: &dyn Events) -> ExportStatus {
        let KnownExport { export, receipts } = known;
        let key = export.id.to_string()[..16].to_owned();
        let about = (export.profile.clone(), export.id, export.sequence, export.created);
        let there = is_there(&export);
        let since = self.since(Way::Export, about, &key, events);
        ExportStatus { since, path: export.path, there, size: export.size, too_many: None, receipts }
    }

    fn import(&self, import: PastImport, events: &dyn Events) -> ImportStatus {
        let PastImport { run, started_at, bundle, profile, sequence, origin, signer, backup, .. } = import;
        let since = self.since(Way::Import, (profile, bundle, sequence, started_at), &run, events);
        ImportStatus { since, run, origin, signer, backup }
    }

    fn since(
        &self,
        way: Way,
        (profile, id, sequence, when): (String, BundleId, u64, u64),
        key: &str,
        events: &dyn Events,
    ) -> Since {
        let age = self.now.saturating_sub(when);
        let kept = match self.quick {
            true => Err("only times were looked at (--quick)".to_owned()),
            false => match find(self.state, way, &profile, key) {
                Ok(Some(held)) => Ok(held),
                Ok(None) => Err("what it held was not kept: an older kbpack did it, or it was cut off; `kbpack diff BUNDLE` compares".to_owned()),
                Err(error) => Err(format!("what it held cannot be read: {error}")),
            },
        };
        let (components, why) = match kept {
            Ok(held) => (self.compare(&held, &profile, events), None),
            Err(why) => (Vec::new(), Some(why)),
        };
        let any = |stand: &dyn Fn(Stand) -> bool| components.iter().any(|one| stand(one.state));
        let state = match &why {
            Some(_) => Drift::NotCompared,
            None if any(&|stand| stand == Stand::Unknown) => Drift::Unknown,
            None if any(&|stand| stand != Stand::Same) => Drift::Different,
            None => Drift::Same,
        };
        let stale = self.max_age.is_some_and(|most| age > most);
        Since { profile, id, sequence, at: machine::timestamp(when), age, stale, state, why, components }
    }

    fn compare(&self, (about, things): &Held, profile: &str, events: &dyn Events) -> Vec<ComponentDiff> {
        let maps = about.maps.iter().map(|(from, to)| (from.0.clone(), to.0.clone())).collect();
        let host = Host { maps, ..self.host.clone() };
        let mut components = Vec::new();
        for ((begun, _), held) in about.components.iter().zip(things) {
            events.step(&format!("comparing {} of {profile}", begun.name));
            let compared = one(about, begun, held, &host, events);
            components.push(
                compared.unwrap_or_else(|error| ComponentDiff::unknown(&begun.name, &begun.kind, &error)),
            );
        }
        components
    }
}

/// One component as it was, against this machine as it is.
fn one(
    about: &About,
    begun: &Begun,
    held: &[crate::component::Thing],
    host: &Host,
    events: &dyn Events,
) -> Result<ComponentDiff> {
    let Begun { name, kind, facts, overrides, carved, only, .. } = begun;
    let unknown = || EngineError::UnknownKind { name: name.clone(), kind: kind.clone() };
    let known = components::kind(kind).ok_or_else(unknown)?;
    let component = known.from_facts(name, facts, overrides.as_ref(), host).within(name)?;
    let carved: Vec<PathBuf> = carved.iter().map(|ShownPath(path)| path.clone()).collect();
    let of_source = about.way == Way::Export;
    let scope = Scope {
        host,
        carved: &carved,
        only,
        run: "",
        threads: machine::threads(),
        progress: events,
        ask: &Nobody,
        trusted: of_source,
        logins: &[],
    };
    Ok(Looked { name, kind, component: &*component, held, streams: None, of_source }.against_machine(&scope))
}

impl StatusReport {
    /// An error if something could not be compared or is too old, and with `strict` also if something changed.
    pub fn verdict(&self, strict: bool) -> Result<()> {
        let all = || self.exports.iter().map(|e| &e.since).chain(self.imports.iter().map(|i| &i.since));
        for since in all() {
            verdict(&since.components, strict)?;
        }
        let stale: Vec<String> = all()
            .filter(|since| since.stale)
            .map(|since| format!("{} of {}", since.profile, since.at))
            .collect();
        match stale.is_empty() {
            true => Ok(()),
            false => Err(DiffError::Stale(stale.join(", ")).into()),
        }
    }
}
