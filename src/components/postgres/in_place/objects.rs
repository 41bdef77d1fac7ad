//! Large objects, which have numbers and no names: one whose number is needed goes aside as a copy.

use super::super::error::failed;
use super::super::index::LargeObject;
use super::super::large_objects;
use super::marker::{Line, Marker, Part};
use crate::component::Result;
use postgres::Client;
use std::collections::BTreeSet;

/// Bytes that are copied at once, inside the server. No signal is looked at: an undo must come to its end.
const CHUNK: i32 = 1024 * 1024;

/// Numbers of the role's large objects, and of all others.
pub fn numbers(session: &mut Client) -> Result<(BTreeSet<u32>, BTreeSet<u32>)> {
    let sql =
        "SELECT m.oid, pg_catalog.pg_has_role(m.lomowner, 'USAGE') FROM pg_catalog.pg_largeobject_metadata m";
    let rows = session.query(sql, &[]).map_err(|e| failed("the list of large objects", &e))?;
    let of =
        |ours: bool| rows.iter().filter(|row| row.get::<_, bool>(1) == ours).map(|row| row.get(0)).collect();
    Ok((of(true), of(false)))
}

/// Copies those whose numbers are needed, and makes these free.
pub fn put_aside(session: &mut Client, marker: &Marker, incoming: &[LargeObject]) -> Result<()> {
    let (ours, _) = numbers(session)?;
    let needed: BTreeSet<u32> = incoming.iter().map(|object| object.oid).collect();
    let line = |oid: &u32| Line { oid: *oid, ..Line::default() };
    marker.add(session, Part::Unwanted, &ours.difference(&needed).map(line).collect::<Vec<_>>())?;
    marker.add(session, Part::NewObject, &needed.iter().map(line).collect::<Vec<_>>())?;
    let mut copies = Vec::new();
    for &oid in ours.intersection(&needed) {
        let text = large_objects::properties(session, oid)?;
        let class = create(session, 0)?;
        copy(session, oid, class)?;
        unlink(session, oid)?;
        copies.push(Line { class, oid, text });
    }
    marker.add(session, Part::OldObject, &copies)
}

/// Removes those that came, and makes the old ones again from their copies.
pub fn take_back(session: &mut Client, marker: &Marker) -> Result<()> {
    for Line { oid, .. } in marker.lines(session, Part::NewObject)? {
        unlink(session, oid)?;
    }
    for Line { class, oid, text } in marker.lines(session, Part::OldObject)? {
        create(session, oid)?;
        copy(session, class, oid)?;
        unlink(session, class)?;
        session.batch_execute(&text).map_err(|e| failed(format_args!("large object {oid}"), &e))?;
    }
    Ok(())
}

/// Removes the copies, and what the new content does not have.
pub fn let_go(session: &mut Client, marker: &Marker) -> Result<()> {
    for Line { class, .. } in marker.lines(session, Part::OldObject)? {
        unlink(session, class)?;
    }
    for Line { oid, .. } in marker.lines(session, Part::Unwanted)? {
        unlink(session, oid)?;
    }
    Ok(())
}

/// Makes an empty one; of number 0, under any number.
fn create(session: &mut Client, oid: u32) -> Result<u32> {
    let row = session.query_one("SELECT pg_catalog.lo_create($1)", &[&oid]);
    Ok(row.map_err(|e| failed(format_args!("large object {oid}"), &e))?.get(0))
}

/// Removes one, if it is there and the role's.
fn unlink(session: &mut Client, oid: u32) -> Result<()> {
    let sql =
        "SELECT pg_catalog.lo_unlink(m.oid) FROM pg_catalog.pg_largeobject_metadata m WHERE m.oid = $1 \
        AND pg_catalog.pg_has_role(m.lomowner, 'USAGE')";
    session.query(sql, &[&oid]).map(|_| ()).map_err(|e| failed(format_args!("large object {oid}"), &e))
}

fn copy(session: &mut Client, from: u32, to: u32) -> Result<()> {
    let sql = "SELECT pg_catalog.length(piece), pg_catalog.lo_put($2, $3, piece) FROM pg_catalog.lo_get($1, $3, $4) piece";
    let mut offset: i64 = 0;
    loop {
        let row = session.query_one(sql, &[&from, &to, &offset, &CHUNK]);
        let row = row.map_err(|e| failed(format_args!("large object {from}"), &e))?;
        match row.get::<_, i32>(0) {
            0 => return Ok(()),
            n => offset += i64::from(n),
        }
    }
}
