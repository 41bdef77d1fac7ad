//! Looking around, for a first profile: a few folders deep, and not where only programs live.

use crate::component::Near;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};

/// How many folders deep below where it begins.
const DEPTH: usize = 4;
/// After so many entries it has seen enough.
const MAX_ENTRIES: usize = 100_000;
/// What programs fill, and can fill again.
const PROGRAMS: [&str; 10] =
    ["node_modules", "venv", "env", "__pycache__", "target", "vendor", "site-packages", "go", "snap", "dist"];

/// What is in `roots` and a few folders below. What cannot be read is passed over.
pub fn look(roots: &[PathBuf]) -> Near {
    let mut near = Near::default();
    let mut queue: VecDeque<(PathBuf, usize)> = roots.iter().map(|root| (root.clone(), 0)).collect();
    let mut seen = 0;
    while let Some((folder, depth)) = queue.pop_front() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        let mut inside: Vec<_> = entries.flatten().collect();
        inside.sort_by_key(std::fs::DirEntry::file_name);
        near.folders.push(folder);
        for entry in inside {
            seen += 1;
            if seen > MAX_ENTRIES {
                return near;
            }
            match entry.file_type() {
                Ok(kind) if kind.is_file() => near.files.push(entry.path()),
                Ok(kind) if kind.is_dir() && depth < DEPTH && !is_passed_over(&entry.path()) => {
                    queue.push_back((entry.path(), depth + 1));
                }
                _ => {}
            }
        }
    }
    near
}

fn is_passed_over(folder: &Path) -> bool {
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name.starts_with('.') || PROGRAMS.contains(&name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_few_folders_deep_and_not_in_what_programs_fill() {
        let home = tempfile::tempdir().unwrap();
        let path = |text: &str| home.path().join(text);
        for folder in ["a/b/c/d/e/f", ".cache/x", "a/node_modules/y"] {
            fs::create_dir_all(path(folder)).unwrap();
            fs::write(path(folder).join("file"), "").unwrap();
        }
        fs::write(path("a/b/here"), "").unwrap();
        let near = look(&[home.path().to_owned()]);
        assert_eq!(near.files, [path("a/b/here")]);
        let folders: Vec<_> = ["", "a", "a/b", "a/b/c", "a/b/c/d"].iter().map(|text| path(text)).collect();
        assert_eq!(
            near.folders,
            folders.iter().map(|path| path.components().collect()).collect::<Vec<PathBuf>>()
        );
    }
}
