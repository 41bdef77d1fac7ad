//! Databases near, for a first profile.

use super::open::MAGIC;
use crate::component::{Host, Near, Suggestion};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Files that are named as such databases usually are, and begin as they do.
pub fn suggest(host: &Host, near: &Near) -> Vec<Suggestion> {
    let database = |path: &Path| -> Option<Suggestion> {
        let named = matches!(path.extension()?.to_str()?, "db" | "sqlite" | "sqlite3" | "db3");
        let mut magic = [0; MAGIC.len()];
        let begins = named && File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok();
        let (shown, name) = (host.contract(path)?, path.file_stem()?);
        (begins && magic == *MAGIC).then(|| Suggestion {
            name: name.to_string_lossy().into_owned(),
            about: format!("the SQLite database {shown}"),
            options: vec![("path", shown.into())],
        })
    };
    near.files.iter().filter_map(|path| database(path)).collect()
}
