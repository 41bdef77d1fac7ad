//! The stream `values`: one JSON document with every value in base64, in the order in which the facts name them.
//!
//! ```json
//! {"env":[{"file":"~/.bashrc","name":"K","value":"..."}],
//!  "pgpass":[{"line":"host:5432:db:user","value":"..."}],
//!  "files":[{"path":"~/.x","value":"..."}]}
//! ```

use super::document;
use super::model::{FileEntry, Model, MAX_ENV_VALUE, MAX_FILE, MAX_JSON};
use super::policy::Policy;
use crate::base::digest::Digest;
use crate::base::json;
use crate::base::secret::Secret;
use crate::component::{Error, Result};
use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use base64::Engine as _;
use serde::{de, Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;

/// Bytes of the document, at most.
pub(super) const MAX_DOCUMENT: u64 = 64 * 1024 * 1024;

/// A value on its way through JSON: decoded and encoded without a copy in between.
#[derive(Debug, Clone)]
pub(super) struct Packed(pub(super) Secret);

impl Serialize for Packed {
    fn serialize<S: Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        s.collect_str(&Base64Display::new(self.0.expose(), &STANDARD))
    }
}

impl<'de> Deserialize<'de> for Packed {
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        d.deserialize_str(Base64)
    }
}

struct Base64;

impl de::Visitor<'_> for Base64 {
    type Value = Packed;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("base64")
    }
    fn visit_str<E: de::Error>(self, text: &str) -> std::result::Result<Packed, E> {
        // The decoder's error names a byte of the text: it is not passed on.
        STANDARD.decode(text).map(|v| Packed(Secret::from(v))).map_err(|_| E::custom("not base64"))
    }
}

/// A variable's value.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EnvValue {
    pub(super) file: String,
    pub(super) name: String,
    pub(super) value: Packed,
}

/// A line's password.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PgpassValue {
    pub(super) line: String,
    pub(super) value: Packed,
}

/// A file's content.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileValue {
    pub(super) path: String,
    pub(super) value: Packed,
}

/// The document.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Values {
    pub(super) env: Vec<EnvValue>,
    pub(super) pgpass: Vec<PgpassValue>,
    pub(super) files: Vec<FileValue>,
    /// In a backup: the digest of what the import leaves at each path; one that is missing here is removed by it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) left: BTreeMap<String, Digest>,
}

impl Values {
    /// Bytes of all values.
    pub(super) fn size(&self) -> u64 {
        let env = self.env.iter().map(|v| &v.value);
        let all = env.chain(self.pgpass.iter().map(|v| &v.value)).chain(self.files.iter().map(|v| &v.value));
        all.map(|v| v.0.len() as u64).sum()
    }

    /// Writes the document.
    pub(super) fn write(&self, out: impl Write) -> Result<()> {
        serde_json::to_writer(out, self).map_err(|e| Error::io("writing the secrets", e.into()))
    }

    /// Reads the document and holds it against the facts: the same things in the same order, no value longer than
    /// it may be.
    pub(super) fn read(bytes: &[u8], model: &Model) -> Result<Values> {
        // serde's own text may quote what it read.
        let values: Values = json::from_slice(bytes).map_err(|e| {
            Error::rule(
                "X3",
                format_args!("the secrets' values are not what they should be, at byte {}", e.column()),
            )
        })?;
        if !values.matches(model) || !values.bounded(model) {
            return Err(Error::rule("X4", "the secrets' values are not those that the facts name"));
        }
        for (entry, value) in values.of_files(model).filter(|(entry, _)| !entry.keep.is_empty()) {
            let broken =
                |what: String| Error::rule("X5", format_args!("{} in the bundle {what}", entry.path));
            let object = document::object(value.0.expose()).map_err(broken)?;
            if let Some(there) = document::there(object, &entry.keep).first() {
                return Err(broken(format!("has '{there}', which is to stay on its machine")));
            }
        }
        Ok(values)
    }

    /// The files that the facts name, with their values.
    fn of_files<'v>(&'v self, model: &'v Model) -> impl Iterator<Item = (&'v FileEntry, &'v Packed)> {
        let copied = model.files.iter().filter(|f| f.policy == Policy::Copy);
        copied.zip(self.files.iter().map(|v| &v.value))
    }

    fn matches(&self, model: &Model) -> bool {
        let copied = |p: &Policy| *p == Policy::Copy;
        let env = model.env.iter().filter(|e| copied(&e.policy));
        let env = env.flat_map(|e| e.names.iter().map(move |n| (e.file.as_str(), n.as_str())));
        let lines = model.pgpass.iter().filter(|p| copied(&p.policy)).flat_map(|p| &p.lines);
        let files = model.files.iter().filter(|f| copied(&f.policy));
        let is_backup = model.backup.is_some();
        (is_backup || self.left.is_empty())
            && env.eq(self.env.iter().map(|v| (v.file.as_str(), v.name.as_str())))
            && lines.map(ToString::to_string).eq(self.pgpass.iter().map(|v| v.line.clone()))
            && files.map(|f| f.path.as_str()).eq(self.files.iter().map(|v| v.path.as_str()))
    }

    fn bounded(&self, model: &Model) -> bool {
        let fits = |kind: Kind, v: &Packed| kind.misfit(&v.0).is_none();
        // Whatever the machine has is in a backup.
        let max = |entry: &FileEntry| if model.backup.is_some() { MAX_JSON } else { entry.max() };
        self.env.iter().all(|v| fits(Kind::Variable, &v.value))
            && self.pgpass.iter().all(|v| fits(Kind::Password, &v.value))
            && self.of_files(model).all(|(entry, v)| v.0.len() as u64 <= max(entry))
    }
}

/// What a value is for.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Variable,
    Password,
    File,
}

impl Kind {
    /// Why `value` cannot be one: no NUL in a variable, no end of line in a password, nothing too long.
    pub(super) fn misfit(self, value: &Secret) -> Option<&'static str> {
        let has = |unwanted: &[u8]| value.expose().iter().any(|c| unwanted.contains(c));
        match self {
            Kind::Variable | Kind::Password if value.len() > MAX_ENV_VALUE => Some("it is too long"),
            Kind::Variable if has(b"\0") => Some("there is a NUL byte in it"),
            Kind::Password if has(b"\0\r\n") => Some("it is more than one line"),
            Kind::File if value.len() as u64 > MAX_FILE => Some("it is too long"),
            _ => None,
        }
    }
}
