//! The new environment, complete, out of sight: built in the staging area, and made to work where it will be.

use super::capture::constraints;
use super::harmless::{asks_elsewhere, Own};
use super::installed::packages;
use super::interpreter::Interpreter;
use super::pip::{self, From};
use super::plan::{Planned, Todo};
use super::relocate;
use super::requirement::{self, Requirement};
use super::site::{fingerprint, Mark};
use super::wanted::Wanted;
use super::{tree, wheel_stream, TREE};
use crate::base::change::exists;
use crate::base::digest::{Digest, Hasher};
use crate::base::fsx::sync_dir;
use crate::base::path::shown;
use crate::base::side::{make_side, remove_side};
use crate::component::{stream_name, Error, Result, Scope, StreamSource};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// What is to be put in place. It has the name that it will have, for an environment shows that in the prompt.
pub fn new_in(side: &Path, path: &Path) -> PathBuf {
    side.join("new").join(path.file_name().unwrap_or_default())
}

/// What was there.
pub fn old_in(side: &Path, path: &Path) -> PathBuf {
    side.join("old").join(path.file_name().unwrap_or_default())
}

/// The fingerprint of what is to be put in place.
fn print_in(side: &Path) -> PathBuf {
    side.join("fingerprint")
}

/// Reads the fingerprint of what was staged.
pub fn staged_print(side: &Path) -> Result<Digest> {
    let file = print_in(side);
    let text = fs::read_to_string(&file).map_err(Error::at(&file))?;
    Digest::parse(&text).ok_or_else(|| Error::at(&file)(std::io::ErrorKind::InvalidData.into()))
}

/// Builds it.
pub fn stage(plan: &Planned, scope: &Scope<'_>, streams: &dyn StreamSource) -> Result<()> {
    if matches!(plan.todo, Todo::Nothing) {
        return Ok(());
    }
    // What an earlier attempt left.
    remove_side(&plan.side).map_err(Error::at(&plan.side))?;
    make_side(&plan.side).map_err(Error::at(&plan.side))?;
    let new = new_in(&plan.side, &plan.path);
    for folder in ["new", "old", "tmp", "wheels"] {
        let folder = plan.side.join(folder);
        fs::create_dir(&folder).map_err(Error::at(&folder))?;
    }
    match (&plan.todo, &plan.wanted) {
        (Todo::Nothing | Todo::Remove, _) | (Todo::Build(_), None) => {}
        (Todo::Build(python), Some(wanted)) => build(plan, python, wanted, &new, scope, streams)?,
        (Todo::Restore(Some(target)), _) => {
            std::os::unix::fs::symlink(target, &new).map_err(Error::at(&new))?
        }
        (Todo::Restore(None), _) => tree::unpack(streams.open(&stream_name(TREE)?)?, &new, scope)?,
    }
    for folder in ["tmp", "wheels"] {
        let folder = plan.side.join(folder);
        fs::remove_dir_all(&folder).map_err(Error::at(&folder))?;
    }
    if let Some(print) = fingerprint(&new)? {
        let file = print_in(&plan.side);
        fs::write(&file, print.to_string()).map_err(Error::at(&file))?;
    }
    // All of it on disk before a commit moves it: of a tree of thousands of files, at once.
    let side = File::open(&plan.side).map_err(Error::at(&plan.side))?;
    rustix::fs::syncfs(&side).map_err(|e| Error::at(&plan.side)(e.into()))?;
    sync_dir(&plan.side).map_err(Error::at(&plan.side))
}

fn build(
    plan: &Planned,
    python: &Interpreter,
    wanted: &Wanted,
    new: &Path,
    scope: &Scope<'_>,
    streams: &dyn StreamSource,
) -> Result<()> {
    let (temp, wheels) = (plan.side.join("tmp"), plan.side.join("wheels"));
    let run = |program: &Path, limit| pip::python(program, scope.host, &temp, limit);
    unpack_wheels(wanted, &wheels, scope, streams)?;
    // 1. An empty environment.
    let venv =
        run(&python.program, pip::OTHER).args(["-m", "venv", "--without-pip", "--symlinks"]).args([new]);
    pip::succeed(venv, "a new environment could not be made")?;
    let own = Own::of(new)?;
    let install = |from| Install { plan, python, new, temp: &temp, scope, from };
    // 2. pip, and what else a new environment has by itself, from the wheels that come with Python.
    let bundled = python.bundled.clone().unwrap_or_default();
    let seeds = wanted.environment.seeds.iter().filter(|seed| python.bundles(seed));
    let seeds: Vec<String> = seeds.cloned().collect();
    if !seeds.is_empty() {
        install(From::Folder(&bundled)).run(&seeds)?;
    }
    // 3. What is asked for.
    if wanted.environment.wheels.is_some() {
        if let Some(wheel) = asks_elsewhere(python, &wheels, scope.host, &temp)? {
            return Err(Error::rule("V7", format_args!("{wheel}: it asks for something at a URL or path")));
        }
        install(From::Folder(&wheels)).wanted(wanted)?;
    } else if !wanted.requirements.is_empty() {
        install(From::Index).wanted(wanted)?;
    }
    // 4. It works where it will be, and only there.
    own.require(new)?;
    relocate::relocate(new, &plan.path)?;
    compile(plan, python, new, &temp, scope)?;
    relocate::require_none_left(new, &plan.side)?;
    // 5. How it is known again, and whose it is.
    let tree = fingerprint(new)?.ok_or_else(|| Error::at(new)(std::io::ErrorKind::NotFound.into()))?;
    Mark { run: scope.run.to_owned(), wanted: wanted.digest, tree }.leave(new)?;
    match plan.owner {
        Some((uid, gid)) => relocate::give(new, uid, gid),
        None => Ok(()),
    }
}

/// An installation into the staged environment.
struct Install<'a> {
    plan: &'a Planned,
    python: &'a Interpreter,
    new: &'a Path,
    temp: &'a Path,
    scope: &'a Scope<'a>,
    from: From<'a>,
}

impl Install<'_> {
    /// What the bundle asks for, in the versions of the source.
    fn wanted(&self, wanted: &Wanted) -> Result<()> {
        let write = |name: &str, text: String| {
            let path = self.temp.join(name);
            fs::write(&path, text).map_err(Error::at(&path)).map(|()| path.to_string_lossy().into_owned())
        };
        let mut args =
            vec!["-r".to_owned(), write("requirements.txt", requirement::write(&wanted.requirements))?];
        // pip takes digests for all or for none; with them, versions are pinned as well.
        if !wanted.requirements.iter().any(Requirement::has_hashes) {
            args.extend(["-c".to_owned(), write("constraints.txt", constraints(&wanted.pins))?]);
        }
        self.run(&args).map_err(|error| match self.from {
            From::Folder(_) => error.todo("the bundle's wheels do not suffice here; export without wheels, or on a machine like this one"),
            From::Index if self.plan.sdists => error.todo("see that pip reaches its index here, or export with wheels = true"),
            From::Index => error.todo(
                "see that pip reaches its index here, or export with wheels = true; for what has no wheel, set sdists = true in this machine's profile",
            ),
        })
    }

    /// The wheel of pip that comes with Python installs these: it runs nothing of what it installs, unless sdists are allowed.
    fn run(&self, args: &[String]) -> Result<()> {
        let Some(wheel) = self.python.pip() else {
            return Err(Error::not_ready(format_args!(
                "{}: it has no pip any more",
                shown(&self.python.program)
            )));
        };
        let wheel = wheel.join("pip");
        let python = pip::python(&self.new.join("bin/python"), self.scope.host, self.temp, pip::PIP);
        // It asks programs such as rustc which they are, and they leave things in a home: not in the user's.
        let python = if self.from == From::Index { python } else { python.env("HOME", self.temp) };
        let command = pip::pip(python, &[&wheel], self.from, "install");
        let command = command.args(["--require-virtualenv", "--no-compile", "--no-warn-script-location"]);
        let command = match self.plan.sdists {
            true => command,
            false => command.args(["--only-binary", ":all:"]),
        };
        pip::succeed(command.args(args), &format!("{}: pip could not install it", shown(&self.plan.path)))
            .map(drop)
    }
}

/// Writes the wheels. Rule V5: each is the one that the list names.
fn unpack_wheels(wanted: &Wanted, to: &Path, scope: &Scope<'_>, streams: &dyn StreamSource) -> Result<()> {
    for (number, (name, row)) in wanted.wheels.iter().enumerate() {
        scope.progress.expect(row.size);
        let path = to.join(name.as_str());
        let mut file = File::create_new(&path).map_err(Error::at(&path))?;
        let mut stream = streams.open(&stream_name(&wheel_stream(number))?)?;
        let (mut hasher, mut buffer) = (Hasher::new(), vec![0; 128 * 1024]);
        loop {
            let n = stream.read(&mut buffer).map_err(Error::at(&path))?;
            if n == 0 {
                break;
            }
            hasher.update(&buffer[..n]);
            file.write_all(&buffer[..n]).map_err(Error::at(&path))?;
            scope.progress.advance(n as u64);
        }
        if hasher.finish() != row.sha256 {
            return Err(Error::rule(
                "V5",
                format_args!("{}: it is not the wheel that the list names", name.as_str()),
            ));
        }
    }
    Ok(())
}

/// Compiles all of it for the place where it will be, as pip would have. What does not compile is for another Python.
fn compile(plan: &Planned, python: &Interpreter, new: &Path, temp: &Path, scope: &Scope<'_>) -> Result<()> {
    let folder = packages(new, python.minor);
    if !exists(&folder) {
        return Ok(());
    }
    let (from, to) = (new.as_os_str(), plan.path.as_os_str());
    let threads = scope.threads.to_string();
    let command = pip::python(&python.program, scope.host, temp, pip::OTHER).args([
        "-m",
        "compileall",
        "-q",
        "-j",
        &threads,
    ]);
    let command = command.args(["-s".as_ref(), from, "-p".as_ref(), to, folder.as_os_str()]);
    pip::run(command, 1 << 20).map(drop)
}
