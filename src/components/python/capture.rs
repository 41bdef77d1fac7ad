//! Source: an environment becomes what it is made from. Nothing in it is run but its Python, to say what it is, and pip,
//! where wheels are wanted.

use super::facts::{Environment, Facts};
use super::harmless::asks_elsewhere;
use super::installed::{self, Installed};
use super::interpreter::{told, Interpreter};
use super::names::normal;
use super::pip::{self, From};
use super::profile::Need;
use super::requirement::{self, Requirement, MAX_TEXT};
use super::rows::{self, Pin, WheelRow};
use super::site::{look, resolve, size, walk, Found};
use super::wheel::WheelName;
use super::{put, wheel_stream, Python, INSTALLED, REQUIREMENTS, WHEELS};
use crate::base::digest::digest_reader;
use crate::base::fsx::private_dir;
use crate::base::path::shown;
use crate::component::{
    stream_name, Error, Finding, Holds, Host, Result, Scope, Severity, StreamSink, Survey,
};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// How deep requirements may name other files.
const MAX_DEPTH: usize = 8;

/// An environment of the source, looked at.
struct Source {
    path: PathBuf,
    python: Interpreter,
    installed: Installed,
    requirements: Vec<Requirement>,
    findings: Vec<Finding>,
}

fn open(component: &Python, host: &Host) -> Result<Source> {
    let path = resolve(&component.path)?;
    // A link is followed: what it leads to is what programs use.
    let real =
        fs::canonicalize(&path).ok().filter(|real| look(real).is_ok_and(|found| found == Found::Environment));
    let Some(path) = real else {
        return Err(Error::not_ready(format_args!("{}: there is no Python environment", shown(&path)))
            .todo("correct the path in the profile, or leave the component out with --skip"));
    };
    let python = Interpreter::ask(&path.join("bin/python"), host)
        .map_err(|e| e.todo("make the environment again, or leave the component out with --skip"))?;
    let installed = installed::read(&path, python.minor)?;
    let name = &component.path_text;
    let mut findings: Vec<Finding> = Vec::new();
    let mut warn = |what: String, todo: &str| {
        findings.push(Finding::new(Severity::Warning, format_args!("{name}: {what}")).todo(todo));
    };
    for strange in &installed.strange {
        warn(format!("{strange} is not understood and stays here"), "reinstall it with pip if it is needed");
    }
    let elsewhere =
        |d: &installed::Distribution| d.origin.clone().map(|origin| format!("{} (from {origin})", d.name));
    for distribution in installed.distributions.iter().filter_map(elsewhere) {
        let todo = "let another component carry it, and install it on the target by hand";
        warn(format!("{distribution} came from no index and stays here"), todo);
    }
    if fs::read_to_string(path.join("pyvenv.cfg")).is_ok_and(|text| sees_system(&text)) {
        let todo = "install on the target what it uses of the system's";
        warn("it sees the system's packages, and on the target it will not".to_owned(), todo);
    }
    let requirements = match &component.profile.requirements {
        Some(file) => {
            let file = host.expand(file).ok_or_else(|| {
                Error::usage(format_args!("requirements {file:?} is not the path of a file"))
                    .todo("write an absolute path or one that begins with ~/, without '.' and '..'")
            })?;
            let asked = read_file(&file, 0)?;
            findings.extend(compare(&asked, &installed, name, &file)?);
            asked
        }
        None => from_index(&installed).map(|d| Requirement::pinned(&d.name, &d.version)).collect(),
    };
    Ok(Source { path, python, installed, requirements, findings })
}

fn from_index(installed: &Installed) -> impl Iterator<Item = &installed::Distribution> {
    installed.distributions.iter().filter(|d| d.origin.is_none())
}

fn sees_system(config: &str) -> bool {
    config.lines().filter_map(|line| line.split_once('=')).any(|(key, value)| {
        key.trim() == "include-system-site-packages" && value.trim().eq_ignore_ascii_case("true")
    })
}

/// Reads a file of requirements, and the files that it names, in their places.
fn read_file(file: &Path, depth: usize) -> Result<Vec<Requirement>> {
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|f| f.take(MAX_TEXT + 1).read_to_end(&mut bytes));
    read.map_err(Error::at(file))?;
    let refuse = |line: usize, what: &str| {
        let todo = "correct it; or leave requirements out of the profile, so that what is installed is taken as it is";
        Error::not_ready(format_args!("{}:{line}: it {what}", shown(file))).todo(todo)
    };
    let text = String::from_utf8(bytes).map_err(|_| refuse(1, "is not UTF-8"))?;
    if text.len() as u64 > MAX_TEXT {
        return Err(refuse(1, "is too long"));
    }
    let mut failure = None;
    let mut include = |name: &str, line: usize| {
        let inner = file.parent().unwrap_or(file).join(name);
        let read = match depth < MAX_DEPTH {
            true => read_file(&inner, depth + 1),
            false => Err(refuse(line, "names files that name files, and so on, too deep")),
        };
        // The first failure is the one to be told.
        read.map_err(|e| failure.get_or_insert(e)).ok()
    };
    let all = requirement::read(&text, &mut include);
    match (failure, all) {
        (Some(error), _) => Err(error),
        (None, all) => all.map_err(|bad| refuse(bad.line, bad.what)),
    }
}

/// Holds what is asked for against what is there.
fn compare(asked: &[Requirement], installed: &Installed, name: &str, file: &Path) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for one in
        asked.iter().filter(|one| one.marker.is_none() && !installed.seeds.contains(&normal(&one.name)))
    {
        match (installed.version(&one.name), one.pin()) {
            (None, _) => findings.push(
                Finding::new(
                    Severity::Warning,
                    format_args!("{name}: {} asks for {}, which is not installed", shown(file), one.name),
                )
                .todo("pip install -r it, so that what travels is what is used"),
            ),
            (Some(there), Some(pin)) if there != pin => {
                let what =
                    format!("{}: it asks for {}=={pin}, and {there} is installed", shown(file), one.name);
                return Err(Error::not_ready(what).todo(
                    "pip install -r it, or leave requirements out of the profile, so that what is installed is taken as it is",
                ));
            }
            _ => {}
        }
    }
    Ok(findings)
}

/// What would be packed.
pub fn survey(component: &Python, scope: &Scope<'_>) -> Result<Survey> {
    let source = open(component, scope.host)?;
    let text = requirement::write(&source.requirements);
    let pins: Vec<Pin> = pins(&source.installed);
    let bytes = text.len() + rows::write(&pins)?.len();
    let mut findings = source.findings;
    if component.profile.wheels() {
        let what =
            format!("{}: its wheels are packed, too; they are fetched at the export", component.path_text);
        findings.push(Finding::new(Severity::Note, what));
    }
    let items = pins.len() as u64;
    Ok(Survey { origins: vec![shown(&source.path)], items, bytes: bytes as u64, findings })
}

fn pins(installed: &Installed) -> Vec<Pin> {
    let pin = |d: &installed::Distribution| Pin { name: d.name.clone(), version: d.version.clone() };
    let mut pins: Vec<Pin> = from_index(installed).map(pin).collect();
    pins.dedup_by(|a, b| normal(&a.name) == normal(&b.name));
    pins
}

/// Writes the streams. Returns the facts, and what was noticed.
pub fn capture(
    component: &Python,
    scope: &Scope<'_>,
    sink: &dyn StreamSink,
) -> Result<(Facts, Vec<Finding>)> {
    let source = open(component, scope.host)?;
    let text = requirement::write(&source.requirements);
    let mut pins = pins(&source.installed);
    let mut findings = source.findings.clone();
    let wheelhouse = match component.profile.wheels() {
        true => Some(wheelhouse(&source, &pins, &text, scope)?),
        false => None,
    };
    if let Some(wheels) = &wheelhouse {
        // What has no wheel is not among what is asked for.
        let travels = |pin: &Pin| wheels.rows.iter().any(|(name, _)| normal(&name.name) == normal(&pin.name));
        for pin in pins.iter().filter(|pin| !travels(pin)) {
            let what = format!(
                "{}: the requirements do not ask for {}: it stays here",
                component.path_text, pin.name
            );
            findings.push(Finding::new(Severity::Warning, what).todo("add it to them if it is needed"));
        }
        pins.retain(travels);
    }

    put(sink, REQUIREMENTS, text.as_bytes(), scope)?;
    put(sink, INSTALLED, &rows::write(&pins)?, scope)?;
    if let Some(wheels) = &wheelhouse {
        wheels.pack(scope, sink)?;
    }
    let (python, profile) = (&source.python, &component.profile);
    let environment = Environment {
        python: python.version(),
        platform: python.platform.clone(),
        glibc: python.glibc.map(|(major, minor)| format!("{major}.{minor}")),
        needs: profile.python.unwrap_or(Need { minor: python.minor, exactly: false }),
        seeds: source.installed.seeds.clone(),
        requirements: profile.requirements.clone(),
        distributions: pins.len() as u64,
        size: size(&source.path)?,
        wheels: wheelhouse.as_ref().map(|wheels| wheels.rows.len() as u64),
        sdists: profile.sdists.unwrap_or(false),
        imports: profile.imports.clone().unwrap_or_default(),
        scripts: profile.scripts.clone().unwrap_or_default(),
    };
    Ok((Facts::of(&component.path_text, environment), findings))
}

/// Wheels in a private folder that goes with this.
struct Wheelhouse {
    dir: tempfile::TempDir,
    rows: Vec<(WheelName, WheelRow)>,
}

/// Has pip fetch a wheel of everything, or build it where there is none, as the user's own pip does: from its cache first.
fn wheelhouse(source: &Source, pins: &[Pin], text: &str, scope: &Scope<'_>) -> Result<Wheelhouse> {
    let dir = private_dir("kbpack-wheels-", &std::env::temp_dir());
    let dir = dir.map_err(|e| Error::io("a folder for the wheels", e))?;
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).map_err(Error::at(&path)).map(|()| path)
    };
    let (requirements, constraints) =
        (write("requirements.txt", text)?, write("constraints.txt", &constraints(pins))?);
    let (wheels, temp) = (dir.path().join("wheels"), dir.path().join("tmp"));
    for folder in [&wheels, &temp] {
        fs::create_dir(folder).map_err(Error::at(folder))?;
    }
    let program = source.path.join("bin/python");
    let own = source.installed.seeds.iter().any(|seed| seed == "pip");
    let bundled = source.python.pip();
    let how = match (own, &bundled) {
        (true, _) => vec![Path::new("-m"), Path::new("pip")],
        (false, Some(wheel)) => vec![wheel.as_path()],
        (false, None) => {
            let what = format!("{}: it has no pip to fetch wheels with", shown(&source.path));
            let todo = format!("apt-get install python3.{}-venv, or install pip in it", source.python.minor);
            return Err(Error::not_ready(what).todo(todo));
        }
    };
    let runnable: Vec<PathBuf> = how
        .iter()
        .map(|part| if part.is_absolute() { part.join("pip") } else { part.to_path_buf() })
        .collect();
    let runnable: Vec<&Path> = runnable.iter().map(PathBuf::as_path).collect();
    let command =
        pip::pip(pip::python(&program, scope.host, &temp, pip::PIP), &runnable, From::Index, "wheel");
    let command =
        command.args(["--wheel-dir".as_ref(), wheels.as_os_str(), "-r".as_ref(), requirements.as_os_str()]);
    let command = match text.contains(" --hash=") {
        true => command,
        false => command.args(["-c".as_ref(), constraints.as_os_str()]),
    };
    pip::succeed(command, &format!("{}: pip could not get its wheels", shown(&source.path))).map_err(
        |e| {
            e.todo(
                "see that pip reaches its index (or set PIP_FIND_LINKS), or leave wheels out of the profile",
            )
        },
    )?;
    if let Some(wheel) = asks_elsewhere(&source.python, &wheels, scope.host, &temp)? {
        let what = format_args!("{wheel}: it asks for something at a URL or path, which no target takes");
        return Err(Error::not_ready(what).todo("leave wheels out of the profile"));
    }
    let mut rows = Vec::new();
    walk(&wheels, &mut |path| {
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = WheelName::new(&file).ok_or_else(|| {
            Error::not_ready(format_args!("{}: not the name of a wheel", shown(path)))
                .todo("leave wheels out of the profile")
        })?;
        let (sha256, size) = File::open(path).and_then(digest_reader).map_err(Error::at(path))?;
        rows.push((name, WheelRow { file, size, sha256 }));
        Ok(())
    })?;
    rows.sort_by(|a, b| a.1.file.cmp(&b.1.file));
    Ok(Wheelhouse { dir, rows })
}

/// The versions of the source, so that pip takes no others.
pub fn constraints(pins: &[Pin]) -> String {
    pins.iter().map(|pin| format!("{}=={}\n", pin.name, pin.version)).collect()
}

impl Wheelhouse {
    fn pack(&self, scope: &Scope<'_>, sink: &dyn StreamSink) -> Result<()> {
        let rows: Vec<WheelRow> = self.rows.iter().map(|(_, row)| row.clone()).collect();
        put(sink, WHEELS, &rows::write(&rows)?, scope)?;
        for (number, row) in rows.iter().enumerate() {
            scope.progress.expect(row.size);
            let path = self.dir.path().join("wheels").join(&row.file);
            let mut stream = sink.create(&stream_name(&wheel_stream(number))?, Holds::Data)?;
            stream.label(&row.file);
            let mut file = File::open(&path).map_err(Error::at(&path))?;
            let mut buffer = vec![0; 128 * 1024];
            loop {
                let n = file.read(&mut buffer).map_err(Error::at(&path))?;
                if n == 0 {
                    break;
                }
                stream.write_all(&buffer[..n]).map_err(Error::at(&path))?;
                scope.progress.advance(n as u64);
            }
            stream.finish()?;
        }
        Ok(())
    }
}

/// Whether the Python of an environment still works; if not, why.
pub fn works(path: &Path, host: &Host) -> std::result::Result<Interpreter, String> {
    Interpreter::ask(&path.join("bin/python"), host).map_err(|e| told(&e).0)
}
