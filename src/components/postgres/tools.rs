//! pg_dump and pg_restore: found on `PATH` and in the versioned folders of distributions, and the right one chosen.

use crate::base::process::{Command, PLAIN_ENV};
use crate::component::{Error, Finding, Result, Severity};
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Folders that hold one folder a version, with `bin` in it: Debian's and Red Hat's.
const VERSIONED: [(&str, &str); 2] = [("/usr/lib/postgresql", ""), ("/usr", "pgsql-")];
/// What Debian puts on `PATH` under the programs' names: a script that starts one out of those folders, as it thinks fit.
const WRAPPER: &str = "pg_wrapper";
const VERSION_LIMIT: Duration = Duration::from_secs(20);

/// What is known to be wrong with clients of some version, and the minor release of each major that mends it.
struct Advisory {
    cve: &'static str,
    what: &'static str,
    mended: &'static [(u32, u32)],
}

/// From <https://www.postgresql.org/support/security/>: those that a dump or a restore can meet.
const ADVISORIES: &[Advisory] = &[
    Advisory {
        cve: "CVE-2024-7348",
        what: "pg_dump can be made to run SQL of whoever owns an object",
        mended: &[(12, 20), (13, 16), (14, 13), (15, 8), (16, 4), (17, 0)],
    },
    Advisory {
        cve: "CVE-2025-8714, CVE-2025-8715",
        what: "a dump can carry commands that psql runs",
        mended: &[(13, 22), (14, 19), (15, 14), (16, 10), (17, 6), (18, 0)],
    },
    Advisory {
        cve: "CVE-2026-6477",
        what: "a hostile server can write into the memory of a client",
        mended: &[(14, 23), (15, 18), (16, 14), (17, 10), (18, 4)],
    },
    Advisory {
        cve: "CVE-2026-18408, CVE-2026-19385",
        what: "a hostile source can put commands into a dump, or overflow pg_dump's memory",
        mended: &[(14, 24), (15, 19), (16, 15), (17, 11), (18, 6)],
    },
    Advisory {
        cve: "CVE-2026-116314",
        what: "a damaged archive makes pg_restore read and write outside of its memory, and of its folder",
        mended: &[(14, 25), (15, 20), (16, 16), (17, 12), (18, 7)],
    },
];

/// A release: 15.18. Before a release (18beta1) the minor is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// 15
    pub major: u32,
    /// 18
    pub minor: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl Version {
    /// From the first number with a point in `text` (`pg_dump (PostgreSQL) 15.18 (Debian ...)`, `15.18`).
    pub fn parse(text: &str) -> Option<Version> {
        let word = text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
        let mut numbers = word.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse().ok());
        let major = numbers.next()??;
        let minor = if word.contains('.') { numbers.next().flatten() } else { None };
        Some(Version { major, minor: minor.unwrap_or(0) })
    }

    /// What mends something that the minor release of each major in `mended` was the first to have mended: `15.20 or
    /// later`. `None` if this release has it. Of majors that are not listed, older ones are never mended, and newer ones were never
    /// wrong.
    pub fn lacks(self, mended: &[(u32, u32)]) -> Option<String> {
        match mended.iter().find(|(major, _)| *major == self.major) {
            Some((major, minor)) => (self.minor < *minor).then(|| format!("{major}.{minor} or later")),
            None => {
                mended.iter().all(|(major, _)| self.major < *major).then(|| "a supported release".to_owned())
            }
        }
    }
}

/// One program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    /// `pg_dump` or `pg_restore`.
    pub name: &'static str,
    /// Where it is.
    pub path: PathBuf,
    /// What it says it is.
    pub version: Version,
}

impl Tool {
    /// A warning for each advisory about this version.
    pub fn warnings(&self) -> Vec<Finding> {
        let concerns = ADVISORIES
            .iter()
            .filter_map(|advisory| self.version.lacks(advisory.mended).map(|mended| (advisory, mended)));
        let finding = |(advisory, mended): (&Advisory, String)| {
            let what = format!("{} {}: {}: {}", self.name, self.version, advisory.cve, advisory.what);
            Finding::new(Severity::Warning, what).todo(format_args!("update the client packages to {mended}"))
        };
        concerns.map(finding).collect()
    }
}

/// The pg_dump for a server: the oldest that is not older than the server, because a newer one may write what the
/// server's own tools do not understand.
pub fn pg_dump(server: u32) -> Result<Tool> {
    let tools = installed("pg_dump");
    let fits = tools.iter().filter(|tool| tool.version.major >= server);
    fits.min_by_key(|tool| (tool.version.major, u32::MAX - tool.version.minor)).cloned().ok_or_else(|| {
        Error::not_ready(format_args!("there is no pg_dump for a server of version {server}{}", has(&tools)))
            .todo(format_args!("install postgresql-client-{server}"))
    })
}

/// The pg_restore that reads what `dumper` wrote and whose settings a server of version `target` understands.
pub fn pg_restore(dumper: u32, target: u32) -> Result<Tool> {
    let tools = installed("pg_restore");
    let fits = tools.iter().filter(|tool| tool.version.major >= dumper);
    // One that is newer than the target by this much sets a parameter that the target does not have.
    let speaks = |tool: &&Tool| tool.version.major <= target || target >= 17 || tool.version.major < 17;
    let best = fits
        .filter(speaks)
        .min_by_key(|tool| (tool.version.major.abs_diff(target.max(dumper)), u32::MAX - tool.version.minor));
    best.cloned().ok_or_else(|| {
        let what = format!(
            "there is no pg_restore that reads a dump of version {dumper} and feeds a server of version {target}{}",
            has(&tools)
        );
        Error::not_ready(what).todo(format_args!("install postgresql-client-{}", dumper.max(target)))
    })
}

fn has(tools: &[Tool]) -> String {
    match tools.is_empty() {
        true => String::new(),
        false => {
            let versions: Vec<String> = tools.iter().map(|tool| tool.version.to_string()).collect();
            format!(" (installed: {})", versions.join(", "))
        }
    }
}

/// Every program of that name that says its version.
fn installed(name: &'static str) -> Vec<Tool> {
    let mut folders = Vec::new();
    for (parent, prefix) in VERSIONED {
        let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
        let named = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
        folders.extend(named.map(|entry| entry.path().join("bin")));
    }
    folders.extend(
        std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).filter(|p| p.is_absolute()),
    );
    let paths = programs(folders.into_iter().map(|folder| folder.join(name)));
    paths.filter_map(|path| Some(Tool { name, version: version_of(&path)?, path })).collect()
}

/// Those that are there, each once, without Debian's script.
fn programs(paths: impl Iterator<Item = PathBuf>) -> impl Iterator<Item = PathBuf> {
    let mut seen = BTreeSet::new();
    paths.filter(move |path| {
        let real = path.canonicalize().ok().filter(|real| real.is_file() && !real.ends_with(WRAPPER));
        real.is_some_and(|real| seen.insert(real))
    })
}

fn version_of(path: &Path) -> Option<Version> {
    let command = Command::new(path, VERSION_LIMIT).args(["--version"]).pass_env(PLAIN_ENV);
    let output = command.run(b"", 4096).ok().filter(|output| output.status.success())?;
    Version::parse(std::str::from_utf8(output.stdout.expose()).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        let parse = |text| Version::parse(text).map(|v| (v.major, v.minor));
        assert_eq!(parse("pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"), Some((15, 18)));
        assert_eq!(parse("pg_restore (PostgreSQL) 18beta1"), Some((18, 0)));
        assert_eq!(parse("pg_restore"), None);
    }

    #[test]
    fn a_program_is_taken_once_and_the_script_that_starts_one_of_them_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let place = |name: &str| dir.path().join(name);
        std::fs::write(place("pg_restore"), "").unwrap();
        std::fs::write(place(WRAPPER), "").unwrap();
        std::os::unix::fs::symlink(place("pg_restore"), place("again")).unwrap();
        std::os::unix::fs::symlink(place(WRAPPER), place("started")).unwrap();
        let names = ["pg_restore", "again", "started", "missing"];
        let found: Vec<_> = programs(names.iter().map(|name| place(name))).collect();
        assert_eq!(found, [place("pg_restore")]);
    }

    #[test]
    fn known_bad_versions_are_named_with_what_mends_them() {
        let tool =
            |major, minor| Tool { name: "pg_dump", path: "/x".into(), version: Version { major, minor } };
        let of = |major, minor| tool(major, minor).warnings().len();
        assert_eq!((of(15, 7), of(15, 18), of(15, 19), of(15, 20), of(18, 6), of(19, 0)), (5, 2, 1, 0, 1, 0));
        assert_eq!(of(11, 22), 5);
        let warning = &tool(15, 18).warnings()[0];
        assert!(warning.what.contains("CVE-2026-18408"), "{warning:?}");
        assert_eq!(
            tool(11, 22).warnings()[0].remedy.as_deref(),
            Some("update the client packages to a supported release")
        );
        assert_eq!(warning.remedy.as_deref(), Some("update the client packages to 15.19 or later"));
    }
}
