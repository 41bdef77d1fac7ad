//! The line and the column of what is wrong in a profile: of its TOML, and of options that a kind does not take.

use super::{ComponentTable, EngineError, ProfileError};
use crate::base::name::ComponentName;
use crate::components;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use toml::de::{DeTable, DeValue};
use toml::Spanned;

/// The first option that its kind does not take and can name. Whatever else is wrong with a component is told where it is used.
pub(super) fn vet(
    path: &Path,
    text: &str,
    tables: &BTreeMap<ComponentName, ComponentTable>,
) -> Result<(), ProfileError> {
    for (name, table) in tables {
        let Some(kind) = components::kind(&table.kind) else { continue };
        let Err(error) = kind.vet(&Value::Object(table.options.clone())) else { continue };
        let Some(option) = error.option() else { continue };
        let at = place(text, name.as_str(), option).unwrap_or(0);
        return Err(syntax_at(path, text, at, &format!("component {name}: {error}")));
    }
    Ok(())
}

/// The byte of `text` at which the option, a path of names and numbers with dots between, begins, or the last part of
/// the path that is there.
fn place(text: &str, component: &str, option: &str) -> Option<usize> {
    let document = DeTable::parse(text).ok()?;
    let table = document.get_ref().get("component")?.get_ref().get(component)?;
    let mut at: &Spanned<DeValue<'_>> = table;
    for step in option.split('.') {
        let next = match step.parse::<usize>() {
            Ok(number) => at.get_ref().get(number),
            Err(_) => at.get_ref().get(step),
        };
        let Some(next) = next else { break };
        at = next;
    }
    Some(at.span().start)
}

/// What TOML says.
pub(super) fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> EngineError {
    syntax_at(path, text, error.span().map_or(0, |span| span.start), error.message()).into()
}

/// The error at the byte `at` of a profile.
fn syntax_at(path: &Path, text: &str, at: usize, message: &str) -> ProfileError {
    let before = text.get(..at).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    ProfileError::Syntax {
        path: path.to_owned(),
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        message: message.replace('\n', " "),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Profile;

    #[test]
    fn options_that_a_kind_can_name_have_their_line_and_column() {
        let with = |modes: &str| {
            let text = format!("[component.a]\nkind = \"files\"\npath = \"~/x\"\n{modes}\n");
            Profile::of_preset("x", &text).unwrap_err().to_string()
        };
        for (modes, wrong) in [
            (
                "modes = [{ match = \"*.sh\", mode = \"755\" }, { match = \"*.py\", mode = \"4755\" }]",
                "the preset x:4:69: component a: modes: setuid, setgid and sticky bits do not travel",
            ),
            (
                "modes = [{ match = \"*.sh\", mode = \"rwx\" }]",
                "the preset x:4:35: component a: modes: a mode is",
            ),
            (
                "modes = [\n  { match = \"[a\", mode = \"755\" }]",
                "the preset x:5:13: component a: modes pattern",
            ),
            ("modes = [{ glob = \"*\" }]", "the preset x:4:10: component a: modes: unknown field `glob`"),
            ("modes = \"755\"", "the preset x:4:9: component a: modes: "),
            ("rewrite-home = [\"a\", \"[\"]", "the preset x:4:16: component a: rewrite-home pattern"),
        ] {
            let found = with(modes);
            assert!(found.starts_with(wrong), "{found}");
        }
    }
}
