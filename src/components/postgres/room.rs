//! Target: whether the server has the room for a database, where that can be seen: on this machine.

use super::address::{Login, Place as Way};
use super::error::failed;
use super::facts::Database;
use crate::component::{Finding, Result, Severity};
use postgres::Client;
use std::collections::BTreeMap;
use std::fs::metadata;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A database without anything in it, at most.
const EMPTY: u64 = 16 * 1024 * 1024;

/// What is needed where.
pub struct Room {
    /// Bytes in folders of this machine, without which it cannot work.
    pub needs: Vec<(PathBuf, u64)>,
    /// What there is to say.
    pub findings: Vec<Finding>,
}

/// Looks where `database` goes. `rows`: bytes of its streams.
pub fn look(
    session: &mut Client,
    login: &Login,
    database: &Database,
    no_tablespaces: bool,
    rows: u64,
) -> Result<Room> {
    let unseen = || {
        let what = format!(
            "whether {login} has the room for {} more cannot be seen from here",
            size(database.bytes)
        );
        Room { needs: Vec::new(), findings: vec![Finding::new(Severity::Note, what)] }
    };
    let Some(data) = data_folder(session, login)? else { return Ok(unseen()) };
    let mut folder = data.clone();
    if !no_tablespaces && database.tablespace != "pg_default" {
        let sql =
            "SELECT pg_catalog.pg_tablespace_location(oid) FROM pg_catalog.pg_tablespace WHERE spcname = $1";
        let row = session.query_opt(sql, &[&database.tablespace]);
        let place = row.map_err(|e| failed("the tablespaces", &e))?.map(|row| row.get::<_, String>(0));
        folder = place.filter(|place| !place.is_empty()).map_or(folder, PathBuf::from);
    }
    if !is_seen(&folder) {
        return Ok(unseen());
    }
    let sql = "SELECT pg_catalog.pg_size_bytes(pg_catalog.current_setting('max_wal_size'))";
    let wal: i64 = session.query_one(sql, &[]).map_err(|e| failed("max_wal_size", &e))?.get(0);
    let wal_folder = Some(data.join("pg_wal")).filter(|folder| metadata(folder).is_ok()).unwrap_or(data);
    // The source's may be bloated; rows as text, and as much again for what is made of them, are not.
    let least = database.bytes.min(rows.saturating_mul(2).saturating_add(EMPTY));
    let log = |bytes: u64| bytes.min(u64::try_from(wal).unwrap_or(0));
    let needs = vec![(folder.clone(), least), (wal_folder.clone(), log(least))];
    let mut room = Room { needs, findings: Vec::new() };
    let likely = [(folder, database.bytes), (wal_folder, log(database.bytes))];
    // Where it surely does not fit, it is not warned of.
    if short_of(&room.needs).is_none() {
        let Some((folder, need, free)) = short_of(&likely) else { return Ok(room) };
        let what = format!(
            "{} has {} left, and on the source the database took {} of a disk, log included",
            folder.display(),
            size(free),
            size(need)
        );
        room.findings.push(
            Finding::new(Severity::Warning, what)
                .todo("make room there; an import for which there is too little is undone"),
        );
    }
    Ok(room)
}

/// The server's folder, if it is on this machine and we are told which.
fn data_folder(session: &mut Client, login: &Login) -> Result<Option<PathBuf>> {
    let local = match &login.place {
        Way::Socket(_) => true,
        Way::Tcp(name) => name == "localhost" || name.parse::<IpAddr>().is_ok_and(|n| n.is_loopback()),
    };
    if !local {
        return Ok(None);
    }
    // The view leaves out what a role may not see.
    let sql = "SELECT setting FROM pg_catalog.pg_settings WHERE name = 'data_directory'";
    let row = session.query_opt(sql, &[]).map_err(|e| failed("data_directory", &e))?;
    let folder = row.map(|row| PathBuf::from(row.get::<_, String>(0)));
    Ok(folder.filter(|folder| is_seen(folder)))
}

fn is_seen(folder: &Path) -> bool {
    metadata(folder).is_ok_and(|meta| meta.is_dir())
}

/// The first file system on which the folders need more than there is: a folder, the need, and what is free.
fn short_of(needs: &[(PathBuf, u64)]) -> Option<(&Path, u64, u64)> {
    let mut devices: BTreeMap<u64, (&Path, u64)> = BTreeMap::new();
    for (folder, bytes) in needs {
        let Ok(meta) = metadata(folder) else { continue };
        devices.entry(meta.dev()).or_insert((folder, 0)).1 += bytes;
    }
    devices.into_values().find_map(|(folder, need)| {
        let room = rustix::fs::statvfs(folder).ok()?;
        let free = room.f_bavail.saturating_mul(room.f_frsize);
        (need > free).then_some((folder, need, free))
    })
}

fn size(bytes: u64) -> String {
    format!("{} MB", bytes.div_ceil(1024 * 1024))
}
