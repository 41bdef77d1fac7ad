//! Large objects: out as lines of COPY text (number, offset, bytes), and in by the server's own functions.

use super::error::failed;
use super::index::LargeObject;
use super::quote;
use super::rows::write_all;
use crate::base::digest::{decode_hex, encode_hex, Digest, Hasher};
use crate::base::interrupt;
use crate::component::{stream_name, Error, Holds, Result, Scope, StreamSink, StreamSource, StreamWrite};
use postgres::Client;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};

/// Bytes of a line's content.
const CHUNK: i32 = 256 * 1024;
/// Bytes of content after which a stream ends.
const STREAM_BYTES: u64 = 256 * 1024 * 1024;
/// Bytes of a line: its content as hex, and two numbers.
const MAX_LINE: u64 = 2 * CHUNK as u64 + 64;

/// Writes every large object's content, or only those of the session's role.
pub fn capture(
    session: &mut Client,
    scope: &Scope<'_>,
    sink: &dyn StreamSink,
    own_only: bool,
) -> Result<Vec<LargeObject>> {
    let sql = "SELECT m.oid, pg_catalog.pg_get_userbyid(m.lomowner)::text, m.lomacl IS NULL, \
        pg_catalog.obj_description(m.oid, 'pg_largeobject') FROM pg_catalog.pg_largeobject_metadata m \
        WHERE NOT $1 OR pg_catalog.pg_has_role(m.lomowner, 'USAGE') ORDER BY 1";
    let found = session.query(sql, &[&own_only]).map_err(|e| failed("the list of large objects", &e))?;
    let mut objects: Vec<LargeObject> = Vec::new();
    let mut open: Option<Box<dyn StreamWrite>> = None;
    let (mut streams, mut written) = (0, 0);
    for row in found {
        let oid: u32 = row.get(0);
        let acl = if row.get(2) { None } else { Some(acl_of(session, oid)?) };
        if written > STREAM_BYTES {
            if let Some(full) = open.take() {
                full.finish()?;
            }
            written = 0;
        }
        let mut hasher = Hasher::new();
        loop {
            interrupt::check().map_err(Error::of)?;
            let offset = i64::try_from(hasher.len()).unwrap_or(i64::MAX);
            let bytes = read(session, oid, offset)?;
            if bytes.is_empty() {
                break;
            }
            hasher.update(&bytes);
            let stream = match &mut open {
                Some(stream) => stream,
                none => {
                    streams += 1;
                    none.insert(sink.create(&stream_name(&format!("objects/{streams:06}"))?, Holds::Data)?)
                }
            };
            stream.label(&format!("large object {oid}"));
            let line = format!("{oid}\t{offset}\t\\\\x{}\n", encode_hex(&bytes));
            write_all(&mut **stream, line.as_bytes(), format_args!("large object {oid}"))?;
            written += bytes.len() as u64;
            scope.progress.advance(bytes.len() as u64);
        }
        let stream =
            if hasher.is_empty() { None } else { Some(stream_name(&format!("objects/{streams:06}"))?) };
        let (owner, comment) = (row.get(1), row.get(3));
        objects.push(LargeObject {
            oid,
            owner,
            acl,
            comment,
            size: hasher.len(),
            sha256: hasher.finish(),
            stream,
        });
    }
    if let Some(last) = open {
        last.finish()?;
    }
    Ok(objects)
}

fn read(session: &mut Client, oid: u32, offset: i64) -> Result<Vec<u8>> {
    let row = session.query_one("SELECT pg_catalog.lo_get($1, $2, $3)", &[&oid, &offset, &CHUNK]);
    Ok(row.map_err(|e| failed(format_args!("large object {oid}"), &e))?.get(0))
}

fn acl_of(session: &mut Client, oid: u32) -> Result<Vec<(String, String, bool)>> {
    let sql = "SELECT CASE WHEN a.grantee = 0 THEN '' ELSE pg_catalog.pg_get_userbyid(a.grantee)::text END, \
        a.privilege_type, a.is_grantable FROM pg_catalog.pg_largeobject_metadata m, pg_catalog.aclexplode(m.lomacl) a \
        WHERE m.oid = $1 ORDER BY 1, 2";
    let rows = session.query(sql, &[&oid]).map_err(|e| failed(format_args!("large object {oid}"), &e))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect())
}

/// Makes the large objects in the database of `session`.
pub fn restore(
    session: &mut Client,
    objects: &[LargeObject],
    streams: &dyn StreamSource,
    (owners, acls): (bool, bool),
) -> Result<()> {
    for object in objects {
        let made = session.execute("SELECT pg_catalog.lo_create($1)", &[&object.oid]);
        made.map_err(|e| failed(format_args!("large object {}", object.oid), &e))?;
    }
    let known: BTreeSet<u32> = objects.iter().map(|object| object.oid).collect();
    let names: BTreeSet<_> = objects.iter().filter_map(|object| object.stream.as_ref()).collect();
    for name in names {
        let mut from = BufReader::with_capacity(1024 * 1024, streams.open(name)?);
        let mut line = Vec::new();
        loop {
            interrupt::check().map_err(Error::of)?;
            line.clear();
            let place = |e| Error::io(format_args!("stream {name}"), e);
            from.by_ref().take(MAX_LINE + 1).read_until(b'\n', &mut line).map_err(place)?;
            if line.is_empty() {
                break;
            }
            let (oid, offset, bytes) =
                parse(&line).filter(|(oid, ..)| known.contains(oid)).ok_or_else(|| {
                    Error::rule("D6", format_args!("stream {name}: not a line of a large object"))
                })?;
            let put = session.execute("SELECT pg_catalog.lo_put($1, $2, $3)", &[&oid, &offset, &bytes]);
            put.map_err(|e| failed(format_args!("large object {oid}"), &e))?;
        }
    }
    for object in objects {
        let statements = describe(object, owners, acls);
        let done = session.batch_execute(&statements);
        done.map_err(|e| failed(format_args!("owner and privileges of large object {}", object.oid), &e))?;
    }
    Ok(())
}

/// `number TAB offset TAB \\xHEX LF`
fn parse(line: &[u8]) -> Option<(u32, i64, Vec<u8>)> {
    let line = std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
    let mut fields = line.split('\t');
    let (oid, offset, hex) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?, fields.next()?);
    let hex = hex.strip_prefix("\\\\x")?;
    let mut bytes = vec![0; hex.len() / 2];
    (fields.next().is_none() && offset >= 0 && decode_hex(hex, &mut bytes)).then_some((oid, offset, bytes))
}

/// Privileges first, for they are lost with the owner's role.
fn describe(object: &LargeObject, owners: bool, acls: bool) -> String {
    let oid = object.oid;
    let mut sql = String::new();
    if let Some(comment) = &object.comment {
        sql += &format!("COMMENT ON LARGE OBJECT {oid} IS {};", quote::literal(comment));
    }
    if owners {
        sql += &format!("ALTER LARGE OBJECT {oid} OWNER TO {};", quote::ident(&object.owner));
    }
    if let Some(acl) = object.acl.as_ref().filter(|_| acls) {
        if owners {
            sql += &format!("REVOKE ALL ON LARGE OBJECT {oid} FROM {};", quote::ident(&object.owner));
        }
        for (to, privilege, grantable) in acl {
            let privilege = if privilege == "UPDATE" { "UPDATE" } else { "SELECT" };
            let to = if to.is_empty() { "PUBLIC".to_owned() } else { quote::ident(to) };
            let option = if *grantable { " WITH GRANT OPTION" } else { "" };
            sql += &format!("GRANT {privilege} ON LARGE OBJECT {oid} TO {to}{option};");
        }
    }
    sql
}

/// How many there are.
pub fn count(session: &mut Client) -> Result<u64> {
    let row = session.query_one("SELECT pg_catalog.count(*) FROM pg_catalog.pg_largeobject_metadata", &[]);
    let count: i64 = row.map_err(|e| failed("the list of large objects", &e))?.get(0);
    Ok(u64::try_from(count).unwrap_or(0))
}

/// The SQL that gives a new large object the owner, privileges and comment of the one with the number `oid`.
pub fn properties(session: &mut Client, oid: u32) -> Result<String> {
    let sql = "SELECT pg_catalog.pg_get_userbyid(m.lomowner)::text, m.lomacl IS NULL, \
        pg_catalog.obj_description(m.oid, 'pg_largeobject') FROM pg_catalog.pg_largeobject_metadata m WHERE m.oid = $1";
    let row = session.query_one(sql, &[&oid]).map_err(|e| failed(format_args!("large object {oid}"), &e))?;
    let acl = if row.get(1) { None } else { Some(acl_of(session, oid)?) };
    let (owner, comment, sha256) = (row.get(0), row.get(2), Hasher::new().finish());
    let object = LargeObject { oid, owner, acl, comment, size: 0, sha256, stream: None };
    Ok(describe(&object, true, true))
}

/// What differs between `objects` and what the database of `session` has, in words.
pub fn differences(session: &mut Client, objects: &[LargeObject]) -> Result<Option<String>> {
    let count = count(session)?;
    if count != objects.len() as u64 {
        return Ok(Some(format!("{count} are there, {} were packed", objects.len())));
    }
    content_differs(session, objects)
}

/// Number, bytes and digest of each large object, or of those of the session's role only.
pub fn contents(session: &mut Client, own_only: bool) -> Result<Vec<(u32, u64, Digest)>> {
    let sql = "SELECT m.oid FROM pg_catalog.pg_largeobject_metadata m \
        WHERE NOT $1 OR pg_catalog.pg_has_role(m.lomowner, 'USAGE') ORDER BY 1";
    let found = session.query(sql, &[&own_only]).map_err(|e| failed("the list of large objects", &e))?;
    let mut contents = Vec::new();
    for oid in found.iter().map(|row| row.get::<_, u32>(0)) {
        let mut hasher = Hasher::new();
        loop {
            interrupt::check().map_err(Error::of)?;
            let bytes = read(session, oid, i64::try_from(hasher.len()).unwrap_or(i64::MAX))?;
            if bytes.is_empty() {
                break;
            }
            hasher.update(&bytes);
        }
        contents.push((oid, hasher.len(), hasher.finish()));
    }
    Ok(contents)
}

/// The same, whatever else is there.
pub fn content_differs(session: &mut Client, objects: &[LargeObject]) -> Result<Option<String>> {
    for object in objects {
        let mut hasher = Hasher::new();
        while hasher.len() < object.size {
            let bytes = read(session, object.oid, i64::try_from(hasher.len()).unwrap_or(i64::MAX))?;
            if bytes.is_empty() {
                break;
            }
            hasher.update(&bytes);
        }
        if hasher.finish() != object.sha256 {
            return Ok(Some(format!("the content of number {} differs", object.oid)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        assert_eq!(parse(b"17\t0\t\\\\x00ff\n"), Some((17, 0, vec![0, 255])));
        for bad in
            [&b"17\t0\t\\\\x00ff"[..], b"17\t0\t\\x00\n", b"17\t-1\t\\\\x00\n", b"17\t0\t\\\\x0\n", b"\n"]
        {
            assert_eq!(parse(bad), None);
        }
    }
}
