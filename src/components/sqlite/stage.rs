//! The new database and a copy of the old one, complete, out of sight: `new.db` and `old.db` in the staging area.

use super::facts::{Database, JournalMode};
use super::open::{self, sql, MAGIC};
use super::plan::{Planned, Todo};
use super::snapshot::{new_file, Snapshot, JOURNAL_BYTES};
use super::DATABASE;
use crate::base::fsx::sync_dir;
use crate::base::path::shown;
use crate::base::side::make_side;
use crate::component::{stream_name, Error, Result, Scope, StreamSource};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{fchown, FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What is to be put in place.
pub fn new_in(side: &Path) -> PathBuf {
    side.join("new.db")
}

/// What was there.
pub fn old_in(side: &Path) -> PathBuf {
    side.join("old.db")
}

/// Writes both.
pub fn stage(plan: &Planned, timeout: Duration, scope: &Scope<'_>, streams: &dyn StreamSource) -> Result<()> {
    if plan.todo == Todo::Nothing {
        return Ok(());
    }
    make_side(&plan.side).map_err(Error::at(&plan.side))?;
    if let (true, Some(wanted)) = (plan.todo.writes(), &plan.wanted) {
        scope.progress.expect(wanted.database.size);
        write_new(plan, &wanted.database, scope, streams)?;
    }
    if let Todo::Write { old, .. } = plan.todo {
        let connection = open::to_read(&plan.path, timeout)?;
        let snapshot = Snapshot::begin(&connection, &plan.path)?;
        if snapshot.digest()? != old {
            return Err(edited(&plan.path));
        }
        let copy = old_in(&plan.side);
        fresh(&copy)?;
        snapshot.copy_to(&copy)?;
        at_least_a_page(&copy)?;
    }
    sync_dir(&plan.side).map_err(Error::at(&plan.side))
}

/// Something wrote to the database after it was planned.
pub fn edited(path: &Path) -> Error {
    Error::not_ready(format_args!("{}: another program wrote to it since the plan", shown(path)))
        .todo("stop that program, and import again")
}

fn fresh(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io(shown(path), e)),
        _ => Ok(()),
    }
}

fn write_new(
    plan: &Planned,
    database: &Database,
    scope: &Scope<'_>,
    streams: &dyn StreamSource,
) -> Result<()> {
    let path = new_in(&plan.side);
    let io = Error::at(&path);
    fresh(&path)?;
    let mut file = new_file(&path).map_err(io)?;
    let mut stream = streams.open(&stream_name(DATABASE)?)?;
    let mut buffer = vec![0; 128 * 1024];
    let mut head: Vec<u8> = Vec::new();
    loop {
        let n = match stream.read(&mut buffer) {
            Ok(0) => break,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            read => read.map_err(io)?,
        };
        head.extend_from_slice(&buffer[..n.min(100 - head.len().min(100))]);
        file.write_all(&buffer[..n]).map_err(io)?;
        scope.progress.advance(n as u64);
    }
    require_header(&head, database)?;
    if let Todo::Write { mode, .. } = plan.todo {
        set_journal_mode(&file, &head, mode).map_err(io)?;
    }
    file.sync_all().map_err(io)?;
    drop(file);
    match plan.todo {
        Todo::Write { .. } => at_least_a_page(&path),
        // From here on others than root may see it only where it will be: nobody else can enter the staging area.
        _ => finish_file(&path, plan.owner, database.mode.0).map_err(io),
    }
}

fn finish_file(path: &Path, owner: Option<(u32, u32)>, mode: u32) -> io::Result<()> {
    let file = File::open(path)?;
    if let Some((uid, gid)) = owner {
        fchown(&file, Some(uid), Some(gid))?;
    }
    file.set_permissions(Permissions::from_mode(mode))?;
    file.sync_all()
}

/// Rule L3: the stream is a database file, and the one that the facts describe.
fn require_header(head: &[u8], database: &Database) -> Result<()> {
    let broken = |what: &str| Err(Error::rule("L3", format_args!("stream {DATABASE}: {what}")));
    if database.size == 0 {
        return Ok(());
    }
    if head.len() < 100 || !head.starts_with(MAGIC) {
        return broken("it is not a SQLite database");
    }
    let page_size = match u32::from(u16::from_be_bytes([head[16], head[17]])) {
        1 => 65536,
        size => size,
    };
    let mode = match head[JOURNAL_BYTES] {
        [1, 1] => JournalMode::Rollback,
        [2, 2] => JournalMode::Wal,
        _ => return broken("its header names no journal mode"),
    };
    if page_size != database.page_size || mode != database.journal_mode {
        return broken("its header is not the one that the facts describe");
    }
    Ok(())
}

/// Makes the file say what the one in place says of its journal, which a copy of its pages would change.
fn set_journal_mode(file: &File, head: &[u8], mode: JournalMode) -> io::Result<()> {
    if head.is_empty() {
        return Ok(());
    }
    let version = if mode == JournalMode::Wal { 2 } else { 1 };
    file.write_all_at(&[version; 2], JOURNAL_BYTES.start as u64)
}

/// Gives an empty file, which is a database in which nothing was ever written, its first page: else a copy of it page
/// by page would begin and end in one step.
fn at_least_a_page(path: &Path) -> Result<()> {
    if fs::metadata(path).map_err(Error::at(path))?.len() > 0 {
        return Ok(());
    }
    let connection = open::to_write(path, Duration::ZERO)?;
    connection.execute_batch("VACUUM").map_err(|e| sql(path, &e))?;
    drop(connection);
    let file = OpenOptions::new().write(true).open(path).map_err(Error::at(path))?;
    file.sync_all().map_err(Error::at(path))
}
