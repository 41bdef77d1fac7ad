//! Repositories near, for a first profile.

use super::open::is_repository;
use crate::component::{Host, Near, Suggestion};

/// Work trees and bare repositories, but for those inside another one.
pub fn suggest(host: &Host, near: &Near) -> Vec<Suggestion> {
    let mut found: Vec<Suggestion> = Vec::new();
    let mut roots = Vec::new();
    for folder in near.folders.iter().filter(|folder| is_repository(folder)) {
        if roots.iter().any(|root| folder.starts_with(root)) {
            continue;
        }
        roots.push(folder);
        let (Some(path), Some(name)) = (host.contract(folder), folder.file_name()) else { continue };
        found.push(Suggestion {
            name: name.to_string_lossy().trim_end_matches(".git").to_owned(),
            about: format!("the git repository {path}"),
            options: vec![("path", path.into())],
        });
    }
    found
}
