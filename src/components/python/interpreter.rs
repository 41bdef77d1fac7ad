//! A Python: which one it is, and which there are on this machine.

use super::profile::Need;
use crate::base::fault::Faulty;
use crate::base::path::shown;
use crate::base::process::{Command, PLAIN_ENV};
use crate::component::{Error, Host, Result};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long one may take to say what it is.
const PROBE: Duration = Duration::from_secs(30);
/// Bytes of what it says.
const MAX_SAID: usize = 64 * 1024;
/// The oldest that can build an environment here: older ones cannot compile for another place.
pub const OLDEST: u32 = 9;

/// What is asked. The interpreter of an environment names the one that it was made with.
const SCRIPT: &str = r#"
import glob, json, os, sys, sysconfig
def there(name):
    try:
        __import__(name)
        return True
    except ImportError:
        return False
bundled = None
if there("ensurepip"):
    import ensurepip
    own = os.path.join(os.path.dirname(ensurepip.__file__), "_bundled")
    for folder in (sysconfig.get_config_var("WHEEL_PKG_DIR"), own):
        if folder and glob.glob(os.path.join(glob.escape(folder), "pip-*.whl")):
            bundled = folder
            break
try:
    libc = os.confstr("CS_GNU_LIBC_VERSION") or ""
except (ValueError, OSError):
    libc = ""
print(json.dumps({
    "version": list(sys.version_info[:3]),
    "implementation": sys.implementation.name,
    "program": getattr(sys, "_base_executable", None) or sys.executable,
    "free-threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    "platform": sysconfig.get_platform(),
    "libc": libc,
    "venv": there("venv"),
    "bundled": bundled,
}))
"#;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Said {
    version: (u32, u32, u32),
    implementation: String,
    program: PathBuf,
    free_threaded: bool,
    platform: String,
    libc: String,
    venv: bool,
    bundled: Option<PathBuf>,
}

/// A Python 3 on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interpreter {
    /// It, absolute; not the link to it in an environment.
    pub program: PathBuf,
    /// 3.`minor`.`micro`
    pub minor: u32,
    /// 3.`minor`.`micro`
    pub micro: u32,
    /// `cpython`, `pypy`.
    pub implementation: String,
    /// Whether it is the build without the global lock, which has an ABI of its own.
    pub free_threaded: bool,
    /// `linux-x86_64`.
    pub platform: String,
    /// The version of the GNU C library, if that is its C library.
    pub glibc: Option<(u32, u32)>,
    /// Whether it has the module `venv`.
    pub venv: bool,
    /// The folder with the wheel of pip that comes with it.
    pub bundled: Option<PathBuf>,
}

impl Interpreter {
    /// Asks `program`. Without its `site` module: no code of an environment runs.
    pub fn ask(program: &Path, host: &Host) -> Result<Interpreter> {
        let command = Command::new(program, PROBE).args(["-I", "-S", "-B", "-c", SCRIPT]);
        let command = command.pass_env(PLAIN_ENV).env("HOME", &host.home).until_interrupted();
        let output = super::pip::run(command.called(shown(program)), MAX_SAID)?;
        let said: Option<Said> = serde_json::from_slice(output.stdout.expose()).ok();
        let said = said.filter(|said| output.status.success() && said.version.0 == 3);
        let said =
            said.ok_or_else(|| Error::not_ready(format_args!("{}: no Python 3 that works", shown(program))))?;
        let glibc = said.libc.strip_prefix("glibc ").and_then(|version| {
            let (major, minor) = version.split_once('.')?;
            Some((major.parse().ok()?, minor.split('.').next()?.parse().ok()?))
        });
        Ok(Interpreter {
            program: said.program,
            minor: said.version.1,
            micro: said.version.2,
            implementation: said.implementation,
            free_threaded: said.free_threaded,
            platform: said.platform,
            glibc,
            venv: said.venv,
            bundled: said.bundled,
        })
    }

    /// `3.11.2`
    pub fn version(&self) -> String {
        format!("3.{}.{}", self.minor, self.micro)
    }

    /// Whether it is the ordinary implementation.
    pub fn is_cpython(&self) -> bool {
        self.implementation == "cpython"
    }

    /// The wheel of pip that comes with it. It runs as it is, so that an environment need not have pip.
    pub fn pip(&self) -> Option<PathBuf> {
        let folder = fs::read_dir(self.bundled.as_ref()?).ok()?;
        let is_pip = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("pip-") && name.ends_with(".whl")
        };
        folder.filter_map(|entry| Some(entry.ok()?.path())).filter(is_pip).max()
    }

    /// Whether that folder has a wheel of this distribution, too.
    pub fn bundles(&self, name: &str) -> bool {
        let names = self.bundled.as_ref().and_then(|folder| fs::read_dir(folder).ok());
        let begins = format!("{name}-");
        names.is_some_and(|mut names| {
            names.any(|entry| entry.is_ok_and(|e| e.file_name().to_string_lossy().starts_with(&begins)))
        })
    }
}

/// Every Python of this machine that `need` takes, the nearest version first. `named` is the only one, if it is given.
pub fn find(need: Need, named: Option<&str>, host: &Host) -> Result<Vec<Interpreter>> {
    if let Some(named) = named {
        let program = match named.contains('/') {
            true => host.expand(named),
            false => in_path(named).next(),
        };
        let program =
            program.ok_or_else(|| Error::not_ready(format_args!("{named}: there is no such program")))?;
        return Ok(vec![Interpreter::ask(&program, host)?]);
    }
    let mut found: Vec<Interpreter> = Vec::new();
    let mut asked = BTreeSet::new();
    // One that does not work is none.
    let mut look = |program: PathBuf| {
        let real = fs::canonicalize(&program).unwrap_or_else(|_| program.clone());
        let one = asked.insert(real).then(|| Interpreter::ask(&program, host).ok()).flatten();
        found.extend(one.filter(|one| need.takes(one.minor) && one.is_cpython()));
    };
    const NEWEST: u32 = 30;
    let last = if need.exactly { need.minor } else { NEWEST.max(need.minor) };
    (need.minor..=last).for_each(|minor| in_path(&format!("python3.{minor}")).for_each(&mut look));
    in_path("python3").for_each(&mut look);
    let pyenv = fs::read_dir(host.home.join(".pyenv/versions")).into_iter().flatten();
    pyenv
        .filter_map(|entry| Some(entry.ok()?.path().join("bin/python3")))
        .filter(|p| p.exists())
        .for_each(look);
    found.sort_by_key(|one| (one.minor, u32::MAX - one.micro));
    found.dedup_by(|a, b| a.program == b.program);
    Ok(found)
}

/// Programs of this name in `PATH`, and where Debian has them.
fn in_path(name: &str) -> impl Iterator<Item = PathBuf> + '_ {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = env::split_paths(&path).filter(|folder| folder.is_absolute()).collect();
    folders.extend(["/usr/local/bin", "/usr/bin"].map(PathBuf::from));
    folders.into_iter().map(move |folder| folder.join(name)).filter(|program| program.is_file())
}

/// The nearest of `found` that can make an environment; else what to install.
pub fn able(found: Vec<Interpreter>, need: Need) -> std::result::Result<Vec<Interpreter>, (String, String)> {
    let Some(first) = found.first().cloned() else {
        let later = if need.exactly { "" } else { " or later" };
        let what = format!("there is no Python 3.{}{later} on this machine", need.minor);
        let todo = format!(
            "apt-get install python3.{0} python3.{0}-venv, or name one with interpreter = \"...\" in this machine's profile",
            need.minor
        );
        return Err((what, todo));
    };
    let what = match &first {
        one if one.minor < OLDEST => {
            format!(
                "{} is Python {}, and 3.{OLDEST} is the oldest that will do",
                shown(&one.program),
                one.version()
            )
        }
        one => format!(
            "{} (Python {}) cannot make environments: its module {} is missing",
            shown(&one.program),
            one.version(),
            if one.venv { "ensurepip" } else { "venv" }
        ),
    };
    let todo = format!("apt-get install python3.{}-venv", first.minor.max(OLDEST));
    let able: Vec<_> =
        found.into_iter().filter(|one| one.venv && one.pip().is_some() && one.minor >= OLDEST).collect();
    match able.is_empty() {
        true => Err((what, todo)),
        false => Ok(able),
    }
}

/// An error of a program that is to be found in the plan, not at an import's end: what and what to do.
pub fn told(error: &Error) -> (String, String) {
    let todo = error.remedy().unwrap_or_else(|| "correct interpreter in this machine's profile".to_owned());
    (error.to_string(), todo)
}
