//! Security labels: of the database itself, which pg_dump leaves out, and whose providers a server has.

use super::error::{code_of, failed};
use super::facts::Label;
use super::quote::{ident, literal};
use crate::component::Result;
use postgres::{Client, GenericClient};

/// The labels of the database with this number, and the providers of those on its objects.
pub fn read(client: &mut impl GenericClient, oid: u32) -> Result<(Vec<Label>, Vec<String>)> {
    let place = |e: postgres::Error| failed("the security labels", &e);
    let sql = "SELECT provider, label FROM pg_catalog.pg_shseclabel \
        WHERE classoid = 'pg_catalog.pg_database'::pg_catalog.regclass AND objoid = $1 ORDER BY 1";
    let labels = client.query(sql, &[&oid]).map_err(place)?;
    let labels = labels.iter().map(|row| Label { provider: row.get(0), label: row.get(1) });
    let sql = "SELECT DISTINCT provider FROM pg_catalog.pg_seclabel ORDER BY 1";
    let providers = client.query(sql, &[]).map_err(place)?;
    Ok((labels.collect(), providers.iter().map(|row| row.get(0)).collect()))
}

/// Whether the server knows `provider`. No catalog lists them; one that is not there is refused before anything else. What
/// was tried is rolled back.
pub fn knows(session: &mut Client, provider: &str, user: &str) -> Result<bool> {
    let place = |e: postgres::Error| failed("the providers of security labels", &e);
    let mut trial = session.transaction().map_err(place)?;
    let sql = format!("SECURITY LABEL FOR {} ON ROLE {} IS NULL", literal(provider), ident(user));
    let known = match trial.batch_execute(&sql) {
        Err(error) if error.as_db_error().is_none() => return Err(place(error)),
        Err(error) => code_of(&error) != "22023",
        Ok(()) => true,
    };
    trial.rollback().map_err(place)?;
    Ok(known)
}

/// Puts `label` on the database called `name`, which is quoted.
pub fn statement(name: &str, label: &Label) -> String {
    let Label { provider, label } = label;
    format!("SECURITY LABEL FOR {} ON DATABASE {name} IS {}", literal(provider), literal(label))
}
