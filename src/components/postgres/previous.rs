//! Target: the database that is replaced, and the one that an earlier import replaced and kept.

use super::connect::database_name;
use super::error::failed;
use super::facts::{Facts, Kept};
use super::tools::{self, Version};
use crate::base::fault::Faulty;
use crate::component::{Finding, LateBackup, Result, Severity};
use postgres::Client;

/// The late backup of the database with this number.
pub fn late_backup(session: &mut Client, oid: u32, server: Version) -> Result<LateBackup> {
    Ok(LateBackup { bytes: size(session, oid)?, hindrance: no_backup_tools(server) })
}

/// The name of the old database, if it is still there as the backup left it.
pub fn still_kept(
    session: &mut Client,
    facts: &Facts,
    findings: &mut Vec<Finding>,
) -> Result<Option<String>> {
    let Some(Kept { name, number }) = &facts.kept else { return Ok(None) };
    let there = database_name(session, *number)?.as_ref() == Some(name);
    let what = match there {
        true => format!("the old database is still there, as {name}, and takes its name back"),
        false => format!("there is no {name} any more: the old database is restored from its backup"),
    };
    findings.push(Finding::new(Severity::Note, what));
    Ok(there.then(|| name.clone()))
}

/// Why what is replaced could not be backed up, as far as it takes programs.
fn no_backup_tools(server: Version) -> Option<Finding> {
    let found = tools::pg_dump(server.major).and_then(|_| tools::pg_restore(server.major, server.major));
    let error = found.err()?;
    let finding = Finding::new(Severity::Refusal, format_args!("what is there cannot be backed up: {error}"));
    let todo = error.remedy().unwrap_or_default();
    Some(finding.todo(format_args!("{todo}; or go without a backup: --no-backup")))
}

/// Bytes of the database with this number; 0 where the role may not know.
fn size(session: &mut Client, oid: u32) -> Result<u64> {
    let sql = "SELECT CASE WHEN pg_catalog.has_database_privilege($1::oid, 'CONNECT') \
        OR pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE') THEN pg_catalog.pg_database_size($1::oid) ELSE 0 END";
    let bytes: i64 = session.query_one(sql, &[&oid]).map_err(|e| failed("the database's size", &e))?.get(0);
    Ok(u64::try_from(bytes).unwrap_or(0))
}
