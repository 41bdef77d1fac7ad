//! Old things go aside under other names, and come back, or go for good. Each in one transaction that the caller ends.

use super::super::catalog;
use super::super::error::failed;
use super::super::index::LargeObject;
use super::super::quote::{ident, qualified};
use super::defaults;
use super::inventory::{drop_all, owned, renamed, schemas, Object};
use super::marker::{Line, Marker, Part};
use super::objects;
use super::session::{Tried, Trouble};
use super::ties;
use crate::base::fault::Fault;
use crate::component::{Error, Finding, Result, Severity};
use postgres::Client;
use std::collections::BTreeMap;

/// Puts `planned` aside, which must be all that there is, and makes `marker`. Schemas that are not `wanted` go in the end.
pub fn put_aside(
    session: &mut Client,
    marker: &Marker,
    planned: &[Object],
    incoming: &[LargeObject],
    wanted: &dyn Fn(&str) -> bool,
) -> Tried<()> {
    let mut old = owned(session)?;
    if old != planned {
        return Err(Error::not_ready("what the role owns in the database changed since the plan")
            .todo("run the import again while nothing is made, renamed or dropped there")
            .into());
    }
    lock(session, &old)?;
    marker.create(session)?;
    marker.add_objects(session, Part::Old, &old)?;
    renamed(&mut old);
    let renames = old.iter().enumerate().map(|(n, object)| object.rename(&marker.aside(n, &object.name)));
    run(session, "putting the old content aside", &renames.collect::<Vec<_>>())?;

    let unwanted = schemas(session)?.into_iter().filter(|(_, name)| !wanted(name));
    let lines: Vec<Line> = unwanted.map(|(oid, text)| Line { oid, text, class: 0 }).collect();
    marker.add(session, Part::OldSchema, &lines)?;

    let privileges = defaults::read(session)?;
    marker.add(session, Part::Back, &[Line { text: privileges.set.join(";\n"), ..Line::default() }])?;
    run(session, "default privileges", &privileges.clear)?;
    objects::put_aside(session, marker, incoming)?;
    Ok(())
}

/// Schemas and extensions, before anything came.
pub struct Before {
    schemas: Vec<(u32, String)>,
    extensions: BTreeMap<String, String>,
}

impl Before {
    /// Those that there are now.
    pub fn look(session: &mut Client) -> Result<Before> {
        Ok(Before { schemas: schemas(session)?, extensions: catalog::extensions(session)? })
    }
}

/// Writes down what came: everything that is not aside.
pub fn note_new(session: &mut Client, marker: &Marker, before: &Before) -> Result<Vec<Object>> {
    let old = numbers(session, marker, Part::Old)?;
    let there = owned(session)?.into_iter();
    let new: Vec<Object> = there.filter(|object| !old.contains_key(&(object.class, object.oid))).collect();
    // One line at least: a marker without any was committed by somebody else, before we got here.
    marker.add(session, Part::New, &[Line::default()])?;
    marker.add_objects(session, Part::New, &new)?;
    let made = schemas(session)?.into_iter().filter(|schema| !before.schemas.contains(schema));
    let lines: Vec<Line> = made.map(|(oid, text)| Line { oid, text, class: 0 }).collect();
    marker.add(session, Part::NewSchema, &lines)?;
    let made = catalog::extensions(session)?.into_keys().filter(|name| !before.extensions.contains_key(name));
    let lines: Vec<Line> = made.map(|text| Line { text, ..Line::default() }).collect();
    marker.add(session, Part::NewExtension, &lines)?;
    Ok(new)
}

/// Takes all back: what came is dropped, and what went aside has its names again. What somebody made in between stays,
/// under another name if that one is needed.
pub fn take_back(session: &mut Client, marker: &Marker) -> Tried<Vec<Finding>> {
    let old = numbers(session, marker, Part::Old)?;
    let new = numbers(session, marker, Part::New)?;
    let there = owned(session)?;
    let is_old = |object: &Object| old.contains_key(&(object.class, object.oid));
    let missing = old.len() - there.iter().filter(|object| is_old(object)).count();
    if missing > 0 {
        let what = format!("{missing} things that an import put aside are gone from the database");
        return Err(Error::new(Fault::Unexpected, what).todo("restore it from a backup").into());
    }
    let is_new = |object: &Object| match new.is_empty() {
        true => !is_old(object),
        false => new.contains_key(&(object.class, object.oid)),
    };
    let came: Vec<Object> = there.into_iter().filter(is_new).collect();
    lock(session, &came)?;
    drop_untied(session, &came)?;

    let mut findings = Vec::new();
    let mut back: Vec<Object> = Vec::new();
    let mut since: Vec<Object> = Vec::new();
    owned(session)?
        .into_iter()
        .for_each(|object| if is_old(&object) { &mut back } else { &mut since }.push(object));
    renamed(&mut back);
    renamed(&mut since);
    let name_of = |object: &Object| old.get(&(object.class, object.oid)).cloned().unwrap_or_default();
    let mut renames = Vec::new();
    for (n, object) in since.iter().enumerate() {
        let routine = |object: &Object| !object.args.is_empty();
        let wants = |old: &&Object| old.schema == object.schema && name_of(old) == object.name;
        if back.iter().filter(wants).any(|old| routine(old) == routine(object)) {
            let kept = marker.kept(n, &object.name);
            renames.push(object.rename(&kept));
            let what = format!("{} was made since the import, and is now called {kept}", object.shown());
            findings.push(Finding::new(Severity::Warning, what));
        }
    }
    renames.extend(back.iter().map(|object| object.rename(&name_of(object))));
    run(session, "giving the old content its names back", &renames)?;

    for Line { text, .. } in marker.lines(session, Part::NewExtension)? {
        run(session, "extensions", &[format!("DROP EXTENSION IF EXISTS {}", ident(&text))])?;
    }
    let schemas = marker.lines(session, Part::NewSchema)?;
    findings.extend(drop_schemas(session, &schemas)?);
    objects::take_back(session, marker)?;
    let now = defaults::read(session)?;
    run(session, "default privileges", &now.clear)?;
    let set: Vec<String> = marker.lines(session, Part::Back)?.into_iter().map(|line| line.text).collect();
    run(session, "default privileges", &set)?;
    marker.drop(session)?;
    Ok(findings)
}

/// Drops what went aside.
pub fn let_go(session: &mut Client, marker: &Marker) -> Tried<()> {
    let old = numbers(session, marker, Part::Old)?;
    let there = owned(session)?.into_iter();
    let aside: Vec<Object> = there.filter(|object| old.contains_key(&(object.class, object.oid))).collect();
    drop_untied(session, &aside)?;
    objects::let_go(session, marker)?;
    let schemas = marker.lines(session, Part::OldSchema)?;
    // It may be in one of them.
    marker.drop(session)?;
    drop_schemas(session, &schemas)?;
    Ok(())
}

/// Drops `objects`, if nothing of anybody else would go with them.
fn drop_untied(session: &mut Client, objects: &[Object]) -> Tried<()> {
    match ties::others(session, objects)?.as_slice() {
        [] => drop_all(session, objects),
        some => {
            Err(Error::not_ready(format_args!("others depend on what is to be dropped: {}", some.join(", ")))
                .todo("drop these first; then run it again, or `kbpack recover` where that was asked for")
                .into())
        }
    }
}

/// Drops the schemas that nothing is in. Those with something in them stay, and are told.
fn drop_schemas(session: &mut Client, lines: &[Line]) -> Tried<Vec<Finding>> {
    let mut findings = Vec::new();
    for Line { oid, text, .. } in lines {
        let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.deptype = 'n' \
            AND d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND d.refobjid = n.oid) \
            FROM pg_catalog.pg_namespace n WHERE n.oid = $1 AND n.nspname = $2";
        let row = session.query_opt(sql, &[oid, text]);
        match row.map_err(|e| failed(format_args!("schema {text}"), &e))?.map(|row| row.get::<_, bool>(0)) {
            None => {}
            Some(false) => run(session, "schemas", &[format!("DROP SCHEMA {}", ident(text))])?,
            Some(true) => findings.push(Finding::new(
                Severity::Warning,
                format_args!("schema {text} stays, for somebody else's things are in it"),
            )),
        }
    }
    Ok(findings)
}

/// Holds every table of `objects`, so that nobody is in the middle of using one.
fn lock(session: &mut Client, objects: &[Object]) -> Tried<()> {
    let tables = objects.iter().filter(|object| object.kind == "TABLE");
    let names: Vec<String> =
        tables.map(|table| format!("ONLY {}", qualified(&table.schema, &table.name))).collect();
    match names.is_empty() {
        true => Ok(()),
        false => run(session, "locking the tables", &[format!("LOCK TABLE {}", names.join(", "))]),
    }
}

fn run(session: &mut Client, what: &str, statements: &[String]) -> Tried<()> {
    session.batch_execute(&statements.join(";\n")).map_err(|e| Trouble::of(what, &e))
}

/// Names by catalog and number.
fn numbers(session: &mut Client, marker: &Marker, part: Part) -> Result<BTreeMap<(u32, u32), String>> {
    let lines = marker.lines(session, part)?;
    Ok(lines.into_iter().map(|line| ((line.class, line.oid), line.text)).collect())
}
