//! Hooks as lines for people: as they stand in a bundle, as they are planned, and what was not run.

use crate::engine::checks::Origin;
use crate::engine::export::SurveyedHook;
use crate::engine::hooks::describe;
use crate::engine::hooks::plan::PlannedHook;
use crate::format::{Hook, Where};

/// The hooks of a bundle, for `inspect`.
pub fn inspected(hooks: &[Hook]) -> Vec<String> {
    hooks.iter().map(|hook| format!("  hook '{}': runs {}", hook.stage.as_str(), describe(hook))).collect()
}

/// The hooks of a profile, for `export --dry-run`.
pub fn surveyed(hooks: &[SurveyedHook]) -> Vec<String> {
    let line = |hook: &SurveyedHook| {
        let machine = match hook.machine {
            Where::Source => "here",
            Where::Target => "on the target",
            Where::Both => "here and on the target",
        };
        format!("hook '{}' {machine}: runs {}", hook.stage.as_str(), hook.what)
    };
    hooks.iter().map(line).collect()
}

/// The hooks of a plan: what will be run on this machine, and what will not. `busy`: whether anything changes.
pub fn planned(hooks: &[PlannedHook], busy: bool) -> Vec<String> {
    let mut lines = Vec::new();
    for hook in hooks {
        let warns = if hook.fatal { "" } else { " (only warns)" };
        lines.push(format!("{}{warns}: runs {}", title(hook), hook.what));
        if let Some(reason) = &hook.refused {
            lines.push(format!("  refused: {}", reason.why));
            lines.push(format!("    todo: {}", reason.remedy));
        }
        if let Some(reason) = &hook.skipped {
            lines.push(format!("  warning: it will not be run: {}", reason.why));
            lines.push(format!("    todo: {}", reason.remedy));
        }
    }
    if !busy && !hooks.is_empty() {
        lines.push("  nothing would change, so no hook is run".to_owned());
    }
    lines
}

/// The hooks that were not run although they were asked for.
pub fn left_out(hooks: &[PlannedHook]) -> Vec<String> {
    let mut lines = Vec::new();
    for (hook, reason) in hooks.iter().filter_map(|hook| Some((hook, hook.skipped.as_ref()?))) {
        lines.push(format!("  - {}: not run: {} ({})", title(hook), hook.what, reason.why));
    }
    lines
}

fn title(hook: &PlannedHook) -> String {
    let whose = match hook.origin {
        Origin::Bundle => "of the bundle",
        Origin::Profile => "of this machine's profile",
    };
    format!("hook '{}' {whose}", hook.stage.as_str())
}
