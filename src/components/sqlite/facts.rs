//! The options of a sqlite component, as a profile has them, and its facts, as a manifest has them.

use super::left::Left;
use crate::component::{Error, Result};
use serde::{de, Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use std::time::Duration;

/// How long a busy database is waited for, unless a profile says otherwise.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest wait that a profile may ask for (seconds).
const MAX_TIMEOUT: u64 = 3600;

/// A component in a profile. In the target's own profile each word overrides the bundle's.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Profile {
    /// `~/...` or absolute.
    pub path: Option<String>,
    /// Seconds that a busy database is waited for.
    busy_timeout: Option<u64>,
}

impl Profile {
    /// Reads the options of a component's table.
    pub fn read(options: &Value) -> Result<Profile> {
        let profile = Profile::deserialize(options).map_err(Error::options)?;
        if profile.busy_timeout.is_some_and(|seconds| seconds > MAX_TIMEOUT) {
            return Err(Error::options(format_args!("busy-timeout is at most {MAX_TIMEOUT} (seconds)")));
        }
        Ok(profile)
    }

    /// How long a busy database is waited for.
    pub fn busy_timeout(&self) -> Duration {
        self.busy_timeout.map_or(BUSY_TIMEOUT, Duration::from_secs)
    }
}

/// Permission bits for user, group and others. As text three octal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode(pub u32);

impl Serialize for Mode {
    fn serialize<S: Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        s.collect_str(&format_args!("{:03o}", self.0))
    }
}

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        let digits = text.len() == 3 && text.bytes().all(|c| matches!(c, b'0'..=b'7'));
        let mode = digits.then(|| u32::from_str_radix(&text, 8).ok()).flatten();
        // Without the owner's rights to read and write no program could use it.
        let mode = mode.filter(|mode| mode & 0o600 == 0o600);
        mode.map(Mode).ok_or_else(|| de::Error::custom("a mode is three octal digits, 6 or 7 the first"))
    }
}

/// How a database file says that it keeps its writes safe: bytes 18 and 19 of its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JournalMode {
    /// Any of the modes with a rollback journal.
    Rollback,
    /// A write-ahead log.
    Wal,
}

/// The text encoding of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Encoding {
    /// UTF-8
    #[serde(rename = "UTF-8")]
    Utf8,
    /// UTF-16, little-endian
    #[serde(rename = "UTF-16le")]
    Utf16le,
    /// UTF-16, big-endian
    #[serde(rename = "UTF-16be")]
    Utf16be,
}

/// What was at the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Nothing.
    Absent,
    /// A database.
    File,
}

/// What is true of the database as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Database {
    /// Bytes of the stream `database`: pages times the page's size.
    pub size: u64,
    /// Bytes of a page.
    pub page_size: u32,
    /// Encoding of its text.
    pub encoding: Encoding,
    /// Its journal mode.
    pub journal_mode: JournalMode,
    /// `PRAGMA user_version`.
    pub user_version: i32,
    /// `PRAGMA application_id`.
    pub application_id: i32,
    /// Rows of the stream `tables`.
    pub tables: u64,
    /// Rows that `PRAGMA foreign_key_check` named; `None` where the schema does not let it run.
    #[serde(default, deserialize_with = "crate::base::json::set", skip_serializing_if = "Option::is_none")]
    pub foreign_key_violations: Option<u64>,
    /// Permissions of the file.
    pub mode: Mode,
    /// The owner's name, if it has one.
    #[serde(default, deserialize_with = "crate::base::json::set", skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The group's name, if it has one.
    #[serde(default, deserialize_with = "crate::base::json::set", skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// The component's part of the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Facts {
    /// Where it came from: `~/...` or absolute.
    pub path: String,
    /// What was there.
    pub state: State,
    /// The database, if one was there.
    #[serde(default, deserialize_with = "crate::base::json::set", skip_serializing_if = "Option::is_none")]
    pub database: Option<Database>,
    /// What the import leaves there that this is the backup for; `None` in a bundle.
    #[serde(default, deserialize_with = "crate::base::json::set", skip_serializing_if = "Option::is_none")]
    pub left: Option<Left>,
    /// In a backup of a path where nothing was: how many folders above it were not there either.
    #[serde(default, skip_serializing_if = "crate::base::json::is_zero")]
    pub above: u32,
}

impl Facts {
    /// Of a path where nothing is.
    pub fn absent(path: &str) -> Facts {
        Facts { path: path.to_owned(), state: State::Absent, database: None, left: None, above: 0 }
    }

    /// From a manifest, held to the rules L1 and L2.
    pub fn read(facts: &Value) -> Result<Facts> {
        let facts = Facts::deserialize(facts).map_err(|e| Error::rule("L1", e))?;
        if facts.database.is_some() != (facts.state == State::File) {
            return Err(Error::rule("L1", "a database where the state says otherwise"));
        }
        if facts.above > 0 && (facts.left.is_none() || facts.state != State::Absent) {
            return Err(Error::rule("L1", "folders above what only a backup can tell of"));
        }
        let Some(database) = &facts.database else { return Ok(facts) };
        let page = u64::from(database.page_size);
        if !page.is_power_of_two() || !(512..=65536).contains(&page) {
            return Err(Error::rule("L2", format_args!("a page of {page} bytes")));
        }
        if database.size % page != 0 {
            return Err(Error::rule("L2", format_args!("{} bytes are not whole pages", database.size)));
        }
        let name = |name: &Option<String>| {
            name.as_ref().is_none_or(|n| (1..=255).contains(&n.len()) && !n.contains(char::is_control))
        };
        if !name(&database.user) || !name(&database.group) {
            return Err(Error::rule("L1", "the owner's name is not a name"));
        }
        Ok(facts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn good() -> Value {
        json!({ "path": "~/a.db", "state": "file", "database": {
            "size": 8192, "page-size": 4096, "encoding": "UTF-8", "journal-mode": "wal", "user-version": 1,
            "application-id": 0, "tables": 2, "foreign-key-violations": 0, "mode": "600", "user": "ada" } })
    }

    #[test]
    fn facts_are_held_to_their_rules() {
        let facts = Facts::read(&good()).unwrap();
        assert_eq!(json!(facts), good());
        Facts::read(&json!({ "path": "~/a.db", "state": "absent" })).unwrap();
        let with = |key: &str, value: Value| {
            let mut facts = good();
            facts["database"][key] = value;
            facts
        };
        for (facts, part) in [
            (json!({ "path": "~/a.db", "state": "file" }), "L1"),
            (json!({ "path": "~/a.db", "state": "absent", "database": good()["database"] }), "L1"),
            (json!({ "path": "~/a.db", "state": "absent", "database": null }), "L1"),
            (json!({ "path": "~/a.db", "state": "absent", "left": null }), "L1"),
            (json!({ "path": "~/a.db", "state": "absent", "above": 1 }), "L1"),
            (json!({ "path": "~/a.db", "state": "absent", "left": "something" }), "L1"),
            (json!({ "path": "~/a.db", "state": "absent", "left": { "content": "0" } }), "L1"),
            (with("more", json!(1)), "L1"),
            (with("mode", json!("4755")), "L1"),
            (with("mode", json!("400")), "L1"),
            (with("user", json!("a\nb")), "L1"),
            (with("journal-mode", json!("off")), "L1"),
            (with("page-size", json!(4095)), "L2"),
            (with("page-size", json!(131072)), "L2"),
            (with("size", json!(8193)), "L2"),
        ] {
            let error = Facts::read(&facts).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn options() {
        assert_eq!(Profile::read(&json!({ "path": "~/x" })).unwrap().busy_timeout(), BUSY_TIMEOUT);
        for bad in [json!({ "paht": 1 }), json!({ "busy-timeout": 3601 }), json!({ "busy-timeout": -1 })] {
            assert!(Profile::read(&bad).is_err(), "{bad}");
        }
    }
}
