//! `inspect`: what the components' lists say, and what they declare that is not in the bundle.

use crate::base::name::ComponentName;
use crate::component::{Component, Host, Listed, NotPacked};
use crate::components;
use crate::crypto::sign::Namespace;
use crate::engine::error::{EngineError, In, Result};
use crate::engine::gate::Bundle;
use crate::format::ComponentEntry;

/// Hands each thing in the bundle to `each`. Reads the lists only, not what they list.
pub fn list(bundle: &Bundle, each: &mut dyn FnMut(&ComponentName, Listed)) -> Result<()> {
    for entry in &bundle.opened.manifest().components {
        let component = component(bundle, entry)?;
        let streams = bundle.opened.streams(entry);
        component.list(&streams, &mut |listed| each(&entry.name, listed)).within(&entry.name)?;
    }
    Ok(())
}

/// What each component declares that is not in the bundle. Nothing is said of one that this kbpack cannot make: the rest
/// of the bundle can be looked at.
pub fn not_packed(bundle: &Bundle) -> Vec<(ComponentName, Vec<NotPacked>)> {
    let declared = |entry: &ComponentEntry| {
        let missing = component(bundle, entry).ok()?.not_packed();
        (!missing.is_empty()).then(|| (entry.name.clone(), missing))
    };
    bundle.opened.manifest().components.iter().filter_map(declared).collect()
}

/// A component of a bundle that is only looked at.
pub(super) fn component(bundle: &Bundle, entry: &ComponentEntry) -> Result<Box<dyn Component>> {
    // Where things would go on this machine does not matter here.
    let nowhere = Host { home: "/nonexistent".into(), uid: u32::MAX, own: Vec::new(), maps: Vec::new() };
    let kind = components::kind(&entry.kind)
        .ok_or_else(|| EngineError::UnknownKind { name: entry.name.clone(), kind: entry.kind.clone() })?;
    match bundle.opened.sealed().purpose() {
        Namespace::Backup => kind.from_backup(&entry.name, &entry.facts, None, &nowhere),
        _ => kind.from_facts(&entry.name, &entry.facts, None, &nowhere),
    }
    .within(&entry.name)
}
