//! What is left to a person as lines: shown, and never run.

use crate::engine::checks::Origin;
use crate::engine::todos::PlannedTodo;
use crate::format::Todo;

/// The todos of a bundle, for `inspect`, or of a profile, for `export --dry-run`.
pub fn inspected(todos: &[Todo]) -> Vec<String> {
    todos.iter().flat_map(|todo| lines(todo, &format!("  todo on the target: {}", todo.text))).collect()
}

/// What is still to be done on this machine.
pub fn open(todos: &[PlannedTodo]) -> Vec<String> {
    let each = |planned: &PlannedTodo| {
        let whose = match planned.origin {
            Origin::Bundle => "of the bundle",
            Origin::Profile => "of this machine's profile",
        };
        lines(&planned.todo, &format!("todo {whose}, by hand: {}", planned.todo.text))
    };
    todos.iter().flat_map(each).collect()
}

/// A heading, and each line of what is to be run below it, as it is to be typed.
fn lines(todo: &Todo, heading: &str) -> Vec<String> {
    let run = todo.run.iter().map(|line| format!("      {line}"));
    [heading.to_owned()].into_iter().chain(run).collect()
}
