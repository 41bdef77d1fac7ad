//! Rows out of tables: cut into pieces, copied by several sessions at once, hashed on the way.

use super::catalog::Relation;
use super::error::{copy_failed, failed};
use super::hash::{RowHash, RowHasher};
use super::quote;
use crate::base::fault::Fault;
use crate::base::interrupt;
use crate::base::libpq::reader::CopyOut;
use crate::component::{Error, Result};
use std::io::Write;

/// Pages of a piece of a large table, at most: 64 MiB.
const PIECE_PAGES: u64 = 8 * 1024;
const PAGE: u64 = 8192;
/// First server that finds a range of pages without reading the whole table.
const RANGES_SINCE: u32 = 14;
/// Rows are handed on in pieces of about this size.
const CHUNK: usize = 128 * 1024;

/// A table, or the part of it that lies in a range of pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Which table: its place in the list.
    pub table: usize,
    /// First page; `None`: the whole table.
    from: Option<u64>,
    /// The page behind the last one; `None`: to the end, however far it grew.
    to: Option<u64>,
    /// Bytes on disk, roughly.
    pub bytes: u64,
}

/// Cuts `tables` into pieces, the largest first. A table without pages has no piece, for it has no rows.
pub fn cut(tables: &[Relation], server: u32) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (table, relation) in tables.iter().enumerate().filter(|(_, relation)| !relation.without_pages()) {
        let pages = relation.bytes / PAGE;
        let ranges = relation.heap && server >= RANGES_SINCE;
        let count = if ranges { pages.div_ceil(PIECE_PAGES).max(1) } else { 1 };
        // All of one size, so that nobody waits for the largest.
        let each = pages.div_ceil(count);
        for n in 0..count {
            let last = n + 1 == count;
            pieces.push(Piece {
                table,
                from: (count > 1).then_some(n * each),
                to: (!last).then_some((n + 1) * each),
                bytes: if last { relation.bytes - n * each * PAGE } else { each * PAGE },
            });
        }
    }
    // Stable: pieces of one table stay in their order.
    pieces.sort_by_key(|piece| std::cmp::Reverse(piece.bytes));
    pieces
}

impl Piece {
    /// The COPY that gives its rows, in the database's own encoding: nothing is converted, and nothing lost.
    pub fn copy(&self, relation: &Relation, encoding: &str) -> String {
        let options = format!("(FORMAT text, ENCODING {})", quote::literal(encoding));
        let Some(from) = self.from else {
            return format!("COPY {}{} TO STDOUT {options}", relation.sql(), relation.column_list());
        };
        let columns: Vec<String> = relation.columns.iter().map(|column| quote::ident(column)).collect();
        let end = self.to.map(|to| format!(" AND ctid < '({to},0)'::pg_catalog.tid")).unwrap_or_default();
        format!(
            "COPY (SELECT {} FROM ONLY {} WHERE ctid >= '({from},0)'::pg_catalog.tid{end}) TO STDOUT {options}",
            columns.join(", "),
            relation.sql()
        )
    }
}

/// Runs `copy` and hands its rows on, in chunks.
pub fn copy_out(
    session: &mut impl CopyOut,
    copy: &str,
    of: &Relation,
    mut take: impl FnMut(&[u8]) -> Result<()>,
) -> Result<RowHash> {
    let place = || format!("rows of {}", of.sql());
    let mut rows = session.copy_out(copy).map_err(|e| failed(place(), &e))?;
    let mut hasher = RowHasher::default();
    let mut chunk = Vec::with_capacity(CHUNK + 8192);
    loop {
        interrupt::check().map_err(Error::of)?;
        let more = rows.fill(&mut chunk, CHUNK).map_err(|e| copy_failed(place(), e))?;
        hasher.update(&chunk);
        if !chunk.is_empty() {
            take(&chunk)?;
            chunk.clear();
        }
        if !more {
            break;
        }
    }
    hasher
        .finish()
        .ok_or_else(|| Error::new(Fault::Unexpected, format_args!("{}: the last line has no end", place())))
}

/// A writer's bytes, with the place named in its errors.
pub fn write_all(to: &mut dyn Write, bytes: &[u8], place: impl std::fmt::Display) -> Result<()> {
    to.write_all(bytes).map_err(|error| Error::io(place, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relation(bytes: u64, columns: &[&str]) -> Relation {
        Relation {
            oid: 1,
            schema: "s".into(),
            name: "t".into(),
            columns: columns.iter().map(|&c| c.into()).collect(),
            bytes,
            file: 1,
            heap: true,
            root: None,
        }
    }

    #[test]
    fn large_tables_are_cut_and_the_last_piece_is_open() {
        let tables = [relation(150 << 20, &["a"]), relation(8192, &[]), relation(0, &["a"])];
        let pieces = cut(&tables, 15);
        assert_eq!(pieces.len(), 4);
        assert_eq!((pieces[0].from, pieces[0].to), (Some(0), Some(6400)));
        assert_eq!((pieces[2].from, pieces[2].to), (Some(12800), None));
        assert_eq!(pieces.iter().map(|piece| piece.bytes).sum::<u64>(), (150 << 20) + 8192);
        assert!(cut(&tables, 13).iter().all(|piece| piece.from.is_none()));
        assert!(pieces[2].copy(&tables[0], "UTF8").contains("ctid >= '(12800,0)'::pg_catalog.tid) TO"));
        assert!(pieces[3].copy(&tables[1], "UTF8").starts_with("COPY \"s\".\"t\" TO STDOUT"));
    }
}
