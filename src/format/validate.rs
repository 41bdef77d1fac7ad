//! What a manifest must keep to beyond its JSON (rules M2 to M10), and how it is bound to its archive (chapter B).

use super::check_rules::{flaw, Author, Flaw};
use super::error::FormatError;
use super::hooks::{hook_flaw, HookFlaw};
use super::id::{BundleId, FORMAT_VERSION};
use super::manifest::{ComponentEntry, Manifest, Target};
use super::reader::Container;
use super::todos::{todo_flaw, TodoFlaw};
use crate::base::limits::MAX_COMPONENTS;
use crate::base::name::ComponentName;
use ssh_key::Fingerprint;
use std::collections::HashSet;

/// The largest integer that every reader of JSON keeps exactly (RFC 8259, section 6).
pub const MAX_INTEGER: u64 = (1 << 53) - 1;
/// The last second of the year 9999.
pub const MAX_TIME: u64 = 253_402_300_799;
/// Bytes of a string for people.
const MAX_TEXT: usize = 255;

impl Manifest {
    /// Rules M2 to M10: what can be said of a manifest alone.
    pub fn validate(&self) -> Result<(), FormatError> {
        self.validate_head()?;
        for (index, target) in self.targets.iter().enumerate() {
            validate_target(index, target)?;
        }
        let few = self.components.len() <= MAX_COMPONENTS;
        require(few, "M5", || "components".into(), "are more than 256")?;
        let mut names = HashSet::new();
        for component in &self.components {
            let place = || format!("component '{}'", component.name);
            require(names.insert(&component.name), "M5", place, "is there twice")?;
            validate_component(component)?;
        }
        self.validate_sizes()?;
        self.validate_numbers()?;
        let field = |list: &str, at: Option<usize>| at.map_or(list.to_owned(), |at| format!("{list}[{at}]"));
        if let Some(Flaw { rule, check, what }) = flaw(&self.checks, Author::Export) {
            return Err(FormatError::Manifest { rule, field: field("checks", check), what });
        }
        if let Some(HookFlaw { hook, what }) = hook_flaw(&self.hooks, Author::Export) {
            return Err(FormatError::Manifest { rule: "M9", field: field("hooks", hook), what });
        }
        if let Some(TodoFlaw { todo, what }) = todo_flaw(&self.todos) {
            return Err(FormatError::Manifest { rule: "M10", field: field("todos", todo), what });
        }
        Ok(())
    }

    /// Rules B2 and B5: that this is the manifest of `container`, and that it names all streams but itself.
    pub fn check_container(&self, container: &Container) -> Result<(), FormatError> {
        require(self.id == container.id(), "B2", || "id".into(), "is not that of KBPACK")?;
        let others = container.stream_count().saturating_sub(1) as usize;
        let named = self.components.iter().map(|c| c.streams.len()).sum::<usize>();
        require(named == others, "B5", || "components".into(), "do not name each stream of the archive")?;
        for component in &self.components {
            for stream in &component.streams {
                let stored = container.parts(stream.number).iter().map(|part| part.size).sum::<u64>();
                let place = || format!("stream '{}' of component '{}'", stream.name, component.name);
                require(stored == stream.stored_size, "B5", place, "has another stored_size than its parts")?;
            }
        }
        Ok(())
    }

    /// Rules M2 and M3.
    fn validate_head(&self) -> Result<(), FormatError> {
        require(self.format == FORMAT_VERSION, "M2", || "format".into(), "is not 1")?;
        require(self.created <= MAX_TIME, "M2", || "created".into(), "is after the year 9999")?;
        if let Some(expires) = self.expires {
            let later = expires > self.created && expires <= MAX_TIME;
            require(later, "M2", || "expires".into(), "is not after created, or after the year 9999")?;
        }
        let sequence = (1..=MAX_INTEGER).contains(&self.sequence);
        require(sequence, "M2", || "sequence".into(), "is not from 1 to 2^53 - 1")?;
        let origin = &self.origin;
        for (field, text) in [
            ("profile", &self.profile),
            ("origin.host", &origin.host),
            ("origin.user", &origin.user),
            ("origin.os", &origin.os),
            ("origin.arch", &origin.arch),
            ("origin.kbpack", &origin.kbpack),
        ] {
            require(is_text(text), "M3", || field.into(), NOT_TEXT)?;
        }
        let signer = is_fingerprint(&origin.signer);
        require(signer, "M3", || "origin.signer".into(), "is not SHA256: and 43 digits of base64")
    }

    /// Rule M6: together the streams are no larger than one may be, so that no sum overflows.
    fn validate_sizes(&self) -> Result<(), FormatError> {
        let streams = || self.components.iter().flat_map(|c| &c.streams);
        let size = streams().fold(0u64, |sum, stream| sum.saturating_add(stream.size));
        let stored = streams().fold(0u64, |sum, stream| sum.saturating_add(stream.stored_size));
        let place = || "streams".into();
        require(size.max(stored) <= MAX_INTEGER, "M6", place, "have more than 2^53 - 1 bytes together")
    }

    /// Rule M6: n streams have the numbers 1 to n, so that n + 1 is left for the manifest.
    fn validate_numbers(&self) -> Result<(), FormatError> {
        let streams = || self.components.iter().flat_map(|c| &c.streams);
        let mut used = vec![false; streams().count()];
        for stream in streams() {
            let slot = (stream.number as usize).checked_sub(1).and_then(|index| used.get_mut(index));
            let fresh = slot.is_some_and(|used| !std::mem::replace(used, true));
            let place = || format!("stream number {}", stream.number);
            require(fresh, "M6", place, "is used twice, or is not from 1 to the number of streams")?;
        }
        Ok(())
    }
}

/// Rule M4.
fn validate_target(index: usize, target: &Target) -> Result<(), FormatError> {
    require(is_text(&target.host), "M4", || format!("targets[{index}].host"), NOT_TEXT)?;
    // A nonce looks just as an id does.
    let nonce = target.nonce.as_deref().is_none_or(|nonce| BundleId::parse(nonce).is_some());
    require(nonce, "M4", || format!("targets[{index}].nonce"), "is not 64 lower-case hex digits")
}

/// Rules M5 and M6.
fn validate_component(component: &ComponentEntry) -> Result<(), FormatError> {
    let name = &component.name;
    // The words for kinds have the alphabet of components' names.
    let kind = ComponentName::new(&component.kind).is_some();
    require(kind, "M5", || format!("component '{name}': kind"), "is not 1 to 64 of a-z 0-9 - _")?;
    let mut names = HashSet::new();
    for stream in &component.streams {
        let place = || format!("stream '{}' of component '{name}'", stream.name);
        require(names.insert(&stream.name), "M6", place, "is there twice")?;
        require(stream.size <= MAX_INTEGER, "M6", place, "has a size above 2^53 - 1")?;
        require(stream.stored_size <= MAX_INTEGER, "M6", place, "has a stored_size above 2^53 - 1")?;
    }
    Ok(())
}

const NOT_TEXT: &str = "is not 1 to 255 bytes without control characters";

/// Whether it is *text*: 1 to 255 bytes without control characters.
pub fn is_text(text: &str) -> bool {
    (1..=MAX_TEXT).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// Whether it is a key's fingerprint as `ssh-keygen -l` shows it.
pub fn is_fingerprint(text: &str) -> bool {
    matches!(text.parse(), Ok(Fingerprint::Sha256(digest)) if Fingerprint::Sha256(digest).to_string() == text)
}

fn require(
    holds: bool,
    rule: &'static str,
    field: impl FnOnce() -> String,
    what: &'static str,
) -> Result<(), FormatError> {
    if holds {
        return Ok(());
    }
    Err(FormatError::Manifest { rule, field: field(), what })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{ContainerWriter, MemberName};
    use serde_json::json;
    use std::io::{self, Write};

    /// An archive of one stream of six bytes and the manifest.
    fn container(id: BundleId) -> Container {
        let mut writer = ContainerWriter::new(Vec::new(), id).unwrap();
        writer.add(&MemberName::Key(0), b"key").unwrap();
        writer.add(&MemberName::Part { stream: 1, part: 1 }, b"stored").unwrap();
        writer.add(&MemberName::Part { stream: 2, part: 1 }, b"manifest").unwrap();
        let bytes = writer.finish(|_| Ok::<_, io::Error>("seal".to_owned())).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        Container::scan(&file).unwrap()
    }

    fn manifest(streams: u32, stored_size: u64) -> Manifest {
        let digest = "00".repeat(32);
        let stream = |n: u32| {
            json!({"number": n, "name": format!("s{n}"), "size": 0, "sha256": digest,
                "stored_size": stored_size, "stored_sha256": digest})
        };
        let manifest = json!({
            "format": 1, "id": "ab".repeat(32), "created": 1, "sequence": 1, "profile": "p", "targets": [],
            "origin": {"host": "h", "user": "u", "os": "o", "arch": "a", "kbpack": "0",
                "signer": "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"},
            "components": [{"name": "c", "kind": "files", "facts": null,
                "streams": (1..=streams).map(stream).collect::<Vec<_>>()}],
        });
        Manifest::parse(&serde_json::to_vec(&manifest).unwrap()).unwrap()
    }

    #[test]
    fn a_manifest_is_bound_to_its_archive() {
        let rule = |manifest: Manifest, id| manifest.check_container(&container(id)).map_err(|e| e.rule());
        let id = BundleId([0xab; 32]);
        assert_eq!(rule(manifest(1, 6), id), Ok(()));
        assert_eq!(rule(manifest(1, 6), BundleId([0xcd; 32])), Err("B2"));
        assert_eq!(rule(manifest(0, 6), id), Err("B5"));
        assert_eq!(rule(manifest(2, 6), id), Err("B5"));
        assert_eq!(rule(manifest(1, 5), id), Err("B5"));
    }
}
