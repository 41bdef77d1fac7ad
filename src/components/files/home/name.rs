//! What a home is called.

use crate::component::Host;
use std::path::{Path, PathBuf};

/// Bytes of a home's name, at most.
const MAX_NAME: usize = 1024;

/// Whether `text` can stand for a home where it is rewritten: an absolute path, not the root, of characters that mean nothing
/// anywhere, so that it needs no quotes and no escapes in a string of JSON or TOML or in a word of a shell, nor in one inside the other.
pub fn is_name(text: &str) -> bool {
    let plain = |c: u8| c.is_ascii_alphanumeric() || b"/._-+@".contains(&c);
    let segment = |s: &str| !matches!(s, "" | "." | "..");
    text.len() <= MAX_NAME
        && text.bytes().all(plain)
        && text.strip_prefix('/').is_some_and(|rest| rest.split('/').all(segment))
}

/// Everything that the home of `host` is called here: as it really is, as the user database has it, and as `HOME` says. None of
/// them need be fit to be rewritten.
pub fn names_of(host: &Host) -> Vec<String> {
    let user = nix::unistd::User::from_uid(host.uid.into()).ok().flatten().map(|user| user.dir);
    let named = [Some(host.home.clone()), user, std::env::var_os("HOME").map(PathBuf::from)];
    let same = |path: &PathBuf| path.canonicalize().is_ok_and(|real| real == host.home);
    let mut names: Vec<String> = Vec::new();
    for path in named.into_iter().flatten().filter(|path| *path == host.home || same(path)) {
        let name = text(&path);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// What paths in the home of `host` are to begin with: as the user database calls it, else as it really is. Not as `HOME` says, which
/// may be another way each time: an import that is repeated would write other bytes.
pub fn written_name(host: &Host) -> String {
    let user = nix::unistd::User::from_uid(host.uid.into()).ok().flatten().map(|user| user.dir);
    let same = |path: &PathBuf| path.canonicalize().is_ok_and(|real| real == host.home);
    text(&user.filter(same).unwrap_or_else(|| host.home.clone()))
}

/// Without slashes too many.
fn text(path: &Path) -> String {
    path.components().collect::<PathBuf>().to_string_lossy().into_owned()
}
