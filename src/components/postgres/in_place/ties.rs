//! What others hang on things of ours: it would be lost with them, or be left with the old ones.

use super::super::error::failed;
use super::inventory::{ours, Object};
use crate::component::Result;
use postgres::Client;

/// All that hangs on things given by catalog and number, and these.
const BELOW: &str = "WITH RECURSIVE member(class, oid) AS (SELECT * FROM unnest($1::oid[], $2::oid[])), \
    below(class, oid) AS (SELECT class, oid FROM member UNION SELECT d.classid, d.objid FROM pg_catalog.pg_depend d \
        JOIN below b ON d.refclassid = b.class AND d.refobjid = b.oid)";

fn numbers(objects: &[Object]) -> (Vec<u32>, Vec<u32>) {
    objects.iter().map(|object| (object.class, object.oid)).unzip()
}

/// Casts that do not hang on `objects`, as pg_dump calls them. They have no owner.
pub fn casts_of_others(session: &mut Client, objects: &[Object]) -> Result<Vec<String>> {
    let (classes, oids) = numbers(objects);
    let sql = format!(
        "{BELOW} SELECT pg_catalog.format('CAST (%s AS %s)', pg_catalog.format_type(c.castsource, NULL), \
         pg_catalog.format_type(c.casttarget, NULL)) FROM pg_catalog.pg_cast c WHERE c.oid >= 16384 AND NOT EXISTS \
         (SELECT FROM below b WHERE b.class = 'pg_catalog.pg_cast'::pg_catalog.regclass AND b.oid = c.oid)"
    );
    let rows = session.query(&sql, &[&classes, &oids]).map_err(|e| failed("the list of casts", &e))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// What depends on `objects` and is neither one of them nor a part of one, in words; a rule is its view. A cast goes with its types.
pub fn others(session: &mut Client, objects: &[Object]) -> Result<Vec<String>> {
    let (classes, oids) = numbers(objects);
    let sql = format!(
        "{BELOW} SELECT DISTINCT coalesce((SELECT pg_catalog.pg_describe_object('pg_catalog.pg_class'::pg_catalog.regclass, w.ev_class, 0) \
            FROM pg_catalog.pg_rewrite w WHERE b.class = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND w.oid = b.oid), \
            pg_catalog.pg_describe_object(b.class, b.oid, 0)) FROM below b \
        WHERE NOT EXISTS (SELECT FROM member m WHERE m.class = b.class AND m.oid = b.oid) \
        AND b.class <> 'pg_catalog.pg_cast'::pg_catalog.regclass AND (EXISTS (SELECT FROM pg_catalog.pg_class c \
            WHERE b.class = 'pg_catalog.pg_class'::pg_catalog.regclass AND c.oid = b.oid AND c.relkind NOT IN ('i', 'I', 't', 'c')) \
          OR NOT EXISTS (SELECT FROM pg_catalog.pg_depend d JOIN below o ON o.class = d.refclassid AND o.oid = d.refobjid \
            WHERE d.classid = b.class AND d.objid = b.oid AND d.deptype IN ('a', 'i', 'P', 'S'))) ORDER BY 1"
    );
    let rows = session.query(&sql, &[&classes, &oids]).map_err(|e| failed("what depends on it", &e))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Ties of `objects` that no dependency tells: publications and subscriptions that name a table, and tables of others that
/// one inherits from.
pub fn entangled(session: &mut Client, objects: &[Object]) -> Result<Vec<String>> {
    let (_, oids) = numbers(objects);
    let sql = "SELECT pg_catalog.format('publication %s', p.pubname) FROM pg_catalog.pg_publication_rel r \
            JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid WHERE r.prrelid = ANY($1) \
        UNION SELECT pg_catalog.format('a subscription to table %s', r.srrelid::pg_catalog.regclass) \
            FROM pg_catalog.pg_subscription_rel r WHERE r.srrelid = ANY($1) \
        UNION SELECT pg_catalog.format('table %s, which %s inherits from', i.inhparent::pg_catalog.regclass, \
            i.inhrelid::pg_catalog.regclass) FROM pg_catalog.pg_inherits i WHERE i.inhrelid = ANY($1) AND i.inhparent <> ALL($1) \
        ORDER BY 1";
    let rows = session.query(sql, &[&oids]).map_err(|e| failed("what is tied to it", &e))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Things of the role that have no name which could be changed, or that belong to the whole database: they cannot go aside.
pub fn fixed(session: &mut Client) -> Result<Vec<String>> {
    let kinds = [
        ("pg_operator", "oprowner"),
        ("pg_opclass", "opcowner"),
        ("pg_opfamily", "opfowner"),
        ("pg_publication", "pubowner"),
        ("pg_event_trigger", "evtowner"),
        ("pg_foreign_server", "srvowner"),
        ("pg_foreign_data_wrapper", "fdwowner"),
        ("pg_language", "lanowner"),
    ];
    let mut parts: Vec<String> = kinds
        .iter()
        .map(|(catalog, owner)| {
            let class = format!("'pg_catalog.{catalog}'::pg_catalog.regclass");
            let of = ours(&class, "o.oid", &format!("o.{owner}"));
            format!("SELECT pg_catalog.pg_describe_object({class}, o.oid, 0) FROM pg_catalog.{catalog} o WHERE {of}")
        })
        .collect();
    // The server made its functions, and they belong to its first superuser.
    let range = ours("'pg_catalog.pg_type'::pg_catalog.regclass", "t.oid", "t.typowner");
    parts.push(format!(
        "SELECT pg_catalog.format('range type %s', t.oid::pg_catalog.regtype) FROM pg_catalog.pg_type t \
         WHERE t.typtype = 'r' AND {range} AND NOT EXISTS (SELECT FROM pg_catalog.pg_roles r \
         WHERE r.rolname = current_user AND r.rolsuper)"
    ));
    let sql = format!("{} ORDER BY 1", parts.join(" UNION ALL "));
    let rows = session.query(&sql, &[]).map_err(|e| failed("what the role owns", &e))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
