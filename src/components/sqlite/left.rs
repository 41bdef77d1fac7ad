//! What an import leaves at the path: a backup says so, and a rollback knows by it what was written since.

use super::content::{self, Table};
use super::facts::Encoding;
use super::plan::Wanted;
use crate::base::digest::{Digest, Hasher};
use crate::component::Result;
use serde::{Deserialize, Serialize};

/// What the import that a backup was made for leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Left {
    /// No file.
    Nothing,
    /// A database that says this: see [`said`].
    Content(Digest),
}

impl Left {
    /// What a plan that wants this leaves; `None`: nothing.
    pub fn by(wanted: Option<&Wanted>) -> Result<Left> {
        let Some(Wanted { database, tables }) = wanted else { return Ok(Left::Nothing) };
        let versions = (database.user_version.into(), database.application_id.into());
        Ok(Left::Content(said(database.encoding, versions, tables)?))
    }
}

/// A digest of all by which a plan compares two databases: the text encoding, `user_version` and `application_id`, and the tables.
/// Not of the pages, of which the same content may have others after a VACUUM.
pub fn said(encoding: Encoding, versions: (i64, i64), tables: &[Table]) -> Result<Digest> {
    let encoding = match encoding {
        Encoding::Utf8 => "UTF-8",
        Encoding::Utf16le => "UTF-16le",
        Encoding::Utf16be => "UTF-16be",
    };
    let mut hasher = Hasher::new();
    hasher.update(format!("{encoding} {} {}\n", versions.0, versions.1).as_bytes());
    hasher.update(&content::write(tables)?);
    Ok(hasher.finish())
}
