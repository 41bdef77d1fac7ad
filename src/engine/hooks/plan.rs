//! Which hooks a run on this machine has, and which of them may run: the bundle's and this machine's own.

use super::{describe, OwnedHook};
use crate::base::limits::MIN_SEARCHED_SECRET;
use crate::component::NamedSecret;
use crate::crypto::paths::KeyPaths;
use crate::crypto::sign::{Namespace, Signer};
use crate::crypto::trust::TrustStore;
use crate::engine::checks::plan::Reason;
use crate::engine::checks::record::secret_in;
use crate::engine::checks::Origin;
use crate::engine::error::Result;
use crate::engine::gate::Bundle;
use crate::engine::hooks::HookError;
use crate::engine::machine;
use crate::engine::profile::Profile;
use crate::format::{Hook, Stage};
use serde::Serialize;

/// A hook of a plan.
#[derive(Debug, Clone, Serialize)]
pub struct PlannedHook {
    /// When it runs.
    pub stage: Stage,
    /// Who asks for it.
    pub origin: Origin,
    /// What it runs, as a person would type it.
    pub what: String,
    /// Seconds that it may take.
    pub timeout: u64,
    /// Whether its failure stops the import.
    pub fatal: bool,
    /// Why nothing goes on as long as it is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<Reason>,
    /// Why it will not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<Reason>,
    #[serde(skip)]
    owned: OwnedHook,
}

impl PlannedHook {
    fn new(owned: OwnedHook) -> Self {
        let hook = &owned.hook;
        PlannedHook {
            stage: hook.stage,
            origin: owned.origin(),
            what: describe(hook),
            timeout: hook.timeout,
            fatal: hook.is_fatal(),
            refused: None,
            skipped: None,
            owned,
        }
    }
}

/// Those of `planned` that run.
pub fn running(planned: &[PlannedHook]) -> Vec<OwnedHook> {
    let runs = |hook: &&PlannedHook| hook.refused.is_none() && hook.skipped.is_none();
    planned.iter().filter(runs).map(|hook| hook.owned.clone()).collect()
}

/// The hooks of an import of `bundle` on a machine with this profile. `wanted`: those of the bundle, too.
pub fn of_import(bundle: &Bundle, profile: Option<&Profile>, wanted: bool) -> Vec<PlannedHook> {
    let own = profile.map_or(&[][..], |profile| &profile.hooks);
    let trust = bundle.opened.trust();
    let authority =
        Authority { principal: &trust.principal, signer: bundle.opened.signer(), hooks: trust.hooks };
    plan(&bundle.opened.manifest().hooks, own, &authority, wanted)
}

/// What the signer of a bundle may ask for.
struct Authority<'a> {
    principal: &'a str,
    signer: &'a Signer,
    hooks: bool,
}

/// One that the bundle and this machine's own profile have in the same words is this machine's own, and runs once.
fn plan(bundle: &[Hook], own: &[Hook], authority: &Authority<'_>, wanted: bool) -> Vec<PlannedHook> {
    let own: Vec<Hook> = own.iter().filter(|hook| hook.is_for_target()).map(Hook::for_target).collect();
    let of_bundle = |hook: &Hook| match own.contains(hook) {
        true => PlannedHook::new(OwnedHook { by: None, hook: hook.clone() }),
        false => judged(hook, authority, wanted),
    };
    let added = own.iter().filter(|hook| !bundle.contains(hook));
    let added = added.map(|hook| PlannedHook::new(OwnedHook { by: None, hook: hook.clone() }));
    bundle.iter().map(of_bundle).chain(added).collect()
}

/// A hook that only the bundle asks for.
fn judged(hook: &Hook, authority: &Authority<'_>, wanted: bool) -> PlannedHook {
    let by = Some(authority.signer.to_line(""));
    let planned = PlannedHook::new(OwnedHook { by, hook: hook.clone() });
    if !wanted {
        let reason = Reason {
            why: "--no-hooks".to_owned(),
            remedy: "see whether it has to be run by hand".to_owned(),
        };
        return PlannedHook { skipped: Some(reason), ..planned };
    }
    if authority.hooks {
        return planned;
    }
    let (principal, line) = (authority.principal, authority.signer.to_line(""));
    let allow = format!(
        "to allow it: kbpack trust add {principal} '{line}' --hooks; or write the hook into this machine's own profile"
    );
    let why = "its signer may not have commands run".to_owned();
    match hook.optional {
        true => PlannedHook { skipped: Some(Reason { why, remedy: allow }), ..planned },
        false => {
            let remedy = format!("{allow}; or import without it: --no-hooks");
            PlannedHook { refused: Some(Reason { why, remedy }), ..planned }
        }
    }
}

/// The hooks of a rollback: those that ran around the import. The bundle's run only if its signer may still have commands
/// run here.
pub fn of_rollback(past: &[OwnedHook], paths: &KeyPaths, wanted: bool) -> Result<Vec<PlannedHook>> {
    let signed = past.iter().any(|hook| hook.by.is_some());
    let store = signed.then(|| TrustStore::load(paths)).transpose()?;
    let may = |line: &str| {
        let signer = Signer::parse_line(line)?;
        let trust = store.as_ref()?.check(&signer, Namespace::Bundle, machine::now()).ok()?;
        trust.hooks.then_some(())
    };
    let planned = |hook: &OwnedHook| {
        let planned = PlannedHook::new(hook.clone());
        let why = match &hook.by {
            _ if !wanted => Some("--no-hooks"),
            Some(line) if may(line).is_none() => {
                Some("the bundle's signer may no longer have commands run here")
            }
            _ => None,
        };
        let remedy = || "see whether it has to be run by hand".to_owned();
        PlannedHook { skipped: why.map(|why| Reason { why: why.to_owned(), remedy: remedy() }), ..planned }
    };
    // What is told when the new state is in place has nothing to say of the old one.
    let here = past.iter().filter(|owned| owned.hook.stage != Stage::AfterCommit);
    Ok(here.map(planned).collect())
}

/// The hooks of a profile that travel. One that holds a secret is refused: it is shown to people, and kept as it is.
pub fn that_travel(hooks: &[Hook], secrets: &[NamedSecret]) -> Result<Vec<Hook>> {
    let travel: Vec<Hook> = hooks.iter().filter(|hook| hook.is_for_target()).map(Hook::for_target).collect();
    for hook in &travel {
        let table = serde_json::to_value(hook).unwrap_or_default();
        if let Some(secret) = secret_in(&table, secrets) {
            debug_assert!(secret.value.len() >= MIN_SEARCHED_SECRET);
            // What it runs may be where the secret stands.
            let what = hook.run.first().filter(|_| !hook.shell).map_or("sh", String::as_str).to_owned();
            let (stage, secret) = (hook.stage.as_str(), secret.name.clone());
            return Err(HookError::HoldsSecret { stage, what, secret }.into());
        }
    }
    Ok(travel)
}

/// The hooks of a profile that run on the source.
pub(in crate::engine) fn of_export(hooks: &[Hook]) -> Vec<OwnedHook> {
    let here = hooks.iter().filter(|hook| hook.is_for_source());
    here.map(|hook| OwnedHook { by: None, hook: hook.clone() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::sign::SigningKey;
    use serde_json::json;

    fn hooks(tables: serde_json::Value) -> Vec<Hook> {
        serde_json::from_value(tables).unwrap()
    }

    #[test]
    fn which_run_and_which_do_not() {
        let bundle = hooks(json!([
            {"stage": "quiesce", "run": ["stop"]},
            {"stage": "resume", "run": ["start"]},
            {"stage": "after-commit", "run": ["reload"], "optional": true},
        ]));
        let own = hooks(json!([
            {"stage": "resume", "where": "both", "run": ["start"]},
            {"stage": "quiesce", "where": "source", "run": ["only there"]},
            {"stage": "after-commit", "run": ["mine"]},
        ]));
        let signer = SigningKey::generate().unwrap().public();
        let of = |may, wanted| {
            let authority = Authority { principal: "ada", signer: &signer, hooks: may };
            let planned = plan(&bundle, &own, &authority, wanted);
            let words = |hook: &PlannedHook| {
                let fate = match (&hook.refused, &hook.skipped) {
                    (Some(_), _) => "refused",
                    (_, Some(_)) => "skipped",
                    _ => "runs",
                };
                format!("{} {:?} {fate}", hook.what, hook.origin)
            };
            planned.iter().map(words).collect::<Vec<_>>()
        };
        let expected = |stop: &str, reload: &str| {
            let (stop, reload) = (format!("stop Bundle {stop}"), format!("reload Bundle {reload}"));
            [stop, "start Profile runs".to_owned(), reload, "mine Profile runs".to_owned()]
        };
        assert_eq!(of(true, true), expected("runs", "runs"));
        assert_eq!(of(false, true), expected("refused", "skipped"));
        assert_eq!(of(true, false), expected("skipped", "skipped"));
        assert_eq!(of(false, false), expected("skipped", "skipped"));
    }

    #[test]
    fn a_secret_does_not_travel_in_a_hook() {
        let secret = NamedSecret { name: "$PW".into(), value: b"hunter2-and-more".to_vec().into() };
        for table in [
            json!({"stage": "quiesce", "run": ["curl", "-Hx: hunter2-and-more"]}),
            json!({"stage": "resume", "run": ["echo hunter2-and-more"], "shell": true}),
            json!({"stage": "rollback", "run": ["a"], "env": {"A": "hunter2-and-more"}}),
        ] {
            let error = that_travel(&hooks(json!([table])), std::slice::from_ref(&secret)).unwrap_err();
            let error = error.to_string();
            assert!(error.ends_with("holds the value of $PW") && !error.contains("hunter2"), "{error}");
        }
        let here = hooks(json!([{"stage": "quiesce", "where": "source", "run": ["hunter2-and-more"]}]));
        assert!(that_travel(&here, &[secret]).unwrap().is_empty());
    }
}
