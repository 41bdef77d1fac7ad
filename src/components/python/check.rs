//! Whether an environment is the one that the bundle recorded, and works.

use super::installed::{self, Installed};
use super::interpreter::{told, Interpreter};
use super::names::normal;
use super::pip;
use super::plan::{Planned, Todo};
use super::requirement::Requirement;
use super::site::{fingerprint, look, walk, Found};
use super::stage::new_in;
use super::wanted::Wanted;
use crate::base::change::exists;
use crate::base::path::shown;
use crate::base::process::{Command, PLAIN_ENV};
use crate::component::{CheckResult, Error, Result, Scope};
use rustix::fs::{accessat, Access, AtFlags, CWD};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long one import or script may take.
const RUN: Duration = Duration::from_secs(120);

/// Compares what was staged with what the bundle recorded.
pub fn staged(plan: &Planned, scope: &Scope<'_>) -> Result<Vec<CheckResult>> {
    let new = new_in(&plan.side, &plan.path);
    match (&plan.todo, &plan.wanted) {
        (Todo::Build(_), Some(wanted)) => Look { plan, scope, at: &new, results: Vec::new() }.all(wanted),
        (Todo::Restore(_), _) => {
            let differs = fingerprint(&new)? != plan.facts.seen;
            Ok(vec![result(plan, "it is what it was", differs.then(|| "it differs".to_owned()))])
        }
        _ => Ok(Vec::new()),
    }
}

/// Whether the environment is in place as the plan wanted it.
pub fn in_place(plan: &Planned, scope: &Scope<'_>) -> Result<Vec<CheckResult>> {
    match &plan.wanted {
        Some(wanted) if look(&plan.path)? == Found::Environment => {
            let look = || Look { plan, scope, at: &plan.path, results: Vec::new() };
            let mut results = look().all(wanted)?;
            // Of one that is broken nothing more is to be learned.
            if results.iter().all(|result| result.failure.is_none()) {
                results.extend(plan.scripts.iter().map(|script| look().script(script)));
            }
            Ok(results)
        }
        Some(_) => Ok(vec![result(plan, "it is in place", Some("it is not there".to_owned()))]),
        None if plan.facts.seen.is_none() => {
            let failure = exists(&plan.path).then(|| "it is still there".to_owned());
            Ok(vec![result(plan, "it is gone", failure)])
        }
        None => {
            let differs = fingerprint(&plan.path)? != plan.facts.seen;
            Ok(vec![result(plan, "it is what it was", differs.then(|| "it differs".to_owned()))])
        }
    }
}

fn result(plan: &Planned, what: &str, failure: Option<String>) -> CheckResult {
    CheckResult::new(format!("{}: {what}", shown(&plan.path)), failure)
}

/// A look at an environment, in place or staged.
struct Look<'a> {
    plan: &'a Planned,
    scope: &'a Scope<'a>,
    at: &'a Path,
    results: Vec<CheckResult>,
}

impl Look<'_> {
    fn all(mut self, wanted: &Wanted) -> Result<Vec<CheckResult>> {
        let need = match &self.plan.todo {
            Todo::Build(python) => Some(python.minor),
            _ => None,
        };
        let python = match Interpreter::ask(&self.at.join("bin/python"), self.scope.host) {
            Ok(python) => python,
            Err(error) => {
                self.add("its Python runs", Some(told(&error).0));
                return Ok(self.results);
            }
        };
        let other = need.is_some_and(|minor| minor != python.minor);
        let what = format!("its Python {} runs", python.version());
        self.add(&what, other.then(|| "it is another than was planned".to_owned()));
        let installed = installed::read(self.at, python.minor)?;
        let what =
            format!("its {} distributions have the versions of the source", installed.distributions.len());
        self.add(&what, differs(&installed, wanted));
        let (scripts, cannot) = self.cannot_start()?;
        self.add(&format!("its {scripts} scripts can start"), cannot);
        for module in self.plan.imports.clone() {
            let failure = self.import(&module);
            self.add(&format!("import {module}"), failure);
        }
        Ok(self.results)
    }

    fn add(&mut self, what: &str, failure: Option<String>) {
        self.results.push(result(self.plan, what, failure));
    }

    /// How many scripts there are, and the first one whose interpreter is not there.
    fn cannot_start(&self) -> Result<(usize, Option<String>)> {
        let (mut scripts, mut cannot) = (0, None);
        walk(&self.at.join("bin"), &mut |file| {
            let meta = fs::symlink_metadata(file).map_err(Error::at(file))?;
            let program = if meta.is_file() { program_of(file)? } else { None };
            let Some(program) = program else { return Ok(()) };
            scripts += 1;
            // Staged, it stands elsewhere than where it will be.
            let there =
                program.strip_prefix(&self.plan.path).map_or(program.clone(), |rest| self.at.join(rest));
            if accessat(CWD, &there, Access::EXEC_OK, AtFlags::EACCESS).is_err() {
                let name = file.file_name().unwrap_or_default().to_string_lossy();
                cannot.get_or_insert(format!("{name} needs {}, which cannot be run", shown(&program)));
            }
            Ok(())
        })?;
        Ok((scripts, cannot))
    }

    fn import(&self, module: &str) -> Option<String> {
        let temp = std::env::temp_dir();
        let python = pip::python(&self.at.join("bin/python"), self.scope.host, &temp, RUN);
        said(python.args(["-c", &format!("import {module}")]))
    }

    /// Runs a program of the environment. Only where it will be: its first line says where.
    fn script(&self, words: &[String]) -> CheckResult {
        let program = words.first().map_or("", String::as_str);
        let command = Command::new(self.at.join("bin").join(program), RUN).args(&words[1..]);
        let command = command.pass_env(PLAIN_ENV).env("HOME", &self.scope.host.home);
        result(self.plan, &words.join(" "), said(command.until_interrupted()))
    }
}

/// Why a child failed, if it did.
fn said(command: Command) -> Option<String> {
    match pip::run(command, 4 << 20) {
        Err(error) => Some(error.to_string()),
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(format!("{}: {}", output.status, pip::reason(&output.stderr))),
    }
}

/// What is not as on the source, or not there that was asked for.
fn differs(installed: &Installed, wanted: &Wanted) -> Option<String> {
    for pin in &wanted.pins {
        match installed.version(&pin.name) {
            Some(version) if version != pin.version => {
                return Some(format!("{} is {version}, and was {}", pin.name, pin.version));
            }
            _ => {}
        }
    }
    // A marker may be for other machines than this one.
    let asked = wanted.requirements.iter().filter(|one| one.marker.is_none());
    let there = |one: &&Requirement| {
        installed.version(&one.name).is_some() || installed.seeds.contains(&normal(&one.name))
    };
    let mut missing = asked.filter(|one| !there(one)).map(|one| format!("{} is not installed", one.name));
    missing.next()
}

/// The program that the first lines of a script name; `None` if it is no script.
fn program_of(script: &Path) -> Result<Option<PathBuf>> {
    const HEAD: u64 = 4096;
    let mut head = Vec::new();
    File::open(script).and_then(|file| file.take(HEAD).read_to_end(&mut head)).map_err(Error::at(script))?;
    let Some(rest) = head.strip_prefix(b"#!") else { return Ok(None) };
    let mut lines = rest.split(|&c| c == b'\n');
    let first = lines.next().unwrap_or_default();
    // What pip writes where the path of Python is too long for a first line.
    let second = lines.next().unwrap_or_default();
    let line =
        second.strip_prefix(b"'''exec' ").filter(|_| first.trim_ascii() == b"/bin/sh").unwrap_or(first);
    let words = line.trim_ascii().split(|c| c.is_ascii_whitespace()).next().unwrap_or_default();
    Ok(Some(PathBuf::from(OsStr::from_bytes(words))))
}
