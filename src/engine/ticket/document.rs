//! What a ticket says (rules N6 and N8).

use crate::base::name::ComponentName;
use crate::base::path::text_path;
use crate::crypto::recipient::is_x25519;
use crate::crypto::sign::Namespace;
use crate::engine::machine;
use crate::engine::sealed::{Document, Form, SealedError, NOT_A_FINGERPRINT, NOT_TEXT};
use crate::engine::ticket::Nonce;
use crate::format::{is_fingerprint, is_text, MAX_INTEGER, MAX_TIME};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The kind of document.
pub static FORM: Form = Form {
    what: "ticket",
    chapter: 'N',
    namespace: Namespace::Ticket,
    format: "kbpack-ticket 1",
    name_it: "name the file that `kbpack ticket` wrote on the target",
};
/// Rows of each list.
const MAX_ROWS: usize = 64;
/// Bytes of a path in its text form: 4,095 bytes, each of them at most three.
const MAX_PATH_TEXT: usize = 3 * 4095;

/// A target's request for a bundle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ticket {
    /// `kbpack-ticket 1`.
    pub format: String,
    /// The version of kbpack that issued it.
    pub kbpack: String,
    /// The highest version of the bundle format that it reads.
    pub reads: u64,
    /// What names this ticket; the bundle repeats it.
    pub nonce: Nonce,
    /// When it was issued: Unix time in seconds.
    pub issued: u64,
    /// The same in RFC 3339. For people.
    pub issued_at: String,
    /// From when on nothing is exported for it: Unix time in seconds, later than `issued`.
    pub expires: u64,
    /// The same in RFC 3339. For people.
    pub expires_at: String,
    /// The target: the fingerprint of its signing key, which is the ticket's too (N7).
    pub host: String,
    /// The target's name. For people.
    pub hostname: String,
    /// The user who will import.
    pub user: String,
    /// That user's id.
    pub uid: u64,
    /// That user's home, in the text form of paths.
    pub home: String,
    /// The operating system.
    pub os: String,
    /// The processor architecture.
    pub arch: String,
    /// Whom to encrypt to: an age X25519 recipient, and no plugin's, for that would name a program to run.
    pub recipient: String,
    /// Programs that are there.
    pub tools: Vec<Tool>,
    /// Room, for each file system.
    pub space: Vec<Space>,
    /// The kinds that it knows, and what each has to say, in the kind's own JSON.
    pub kinds: BTreeMap<String, Value>,
}

/// A program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// Its name: `git`.
    pub name: String,
    /// The first line that it says of its version.
    pub version: String,
}

/// A file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Space {
    /// The topmost folder on it, in the text form of paths.
    pub mount: String,
    /// Bytes that the user may still write.
    pub free: u64,
}

impl Document for Ticket {
    const FORM: &'static Form = &FORM;

    fn host(&self) -> &str {
        &self.host
    }

    fn validate(&self) -> Result<(), SealedError> {
        let of_format = self.format == FORM.format;
        require(of_format, 6, "format", "is not 'kbpack-ticket 1': another kbpack may read it")?;
        require((1..=MAX_INTEGER).contains(&self.reads), 6, "reads", "is not from 1 to 2^53 - 1")?;
        require(self.expires <= MAX_TIME, 6, "expires", "is after the year 9999")?;
        require(self.issued < self.expires, 6, "expires", "is not later than issued")?;
        let same = self.issued_at == machine::timestamp(self.issued);
        require(same, 6, "issued_at", "is not the time that issued says")?;
        let same = self.expires_at == machine::timestamp(self.expires);
        require(same, 6, "expires_at", "is not the time that expires says")?;
        require(is_fingerprint(&self.host), 6, "host", NOT_A_FINGERPRINT)?;
        for (field, text) in [
            ("kbpack", &self.kbpack),
            ("hostname", &self.hostname),
            ("user", &self.user),
            ("os", &self.os),
            ("arch", &self.arch),
        ] {
            require(is_text(text), 6, field, NOT_TEXT)?;
        }
        require(u32::try_from(self.uid).is_ok(), 6, "uid", "is above 2^32 - 1")?;
        require(is_absolute(&self.home), 6, "home", NOT_ABSOLUTE)?;
        require(is_x25519(&self.recipient), 6, "recipient", "is not an age X25519 recipient (age1...)")?;
        self.validate_lists()
    }
}

impl Ticket {
    /// Rule N8.
    fn validate_lists(&self) -> Result<(), SealedError> {
        let few = |rows: usize| rows <= MAX_ROWS;
        require(few(self.tools.len()), 8, "tools", "are more than 64")?;
        let mut names = BTreeSet::new();
        for tool in &self.tools {
            let text = is_text(&tool.name) && is_text(&tool.version);
            require(text, 8, "tools", "have a name or a version that is no text")?;
            require(names.insert(&tool.name), 8, "tools", "have one name twice")?;
        }
        require(few(self.space.len()), 8, "space", "has more than 64 rows")?;
        let mut mounts = BTreeSet::new();
        for space in &self.space {
            require(is_absolute(&space.mount), 8, "space", "has a mount that is no absolute path")?;
            require(mounts.insert(&space.mount), 8, "space", "has one mount twice")?;
            require(space.free <= MAX_INTEGER, 8, "space", "has a number above 2^53 - 1")?;
        }
        require(few(self.kinds.len()), 8, "kinds", "are more than 64")?;
        let named = self.kinds.keys().all(|kind| ComponentName::new(kind).is_some());
        require(named, 8, "kinds", "have a name that is not 1 to 64 of a-z 0-9 - _")?;
        let objects = self.kinds.values().all(Value::is_object);
        require(objects, 8, "kinds", "have one that is no object")
    }
}

const NOT_ABSOLUTE: &str = "is not an absolute path in the text form of paths";

fn is_absolute(text: &str) -> bool {
    text.len() <= MAX_PATH_TEXT && text.starts_with('/') && text_path(text).is_ok()
}

fn require(holds: bool, rule: u8, field: &'static str, what: &'static str) -> Result<(), SealedError> {
    FORM.require(holds, rule, field, what)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::engine::sealed::file::{parse, to_bytes};
    use crate::engine::sealed::Broken;
    use serde_json::json;

    const HOST: &str = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";

    pub(in crate::engine::ticket) fn sample() -> Ticket {
        Ticket {
            format: FORM.format.into(),
            kbpack: "0.1.0".into(),
            reads: 1,
            nonce: crate::format::BundleId([0xcd; 32]),
            issued: 1_795_498_194,
            issued_at: "2026-11-24T05:29:54Z".into(),
            expires: 1_795_584_594,
            expires_at: "2026-11-25T05:29:54Z".into(),
            host: HOST.into(),
            hostname: "beta".into(),
            user: "ada".into(),
            uid: 1000,
            home: "/home/ada".into(),
            os: "Debian GNU/Linux 12 (bookworm)".into(),
            arch: "x86_64".into(),
            recipient: "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj".into(),
            tools: vec![Tool { name: "git".into(), version: "git version 2.39.5".into() }],
            space: vec![
                Space { mount: "/home".into(), free: 1 << 40 },
                Space { mount: "/var/lib/a%25b".into(), free: 0 },
            ],
            kinds: [("files".to_owned(), json!({})), ("git".to_owned(), json!({"has": ["ab"]}))].into(),
        }
    }

    #[test]
    fn a_document_reads_back() {
        assert_eq!(parse(&to_bytes(&sample()).unwrap(), HOST), Ok(sample()));
    }

    #[test]
    fn values_out_of_bounds() {
        let rule = |change: &dyn Fn(&mut Ticket)| {
            let mut ticket = sample();
            change(&mut ticket);
            assert!(to_bytes(&ticket).is_err());
            let bytes = serde_json::to_vec(&ticket).unwrap();
            match parse::<Ticket>(&bytes, HOST).unwrap_err() {
                SealedError { rule, broken: Broken::Field { field, .. }, .. } => (rule, field),
                other => panic!("{other}"),
            }
        };
        let kind = |name: &str, value: Value| [(name.to_owned(), value)].into();
        for (expected, found) in [
            ((6, "format"), rule(&|t| t.format = "kbpack-receipt 1".into())),
            ((6, "kbpack"), rule(&|t| t.kbpack.clear())),
            ((6, "reads"), rule(&|t| t.reads = 0)),
            ((6, "issued_at"), rule(&|t| t.issued += 1)),
            ((6, "expires"), rule(&|t| t.expires = t.issued)),
            ((6, "expires"), rule(&|t| t.expires = MAX_TIME + 1)),
            ((6, "expires_at"), rule(&|t| t.expires += 1)),
            ((6, "host"), rule(&|t| t.host = "beta".into())),
            ((6, "hostname"), rule(&|t| t.hostname = "a\nb".into())),
            ((6, "user"), rule(&|t| t.user = "\u{1b}[2J".into())),
            ((6, "uid"), rule(&|t| t.uid = 1 << 32)),
            ((6, "home"), rule(&|t| t.home = "ada".into())),
            ((6, "home"), rule(&|t| t.home = "/a%41".into())),
            ((6, "home"), rule(&|t| t.home = "/a\nb".into())),
            ((6, "os"), rule(&|t| t.os = "x".repeat(256))),
            ((6, "arch"), rule(&|t| t.arch.clear())),
            ((6, "recipient"), rule(&|t| t.recipient = "age1fake1f3suk7".into())),
            ((6, "recipient"), rule(&|t| t.recipient.push('q'))),
            ((6, "recipient"), rule(&|t| t.recipient.insert(0, ' '))),
            ((8, "tools"), rule(&|t| t.tools = vec![t.tools[0].clone(); 65])),
            ((8, "tools"), rule(&|t| t.tools = vec![t.tools[0].clone(); 2])),
            ((8, "tools"), rule(&|t| t.tools[0].version = "\u{7}".into())),
            ((8, "space"), rule(&|t| t.space[1].mount = "/home".into())),
            ((8, "space"), rule(&|t| t.space[1].mount = "var".into())),
            ((8, "space"), rule(&|t| t.space[1].free = 1 << 53)),
            ((8, "space"), rule(&|t| t.space = vec![t.space[0].clone(); 65])),
            ((8, "kinds"), rule(&|t| t.kinds = kind("Files", json!({})))),
            ((8, "kinds"), rule(&|t| t.kinds = kind("files", json!(1)))),
            ((8, "kinds"), rule(&|t| t.kinds = (0..65).map(|i| (format!("k{i}"), json!({}))).collect())),
        ] {
            assert_eq!(found, expected);
        }
    }
}
