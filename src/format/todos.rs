//! What a bundle leaves to a person (rule M10): words, and commands that are shown and never run. They stand in a profile in
//! the same words.

use super::check_rules::{first, is_path, Wrong};
use super::validate::is_text;
use crate::base::escape::is_unsafe;
use crate::base::json;
use crate::base::limits::{MAX_TODOS, MAX_TODO_LINE, MAX_TODO_LINES};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::num::NonZeroU16;

/// One thing to be done on the target by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Todo {
    /// What it is, unique in the list.
    pub text: String,
    /// The lines of a shell that do it; none where words are enough.
    #[serde(default, deserialize_with = "json::some", skip_serializing_if = "Vec::is_empty")]
    pub run: Vec<String>,
    /// What shows that it is done; if not said, it is always shown.
    #[serde(default, deserialize_with = "json::set", skip_serializing_if = "Option::is_none")]
    pub unless: Option<Done>,
}

/// What shows that something is done. To look for it runs nothing and reaches nobody but this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
pub enum Done {
    /// A program of this name is found.
    Program(String),
    /// Something stands at this path.
    Path(String),
    /// Something listens at this port of the loopback interface.
    Port(NonZeroU16),
}

/// What a list of todos breaks (rule M10).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TodoFlaw {
    /// Which one, by its place in the list; `None` for the list itself.
    pub todo: Option<usize>,
    /// What is wrong, in words that follow its name.
    pub what: &'static str,
}

/// The first thing that `todos` break.
pub fn todo_flaw(todos: &[Todo]) -> Option<TodoFlaw> {
    if todos.len() > MAX_TODOS {
        return Some(TodoFlaw { todo: None, what: "are more than 64" });
    }
    let mut texts = HashSet::new();
    todos.iter().enumerate().find_map(|(at, todo)| {
        let fresh = texts.insert(&todo.text);
        wrong(todo, fresh).map(|what| TodoFlaw { todo: Some(at), what })
    })
}

fn wrong(todo: &Todo, fresh: bool) -> Wrong {
    let unless = todo.unless.as_ref();
    first(&[
        (is_text(&todo.text), "has a text that is not 1 to 255 bytes without control characters"),
        (fresh, "is there twice"),
        (
            todo.run.len() <= MAX_TODO_LINES && todo.run.iter().all(|line| is_line(line)),
            "has a run that is not up to 64 lines of at most 1,024 bytes that can all be seen",
        ),
        (
            !matches!(unless, Some(Done::Program(name)) if !is_program(name)),
            "has a program that is not 1 to 64 letters, digits and . _ + -",
        ),
        (
            !matches!(unless, Some(Done::Path(path)) if !is_path(path)),
            "has a path that is not one from / or ~",
        ),
    ])
}

/// A line that may be copied into a shell: nothing in it is hidden from whoever reads it.
fn is_line(line: &str) -> bool {
    line.len() <= MAX_TODO_LINE && !line.chars().any(is_unsafe)
}

fn is_program(name: &str) -> bool {
    let plain = |c: u8| c.is_ascii_alphanumeric() || b"._+-".contains(&c);
    (1..=64).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with(['.', '-'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{json, Value};

    fn todos(tables: Value) -> Result<Vec<Todo>, String> {
        serde_json::from_value(tables).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_written_is_read_back() {
        let tables = json!([
            {"text": "log in"},
            {"text": "a server", "run": ["sudo apt-get install postgresql", ""], "unless": {"port": 5432}},
            {"text": "git", "run": ["sudo apt-get install git"], "unless": {"program": "git"}},
            {"text": "a unit", "unless": {"path": "~/.config/x.service"}},
        ]);
        let read = todos(tables.clone()).unwrap();
        assert_eq!(todo_flaw(&read), None);
        assert_eq!(serde_json::to_value(&read).unwrap(), tables);
    }

    #[test]
    fn bounds() {
        let with = |field: &str, value: Value| {
            let mut table = json!({"text": "a"});
            table[field] = value;
            json!([table])
        };
        for (tables, words) in [
            (with("text", json!("")), "text"),
            (with("text", json!("a\nb")), "text"),
            (with("text", json!("a".repeat(256))), "text"),
            (json!([{"text": "a"}, {"text": "a"}]), "twice"),
            (with("run", json!(["a\u{1b}[2J"])), "run"),
            (with("run", json!(["a\u{202e}b"])), "run"),
            (with("run", json!(["a\nb"])), "run"),
            (with("run", json!(["a".repeat(1025)])), "run"),
            (with("run", json!(vec!["a"; 65])), "run"),
            (with("unless", json!({"program": ""})), "program"),
            (with("unless", json!({"program": "a/b"})), "program"),
            (with("unless", json!({"program": "../a"})), "program"),
            (with("unless", json!({"path": "a"})), "path"),
            (with("unless", json!({"path": "~/../a"})), "path"),
        ] {
            let flaw = todo_flaw(&todos(tables.clone()).unwrap());
            let flaw = flaw.unwrap_or_else(|| panic!("{tables}"));
            assert!(flaw.what.contains(words), "{tables}: {}", flaw.what);
        }
        for bad in [
            json!([{"run": ["a"]}]),
            with("run", json!("a")),
            with("run", json!([])),
            with("unless", json!({})),
            with("unless", json!({"program": "a", "port": 1})),
            with("unless", json!({"port": 0})),
            with("unless", json!({"port": 65536})),
            with("unless", json!({"command": ["true"]})),
            with("unless", Value::Null),
            with("more", json!(1)),
        ] {
            todos(bad.clone()).expect_err(&bad.to_string());
        }
        let many: Vec<Value> = (0..65).map(|n| json!({"text": n.to_string()})).collect();
        assert_eq!(todo_flaw(&todos(json!(many)).unwrap()).unwrap().todo, None);
    }
}
