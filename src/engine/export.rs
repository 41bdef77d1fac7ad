//! `export`: from the profile to a finished bundle. The steps stand in the code as numbered comments.

use crate::base::name::ComponentName;
use crate::base::path::{path_text, BundlePath, ShownPath};
use crate::component::{Finding, Host, Keep, KeptStreams, Nobody, Scope, Severity, StreamSink, Thing};
use crate::components;
use crate::crypto::bundle_key::BundleKey;
use crate::crypto::recipient::Recipients;
use crate::crypto::sign::{Namespace, SigningKey};
use crate::engine::checks::record::{record as record_checks, refuse_secrets};
use crate::engine::claims::Named;
use crate::engine::completeness::{measure, require_minimums, shrunk, Incomplete};
use crate::engine::diff::held::{keep, of, of_component, About, Way};
use crate::engine::error::{output_error, EngineError, In, Result};
use crate::engine::events::Events;
use crate::engine::exports::{forget, record, PastExport};
use crate::engine::hooks::plan::{of_export, that_travel};
use crate::engine::hooks::{resume_left, Quiet};
use crate::engine::journal::Begun;
use crate::engine::log::Log;
use crate::engine::machine;
use crate::engine::plan::refusals;
use crate::engine::profile::Profile;
use crate::engine::selection::Selection;
use crate::engine::state::State;
use crate::engine::ticket::fit::For;
use crate::engine::ticket::{meant_for, MeantFor};
use crate::engine::todos;
use crate::format::{BundleId, ComponentEntry, Manifest, Where, FORMAT_VERSION};
use crate::pipeline::output::Output;
use crate::pipeline::pack::{PackError, Packer};
use crate::pipeline::scan::{Misplaced, Scanner};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

mod survey;

use self::survey::{components_of, survey_each};
pub use self::survey::{survey, ExportPlan, Surveyed, SurveyedHook};

/// What to export, to whom, and where to.
pub struct Export<'a> {
    /// What to pack.
    pub profile: &'a Profile,
    /// This machine.
    pub host: &'a Host,
    /// What this machine remembers.
    pub state: &'a State,
    /// Which components.
    pub selection: &'a Selection,
    /// Whom to encrypt to.
    pub recipients: &'a Recipients,
    /// The tickets that it answers.
    pub tickets: &'a For,
    /// Who signs.
    pub signer: &'a SigningKey,
    /// The file to write; `None` is standard output.
    pub output: Option<&'a Path>,
    /// Seconds from now until the bundle is refused.
    pub expires_in: Option<u64>,
    /// Misplaced secrets are a refusal.
    pub strict_secrets: bool,
    /// Much less than the last time is as it should be.
    pub accept_shrink: bool,
}

/// What was exported.
#[derive(Debug, Serialize)]
pub struct ExportReport {
    /// The bundle's id.
    pub id: BundleId,
    /// Where it stands; `None` is standard output.
    pub path: Option<ShownPath>,
    /// Whom it is encrypted to.
    pub recipients: Vec<String>,
    /// The machines that may import it; none: any that can open it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<MeantFor>,
    /// Bytes of the bundle; `None` for standard output.
    pub size: Option<u64>,
    /// The signer's fingerprint.
    pub signer: String,
    /// The sequence.
    pub sequence: u64,
    /// Each component.
    pub components: Vec<Packed>,
    /// How many hooks travel, to be run on the target.
    pub hooks: usize,
    /// Copies of secrets where they do not belong.
    pub misplaced_secrets: Vec<Misplaced>,
}

/// One component of an [`ExportReport`].
#[derive(Debug, Serialize)]
pub struct Packed {
    /// Its name.
    pub name: ComponentName,
    /// Its kind.
    pub kind: String,
    /// Bytes of plaintext.
    pub size: u64,
    /// Bytes in the bundle.
    pub stored_size: u64,
    /// What was noticed.
    pub findings: Vec<Finding>,
}

impl Export<'_> {
    /// Writes the bundle, and a log of how that went.
    pub fn run(&self, events: &dyn Events) -> Result<ExportReport> {
        let log = Log::new(events);
        let outcome = self.steps(&log);
        match &outcome {
            Ok(report) => log.end(&format!("exported as {}", place(report.path.as_ref()))),
            Err(error) => log.end(&format!("nothing was exported: {error}")),
        }
        outcome
    }

    fn steps(&self, log: &Log<'_>) -> Result<ExportReport> {
        let events: &dyn Events = log;
        // 1. Everything that can be refused is refused before the first byte is written.
        let (components, carved) = components_of(self.profile, self.host, self.selection)?;
        if self.recipients.is_empty() {
            return Err(EngineError::NoRecipient);
        }
        let _lock = self.state.lock()?;
        for run in resume_left(Some(Where::Source), self.host, self.state, events)? {
            let what = format!("the export {run} was cut off; its resume hooks were run");
            events.finding("recover", &Finding::new(Severity::Warning, what));
        }
        let now = machine::now();
        self.check_targets(now, &components, &carved, events)?;
        let sequence = self.state.next_sequence(&self.profile.name, now)?;
        let id = BundleId::random().map_err(PackError::from)?;
        let run = id.to_string()[..16].to_owned();
        let about =
            [("bundle", id.to_string()), ("profile", format!("{}, sequence {sequence}", self.profile.name))];
        log.begin_about(self.state, "export", &run, &about);

        // 2. What uses all that is quiesced; whatever comes, it resumes.
        let hooks = of_export(&self.profile.hooks);
        let quiet = Quiet::new((&run, Where::Source), self.host, self.state, hooks, events);
        quiet.during(|| self.pack((id, &run), (now, sequence), (&components, &carved), &quiet, events))
    }

    /// Packs what `quiet` keeps still.
    fn pack(
        &self,
        (id, run): (BundleId, &str),
        (now, sequence): (u64, u64),
        (components, carved): (&[Named], &[Vec<PathBuf>]),
        quiet: &Quiet<'_>,
        events: &dyn Events,
    ) -> Result<ExportReport> {
        let checks = record_checks(&self.profile.checks, self.host, events)?;

        // 3. The declared secrets of all components, also of those that are not packed: to be searched for.
        let mut secrets = Vec::new();
        for (name, component) in components {
            match component.secrets().within(name) {
                Ok(declared) => secrets.extend(declared),
                // It is not packed: what it declares cannot be searched for, and that is said.
                Err(error) if !self.selection.takes(name) => {
                    let what = format!("its secrets are not searched for in the other components: {error}");
                    events.finding(name.as_str(), &Finding::new(Severity::Warning, what));
                }
                Err(error) => return Err(error),
            }
        }
        refuse_secrets(&checks, &secrets)?;
        let hooks = that_travel(&self.profile.hooks, &secrets)?;
        let todos = todos::that_travel(self.profile, &secrets)?;
        let scanner = Scanner::new(&secrets)?;
        drop(secrets);

        // 4. Keys first, then the components' streams, several at once.
        let output = Output::open(self.output).map_err(|error| output_error(self.output, error))?;
        let packer =
            Packer::new(output, id, BundleKey::generate(), self.signer, self.recipients, scanner.clone())?;
        let mut packed = Vec::new();
        let mut entries = Vec::new();
        let mut held = Ok(Vec::new());
        for ((name, component), carved) in components.iter().zip(carved) {
            if !self.selection.takes(name) {
                continue;
            }
            events.step(&format!("packing {name}"));
            let sink = packer.component(name);
            let only = self.selection.paths_in(name);
            let threads = machine::threads();
            let scope = Scope {
                host: self.host,
                carved,
                only: &only,
                run,
                threads,
                progress: events,
                ask: &Nobody,
                trusted: true,
                logins: &[],
            };
            let keep = self.lists_of(name, &sink)?;
            let captured = match self.tickets.incremental {
                true => component.capture_upon(&scope, &self.tickets.say_of(&self.kind(name)), &keep),
                false => component.capture(&scope, &keep),
            };
            let captured = captured.within(name)?;
            let lists = keep.finish();
            refuse(captured.findings.iter().map(|finding| (name, finding)))?;
            captured.findings.iter().for_each(|finding| events.finding(name.as_str(), finding));
            held = held.and_then(|mut all: Vec<_>| {
                all.push(self.held_in((name, &captured.facts), (carved, &only), &lists)?);
                Ok(all)
            });
            let streams = sink.finish();
            packed.push(Packed {
                name: name.clone(),
                kind: self.kind(name),
                size: streams.iter().map(|s| s.size).sum(),
                stored_size: streams.iter().map(|s| s.stored_size).sum(),
                findings: captured.findings,
            });
            entries.push(ComponentEntry {
                name: name.clone(),
                kind: self.kind(name),
                facts: captured.facts,
                streams,
            });
        }

        // 5. All is read: programs go on.
        quiet.resume();

        // 6. Secrets in the wrong place: reported, or refused while nothing is visible yet.
        let misplaced = scanner.map(|s| s.found()).unwrap_or_default();
        if self.strict_secrets && !misplaced.is_empty() {
            for found in &misplaced {
                events.finding(&found.component, &misplaced_finding(found));
            }
            return Err(EngineError::MisplacedSecrets(misplaced.len()));
        }

        // 7. Whether it holds what it should.
        let amounts = measure(&entries, self.selection);
        require_minimums(self.profile, &amounts)?;
        let shrunk = shrunk(self.profile, self.state, &amounts)?;
        if !shrunk.is_empty() && !self.accept_shrink {
            return Err(Incomplete::Shrunk(shrunk.join("; ")).into());
        }

        // 8. The manifest, the seal, and only then the file's name.
        let fingerprint = self.signer.public().fingerprint();
        let targets = meant_for(&self.tickets.tickets);
        let manifest = Manifest {
            format: FORMAT_VERSION,
            id,
            created: now,
            expires: self.expires_in.map(|seconds| now.saturating_add(seconds)),
            sequence,
            profile: self.profile.name.clone(),
            origin: machine::origin(fingerprint.clone()),
            targets: targets.iter().map(Into::into).collect(),
            components: entries,
            checks,
            hooks,
            todos,
        };
        let output = packer.finish(&manifest, Namespace::Bundle, self.signer)?;
        let size = output.size().map_err(|error| output_error(self.output, error))?;
        // Remembered before it can be seen: a bundle whose receipt comes back must be known here.
        self.state.record_export(&self.profile.name, sequence)?;
        let remembered = record(
            self.state,
            &PastExport { amounts, shrunk: !shrunk.is_empty(), ..self.past(&manifest, size)? },
        )?;
        if let Err(error) = output.finish() {
            forget(&remembered);
            return Err(output_error(self.output, error));
        }
        for found in &misplaced {
            events.finding(&found.component, &misplaced_finding(found));
        }
        self.keep_held(&manifest, held, events);
        Ok(ExportReport {
            id,
            path: self.output.map(ShownPath::from),
            recipients: self.recipients.labels(),
            targets,
            size,
            signer: fingerprint,
            sequence,
            components: packed,
            hooks: manifest.hooks.len(),
            misplaced_secrets: misplaced,
        })
    }

    /// What the targets of the tickets would refuse. Without tickets, nothing is looked at.
    fn check_targets(
        &self,
        now: u64,
        components: &[Named],
        carved: &[Vec<PathBuf>],
        events: &dyn Events,
    ) -> Result<()> {
        self.tickets.check_expiry(now)?;
        if self.tickets.tickets.is_empty() {
            return Ok(());
        }
        events.step("looking at what the target has to hold");
        let of = (components, carved);
        let surveyed = survey_each(of, self.profile, self.host, self.selection, events)?;
        self.tickets.check(components, &surveyed, self.host, events)
    }

    /// What is remembered of the bundle with this manifest, of `size` bytes.
    fn past(&self, manifest: &Manifest, size: Option<u64>) -> Result<PastExport> {
        let absolute = |path: &Path| {
            std::path::absolute(path).map_err(|error| EngineError::Io { path: path.to_owned(), error })
        };
        let path = self.output.map(absolute).transpose()?;
        Ok(PastExport {
            id: manifest.id,
            profile: manifest.profile.clone(),
            sequence: manifest.sequence,
            created: manifest.created,
            signer: manifest.origin.signer.clone(),
            recipients: self.recipients.labels(),
            components: manifest.components.iter().map(|c| c.name.clone()).collect(),
            targets: manifest.targets.iter().map(|target| target.host.clone()).collect(),
            path: path.map(|path| path_text(path.as_os_str().as_bytes())),
            size,
            amounts: BTreeMap::new(),
            shrunk: false,
        })
    }

    /// A sink around `sink` that keeps what the lists of a component say.
    fn lists_of<'s>(&self, name: &ComponentName, sink: &'s dyn StreamSink) -> Result<Keep<'s>> {
        let kind = self.kind(name);
        let known = components::kind(&kind).map(|kind| Keep::new(sink, kind.lists()));
        known.ok_or_else(|| EngineError::NoSuchKind { name: name.clone(), kind })
    }

    /// What was packed of a component, for `status`, and what it takes to look at it again.
    fn held_in(
        &self,
        (name, facts): (&ComponentName, &Value),
        (carved, only): (&[PathBuf], &[BundlePath]),
        lists: &KeptStreams,
    ) -> Result<(Begun, Vec<Thing>)> {
        let kind = self.kind(name);
        let unknown = || EngineError::NoSuchKind { name: name.clone(), kind: kind.clone() };
        let known = components::kind(&kind).ok_or_else(unknown)?;
        let component = known.from_facts(name, facts, None, self.host).within(name)?;
        let mut things = of_component(name, known, &*component, lists, only)?;
        things.retain(|thing| !thing.is_outside);
        // The mode of a secret file is the one that it is to have on the target.
        things.iter_mut().filter(|thing| thing.is_secret).for_each(|thing| thing.mode = None);
        let begun = Begun {
            name: name.clone(),
            facts: facts.clone(),
            overrides: Some(Value::Object(self.profile.components[name].options.clone())),
            carved: carved.iter().cloned().map(ShownPath).collect(),
            only: only.to_vec(),
            rewrites: Vec::new(),
            kind,
        };
        Ok((begun, things))
    }

    /// The bundle is whole without it: `status` then has less to say.
    fn keep_held(&self, manifest: &Manifest, held: Result<Vec<(Begun, Vec<Thing>)>>, events: &dyn Events) {
        let key = manifest.id.to_string()[..16].to_owned();
        let about = |components| About {
            way: Way::Export,
            bundle: manifest.id,
            profile: manifest.profile.clone(),
            when: manifest.created,
            maps: Vec::new(),
            components,
        };
        if let Err(error) = held.and_then(|held| keep(self.state, &key, &of(about, held))) {
            let what = format!("what it holds could not be kept for `kbpack status`: {error}");
            events.finding("status", &Finding::new(Severity::Warning, what));
        }
    }

    fn kind(&self, name: &ComponentName) -> String {
        self.profile.components[name].kind.clone()
    }
}

/// Stops at what components find that must not be packed as it is.
pub(super) fn refuse<'a>(found: impl Iterator<Item = (&'a ComponentName, &'a Finding)>) -> Result<()> {
    let (what, remedies) = refusals(found.map(|(name, finding)| (name.as_str(), finding)));
    match what.is_empty() {
        true => Ok(()),
        false => Err(EngineError::Refused(what, remedies)),
    }
}

fn place(path: Option<&ShownPath>) -> String {
    path.map_or_else(|| "standard output".to_owned(), ShownPath::to_string)
}

fn misplaced_finding(found: &Misplaced) -> Finding {
    let Misplaced { component, place, secret } = found;
    Finding::new(
        crate::component::Severity::Warning,
        format_args!("{place} in '{component}' holds a copy of {secret}"),
    )
    .todo("move it out of there, or exclude the file")
}
