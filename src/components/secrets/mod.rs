//! The kind `secrets`: environment variables, lines of `.pgpass`, and files that are secret as a whole.
//!
//! `docs/FORMAT.md` has its facts and its one stream. The source is read by `source`, the target planned by `desired` and
//! `target` and changed by `side`; `shell` and `dotenv` read files of variables without running them.

mod backup;
mod buffer;
mod command;
mod deployed;
mod desired;
mod disk;
mod document;
mod dotenv;
mod fetch;
mod finish;
mod fresh_shell;
mod given;
mod item;
mod logins;
mod model;
mod optional;
mod options;
mod pgpass;
mod policy;
mod quote;
mod shell;
mod shell_assigns;
mod shell_commands;
mod shell_file;
#[cfg(test)]
mod shell_tests;
mod shell_words;
mod side;
mod source;
mod suggest;
mod target;
#[cfg(test)]
mod tests;
mod things;
mod tokens;
mod values;

pub use self::deployed::deployed;

use self::buffer::SecretBuf;
use self::fetch::When;
pub use self::given::{read_given, GivenError};
use self::item::Item;
use self::model::Model;
use self::policy::Policy;
use self::target::Planned;
use self::values::{Values, MAX_DOCUMENT};
use crate::base::fault::Fault;
use crate::base::name::ComponentName;
use crate::component::{
    stream_name, Act, Against, Captured, CheckResult, Claim, Component, Error, Finding, Holds, Host, Journal,
    Kind, Listed, Login, NamedSecret, Near, NotPacked, Plan, Result, Scope, Severity, StreamSink,
    StreamSource, Suggestion, Survey, Thing, UndoStrength,
};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Read;
use std::path::PathBuf;

/// The only stream.
const VALUES: &str = "values";

/// The kind `secrets`.
pub struct SecretsKind;

struct Secrets {
    name: ComponentName,
    /// As it is for this machine, its own profile included.
    model: Model,
    /// As the bundle has it: what its values are held against.
    packed: Model,
    host: Host,
}

impl Kind for SecretsKind {
    fn name(&self) -> &'static str {
        "secrets"
    }

    fn suggest(&self, host: &Host, near: &Near) -> Vec<Suggestion> {
        suggest::suggest(host, near)
    }

    fn from_options(&self, name: &ComponentName, options: &Value, host: &Host) -> Result<Box<dyn Component>> {
        let model = options::read(options).map_err(Error::options)?;
        if let Some(flaw) = model.flaw() {
            return Err(Error::options(flaw));
        }
        let component = Secrets { name: name.clone(), packed: model.clone(), model, host: host.clone() };
        component.paths().map_err(Error::options)?;
        Ok(Box::new(component))
    }

    fn from_facts(
        &self,
        name: &ComponentName,
        facts: &Value,
        overrides: Option<&Value>,
        host: &Host,
    ) -> Result<Box<dyn Component>> {
        let mut component = Secrets::of_facts(name, facts, host)?;
        if component.model.backup.is_some() {
            return Err(Error::rule("X1", "the facts are those of a backup"));
        }
        if let Some(own) = overrides {
            let usage = |what: String| Error::options(format_args!("in this machine's profile: {what}"));
            options::override_with(&mut component.model, own).map_err(usage)?;
            if let Some(flaw) = component.model.flaw() {
                return Err(usage(flaw));
            }
            component.paths().map_err(|e| usage(e.to_string()))?;
            component.is_packed_if_copied()?;
        }
        Ok(Box::new(component))
    }

    fn measure(&self, facts: &Value) -> Vec<(&'static str, u64)> {
        Model::deserialize(facts).map_or_else(|_| Vec::new(), |model| vec![("secrets", model.count() as u64)])
    }

    fn from_backup(
        &self,
        name: &ComponentName,
        facts: &Value,
        _own: Option<&Value>,
        host: &Host,
    ) -> Result<Box<dyn Component>> {
        Ok(Box::new(Secrets::of_facts(name, facts, host)?))
    }
}

/// The absolute path that a text of the model stands for.
fn expand(host: &Host, text: &str) -> Result<PathBuf> {
    let path = host.expand(text).filter(|path| path.file_name().is_some() && !text.contains('\0'));
    path.ok_or_else(|| {
        Error::usage(format_args!("'{text}' is not a path of a file"))
            .todo("write an absolute path or one that begins with ~/, without '.' and '..'")
    })
}

/// Where the variables of a component lie on a target.
fn env_dir(host: &Host, component: &str) -> Result<PathBuf> {
    expand(host, &format!("~/.config/kbpack-env/{component}"))
}

impl Secrets {
    fn of_facts(name: &ComponentName, facts: &Value, host: &Host) -> Result<Secrets> {
        let broken = |what: &dyn std::fmt::Display| Error::rule("X1", what);
        let model = Model::deserialize(facts).map_err(|e| broken(&e))?;
        if let Some(flaw) = model.flaw() {
            return Err(Error::rule("X2", flaw));
        }
        if let Some(file) = model.files.iter().find(|f| f.mode.is_none() && f.policy == Policy::Copy) {
            return Err(broken(&format_args!("{} has no mode", file.path)));
        }
        let component = Secrets { name: name.clone(), packed: model.clone(), model, host: host.clone() };
        component.paths().map_err(|e| broken(&e))?;
        Ok(component)
    }

    /// Refuses a policy `copy` of this machine's profile for what the bundle does not bring.
    fn is_packed_if_copied(&self) -> Result<()> {
        let copied = |item: &Item<'_>| *item.policy == Policy::Copy;
        let packed =
            |item: &Item<'_>| self.packed.items().filter(copied).any(|other| other.what.is(item.what));
        match self.model.items().filter(copied).find(|item| !packed(item)) {
            None => Ok(()),
            Some(item) => Err(Error::usage(format_args!(
                "this machine's profile says policy \"copy\", and the bundle does not bring {}",
                item.what
            ))
            .todo("say \"prompt\" there, or export it with the policy \"copy\"")),
        }
    }

    /// The files that it reads or edits, each once; `env.sh` and its like not among them.
    fn paths(&self) -> Result<Vec<PathBuf>> {
        let model = &self.model;
        let mut paths = BTreeSet::new();
        let mut whole = BTreeSet::new();
        let env = model.env.iter().map(|e| e.file.as_str()).chain(model.shell_file.as_deref());
        for file in env {
            paths.insert(expand(&self.host, file)?);
        }
        let alone = model.pgpass.iter().map(|p| &p.file).chain(model.files.iter().map(|f| &f.path));
        for file in alone.chain(model.absent()) {
            let path = expand(&self.host, file)?;
            if paths.contains(&path) || !whole.insert(path) {
                return Err(Error::usage(format_args!("{file} is declared twice")));
            }
        }
        paths.append(&mut whole);
        Ok(paths.into_iter().collect())
    }

    fn env_dir(&self) -> Result<Option<PathBuf>> {
        let needed = self.model.shell_env().next().is_some();
        needed.then(|| env_dir(&self.host, self.name.as_str())).transpose()
    }

    /// Every file that an import of it may write, as it is named.
    fn written(&self) -> Result<Vec<PathBuf>> {
        let generated =
            self.env_dir()?.into_iter().flat_map(|dir| [dir.join("env.sh"), dir.join("environment")]);
        Ok(self.paths()?.into_iter().chain(generated).collect())
    }

    /// Beside or above which paths a staging area may be: those of the files, by their names and by where these lead
    /// now. A commit of another component may have put a symlink in between since the plan.
    fn staged_beside(&self) -> Result<Vec<PathBuf>> {
        let mut paths = self.written()?;
        let real = |path: &PathBuf| {
            let settled = disk::settle(path).ok()?;
            Some(std::fs::canonicalize(&settled).unwrap_or(settled))
        };
        paths.extend(paths.iter().filter_map(real).collect::<Vec<_>>());
        Ok(paths)
    }

    fn planned(&self, scope: &Scope<'_>, streams: &dyn StreamSource, when: When) -> Result<Plan> {
        desired::plan(self.name.as_str(), &self.model, scope, self.read_values(streams)?, when)
    }

    /// Writes the one stream.
    fn write(&self, scope: &Scope<'_>, sink: &dyn StreamSink, values: &Values) -> Result<()> {
        scope.progress.expect(values.size());
        let mut document = SecretBuf::with_capacity(values.size() as usize * 4 / 3 + 64 * 1024);
        values.write(&mut document)?;
        if document.bytes().len() as u64 > MAX_DOCUMENT {
            let what = format_args!("the secrets of '{}' are more than {MAX_DOCUMENT} bytes", self.name);
            return Err(Error::new(Fault::Limit, what).todo("put some of them into a component of their own"));
        }
        let mut stream = sink.create(&stream_name(VALUES)?, Holds::Secrets)?;
        stream.write_all(document.bytes()).map_err(|e| Error::io("the secrets' values", e))?;
        stream.finish()?;
        scope.progress.advance(values.size());
        Ok(())
    }

    fn read_values(&self, streams: &dyn StreamSource) -> Result<Values> {
        let name = stream_name(VALUES)?;
        let size = match streams.list() {
            [only] if only.name == name && only.size <= MAX_DOCUMENT => only.size,
            _ => return Err(Error::rule("X3", "a component of kind secrets has one stream, 'values'")),
        };
        let mut stream = streams.open(&name)?;
        let io = |e| Error::io("the secrets' values", e);
        let mut document = SecretBuf::with_capacity(size as usize);
        let mut buf = zeroize::Zeroizing::new(vec![0; 64 * 1024]);
        loop {
            match stream.read(&mut buf) {
                Ok(0) => break,
                Ok(n) if document.bytes().len() + n > size as usize => {
                    return Err(Error::new(Fault::Damaged, "the secrets' values are longer than announced"))
                }
                Ok(n) => document.extend(&buf[..n]),
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(io(e)),
            }
        }
        Values::read(document.bytes(), &self.packed)
    }
}

fn planned(plan: &Plan) -> Result<&Planned> {
    plan.detail().ok_or_else(|| Error::new(Fault::Unexpected, "the plan is not one of kind secrets"))
}

/// The same of a plan that has nothing open.
fn settled(plan: &Plan) -> Result<&Planned> {
    let plan = planned(plan)?;
    match plan.is_open() {
        false => Ok(plan),
        true => Err(Error::new(Fault::Unexpected, "the plan was not prepared")),
    }
}

impl Component for Secrets {
    fn claims(&self) -> Result<Vec<Claim>> {
        let paths = self.paths()?.into_iter().chain(self.env_dir()?);
        paths.map(|path| disk::settle(&path).map(Claim::Path)).collect()
    }

    fn undo_strength(&self) -> UndoStrength {
        UndoStrength::Exact
    }

    fn secrets(&self) -> Result<Vec<NamedSecret>> {
        source::declared(&self.host, &self.model)
    }

    fn list(&self, _streams: &dyn StreamSource, each: &mut dyn FnMut(Listed)) -> Result<()> {
        self.model.listed().for_each(each);
        Ok(())
    }

    fn holds(&self, streams: &dyn StreamSource, _against: &Against<'_>) -> Result<Vec<Thing>> {
        let values = match streams.list().is_empty() {
            true => None,
            false => Some(self.read_values(streams)?),
        };
        Ok(things::held(&self.model, values.as_ref()))
    }

    fn present(&self, scope: &Scope<'_>, against: &Against<'_>) -> Result<Option<Vec<Thing>>> {
        scope.require_whole("secrets")?;
        things::present(&self.host, &self.model, against).map(Some)
    }

    fn not_packed(&self) -> Vec<NotPacked> {
        self.model.items().filter_map(|item| item.in_general()).chain(self.model.kept_in_general()).collect()
    }

    fn survey(&self, scope: &Scope<'_>) -> Result<Survey> {
        scope.require_whole("secrets")?;
        let mut found = source::gather(&self.host, &self.model)?;
        found.findings.extend(self.not_packed().iter().map(|left| {
            let NotPacked { name, policy, outcome, .. } = left;
            Finding::new(Severity::Note, format_args!("{name} ({policy}) is not packed: it {outcome}"))
        }));
        Ok(Survey {
            items: self.model.count() as u64,
            bytes: found.values.size(),
            origins: found.origins,
            findings: found.findings,
        })
    }

    fn capture(&self, scope: &Scope<'_>, sink: &dyn StreamSink) -> Result<Captured> {
        scope.require_whole("secrets")?;
        let found = source::gather(&self.host, &self.model)?;
        self.write(scope, sink, &found.values)?;
        Captured::new(&found.model, found.findings)
    }

    fn back_up(&self, scope: &Scope<'_>, plan: &Plan, sink: &dyn StreamSink) -> Result<Captured> {
        let (values, model) = self.before(settled(plan)?)?;
        self.write(scope, sink, &values)?;
        Captured::new(&model, Vec::new())
    }

    fn plan(&self, scope: &Scope<'_>, streams: &dyn StreamSource) -> Result<Plan> {
        scope.require_whole("secrets")?;
        self.planned(scope, streams, When::Planning)
    }

    fn prepare(&self, scope: &Scope<'_>, plan: &mut Plan, streams: &dyn StreamSource) -> Result<()> {
        if !planned(plan)?.is_open() {
            return Ok(());
        }
        let prepared = self.planned(scope, streams, When::Preparing)?;
        planned(&prepared)?.follows(planned(plan)?)?;
        *plan = prepared;
        Ok(())
    }

    fn logins(&self, plan: Option<&Plan>) -> Vec<Login> {
        let known = plan.and_then(|plan| planned(plan).ok()).map_or(&[][..], |planned| &planned.logins);
        let brought = self.model.pgpass.iter().filter(|entry| entry.policy.brings());
        let login = |key: &pgpass::Key| Login {
            line: key.fields().clone(),
            password: known.iter().find(|deployed| deployed.key == *key).map(|d| d.password.clone()),
        };
        brought.flat_map(|entry| entry.lines.iter().map(login)).collect()
    }

    fn stage(&self, scope: &Scope<'_>, plan: &Plan, _streams: &dyn StreamSource) -> Result<()> {
        scope.progress.expect(plan.space);
        side::stage(settled(plan)?)?;
        scope.progress.advance(plan.space);
        Ok(())
    }

    fn check_staged(&self, _scope: &Scope<'_>, plan: &Plan) -> Result<Vec<CheckResult>> {
        Ok(side::check_staged(planned(plan)?))
    }

    fn commit(&self, _scope: &Scope<'_>, plan: &Plan, journal: &mut dyn Journal) -> Result<()> {
        side::commit(planned(plan)?, journal)
    }

    fn describe(&self, act: &Act) -> String {
        side::describe(act)
    }

    fn undo(&self, scope: &Scope<'_>, acts: &[Act]) -> Result<Vec<Finding>> {
        let findings = side::undo(acts, scope.run)?;
        finish::clear(acts, &self.staged_beside()?, scope.run, self.name.as_str())?;
        Ok(findings)
    }

    fn check(&self, scope: &Scope<'_>, plan: &Plan) -> Result<Vec<CheckResult>> {
        let plan = planned(plan)?;
        let mut results = side::check_files(plan);
        if let Some((env_sh, values)) = &plan.env {
            results.extend(fresh_shell::check(&scope.host.home, env_sh, values));
        }
        results.extend(logins::check(&plan.logins, scope)?);
        Ok(results)
    }

    fn finalise(&self, scope: &Scope<'_>, acts: &[Act]) -> Result<()> {
        finish::keep_edits(acts, scope.run)?;
        finish::clear(acts, &self.staged_beside()?, scope.run, self.name.as_str())?;
        finish::clear_folders(acts)
    }
}
