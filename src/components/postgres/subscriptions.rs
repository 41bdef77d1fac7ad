//! Subscriptions: packed with the database, disabled where they are restored, and in the way of whoever drops it.

use super::connect::connect;
use super::error::failed;
use super::quote::ident;
use super::Place;
use crate::component::{Finding, Result, Severity};
use postgres::{Client, GenericClient};

fn names(client: &mut impl GenericClient) -> Result<Vec<String>> {
    let sql = "SELECT s.subname::text FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d ON d.oid = s.subdbid \
        WHERE d.datname = pg_catalog.current_database() ORDER BY 1";
    let rows = client.query(sql, &[]).map_err(|e| failed("the list of subscriptions", &e))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Source: what becomes of those of the session's database.
pub fn found(session: &mut Client) -> Result<Option<Finding>> {
    let names = names(session)?;
    if names.is_empty() {
        return Ok(None);
    }
    let sql = "SELECT pg_catalog.current_setting('is_superuser') = 'on'";
    let reads: bool = session.query_one(sql, &[]).map_err(|e| failed("the role", &e))?.get(0);
    let names = names.join(", ");
    Ok(Some(match reads {
        true => Finding::new(
            Severity::Warning,
            format!("subscriptions come disabled, and with the source's replication slots: {names}"),
        )
        .todo("once the database is in its new place, drop them on the source, and enable them there"),
        false => Finding::new(
            Severity::Warning,
            format!("subscriptions stay behind, for only a superuser may read them: {names}"),
        )
        .todo("export as a superuser, or make them again on the target"),
    }))
}

/// Target: drops those of the database called `name`, which was never in use. Their slots, elsewhere, are the source's.
pub fn forget(place: &Place, name: &str) -> Result<()> {
    let mut session = connect(&place.admin.0, name)?;
    for name in names(&mut session)? {
        let name = ident(&name);
        for sql in
            ["DISABLE", "SET (slot_name = NONE)"].map(|what| format!("ALTER SUBSCRIPTION {name} {what}"))
        {
            session.batch_execute(&sql).map_err(|e| failed(format_args!("subscription {name}"), &e))?;
        }
        let dropped = session.batch_execute(&format!("DROP SUBSCRIPTION {name}"));
        dropped.map_err(|e| failed(format_args!("subscription {name}"), &e))?;
    }
    Ok(())
}
