//! Which checks there are, and which of them may run: the bundle's and this machine's own.

use super::{ready, CheckError, Origin, Trial};
use crate::crypto::sign::Signer;
use crate::engine::error::Result;
use crate::engine::gate::Bundle;
use crate::engine::profile::Profile;
use crate::format::{Check, CheckSeverity, Probe};
use serde::Serialize;
use std::sync::Arc;

/// A check of an import's plan.
#[derive(Clone, Serialize)]
pub struct PlannedCheck {
    /// Its name.
    pub name: String,
    /// Who asks for it.
    pub origin: Origin,
    /// What its failure means.
    pub severity: CheckSeverity,
    /// What it does, in a line.
    pub what: String,
    /// Why it will not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<Reason>,
    /// As it is written.
    #[serde(skip)]
    pub check: Check,
    /// Whether who asks for it may run commands here.
    #[serde(skip)]
    pub(super) trusted: bool,
    #[serde(skip)]
    pub(super) trial: Arc<dyn Trial>,
}

/// Why a check will not run, and how it could.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// One line: why.
    pub why: String,
    /// One line: what to do.
    pub remedy: String,
}

/// What the signer of a bundle may ask for.
pub struct Authority<'a> {
    /// The name under which it is trusted here.
    pub principal: &'a str,
    /// Its key.
    pub signer: Signer,
    /// Whether it may run commands here (`kbpack-hooks`).
    pub hooks: bool,
}

/// The checks of an import of `bundle` on a machine with this profile.
pub fn of_import(bundle: &Bundle, profile: Option<&Profile>) -> Result<Vec<PlannedCheck>> {
    let own = profile.map_or(&[][..], |profile| &profile.checks);
    let trust = bundle.opened.trust();
    let signer = *bundle.opened.signer();
    let authority = Authority { principal: &trust.principal, signer, hooks: trust.hooks };
    plan(&bundle.opened.manifest().checks, own, &authority)
}

/// The checks of a bundle and of this machine's own profile; its own stand in the place of the bundle's of the same name.
pub fn plan(bundle: &[Check], own: &[Check], authority: &Authority<'_>) -> Result<Vec<PlannedCheck>> {
    let overriding = |check: &Check| own.iter().find(|other| other.name == check.name);
    let mut planned = Vec::new();
    for check in bundle {
        planned.push(match overriding(check) {
            Some(mine) => of_profile(mine, Some(check))?,
            None => of_bundle(check, authority)?,
        });
    }
    let added = own.iter().filter(|check| !bundle.iter().any(|other| other.name == check.name));
    for check in added {
        planned.push(of_profile(check, None)?);
    }
    Ok(planned)
}

/// A check of the bundle.
pub fn of_bundle(check: &Check, authority: &Authority<'_>) -> Result<PlannedCheck> {
    let mut planned = planned(check.clone(), Origin::Bundle, authority.hooks)?;
    if authority.hooks {
        return Ok(planned);
    }
    planned.skipped = planned.trial.needs_trust().map(|why| Reason {
        why: format!("{why}, and its signer may not have commands run here"),
        remedy: format!(
            "to allow it: kbpack trust add {} '{}' --hooks; or write the check into this machine's own profile",
            authority.principal,
            authority.signer.to_line("")
        ),
    });
    Ok(planned)
}

/// A check of this machine's profile. What the source had is taken from the bundle's check of the same name.
pub fn of_profile(check: &Check, bundle: Option<&Check>) -> Result<PlannedCheck> {
    let mut check = check.clone();
    if check.records() && check.source_value().is_none() {
        let same =
            bundle.filter(|b| std::mem::discriminant(&b.probe) == std::mem::discriminant(&check.probe));
        check = match same.and_then(Check::source_value) {
            Some(value) => check.with_source_value(value.to_owned()),
            None => check,
        };
    }
    let lacks = check.records() && check.source_value().is_none();
    let mut planned = planned(check, Origin::Profile, true)?;
    planned.skipped = lacks.then(|| Reason {
        why: "the bundle does not say what the source had".to_owned(),
        remedy: "let the profile of the export have the check too".to_owned(),
    });
    Ok(planned)
}

/// Skips those that compare a database with the source's, for an import that leaves one out: what is there is not what
/// came.
pub fn skip_comparisons(planned: &mut [PlannedCheck]) {
    let compares =
        |planned: &&mut PlannedCheck| matches!(&planned.check.probe, Probe::Sql(sql) if sql.recorded);
    for planned in planned.iter_mut().filter(compares).filter(|planned| planned.skipped.is_none()) {
        planned.skipped = Some(Reason {
            why: "it compares a database with the source's, and this import leaves one out".to_owned(),
            remedy: "import the database too, or see what `kbpack check` says".to_owned(),
        });
    }
}

fn planned(check: Check, origin: Origin, trusted: bool) -> Result<PlannedCheck> {
    let trial = ready(&check).map_err(|why| CheckError::Bad { name: check.name.clone(), origin, why })?;
    Ok(PlannedCheck {
        name: check.name.clone(),
        origin,
        severity: check.severity,
        what: trial.what(),
        skipped: None,
        check,
        trusted,
        trial,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::sign::SigningKey;
    use serde_json::json;

    fn checks(tables: serde_json::Value) -> Vec<Check> {
        serde_json::from_value(tables).unwrap()
    }

    fn authority(hooks: bool) -> Authority<'static> {
        Authority { principal: "ada", signer: SigningKey::generate().unwrap().public(), hooks }
    }

    #[test]
    fn what_a_bundle_may_not_ask_for_without_hooks() {
        let may = checks(json!([
            {"name": "file", "file": {"path": "~/x"}},
            {"name": "env", "env": {"name": "A"}},
            {"name": "tcp", "tcp": {"address": "localhost:1"}},
            {"name": "tcp6", "tcp": {"address": "[::1]:1"}},
            {"name": "http", "http": {"url": "http://127.1.2.3:80/x"}},
            {"name": "head", "http": {"url": "http://[::1]/", "method": "HEAD"}},
            {"name": "https", "http": {"url": "https://localhost/"}},
            {"name": "json", "json": {"file": "~/x.json", "exists": true}},
            {"name": "sql", "sql": {"url": "postgresql://u@localhost/d", "query": "q", "equals": ""}},
            {"name": "socket", "sql": {"url": "postgresql:///d", "query": "q", "equals": ""}},
        ]));
        let may_not = checks(json!([
            {"name": "command", "command": {"run": ["true"]}},
            {"name": "version", "version": {"run": ["true"], "at-least": "1"}},
            {"name": "tcp", "tcp": {"address": "example.org:1"}},
            {"name": "any", "tcp": {"address": "0.0.0.0:1"}},
            {"name": "mapped", "tcp": {"address": "[::ffff:127.0.0.1]:1"}},
            {"name": "looks", "http": {"url": "http://localhost.example.org/"}},
            {"name": "https", "http": {"url": "https://example.org/"}},
            {"name": "json", "json": {"file": "/etc/x.json", "exists": true}},
            {"name": "octal", "http": {"url": "http://0177.0.0.1/"}},
            {"name": "meta", "http": {"url": "http://169.254.169.254/"}},
            {"name": "secret", "http": {"url": "http://localhost/", "header": {"X-API-Key": "$K"}}},
            {"name": "post", "http": {"url": "http://localhost/", "method": "POST", "body": "{}"}},
            {"name": "body", "http": {"url": "http://localhost/", "method": "POST", "body": "$K"}},
            {"name": "sql", "sql": {"url": "postgresql://u@db.example.org/d", "query": "q", "equals": ""}},
        ]));
        let skipped = |checks: &[Check], hooks| -> Vec<bool> {
            plan(checks, &[], &authority(hooks)).unwrap().iter().map(|p| p.skipped.is_some()).collect()
        };
        assert_eq!(skipped(&may, false), vec![false; may.len()]);
        assert_eq!(skipped(&may_not, false), vec![true; may_not.len()]);
        assert_eq!(skipped(&may_not, true), vec![false; may_not.len()]);
        // What this machine's own profile asks for may always run.
        let own = plan(&may, &may_not, &authority(false)).unwrap();
        assert!(own.iter().all(|planned| planned.skipped.is_none()));
        assert_eq!(own.len(), may.len() + may_not.len() - 4);
    }

    #[test]
    fn ones_own_check_stands_in_the_place_of_the_bundles() {
        let bundle = checks(json!([
            {"name": "a", "command": {"run": ["false"]}},
            {"name": "v", "version": {"run": ["x"], "equal-to-source": true, "source-value": "1.2"}},
        ]));
        let own = checks(json!([
            {"name": "v", "version": {"run": ["y"], "equal-to-source": true}},
            {"name": "new", "version": {"run": ["y"], "equal-to-source": true}},
        ]));
        let planned = plan(&bundle, &own, &authority(false)).unwrap();
        let names: Vec<&str> = planned.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["a", "v", "new"]);
        assert_eq!(planned[1].origin, Origin::Profile);
        assert_eq!(planned[1].check.source_value(), Some("1.2"));
        assert!(planned[0].skipped.as_ref().unwrap().remedy.contains("--hooks"));
        assert_eq!(planned[2].skipped.as_ref().unwrap().why, "the bundle does not say what the source had");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let bad = checks(json!([
            {"name": "pattern", "command": {"run": ["a"], "stdout-matches": "("}},
            {"name": "address", "tcp": {"address": "localhost"}},
            {"name": "port", "tcp": {"address": "localhost:0"}},
            {"name": "url", "http": {"url": "http://a b/"}},
            {"name": "port", "http": {"url": "http://a:99999/"}},
            {"name": "scheme", "http": {"url": "httpx://a/"}},
            {"name": "tls", "sql": {"url": "postgresql://h/d?sslmode=perhaps", "query": "q", "equals": ""}},
            {"name": "two", "sql": {"url": "postgresql://u@localhost/d?hostaddr=10.0.0.1", "query": "q", "equals": ""}},
            {"name": "not a host", "sql": {"url": "postgresql://a b/d", "query": "q", "equals": ""}},
            {"name": "hosts", "sql": {"url": "postgresql://a,b/d", "query": "q", "equals": ""}},
        ]));
        for check in &bad {
            assert!(of_bundle(check, &authority(true)).is_err(), "{check:?}");
        }
    }
}
