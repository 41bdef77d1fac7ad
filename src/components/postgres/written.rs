//! Target: whether somebody wrote to the new database since it took the live one's name.
//!
//! A server counts the rows that the sessions of each database insert, change and delete (those of its catalogs too), and a
//! rename does not touch the counters. What the server's own ANALYZE writes is taken out of them. A server that crashed has
//! lost them, so one that was started since leaves the question open, as does one that does not count.

use super::address::Login;
use super::connect::{connect, server_version};
use super::error::failed;
use crate::component::Result;
use postgres::Client;
use serde::{Deserialize, Serialize};
use std::thread::sleep;
use std::time::Duration;

/// How often counters are looked at that do not stand still, and the time between two looks: it doubles up to the longest.
const LOOKS: u32 = 40;
const FIRST_NAP: Duration = Duration::from_millis(5);
const LONGEST_NAP: Duration = Duration::from_millis(50);
/// Before this version sessions told their counts to a process that wrote them down half a second later.
const COUNTS_AT_ONCE: u32 = 15;
const COLLECTORS_NAP: Duration = Duration::from_secs(1);

/// The counters of a database at one time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    /// When the server was started.
    started: String,
    /// Rows written since the counters began.
    rows: i64,
}

/// What two marks say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// Nobody wrote to it.
    No,
    /// Somebody did.
    Yes,
    /// It cannot be told.
    Unknown,
}

/// The counters of a database that nobody uses yet, once the sessions that filled it have told theirs. `None` if the
/// server does not count.
pub fn mark(login: &Login, database: &str) -> Result<Option<Mark>> {
    let mut session = connect(login, database)?;
    wait_for_collector(&mut session)?;
    let (mut last, mut nap) = (None, FIRST_NAP);
    for _ in 0..LOOKS {
        let alone = others(&mut session)? == 0;
        let now = look(&mut session)?;
        if alone && now == last {
            break;
        }
        last = now;
        sleep(nap);
        nap = LONGEST_NAP.min(nap * 2);
    }
    Ok(last)
}

/// Whether somebody wrote to a database since `mark`. Its sessions have ended.
pub fn since(login: &Login, database: &str, mark: Option<&Mark>) -> Written {
    let Some(mark) = mark else { return Written::Unknown };
    let looked = connect(login, database).and_then(|mut session| {
        wait_for_collector(&mut session)?;
        look(&mut session)
    });
    match looked {
        Ok(Some(now)) if now == *mark => Written::No,
        Ok(Some(now)) if now.started == mark.started => Written::Yes,
        _ => Written::Unknown,
    }
}

fn wait_for_collector(session: &mut Client) -> Result<()> {
    if server_version(session)?.major < COUNTS_AT_ONCE {
        sleep(COLLECTORS_NAP);
    }
    Ok(())
}

fn look(session: &mut Client) -> Result<Option<Mark>> {
    // The tables of ANALYZE, and those that their long values are moved to.
    let sql = "SELECT pg_catalog.pg_postmaster_start_time()::text, d.tup_inserted + d.tup_updated + d.tup_deleted - \
        (SELECT pg_catalog.sum(pg_catalog.pg_stat_get_tuples_inserted(t.oid) + pg_catalog.pg_stat_get_tuples_updated(t.oid) \
            + pg_catalog.pg_stat_get_tuples_deleted(t.oid))::bigint \
         FROM pg_catalog.pg_class c CROSS JOIN LATERAL (VALUES (c.oid), (c.reltoastrelid)) t(oid) \
         WHERE c.oid IN ('pg_catalog.pg_statistic'::pg_catalog.regclass, 'pg_catalog.pg_statistic_ext_data'::pg_catalog.regclass) \
         AND t.oid <> 0) \
        FROM pg_catalog.pg_stat_database d WHERE d.datname = pg_catalog.current_database() \
        AND pg_catalog.current_setting('track_counts')::bool";
    let row = session.query_opt(sql, &[]).map_err(|e| failed("the server's counters", &e))?;
    Ok(row.map(|row| Mark { started: row.get(0), rows: row.get(1) }))
}

/// Sessions in this one's database, besides it.
fn others(session: &mut Client) -> Result<i64> {
    let sql = "SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity \
        WHERE datname = pg_catalog.current_database() AND pid <> pg_catalog.pg_backend_pid() \
        AND backend_type = 'client backend'";
    Ok(session.query_one(sql, &[]).map_err(|e| failed("the database's sessions", &e))?.get(0))
}
