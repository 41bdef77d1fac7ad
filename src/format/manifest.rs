//! The manifest: what a bundle holds, in JSON, as the last stream (chapter M).

use super::checks::Check;
use super::error::FormatError;
use super::hooks::Hook;
use super::id::BundleId;
use super::todos::Todo;
use crate::base::digest::Digest;
use crate::base::json;
use crate::base::limits::MAX_MANIFEST;
use crate::base::name::{ComponentName, StreamName};
use crate::base::path::path_text;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Characters of what the reader of JSON says that an error repeats.
const MAX_COMPLAINT: usize = 200;

/// What a bundle holds and where it comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of the format: 1.
    pub format: u32,
    /// The bundle's id, the same as in `KBPACK`.
    pub id: BundleId,
    /// When it was packed: Unix time in seconds.
    pub created: u64,
    /// When it ceases to be accepted: Unix time in seconds, later than `created`.
    #[serde(default, deserialize_with = "json::set", skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
    /// Greater for each bundle of the same profile and signer, and never 0.
    pub sequence: u64,
    /// The name of the profile that it was packed by.
    pub profile: String,
    /// Where it was packed, and by whom first.
    pub origin: Origin,
    /// The hosts it is meant for; none for any host.
    pub targets: Vec<Target>,
    /// What is in it.
    pub components: Vec<ComponentEntry>,
    /// What is to be checked after an import.
    #[serde(default, deserialize_with = "json::some", skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
    /// What the target runs around an import.
    #[serde(default, deserialize_with = "json::some", skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<Hook>,
    /// What is left to a person on the target.
    #[serde(default, deserialize_with = "json::some", skip_serializing_if = "Vec::is_empty")]
    pub todos: Vec<Todo>,
}

/// Where a bundle was packed. For people: nothing is decided by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The host's name.
    pub host: String,
    /// The user's name.
    pub user: String,
    /// The operating system, as `std::env::consts::OS` says it.
    pub os: String,
    /// The processor architecture, as `std::env::consts::ARCH` says it.
    pub arch: String,
    /// The version of kbpack that packed it.
    pub kbpack: String,
    /// The fingerprint of the first signer, `SHA256:...`. Another one may have sealed the bundle since.
    pub signer: String,
}

/// A host that a bundle is meant for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The host's id, as its ticket says it.
    pub host: String,
    /// The nonce of the ticket that the bundle answers, 64 lower-case hex digits.
    #[serde(default, deserialize_with = "json::set", skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
}

/// One component.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComponentEntry {
    /// Its name, unique in the bundle.
    pub name: ComponentName,
    /// Its kind's word: the same alphabet and length as a component's name.
    pub kind: String,
    /// The kind's own JSON.
    pub facts: Value,
    /// Its streams, in the order in which they were created.
    pub streams: Vec<StreamEntry>,
}

/// One stream of a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamEntry {
    /// Its number in the archive.
    pub number: u32,
    /// Its name, unique in the component.
    pub name: StreamName,
    /// Bytes of the plaintext.
    pub size: u64,
    /// The digest of the plaintext.
    pub sha256: Digest,
    /// Bytes of all its parts.
    pub stored_size: u64,
    /// The digest of its parts, concatenated.
    pub stored_sha256: Digest,
}

impl Manifest {
    /// Reads a manifest and checks it alone (rules M1 to M10). Whether it fits its archive is
    /// [`check_container`](Manifest::check_container).
    pub fn parse(bytes: &[u8]) -> Result<Manifest, FormatError> {
        let size = bytes.len() as u64;
        if size > MAX_MANIFEST {
            return Err(FormatError::ManifestSize { size, max: MAX_MANIFEST });
        }
        let manifest: Manifest = json::from_slice(bytes).map_err(complaint)?;
        manifest.validate()?;
        Ok(manifest)
    }

    /// Its JSON, indented for people. Refuses what [`parse`](Manifest::parse) would refuse.
    pub fn to_bytes(&self) -> Result<Vec<u8>, FormatError> {
        let mut bytes = serde_json::to_vec_pretty(self).map_err(complaint)?;
        bytes.push(b'\n');
        Manifest::parse(&bytes)?;
        Ok(bytes)
    }
}

fn complaint(error: serde_json::Error) -> FormatError {
    let what = path_text(error.to_string().as_bytes());
    FormatError::ManifestJson { what: what.chars().take(MAX_COMPLAINT).collect() }
}

#[cfg(test)]
mod tests {
    use super::super::checks::{Probe, TcpProbe};
    use super::super::hooks::Where;
    use super::*;
    use crate::base::fault::{Fault, Faulty};

    fn stream(number: u32, name: &str) -> StreamEntry {
        StreamEntry {
            number,
            name: StreamName::new(name).unwrap(),
            size: 5,
            sha256: Digest::of(b"plain"),
            stored_size: 6,
            stored_sha256: Digest::of(b"stored"),
        }
    }

    fn check(name: &str) -> Check {
        serde_json::from_value(serde_json::json!({"name": name, "tcp": {"address": "localhost:80"}})).unwrap()
    }

    fn hook() -> Hook {
        serde_json::from_value(serde_json::json!({"stage": "quiesce", "run": ["stop"]})).unwrap()
    }

    fn todo(text: &str) -> Todo {
        serde_json::from_value(serde_json::json!({"text": text, "run": ["login"]})).unwrap()
    }

    fn sample() -> Manifest {
        let component = |name: &str, streams| ComponentEntry {
            name: ComponentName::new(name).unwrap(),
            kind: "files".to_owned(),
            facts: serde_json::json!({"root": "~/x"}),
            streams,
        };
        Manifest {
            format: 1,
            id: BundleId([0xab; 32]),
            created: 1_700_000_000,
            expires: Some(1_800_000_000),
            sequence: 1_700_000_000,
            profile: "kage-bunshin".to_owned(),
            origin: Origin {
                host: "alpha".to_owned(),
                user: "ada".to_owned(),
                os: "linux".to_owned(),
                arch: "x86_64".to_owned(),
                kbpack: "0.1.0".to_owned(),
                signer: "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU".to_owned(),
            },
            targets: vec![Target { host: "beta".to_owned(), nonce: Some("0f".repeat(32)) }],
            components: vec![
                component("config", vec![stream(2, "tree/000001"), stream(1, "index")]),
                component("other", vec![stream(3, "index")]),
                component("empty", vec![]),
            ],
            checks: vec![check("it listens")],
            hooks: vec![hook()],
            todos: vec![todo("log in")],
        }
    }

    fn rule(change: impl FnOnce(&mut Manifest)) -> String {
        let mut manifest = sample();
        change(&mut manifest);
        let error = manifest.to_bytes().unwrap_err();
        assert_eq!(error.fault(), Fault::Rule, "{error}");
        assert!(!error.to_string().contains(char::is_control));
        error.rule().to_owned()
    }

    #[test]
    fn round_trip() {
        let manifest = sample();
        assert_eq!(Manifest::parse(&manifest.to_bytes().unwrap()).unwrap(), manifest);
        let bare = Manifest {
            expires: None,
            targets: vec![],
            components: vec![],
            checks: vec![],
            hooks: vec![],
            todos: vec![],
            ..manifest
        };
        let bytes = bare.to_bytes().unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("expires"));
        assert!(!String::from_utf8_lossy(&bytes).contains("checks"));
        assert!(!String::from_utf8_lossy(&bytes).contains("hooks"));
        assert!(!String::from_utf8_lossy(&bytes).contains("todos"));
        assert_eq!(Manifest::parse(&bytes).unwrap(), bare);
        for list in ["checks", "hooks", "todos"] {
            let with = format!("\"format\": 1, \"{list}\": [],");
            let empty = String::from_utf8_lossy(&bytes).replacen("\"format\": 1,", &with, 1);
            assert_eq!(Manifest::parse(empty.as_bytes()).unwrap_err().rule(), "M1");
        }
    }

    #[test]
    fn values_out_of_bounds() {
        for (expected, found) in [
            ("M2", rule(|m| m.format = 2)),
            ("M2", rule(|m| m.created = 253_402_300_800)),
            ("M2", rule(|m| m.expires = Some(m.created))),
            ("M2", rule(|m| m.expires = Some(u64::MAX))),
            ("M2", rule(|m| m.sequence = 0)),
            ("M2", rule(|m| m.sequence = 1 << 53)),
            ("M3", rule(|m| m.profile = String::new())),
            ("M3", rule(|m| m.profile = "a".repeat(256))),
            ("M3", rule(|m| m.origin.host = "a\nb".to_owned())),
            ("M3", rule(|m| m.origin.user = "\u{1b}[2J".to_owned())),
            ("M3", rule(|m| m.origin.signer = "SHA256:short".to_owned())),
            ("M3", rule(|m| m.origin.signer.insert(7, ' '))),
            ("M3", rule(|m| m.origin.signer.push('='))),
            ("M4", rule(|m| m.targets[0].host = String::new())),
            ("M4", rule(|m| m.targets[0].nonce = Some("0F".repeat(32)))),
            ("M5", rule(|m| m.components[1].name = m.components[0].name.clone())),
            ("M5", rule(|m| m.components[0].kind = "Files".to_owned())),
            ("M5", rule(|m| m.components = vec![m.components[2].clone(); 257])),
            ("M6", rule(|m| m.components[0].streams[1].name = StreamName::new("tree/000001").unwrap())),
            ("M6", rule(|m| m.components[0].streams[0].size = 1 << 53)),
            ("M6", rule(|m| m.components[0].streams[0].stored_size = u64::MAX)),
            ("M6", rule(|m| m.components[0].streams.iter_mut().for_each(|s| s.size = 1 << 52))),
            ("M6", rule(|m| m.components[0].streams[0].number = 0)),
            ("M6", rule(|m| m.components[0].streams[0].number = 1)),
            ("M6", rule(|m| m.components[0].streams[0].number = 4)),
            ("M6", rule(|m| m.components[0].streams[0].number = u32::MAX)),
            ("M7", rule(|m| m.checks.push(m.checks[0].clone()))),
            ("M7", rule(|m| m.checks = (0..257).map(|n| check(&n.to_string())).collect())),
            ("M8", rule(|m| m.checks[0].probe = Probe::Tcp(TcpProbe { address: String::new() }))),
            ("M9", rule(|m| m.hooks = vec![hook(); 65])),
            ("M9", rule(|m| m.hooks[0].run.clear())),
            ("M9", rule(|m| m.hooks[0].place = Some(Where::Target))),
            ("M10", rule(|m| m.todos.push(m.todos[0].clone()))),
            ("M10", rule(|m| m.todos = (0..65).map(|n| todo(&n.to_string())).collect())),
            ("M10", rule(|m| m.todos[0].run[0].push('\u{1b}'))),
        ] {
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn json_is_strict() {
        let good = String::from_utf8(sample().to_bytes().unwrap()).unwrap();
        Manifest::parse(good.as_bytes()).unwrap();
        let deep = format!("{}{}", "[".repeat(14), "]".repeat(14));
        for (from, to) in [
            ("\"format\": 1,", "\"format\": 1, \"more\": 1,"),
            ("\"format\": 1,", "\"format\": 1, \"format\": 1,"),
            ("\"format\": 1,", ""),
            ("\"format\": 1,", "\"format\": 1.0,"),
            ("\"format\": 1,", "\"format\": \"1\","),
            ("\"format\": 1,", "\"format\": -1,"),
            ("\"expires\": 1800000000", "\"expires\": null"),
            ("\"~/x\"", "\"~/x\", \"root\": 1"),
            ("\"~/x\"", &deep),
            ("\"host\": \"alpha\"", "\"host\": \"alpha\", \"\\u001b[2J\": 0"),
            ("\"index\"", "\"../index\""),
            ("\"config\"", "\"Config\""),
            (&"ab".repeat(32), &"AB".repeat(32)),
            ("\"address\"", "\"more\": 1, \"address\""),
            ("\"tcp\"", "\"env\": {\"name\": \"A\"}, \"tcp\""),
            ("{", "\u{feff}{"),
            ("{", "{} {"),
        ] {
            assert!(good.contains(from), "{from}");
            let bad = good.replacen(from, to, 1);
            let error = Manifest::parse(bad.as_bytes()).expect_err(to);
            assert_eq!((error.rule(), error.fault()), ("M1", Fault::Rule), "{error}");
            assert!(!error.to_string().contains(char::is_control), "{error}");
        }
        assert_eq!(Manifest::parse(format!("{good}x").as_bytes()).unwrap_err().rule(), "M1");
        let huge = Manifest::parse(&vec![b' '; MAX_MANIFEST as usize + 1]).unwrap_err();
        assert_eq!((huge.rule(), huge.fault()), ("M1", Fault::Limit));
    }
}
