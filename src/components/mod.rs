//! L3: the kinds of components. A new one is one new folder and one row in [`KINDS`].

use crate::component::Kind;

#[cfg(test)]
mod conformance;
pub mod files;
pub mod git;
pub mod postgres;
pub mod python;
pub mod secrets;
pub mod sqlite;

/// Every kind, in the order in which they are documented.
pub static KINDS: &[&dyn Kind] = &[
    &files::FilesKind,
    &secrets::SecretsKind,
    &postgres::PostgresKind,
    &sqlite::SqliteKind,
    &git::GitKind,
    &python::PythonKind,
];

/// The kind called `name` in profiles and manifests.
pub fn kind(name: &str) -> Option<&'static dyn Kind> {
    KINDS.iter().copied().find(|kind| kind.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_plain() {
        for (at, kind) in KINDS.iter().enumerate() {
            assert!(crate::base::name::ComponentName::new(kind.name()).is_some());
            assert!(KINDS[..at].iter().all(|other| other.name() != kind.name()));
        }
    }
}
