//! Names of tables as patterns for pg_dump: a few of them match all of the names, and nothing else.
//!
//! pg_dump runs a query for each pattern, with a regular expression in it. The server finds the names that begin as the
//! expression does by an index, if it begins with something fixed; it compares each of them anew, at a cost that grows
//! with the square of the expression's length. So names that begin alike share a pattern, few of them each, as a tree.

use super::quote;
use std::collections::BTreeMap;

/// Names in one pattern.
const NAMES: usize = 64;

/// Patterns that match exactly these tables (schema, name).
pub fn exactly<'a>(tables: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<String> {
    let mut schemas: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (schema, name) in tables {
        schemas.entry(schema).or_default().push(name);
    }
    // Schemas that hold tables of the same names (one for each customer) share patterns too.
    let mut alike: BTreeMap<Vec<&str>, Vec<&str>> = BTreeMap::new();
    for (schema, mut names) in schemas {
        names.sort_unstable();
        alike.entry(names).or_default().push(schema);
    }
    let mut patterns = Vec::new();
    for (names, schemas) in &alike {
        for schemas in groups(schemas) {
            patterns.extend(groups(names).iter().map(|names| format!("{}.{}", tree(schemas), tree(names))));
        }
    }
    patterns
}

/// Cuts names, sorted, each once, into groups: those of a group have more of their beginning in common than with others.
fn groups<'a>(names: &'a [&'a str]) -> Vec<&'a [&'a str]> {
    if names.len() <= NAMES {
        return vec![names];
    }
    let common = common(names).len();
    let next = |name: &str| name[common..].chars().next();
    names.chunk_by(|a, b| next(a) == next(b)).flat_map(groups).collect()
}

/// A pattern for names, sorted, each once: what they have in common stands there once.
fn tree(names: &[&str]) -> String {
    let common = common(names);
    let beginning = if common.is_empty() { String::new() } else { quote::ident(common) };
    if let [_] = names {
        return beginning;
    }
    let rests: Vec<&str> = names.iter().map(|name| &name[common.len()..]).collect();
    let branches: Vec<String> =
        rests.chunk_by(|a, b| a.chars().next() == b.chars().next()).map(tree).collect();
    format!("{beginning}({})", branches.join("|"))
}

/// What all of some names begin with.
fn common<'a>(names: &[&'a str]) -> &'a str {
    // Sorted: what the first and the last one share, all do.
    let (Some(first), Some(last)) = (names.first(), names.last()) else { return "" };
    let same = first.char_indices().zip(last.chars()).find(|((_, a), b)| a != b);
    let shorter = first.len().min(last.len());
    &first[..same.map_or(shorter, |((at, _), _)| at)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_and_share_their_beginning() {
        let of = |names: &[&str]| exactly(names.iter().map(|name| ("A", *name)));
        assert_eq!(of(&["x\"y", "z*"]), ["\"A\".(\"x\"\"y\"|\"z*\")"]);
        assert_eq!(of(&["t10", "t1", "t1é", "t1è"]), ["\"A\".\"t1\"(|\"0\"|\"è\"|\"é\")"]);
        assert_eq!(of(&["one"]), ["\"A\".\"one\""]);
        assert_eq!(of(&[]), [""; 0]);
    }

    #[test]
    fn schemas_with_the_same_names_share_patterns() {
        let tables = [("s2", "a"), ("s1", "b"), ("s1", "a"), ("s2", "b"), ("s3", "a")];
        assert_eq!(exactly(tables.into_iter()), ["\"s3\".\"a\"", "\"s\"(\"1\"|\"2\").(\"a\"|\"b\")"]);
    }

    #[test]
    fn many_names_are_many_patterns_of_a_few() {
        let names: Vec<String> = (0..10_000).map(|n| format!("t{n}")).collect();
        let patterns = exactly(names.iter().map(|name| ("s", name.as_str())));
        assert!(patterns.len() < 1200 && patterns.iter().all(|pattern| pattern.len() < 100));
    }
}
