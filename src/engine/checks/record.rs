//! Export: takes down what the source has, so that the target can be compared with it.

use super::{ready, CheckError, Origin, Site};
use crate::base::limits::{MAX_CHECK_TEXT, MIN_SEARCHED_SECRET};
use crate::base::timed::within;
use crate::component::{Host, NamedSecret};
use crate::engine::error::Result;
use crate::engine::events::Events;
use crate::format::Check;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// The checks of a profile as they travel. One that cannot be taken down fails the export.
pub fn record(checks: &[Check], host: &Host, events: &dyn Events) -> Result<Vec<Check>> {
    checks.iter().map(|check| record_one(check, host, events)).collect()
}

fn record_one(check: &Check, host: &Host, events: &dyn Events) -> Result<Check> {
    let bad = |why| CheckError::Bad { name: check.name.clone(), origin: Origin::Profile, why };
    let trial = ready(check).map_err(bad)?;
    if !check.records() {
        return Ok(check.clone());
    }
    events.step(&format!("recording: {}", check.name));
    let limit = Duration::from_secs(check.timeout);
    let site = Site { host: host.clone(), trusted: true, limit };
    let asked = Arc::clone(&trial);
    let value = within(limit * 2, move || asked.value(&site))?;
    let cannot = |why| CheckError::CannotRecord { name: check.name.clone(), why };
    let value = value.ok_or_else(|| cannot(format!("it did not end within {} s", check.timeout)))?;
    let value = value.map_err(cannot)?;
    if value.len() > MAX_CHECK_TEXT || value.contains('\0') {
        return Err(cannot(format!("its value is longer than {MAX_CHECK_TEXT} bytes, or has a NUL")).into());
    }
    Ok(check.clone().with_source_value(value))
}

/// Refuses checks that hold one of `secrets`: they are shown to people, and kept on the target as they are.
pub fn refuse_secrets(checks: &[Check], secrets: &[NamedSecret]) -> Result<()> {
    for check in checks {
        let table = serde_json::to_value(check).unwrap_or_default();
        if let Some(secret) = secret_in(&table, secrets) {
            let (name, secret) = (check.name.clone(), secret.name.clone());
            return Err(CheckError::HoldsSecret { name, secret }.into());
        }
    }
    Ok(())
}

/// The first of `secrets` that stands in one of the texts of `table`.
pub(in crate::engine) fn secret_in<'s>(table: &Value, secrets: &'s [NamedSecret]) -> Option<&'s NamedSecret> {
    let mut texts = Vec::new();
    texts_of(table, &mut texts);
    let mut long = secrets.iter().filter(|secret| secret.value.len() >= MIN_SEARCHED_SECRET);
    long.find(|secret| {
        let value = secret.value.expose();
        texts.iter().any(|text| text.as_bytes().windows(value.len()).any(|part| part == value))
    })
}

fn texts_of<'v>(value: &'v Value, into: &mut Vec<&'v str>) {
    match value {
        Value::String(text) => into.push(text),
        Value::Array(elements) => elements.iter().for_each(|element| texts_of(element, into)),
        Value::Object(fields) => fields.values().for_each(|field| texts_of(field, into)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_secret_in_a_check_is_found_wherever_it_stands() {
        let value = "hunter2-\"quoted\"";
        let secret =
            |value: &str| NamedSecret { name: "$PW".into(), value: value.as_bytes().to_vec().into() };
        for table in [
            json!({"name": "x", "command": {"run": ["curl", format!("-H{value}")]}}),
            json!({"name": "x", "http": {"url": "http://a/", "header": {"A": value}}}),
            json!({"name": "x", "http": {"url": "http://a/", "json": {"a": value}}}),
            json!({"name": "x", "env": {"name": "A", "equals": value}}),
        ] {
            let checks: Vec<Check> = serde_json::from_value(json!([table])).unwrap();
            let error = refuse_secrets(&checks, &[secret("other-value"), secret(value)]).unwrap_err();
            assert_eq!(error.to_string(), "the check 'x' holds the value of $PW");
            refuse_secrets(&checks, &[secret("other-value"), secret("hunter2")]).unwrap();
        }
    }
}
