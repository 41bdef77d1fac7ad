//! A JSON document of which some keys stay on each machine: taken out on the source, put back in on the target. All else
//! stays as it is written, byte for byte.

use super::buffer::SecretBuf;
use crate::base::json_text::{document, Member, Node};
use crate::base::key_path::KeyPath;
use crate::base::secret::Secret;
use std::collections::BTreeMap;

/// Why a document cannot be taken apart; words that follow the file's name.
pub(super) type Odd = String;

/// The document in `bytes`: an object.
pub(super) fn object(bytes: &[u8]) -> Result<Node<'_>, Odd> {
    let node = document(bytes).map_err(|error| format!("cannot be taken apart: {error}"))?;
    match node.members() {
        Some(_) => Ok(node),
        None => Err(format!("cannot be taken apart: it is {}, not an object", node.kind())),
    }
}

/// Which of `keep` are there.
pub(super) fn there(node: Node<'_>, keep: &[KeyPath]) -> Vec<KeyPath> {
    keep.iter().filter(|path| value(node, path.keys()).is_some()).cloned().collect()
}

/// Keys at the outermost level of `old` that are not in `new`.
pub(super) fn going(old: Node<'_>, new: Node<'_>) -> Vec<String> {
    let names = |node: Node<'_>| -> Vec<String> {
        node.members().unwrap_or_default().into_iter().map(|member| member.key).collect()
    };
    let stay = names(new);
    names(old).into_iter().filter(|key| !stay.contains(key)).collect()
}

/// What `runs` names in `new` and is not the same in `old`: key paths.
pub(super) fn newly_run(old: Option<Node<'_>>, new: Node<'_>, runs: &[KeyPath]) -> Vec<String> {
    let before = old.map_or_else(BTreeMap::new, |old| matching(old, runs));
    let is_new = |(at, value): &(String, Node<'_>)| !before.get(at).is_some_and(|old| old.same(value));
    matching(new, runs).into_iter().filter(is_new).map(|(at, _)| at).collect()
}

/// The values at `patterns`, key paths in which `*` is any key, each by its own key path.
fn matching<'t>(node: Node<'t>, patterns: &[KeyPath]) -> BTreeMap<String, Node<'t>> {
    fn walk<'t>(node: Node<'t>, at: &str, pattern: &[String], found: &mut BTreeMap<String, Node<'t>>) {
        let Some((wanted, rest)) = pattern.split_first() else {
            found.insert(at.to_owned(), node);
            return;
        };
        for Member { key, value, .. } in node.members().unwrap_or_default() {
            if wanted == "*" || *wanted == key {
                let dot = if at.is_empty() { "" } else { "." };
                let key = key.replace('\\', r"\\").replace('.', r"\.");
                walk(value, &format!("{at}{dot}{key}"), rest, found);
            }
        }
    }
    let mut found = BTreeMap::new();
    patterns.iter().for_each(|pattern| walk(node, "", pattern.keys(), &mut found));
    found
}

/// `bytes`, an object, with the values of `keep` as `other` has them: where it has none, there is none.
pub(super) fn graft(bytes: &[u8], other: Option<Node<'_>>, keep: &[KeyPath]) -> Result<Secret, Odd> {
    let paths: Vec<&[String]> = keep.iter().map(KeyPath::keys).collect();
    let object = grafted(object(bytes)?, other, &paths)?;
    // Around the object is white space, and stays.
    let (before, after) = (bytes.len() - bytes.trim_ascii_start().len(), bytes.trim_ascii_end().len());
    let mut out = SecretBuf::with_capacity(object.bytes().len() + bytes.len() - (after - before));
    out.extend(&bytes[..before]);
    out.extend(object.bytes());
    out.extend(&bytes[after..]);
    Ok(out.into_secret())
}

/// `bytes` without the values of `keep`.
pub(super) fn strip(bytes: &[u8], keep: &[KeyPath]) -> Result<Secret, Odd> {
    graft(bytes, None, keep)
}

/// Whether both are objects that say the same, but for `keep`.
pub(super) fn same_apart(a: &[u8], b: &[u8], keep: &[KeyPath]) -> bool {
    let (Ok(a), Ok(b)) = (strip(a, keep), strip(b, keep)) else { return false };
    matches!((document(a.expose()), document(b.expose())), (Ok(a), Ok(b)) if a.same(&b))
}

/// The value at the keys, through objects alone.
fn value<'t>(node: Node<'t>, keys: &[String]) -> Option<Node<'t>> {
    keys.iter().try_fold(node, |node, key| find(&node.members()?, key))
}

fn find<'t>(members: &[Member<'t>], key: &str) -> Option<Node<'t>> {
    members.iter().find(|member| member.key == *key).map(|member| member.value)
}

/// A member as it will be.
struct Row<'t> {
    member: &'t Member<'t>,
    value: Value<'t>,
}

enum Value<'t> {
    Written(Node<'t>),
    Made(SecretBuf),
}

impl Value<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Value::Written(node) => node.text(),
            Value::Made(text) => text.bytes(),
        }
    }
}

/// The object `base`, with the values at `paths` as `other` has them.
fn grafted(base: Node<'_>, other: Option<Node<'_>>, paths: &[&[String]]) -> Result<SecretBuf, Odd> {
    let members = base.members().unwrap_or_default();
    let theirs = other.and_then(|other| other.members()).unwrap_or_default();
    let below = |key: &str| -> Vec<&[String]> {
        paths.iter().filter(|path| path[0] == key).map(|path| &path[1..]).collect()
    };
    let mut rows = Vec::new();
    for member in &members {
        let below = below(&member.key);
        let their = find(&theirs, &member.key);
        let value = match (below.iter().any(|rest| rest.is_empty()), their) {
            (true, Some(their)) => Value::Written(their),
            (true, None) => continue,
            (false, _) if below.is_empty() => Value::Written(member.value),
            (false, _) if member.value.members().is_some() => {
                Value::Made(grafted(member.value, their, &below)?)
            }
            (false, Some(their)) if below.iter().any(|rest| value(their, rest).is_some()) => {
                return Err(format!("has no object at '{}', where something is to stay", member.key));
            }
            (false, _) => Value::Written(member.value),
        };
        rows.push(Row { member, value });
    }
    // What only the other has goes to the end.
    for member in &theirs {
        let below = below(&member.key);
        if below.is_empty() || find(&members, &member.key).is_some() {
            continue;
        }
        if below.iter().any(|rest| rest.is_empty()) {
            rows.push(Row { member, value: Value::Written(member.value) });
        } else if below.iter().any(|rest| value(member.value, rest).is_some()) {
            rows.push(Row { member, value: Value::Made(grafted(Node::EMPTY, Some(member.value), &below)?) });
        }
    }
    Ok(write(&rows, if members.is_empty() { &theirs } else { &members }))
}

/// The object of `rows`, with white space as it is in the object of `like`.
fn write(rows: &[Row<'_>], like: &[Member<'_>]) -> SecretBuf {
    let is = |row: &Row<'_>, member: &Member<'_>| std::ptr::eq(member, row.member);
    let own = |row: &Row<'_>| like.as_ptr_range().contains(&std::ptr::from_ref(row.member));
    let (first, last) = (like.first(), like.last());
    let mut out = SecretBuf::default();
    out.push(b'{');
    for (n, row) in rows.iter().enumerate() {
        let lead = match n {
            0 => first.unwrap_or(row.member).lead,
            _ if own(row) => row.member.lead,
            _ => last.unwrap_or(row.member).lead,
        };
        out.extend(lead);
        out.extend(row.member.name);
        out.extend(row.value.bytes());
        match n + 1 == rows.len() {
            true => out.extend(last.unwrap_or(row.member).trail),
            // The end of the object stands behind the last one.
            false if own(row) && !last.is_some_and(|last| is(row, last)) => {
                out.extend(row.member.trail);
                out.push(b',');
            }
            false => out.push(b','),
        }
    }
    out.push(b'}');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(paths: &[&str]) -> Vec<KeyPath> {
        paths.iter().map(|path| KeyPath::try_from((*path).to_owned()).unwrap()).collect()
    }

    fn grafted(base: &str, other: &str, paths: &[&str]) -> Result<String, Odd> {
        let grafted = graft(base.as_bytes(), Some(object(other.as_bytes())?), &keep(paths))?;
        Ok(String::from_utf8(grafted.expose().to_vec()).unwrap())
    }

    fn stripped(text: &str, paths: &[&str]) -> String {
        String::from_utf8(strip(text.as_bytes(), &keep(paths)).unwrap().expose().to_vec()).unwrap()
    }

    #[test]
    fn what_is_taken_out_leaves_no_trace() {
        let text = "{\n  \"z\": 1.50,\n  \"login\": {\"t\": \"x\"},\n  \"a\": [1 , 2]\n}\n";
        assert_eq!(stripped(text, &["login"]), "{\n  \"z\": 1.50,\n  \"a\": [1 , 2]\n}\n");
        assert_eq!(stripped(text, &["z", "none"]), "{\n  \"login\": {\"t\": \"x\"},\n  \"a\": [1 , 2]\n}\n");
        assert_eq!(stripped(text, &["a"]), "{\n  \"z\": 1.50,\n  \"login\": {\"t\": \"x\"}\n}\n");
        assert_eq!(stripped(text, &["login.t"]), text.replace("{\"t\": \"x\"}", "{}"));
        assert_eq!(stripped(text, &["a", "z", "login"]), "{}\n");
        // Nothing to take out: byte for byte.
        assert_eq!(stripped(text, &["x", "z.y", "a.0"]), text);
        assert_eq!(stripped("{\"\\u0061\":1,\"b\":2}", &["a"]), "{\"b\":2}");
        assert_eq!(stripped("{ \"a\": 1, \"b\": 2 }", &["a"]), "{ \"b\": 2 }");
    }

    #[test]
    fn what_stays_is_put_back_in() {
        let packed = "{\n  \"mcp\": {\"e\": 1e5}\n}\n";
        let target = "{\"x\": 1, \"id\": \"u\", \"login\": {\"b\": 2}}";
        assert_eq!(
            grafted(packed, target, &["login", "id"]).unwrap(),
            "{\n  \"mcp\": {\"e\": 1e5},\n  \"id\": \"u\",\n  \"login\": {\"b\": 2}\n}\n"
        );
        assert_eq!(grafted(packed, "{}", &["login", "id"]).unwrap(), packed);
        assert_eq!(grafted("{}", target, &["id"]).unwrap(), "{\"id\": \"u\"}");
        assert_eq!(grafted("{}", "{\n \"id\":\"u\"\n}", &["id"]).unwrap(), "{\n \"id\":\"u\"\n}");
        // In the place where it stands, and not where it is none.
        assert_eq!(grafted("{\"id\":0,\"b\":1}", target, &["id"]).unwrap(), "{\"id\":\"u\",\"b\":1}");
        assert_eq!(grafted("{\"id\":0,\"b\":1}", "{}", &["id"]).unwrap(), "{\"b\":1}");
        // Below.
        assert_eq!(
            grafted("{\"p\":{\"a\":1}}", "{\"p\":{\"s\":2,\"t\":3}}", &["p.s"]).unwrap(),
            "{\"p\":{\"a\":1,\"s\":2}}"
        );
        assert_eq!(
            grafted("{}", "{\"p\": {\"q\": {\"s\":2,\"t\":3}}}", &["p.q.s"]).unwrap(),
            "{\"p\": {\"q\": {\"s\":2}}}"
        );
        assert_eq!(grafted("{\"p\":1}", "{\"p\":{\"t\":3}}", &["p.s"]).unwrap(), "{\"p\":1}");
        let odd = grafted("{\"p\":1}", "{\"p\":{\"s\":3}}", &["p.s"]).unwrap_err();
        assert_eq!(odd, "has no object at 'p', where something is to stay");
    }

    #[test]
    fn what_can_not_be_taken_apart() {
        for (text, why) in [
            ("[]", "it is a list, not an object"),
            ("not json", "it is not JSON: expected ident at line 1 column 2"),
            ("{\"a\":1,\"a\":2}", "the key \"a\" is there twice"),
        ] {
            let odd = strip(text.as_bytes(), &keep(&["a"])).unwrap_err();
            assert_eq!(odd, format!("cannot be taken apart: {why}"));
        }
    }

    #[test]
    fn what_would_newly_run() {
        let runs = keep(&["servers.*", "projects.*.servers.*", "hooks"]);
        let new =
            r#"{"servers":{"a":{"run":["x"]},"b.c":1},"projects":{"/srv":{"servers":{"d":2},"n":3}},"n":4}"#;
        let newly =
            |old: &str| newly_run(object(old.as_bytes()).ok(), object(new.as_bytes()).unwrap(), &runs);
        assert_eq!(newly("-"), ["projects./srv.servers.d", "servers.a", r"servers.b\.c"]);
        let old =
            r#"{"servers":{"b.c":1.0,"a":{"run":["y"]}},"projects":{"/srv":{"servers":{"d":2}}},"hooks":1}"#;
        assert_eq!(newly(old), ["servers.a"]);
        assert!(newly(new).is_empty());
    }

    #[test]
    fn the_same_but_for_what_stays() {
        let same = |a: &str, b: &str| same_apart(a.as_bytes(), b.as_bytes(), &keep(&["id", "p.s"]));
        assert!(same("{\"a\":1,\"id\":1,\"p\":{}}", "{\"p\": {\"s\": 1}, \"id\": 2, \"a\": 1}"));
        assert!(!same("{\"a\":1}", "{\"a\":2}") && !same("{\"a\":1}", "{}") && !same("{}", "[]"));
    }
}
