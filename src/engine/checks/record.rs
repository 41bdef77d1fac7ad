//! Export: takes down what the source has, so that the target can be compared with it.

use super::run::within;
use super::{ready, CheckError, Origin, Site};
use crate::component::Host;
use crate::engine::error::Result;
use crate::engine::events::Events;
use crate::format::Check;
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
    Ok(check.clone().with_source_value(value.map_err(cannot)?))
}
