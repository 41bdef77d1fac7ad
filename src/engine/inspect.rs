//! `inspect --files`: what the components' lists say.

use crate::base::name::ComponentName;
use crate::component::{Host, Listed};
use crate::components;
use crate::crypto::sign::Namespace;
use crate::engine::error::{EngineError, In, Result};
use crate::engine::gate::Bundle;

/// Hands each thing in the bundle to `each`. Reads the lists only, not what they list.
pub fn list(bundle: &Bundle, each: &mut dyn FnMut(&ComponentName, Listed)) -> Result<()> {
    // Where things would go on this machine does not matter here.
    let nowhere = Host { home: "/nonexistent".into(), uid: u32::MAX, own: Vec::new(), maps: Vec::new() };
    for entry in &bundle.opened.manifest().components {
        let kind = components::kind(&entry.kind)
            .ok_or_else(|| EngineError::UnknownKind { name: entry.name.clone(), kind: entry.kind.clone() })?;
        let component = match bundle.opened.sealed().purpose() {
            Namespace::Backup => kind.from_backup(&entry.name, &entry.facts, None, &nowhere),
            _ => kind.from_facts(&entry.name, &entry.facts, None, &nowhere),
        };
        let component = component.within(&entry.name)?;
        let streams = bundle.opened.streams(entry);
        component.list(&streams, &mut |listed| each(&entry.name, listed)).within(&entry.name)?;
    }
    Ok(())
}
