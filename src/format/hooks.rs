//! The hooks of a bundle (rule M9): commands that a target runs around an import. They stand in a profile in the same
//! words, so both read this shape; there, some run on the source.

use super::check_rules::{first, is_path, is_run, is_value, Author, Wrong, RUN};
use super::checks::CheckSeverity;
use super::template;
use crate::base::json;
use crate::base::limits::{MAX_CHECK_ITEMS, MAX_HOOKS, MAX_HOOK_SECONDS};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Seconds that a hook may take where it does not say.
const TIMEOUT: u64 = 120;

/// One hook: when it runs, and what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Hook {
    /// When.
    pub stage: Stage,
    /// On which machine. Only a profile says it: what travels is for the target.
    #[serde(
        default,
        rename = "where",
        deserialize_with = "json::set",
        skip_serializing_if = "Option::is_none"
    )]
    pub place: Option<Where>,
    /// The program and its arguments; with `shell`, one text for it.
    pub run: Vec<String>,
    /// Whether `/bin/sh` reads it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shell: bool,
    /// Where it starts; the home if not said.
    #[serde(default, deserialize_with = "json::set", skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// Variables, besides the few that each has.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Seconds that it may take.
    #[serde(default = "timeout", skip_serializing_if = "is_timeout")]
    pub timeout: u64,
    /// What its failure means, where it can stop something.
    #[serde(default, deserialize_with = "json::set", skip_serializing_if = "Option::is_none")]
    pub severity: Option<CheckSeverity>,
    /// Whether a target goes without it where the bundle's signer may not have commands run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

/// When a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Before anything is read for an export, or backed up and changed by an import.
    Quiesce,
    /// When that is over, in every case.
    Resume,
    /// When everything is in place, before what was quiesced resumes.
    AfterCommit,
    /// When everything is put back.
    Rollback,
}

impl Stage {
    /// As it stands in a profile.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Quiesce => "quiesce",
            Stage::Resume => "resume",
            Stage::AfterCommit => "after-commit",
            Stage::Rollback => "rollback",
        }
    }
}

/// On which machine a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Where {
    /// On the one that exports.
    Source,
    /// On the one that imports.
    Target,
    /// On each.
    Both,
}

impl Hook {
    /// On which machine it runs: what surrounds is for both unless it says otherwise, the rest for the target.
    pub fn machine(&self) -> Where {
        match self.stage {
            Stage::Quiesce | Stage::Resume => self.place.unwrap_or(Where::Both),
            Stage::AfterCommit | Stage::Rollback => Where::Target,
        }
    }

    /// Whether it runs on the source.
    pub fn is_for_source(&self) -> bool {
        self.machine() != Where::Target
    }

    /// Whether it runs on the target.
    pub fn is_for_target(&self) -> bool {
        self.machine() != Where::Source
    }

    /// The same as it travels.
    pub fn for_target(&self) -> Hook {
        Hook { place: None, ..self.clone() }
    }

    /// Whether its failure stops what it belongs to.
    pub fn is_fatal(&self) -> bool {
        let may_stop = matches!(self.stage, Stage::Quiesce | Stage::AfterCommit);
        may_stop && self.severity.unwrap_or_default() == CheckSeverity::Error
    }
}

/// What a list of hooks breaks (rule M9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookFlaw {
    /// Which hook, by its place in the list; `None` for the list itself.
    pub hook: Option<usize>,
    /// What is wrong, in words that follow the hook's name.
    pub what: &'static str,
}

/// The first thing that `hooks` break.
pub fn hook_flaw(hooks: &[Hook], author: Author) -> Option<HookFlaw> {
    if hooks.len() > MAX_HOOKS {
        return Some(HookFlaw { hook: None, what: "are more than 64" });
    }
    let broken =
        |(at, hook): (usize, &Hook)| wrong(hook, author).map(|what| HookFlaw { hook: Some(at), what });
    hooks.iter().enumerate().find_map(broken)
}

fn wrong(hook: &Hook, author: Author) -> Wrong {
    let surrounds = matches!(hook.stage, Stage::Quiesce | Stage::Resume);
    let may_stop = matches!(hook.stage, Stage::Quiesce | Stage::AfterCommit);
    let env = &hook.env;
    first(&[
        (
            hook.place.is_none() || author == Author::Profile,
            "has a where, which only a profile can have",
        ),
        (
            surrounds || hook.place.is_none_or(|place| place == Where::Target),
            "runs on the target only: leave where out",
        ),
        (is_run(&hook.run), RUN),
        (!hook.shell || hook.run.len() == 1, "has a shell, and a run that is not one text for it"),
        (hook.directory.as_deref().is_none_or(is_path), "has a directory that is not a path from / or ~"),
        (
            env.len() <= MAX_CHECK_ITEMS && env.keys().all(|name| template::is_variable(name)),
            "has an env with a name that is not letters, digits and _, or with more than 64",
        ),
        (
            env.values().all(|value| is_value(value)),
            "has an env with a value that is longer than 4,096 bytes, or has a NUL",
        ),
        (
            (1..=MAX_HOOK_SECONDS).contains(&hook.timeout),
            "has a timeout that is not 1 to 3,600 seconds",
        ),
        (
            may_stop || hook.severity.is_none(),
            "has a severity, which only quiesce and after-commit can have: the failure of others is always a warning",
        ),
    ])
}

fn timeout() -> u64 {
    TIMEOUT
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde wants it so
fn is_timeout(seconds: &u64) -> bool {
    *seconds == TIMEOUT
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{json, Value};

    fn hook(table: Value) -> Result<Hook, String> {
        serde_json::from_value(table).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_written_is_read_back() {
        let tables = json!([
            {"stage": "quiesce", "where": "source", "run": ["systemctl", "stop", "app"], "timeout": 30},
            {"stage": "resume", "run": ["cd app && ./start"], "shell": true},
            {"stage": "after-commit", "run": ["./migrate"], "directory": "~/app", "env": {"A_1": "b c"}, "severity": "warn"},
            {"stage": "rollback", "where": "target", "run": ["./clear"]},
        ]);
        let hooks: Vec<Hook> = serde_json::from_value(tables.clone()).unwrap();
        assert_eq!(hook_flaw(&hooks, Author::Profile), None);
        assert_eq!(serde_json::to_value(&hooks).unwrap(), tables);
        assert_eq!((hooks[0].timeout, hooks[1].timeout), (30, TIMEOUT));
        let machines: Vec<Where> = hooks.iter().map(Hook::machine).collect();
        assert_eq!(machines, [Where::Source, Where::Both, Where::Target, Where::Target]);
        assert_eq!(hook_flaw(&hooks, Author::Export).unwrap().hook, Some(0));
        let travel: Vec<Hook> = hooks.iter().filter(|h| h.is_for_target()).map(Hook::for_target).collect();
        assert_eq!((travel.len(), hook_flaw(&travel, Author::Export)), (3, None));
        let fatal: Vec<bool> = hooks.iter().map(Hook::is_fatal).collect();
        assert_eq!(fatal, [true, false, false, false]);
    }

    #[test]
    fn bounds() {
        let with = |stage: &str, field: &str, value: Value| {
            let mut table = json!({"stage": stage, "run": ["a"]});
            table[field] = value;
            table
        };
        let many: BTreeMap<String, String> = (0..65).map(|n| (format!("A{n}"), String::new())).collect();
        for (table, words) in [
            (with("quiesce", "run", json!([])), "run"),
            (with("quiesce", "run", json!([""])), "run"),
            (with("quiesce", "run", json!(["a", "b\u{0}"])), "run"),
            (with("quiesce", "run", json!(vec!["a"; 65])), "run"),
            (json!({"stage": "resume", "run": ["a", "b"], "shell": true}), "shell"),
            (with("resume", "directory", json!("app")), "directory"),
            (with("resume", "directory", json!("~/../x")), "directory"),
            (with("resume", "env", json!({"A=B": "c"})), "env"),
            (with("resume", "env", json!({"A": "\u{0}"})), "env"),
            (with("resume", "env", json!(many)), "env"),
            (with("resume", "timeout", json!(0)), "timeout"),
            (with("resume", "timeout", json!(3601)), "timeout"),
            (with("resume", "severity", json!("warn")), "severity"),
            (with("rollback", "severity", json!("error")), "severity"),
            (with("after-commit", "where", json!("source")), "target only"),
            (with("rollback", "where", json!("both")), "target only"),
        ] {
            let flaw = hook_flaw(&[hook(table.clone()).unwrap()], Author::Profile);
            let flaw = flaw.unwrap_or_else(|| panic!("{table}"));
            assert!(flaw.what.contains(words), "{table}: {}", flaw.what);
        }
        for bad in [
            json!({"run": ["a"]}),
            json!({"stage": "before", "run": ["a"]}),
            json!({"stage": "quiesce", "run": "a"}),
            json!({"stage": "quiesce", "run": ["a"], "more": 1}),
            json!({"stage": "quiesce", "run": ["a"], "directory": null}),
            json!({"stage": "quiesce", "run": ["a"], "where": "here"}),
        ] {
            hook(bad.clone()).expect_err(&bad.to_string());
        }
        let one = hook(json!({"stage": "quiesce", "run": ["a"]})).unwrap();
        assert_eq!(hook_flaw(&vec![one; 65], Author::Profile).unwrap().hook, None);
    }
}
