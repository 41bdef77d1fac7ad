//! The source: finding the declared secrets where they are. Nothing is changed, no shell is run.

use super::disk::{self, Links, Seen};
use super::document;
use super::dotenv;
use super::model::{EnvEntry, FileEntry, Format, Mode, Model, PgpassEntry, MAX_ENV_VALUE};
use super::pgpass;
use super::policy::Policy;
use super::shell::{self, Broken, Value};
use super::shell_file::{blocks, line_of};
use super::values::{EnvValue, FileValue, Packed, PgpassValue, Values};
use super::{env_dir, expand, optional, tokens};
use crate::base::fault::Fault;
use crate::base::secret::Secret;
use crate::component::{Error, Finding, Host, NamedSecret, Result, Severity};
use std::path::Path;

/// A variable as a file leaves it.
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) value: Value,
    conditional: bool,
    /// File and line, for people.
    place: String,
}

impl Variable {
    /// Its value, if it has one whatever the machine does.
    pub(super) fn fixed(self) -> Result<Secret> {
        let Variable { name, value, conditional, place } = self;
        let why = match value {
            Value::Static(_) if conditional => "it is set under a condition",
            Value::Static(value) if value.len() > MAX_ENV_VALUE => {
                return Err(Error::new(
                    Fault::Limit,
                    format_args!("${name} in {place} is too long for a variable"),
                ))
            }
            Value::Static(value) if value.expose().contains(&0) => "there is a NUL byte in it",
            Value::Static(value) => return Ok(value),
            Value::Dynamic(why) => why,
        };
        Err(Error::not_ready(format_args!("${name} in {place} has no fixed value: {why}"))
            .todo("write its value out in single quotes, or leave it out of the profile"))
    }
}

/// All assignments of a file of variables, in the order in which they are made. Empty if there is no such file.
pub(super) fn variables(host: &Host, path: &Path, format: Format) -> Result<Vec<Variable>> {
    let Some(seen) = disk::read(path, Links::Follow)? else { return Ok(Vec::new()) };
    let src = seen.bytes.expose();
    let shown = host.contract(path).unwrap_or_else(|| path.display().to_string());
    let place = |at| format!("{shown}, line {}", line_of(src, at));
    let broken = |b: Broken| unreadable(&place(b.at), b.why);
    if format == Format::Dotenv {
        let entries = dotenv::parse(src).map_err(broken)?;
        let variable = |e: dotenv::Entry| Variable {
            name: e.name,
            value: e.value,
            conditional: false,
            place: place(e.at),
        };
        return Ok(entries.into_iter().map(variable).collect());
    }
    let script = shell::parse(src).map_err(broken)?;
    let mut blocks = blocks(src, &script)
        .map_err(|(line, why)| unreadable(&format!("{shown}, line {line}"), &why))?
        .into_iter()
        .peekable();
    let mut all = Vec::new();
    for a in script.assignments {
        while let Some(block) = blocks.next_if(|b| b.span.start < a.at) {
            all.extend(loaded(host, &block.component)?);
        }
        all.push(Variable { name: a.name, value: a.value, conditional: a.conditional, place: place(a.at) });
    }
    for block in blocks {
        all.extend(loaded(host, &block.component)?);
    }
    Ok(all)
}

/// What a managed block of an earlier import loads.
fn loaded(host: &Host, component: &str) -> Result<Vec<Variable>> {
    let path = env_dir(host, component)?.join("env.sh");
    let Some(seen) = disk::read(&path, Links::Refuse)? else { return Ok(Vec::new()) };
    let shown = path.display();
    let src = seen.bytes.expose();
    let script =
        shell::parse(src).map_err(|b| unreadable(&format!("{shown}, line {}", line_of(src, b.at)), b.why))?;
    let variable = |a: shell::Assignment| Variable {
        place: format!("{shown}, line {}", line_of(src, a.at)),
        name: a.name,
        value: a.value,
        conditional: a.conditional,
    };
    Ok(script.assignments.into_iter().map(variable).collect())
}

fn unreadable(place: &str, why: &str) -> Error {
    Error::not_ready(format_args!("{place}: the file cannot be read as its kind: {why}"))
        .todo("mend the file; 'bash -n FILE' says whether a shell can read it")
}

/// What was found, as it goes into the bundle.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) values: Values,
    /// The model with the modes that the files have.
    pub(super) model: Model,
    pub(super) findings: Vec<Finding>,
    pub(super) origins: Vec<String>,
}

/// Reads every secret that travels.
pub(super) fn gather(host: &Host, model: &Model) -> Result<Gathered> {
    let (model, absent) = optional::there(host, model)?;
    let mut found = Gathered { model: model.clone(), ..Gathered::default() };
    let left_out = |what| Finding::new(Severity::Note, format_args!("{what} is not there, and left out"));
    found.findings.extend(absent.into_iter().map(left_out));
    for entry in model.env.iter().filter(|e| e.policy == Policy::Copy) {
        found.open_to_others(host, &entry.file)?;
        for (name, value) in env_values(host, entry)? {
            found.values.env.push(EnvValue { file: entry.file.clone(), name, value: Packed(value?) });
        }
    }
    if let Some(entry) = model.pgpass.as_ref().filter(|p| p.policy == Policy::Copy) {
        found.open_to_others(host, &entry.file)?;
        for (line, value) in pgpass_values(host, entry)? {
            found.values.pgpass.push(PgpassValue { line, value: Packed(value?) });
        }
    }
    let mut files = found.model.files.clone();
    for entry in files.iter_mut().filter(|f| f.policy == Policy::Copy) {
        found.open_to_others(host, &entry.path)?;
        let seen = whole_file(host, entry)?;
        entry.mode.get_or_insert(Mode(seen.mode & 0o600 | 0o400));
        let value = match entry.keep.is_empty() {
            true => seen.bytes,
            false => without_what_stays(entry, &seen.bytes)?,
        };
        found.values.files.push(FileValue { path: entry.path.clone(), value: Packed(value) });
    }
    found.model.files = files;
    Ok(found)
}

impl Gathered {
    /// Notes where it reads from, and warns of a file that others may read.
    fn open_to_others(&mut self, host: &Host, file: &str) -> Result<()> {
        self.origins.push(file.to_owned());
        match disk::read(&expand(host, file)?, Links::Follow)? {
            Some(seen) if seen.mode & 0o077 != 0 => self.findings.push(
                Finding::new(
                    Severity::Warning,
                    format_args!("{file} holds secrets, and others on this machine may read or change it"),
                )
                .todo(format_args!("chmod go-rwx {file}")),
            ),
            _ => {}
        }
        Ok(())
    }
}

type Named = Vec<(String, Result<Secret>)>;

fn env_values(host: &Host, entry: &EnvEntry) -> Result<Named> {
    let mut all = variables(host, &expand(host, &entry.file)?, entry.format)?;
    let mut value = |name: &str| match all.iter().rposition(|v| v.name == name) {
        Some(last) => all.remove(last).fixed(),
        None => Err(Error::not_ready(format_args!("${name} is not set in {}", entry.file))
            .todo("set it there, or leave it out of the profile")),
    };
    Ok(entry.names.iter().map(|n| (n.as_str().to_owned(), value(n.as_str()))).collect())
}

fn pgpass_values(host: &Host, entry: &PgpassEntry) -> Result<Named> {
    let seen = disk::read(&expand(host, &entry.file)?, Links::Follow)?;
    let value = |key: &pgpass::Key| {
        seen.as_ref().and_then(|s| pgpass::find(s.bytes.expose(), key)).ok_or_else(|| {
            Error::not_ready(format_args!("there is no line {key} in {}", entry.file))
                .todo("write the line's first four fields just as they stand in the file")
        })
    };
    Ok(entry.lines.iter().map(|key| (key.to_string(), value(key))).collect())
}

fn whole_file(host: &Host, entry: &FileEntry) -> Result<Seen> {
    let path = expand(host, &entry.path)?;
    match disk::read(&path, Links::Refuse)? {
        Some(seen) if seen.bytes.len() as u64 > entry.max() => Err(disk::too_long(&path, entry.max())),
        Some(seen) => Ok(seen),
        None => Err(Error::not_ready(format_args!("{} does not exist", entry.path))
            .todo("leave it out of the profile")),
    }
}

/// The document without the keys that stay; which of them are there goes into the entry.
fn without_what_stays(entry: &mut FileEntry, bytes: &Secret) -> Result<Secret> {
    let path = &entry.path;
    let odd = |what| {
        Error::not_ready(format_args!("{path} {what}"))
            .todo("mend the file, or take `keep` out of the profile: then it is packed as it is")
    };
    let object = document::object(bytes.expose()).map_err(odd)?;
    let packed = document::strip(bytes.expose(), &entry.keep).map_err(odd)?;
    entry.had = document::there(object, &entry.keep);
    Ok(packed)
}

/// Every declared secret, to be searched for where it does not belong. One that does not travel need not exist.
pub(super) fn declared(host: &Host, model: &Model) -> Result<Vec<NamedSecret>> {
    let (model, _) = optional::there(host, model)?;
    let mut secrets = Vec::new();
    let mut add = |policy: &Policy, found: Result<Named>, describe: &dyn Fn(&str) -> String| {
        let optional = *policy != Policy::Copy;
        let found = match found {
            Err(_) if optional => return Ok(()),
            found => found?,
        };
        for (name, value) in found {
            match value {
                Ok(value) => secrets.push(NamedSecret { name: describe(&name), value }),
                Err(_) if optional => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    };
    for entry in &model.env {
        add(&entry.policy, env_values(host, entry), &|name| format!("${name} in {}", entry.file))?;
    }
    if let Some(entry) = &model.pgpass {
        let describe = |line: &str| format!("the password of {line} in {}", entry.file);
        add(&entry.policy, pgpass_values(host, entry), &describe)?;
    }
    for entry in &model.files {
        let content = whole_file(host, entry).map(|seen| {
            let inside = tokens::in_json(seen.bytes.expose());
            let inside =
                inside.into_iter().map(|(key, value)| (format!("{key} in {}", entry.path), Ok(value)));
            inside.chain([(entry.path.clone(), Ok(seen.bytes))]).collect()
        });
        add(&entry.policy, content, &str::to_owned)?;
    }
    Ok(secrets)
}
