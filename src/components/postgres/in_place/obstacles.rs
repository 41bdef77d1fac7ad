//! What stands in the way of a replacement in place: things of others, and the server's limits.

use super::super::error::failed;
use super::super::index::Row;
use super::super::stage::objects_of;
use super::super::tools::Version;
use super::inventory::NAMED;
use super::marker::Marker;
use super::plan::{as_refusal, cannot_go_aside, few, Look};
use super::{objects, ties};
use crate::component::{Finding, Result, Severity};

impl Look<'_> {
    pub(super) fn server(&mut self, server: Version) -> Result<()> {
        let source = Version::parse(&self.database.server).unwrap_or(server);
        if source.major > server.major {
            self.notes.refuse(
                format_args!("the server is {server}, older than the source's {source}"),
                format_args!("update the server to {} or later", source.major),
            );
        }
        let markers = Marker::all(self.session)?;
        if let Some(marker) = markers.first() {
            self.notes.refuse(
                format_args!("an import into database {} (run {}) is not over", self.name, marker.run()),
                "end it where it was begun: `kbpack recover`",
            );
        }
        let unknown: Vec<String> =
            self.kept().filter(|entry| entry.kind.is_none()).map(|entry| entry.text.clone()).collect();
        if !unknown.is_empty() {
            self.notes.refuse(
                format_args!("the bundle has what cannot be replaced in place: {}", few(&unknown)),
                "leave mode = \"in-place\" out, or these out of the source's database",
            );
        }
        Ok(())
    }

    /// What holds the old things where they are.
    pub(super) fn ties(&mut self) -> Result<()> {
        let fixed = ties::fixed(self.session)?;
        if !fixed.is_empty() {
            let error = cannot_go_aside(self.name, &fixed);
            self.notes.0.push(as_refusal(&error));
        }
        let others = ties::others(self.session, self.old)?;
        let entangled = ties::entangled(self.session, self.old)?;
        for (what, things) in
            [("would lose what they depend on", others), ("have a part in what would be replaced", entangled)]
        {
            if !things.is_empty() {
                self.notes.refuse(
                    format_args!("in database {} these {what}: {}", self.name, few(&things)),
                    "have them dropped first, and made again afterwards; or leave mode = \"in-place\" out",
                );
            }
        }
        let (_, of_others) = objects::numbers(self.session)?;
        let taken: Vec<String> = objects_of(self.rows)
            .iter()
            .filter(|object| of_others.contains(&object.oid))
            .map(|object| object.oid.to_string())
            .collect();
        if !taken.is_empty() {
            self.notes.refuse(
                format_args!("large objects of others have numbers that the bundle needs: {}", few(&taken)),
                "have them dropped, or leave mode = \"in-place\" out",
            );
        }
        Ok(())
    }

    /// Names that the bundle needs, and that things of others have.
    pub(super) fn names_of_others(&mut self) -> Result<()> {
        let roles = self.roles_known();
        let (mut schemas, mut names) = (Vec::new(), Vec::new());
        for entry in self.kept() {
            if entry.is_named() {
                if let Some((schema, name)) = entry.name(&self.schemas, &roles) {
                    schemas.push(schema.clone());
                    names.push(name.to_owned());
                }
            }
        }
        for (schema, name) in self.rows.iter().filter_map(Row::name) {
            schemas.push(schema.to_owned());
            names.push(name.to_owned());
        }
        let (classes, oids): (Vec<u32>, Vec<u32>) =
            self.old.iter().map(|object| (object.class, object.oid)).unzip();
        let sql = format!(
            "SELECT DISTINCT pg_catalog.pg_describe_object(x.class, x.oid, 0) FROM ({NAMED}) \
             AS x(class, oid, kind, ns, name, args, part, owner, of) JOIN pg_catalog.pg_namespace n ON n.oid = x.ns \
             JOIN unnest($1::text[], $2::text[]) w(schema, name) ON w.schema = n.nspname AND w.name = x.name || x.args \
             WHERE NOT EXISTS (SELECT FROM unnest($3::oid[], $4::oid[]) o(class, oid) \
                WHERE o.class = x.class AND o.oid = x.oid) ORDER BY 1"
        );
        let taken = self.names("the names that are taken", &sql, &[&schemas, &names, &classes, &oids])?;
        if !taken.is_empty() {
            self.notes.refuse(
                format_args!(
                    "the bundle needs names that are taken in database {} by things of others: {}",
                    self.name,
                    few(&taken)
                ),
                "have them dropped or renamed, or leave mode = \"in-place\" out",
            );
        }
        Ok(())
    }

    /// All that is replaced and made is locked in one transaction, and the server's table of locks has an end.
    pub(super) fn locks(&mut self) -> Result<()> {
        let oids: Vec<u32> = self.old.iter().map(|object| object.oid).collect();
        let sql = "SELECT pg_catalog.count(*) + pg_catalog.count(t.oid) * 2, \
            pg_catalog.current_setting('max_locks_per_transaction')::int8 * (pg_catalog.current_setting('max_connections')::int8 \
            + pg_catalog.current_setting('max_prepared_transactions')::int8), \
            pg_catalog.current_setting('max_locks_per_transaction')::int8 FROM pg_catalog.pg_class c \
            LEFT JOIN pg_catalog.pg_class t ON t.oid = c.reltoastrelid WHERE c.oid = ANY($1)";
        let row = self.session.query_one(sql, &[&oids]).map_err(|e| failed("the server's locks", &e))?;
        let (old, room, each): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
        let new = self.kept().filter(|entry| entry.is_named()).count()
            + 2 * self.rows.iter().filter(|row| row.table().is_some()).count()
            + self.kept().filter(|entry| matches!(entry.kind, Some("CONSTRAINT" | "INDEX"))).count();
        let needed = old + i64::try_from(new).unwrap_or(i64::MAX / 4);
        // Others need some too.
        if needed > room / 10 * 9 {
            let enough = (each * needed).div_euclid((room / 10 * 8).max(1)) + 1;
            self.notes.0.push(
                Finding::new(
                    Severity::Refusal,
                    format_args!("replacing it in one transaction takes about {needed} locks, and the server has room for {room}"),
                )
                .todo(format_args!(
                    "have an administrator run: ALTER SYSTEM SET max_locks_per_transaction = {enough}; and start the server anew"
                )),
            );
        }
        Ok(())
    }
}
