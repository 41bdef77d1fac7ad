//! pg_dump and pg_restore as children: connected by their environment, without a secret in it.

use super::address::Login;
use super::pgpass::PrivateFile;
use super::quote;
use super::tools::Tool;
use crate::base::fault::{Fault, Faulty};
use crate::base::interrupt;
use crate::base::libpq::MORE_LOCKS;
use crate::base::process::{Command, Output, ProcessError, Stdout, Talked, PLAIN_ENV};
use crate::base::secret::Secret;
use crate::component::{Error, Result};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::process::ExitStatus;
use std::time::Duration;

/// Large databases take days; a child that hangs longer is ended.
const LIMIT: Duration = Duration::from_secs(14 * 24 * 3600);
/// For a session that restores: a crash ends it, and what it made goes with it, so no statement waits for the disk. What
/// makes the database visible does, and with it all that was before it in the server's log.
const RESTORING: &str = "-c synchronous_commit=off";
/// Bytes of an archive's list.
const MAX_LIST: usize = 512 * 1024 * 1024;

/// A database, and how children reach it.
pub struct Reach<'a> {
    /// Where and as whom.
    pub login: &'a Login,
    /// Which database.
    pub database: &'a str,
    /// The password, in a file.
    pub passfile: &'a PrivateFile,
}

impl Reach<'_> {
    fn command(&self, tool: &Tool) -> Command {
        // A database's name that looks like a connection string would be taken for one.
        let database = format!("dbname={}", quote::conninfo(self.database));
        Command::new(&tool.path, LIMIT)
            .called(tool.name)
            .args(["-w", "-d", &database])
            .pass_env(PLAIN_ENV)
            .env("PGHOST", self.login.host())
            .env("PGPORT", self.login.port.to_string())
            .env("PGUSER", &self.login.user)
            .env("PGSSLMODE", self.login.sslmode.word())
            .env("PGPASSFILE", self.passfile.path())
            .env("PGAPPNAME", "kbpack")
            .env("PGCONNECT_TIMEOUT", "20")
            .until_interrupted()
    }
}

/// A file that is only in memory: what is in it never touches a disk.
pub fn memory_file(name: &str) -> Result<File> {
    let made = rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::CLOEXEC);
    made.map(File::from).map_err(|errno| Error::io("a file in memory", errno.into()))
}

/// How a pg_dump ended that did not fail for good.
pub enum Dumped {
    /// Its archive, in memory: it is small, for rows are not in it.
    Archive(File),
    /// Somebody locked, changed or dropped what it was about to read.
    Disturbed,
}

/// What pg_dump says then.
const DISTURBED: [&str; 6] = [
    "lock timeout",
    "statement timeout", // of its LOCK: it sets no other
    "could not obtain lock",
    "does not exist",
    "could not open relation",
    "cache lookup failed",
];

/// Runs pg_dump.
pub fn dump(tool: &Tool, reach: &Reach<'_>, args: &[String]) -> Result<Dumped> {
    let mut archive = memory_file("kbpack-dump")?;
    let copy = |_, mut from: Stdout| -> Result<u64> {
        let mut buffer = vec![0; 256 * 1024];
        let mut size = 0;
        loop {
            interrupt::check().map_err(Error::of)?;
            let n = from.read(&mut buffer).map_err(|error| Error::io("pg_dump", error))?;
            if n == 0 {
                return Ok(size);
            }
            archive.write_all(&buffer[..n]).map_err(|error| Error::io("pg_dump's archive", error))?;
            size += n as u64;
        }
    };
    let Talked { said, status, stderr } = reach.command(tool).args(args).talk(copy).map_err(ended)?;
    let size = said?;
    if !status.success() && stderr.lines().any(|line| DISTURBED.iter().any(|said| line.contains(said))) {
        return Ok(Dumped::Disturbed);
    }
    succeeded(tool, status, &stderr)?;
    match size {
        0 => Err(Error::new(Fault::Unexpected, "pg_dump wrote nothing")),
        _ => Ok(Dumped::Archive(archive)),
    }
}

/// Feeds a part of `archive` to the database with pg_restore. The first statement that fails ends it.
pub fn restore(tool: &Tool, reach: &Reach<'_>, archive: &File, args: &[&str]) -> Result<()> {
    let command = reach.command(tool).env("PGOPTIONS", RESTORING);
    let command = command.args(["--exit-on-error"]).args(args).args(["/dev/stdin"]);
    let command = command.stdin_file(rewound(archive)?);
    let Output { status, stderr, .. } = command.run(b"", MAX_LIST).map_err(ended)?;
    succeeded(tool, status, &stderr).map_err(|error| match error.fault() {
        // What the server said, or else what pg_restore itself did not understand.
        Fault::Unexpected if stderr.contains("ERROR:") => Error::not_ready(error).todo(
            "this server does not take that definition: correct it at the source, or what it needs here",
        ),
        Fault::Unexpected => Error::rule("D4", error),
        _ => error,
    })
}

/// A child that was ended because of a signal did not take too long.
fn ended(error: ProcessError) -> Error {
    interrupt::check().err().map_or_else(|| Error::of(error), Error::of)
}

/// The archive's table of contents, as `pg_restore -l` prints it.
pub fn list(tool: &Tool, archive: &File) -> Result<String> {
    let command = Command::new(&tool.path, LIMIT).called(tool.name).pass_env(PLAIN_ENV);
    let command = command.args(["-l", "/dev/stdin"]).stdin_file(rewound(archive)?);
    let output = command.run(b"", MAX_LIST).map_err(Error::of)?;
    succeeded(tool, output.status, &output.stderr)?;
    Ok(String::from_utf8_lossy(output.stdout.expose()).into_owned())
}

/// The SQL of a part of the archive.
pub fn script(tool: &Tool, archive: &File, args: &[&str]) -> Result<Secret> {
    let command = Command::new(&tool.path, LIMIT).called(tool.name).pass_env(PLAIN_ENV);
    let command = command.args(["-f", "-"]).args(args).args(["/dev/stdin"]).stdin_file(rewound(archive)?);
    let output = command.run(b"", MAX_LIST).map_err(Error::of)?;
    succeeded(tool, output.status, &output.stderr)?;
    Ok(output.stdout)
}

/// The same file, at its beginning.
pub fn rewound(file: &File) -> Result<File> {
    let io = |error| Error::io("a file in memory", error);
    let mut file = file.try_clone().map_err(io)?;
    file.rewind().map_err(io)?;
    Ok(file)
}

fn succeeded(tool: &Tool, status: ExitStatus, stderr: &str) -> Result<()> {
    match status.success() {
        true => Ok(()),
        false => Err(refused(tool, status, stderr)),
    }
}

const OUT_OF_LOCKS: &str = "out of shared memory";

/// What it says is wrong, and in which entry; never the statement, which may hold a secret.
fn refused(tool: &Tool, status: ExitStatus, stderr: &str) -> Error {
    let said = |word: &str| stderr.lines().rev().find_map(|line| Some(line.split_once(word)?.1.trim()));
    let why = said("ERROR:").or_else(|| said("error:")).unwrap_or("it said nothing");
    let place = said("from TOC entry").map(|entry| format!(" (entry {entry})")).unwrap_or_default();
    let fault = match why {
        _ if why.contains("No space left") || why.contains(OUT_OF_LOCKS) => Fault::Limit,
        _ if why.contains("permission denied") || why.contains("must be ") => Fault::NotReady,
        _ if why.contains("canceling statement due to lock timeout") => Fault::NotReady,
        _ => Fault::Unexpected,
    };
    let error = Error::new(fault, format_args!("{} ended with {status}: {why}{place}", tool.name));
    match why.contains(OUT_OF_LOCKS) {
        true => error.todo(MORE_LOCKS),
        false => error,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tools::Version;
    use super::*;
    use crate::base::fault::Faulty;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn a_full_table_of_locks_is_a_limit_and_what_to_raise_is_said() {
        let tool = Tool { name: "pg_dump", path: "pg_dump".into(), version: Version { major: 15, minor: 1 } };
        let stderr = "pg_dump: error: query failed: ERROR:  out of shared memory\nHINT:  You might need to increase \
            max_locks_per_transaction.\npg_dump: detail: Query was: LOCK TABLE public.t8614 IN ACCESS SHARE MODE\n";
        let error = refused(&tool, ExitStatus::from_raw(256), stderr);
        assert_eq!(error.fault(), Fault::Limit);
        assert!(error.to_string().ends_with("out of shared memory"), "{error}");
        assert!(error.remedy().is_some_and(|todo| todo.contains("max_locks_per_transaction")));
    }
}
