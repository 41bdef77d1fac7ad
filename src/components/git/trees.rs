//! What no tree of a bundle may hold: names that some git, on some file system, would take for `.git` or for a way out.
//! Rule G7.

use super::open::failed;
use crate::base::interrupt;
use crate::component::{Error, Result};
use git2::{ObjectType, Odb, Oid, Repository};
use std::collections::HashSet;

/// Code points that HFS+ leaves out of names (as in git's utf8.c).
const IGNORED_BY_HFS: [std::ops::RangeInclusive<char>; 5] = [
    '\u{200c}'..='\u{200f}',
    '\u{202a}'..='\u{202e}',
    '\u{206a}'..='\u{206f}',
    '\u{feff}'..='\u{feff}',
    '\u{00ad}'..='\u{00ad}',
];

/// Holds every tree that the `tips` lead to to the rule. From the newest commit to the oldest: so most of what a tree is a
/// delta of has just been read.
pub fn check(repo: &Repository, tips: &[Oid]) -> Result<()> {
    let git = |e: git2::Error| failed(repo.path(), &e);
    let odb = repo.odb().map_err(git)?;
    let mut walk = repo.revwalk().map_err(git)?;
    let mut seen = Seen::default();
    for tip in tips {
        let object = repo.find_object(*tip, None).map_err(|_| missing(*tip))?;
        match (object.peel_to_commit(), object.peel_to_tree()) {
            (Ok(commit), _) => walk.push(commit.id()).map_err(git)?,
            (_, Ok(tree)) => seen.tree(&odb, tree.id())?,
            // A tag of a blob.
            _ => {}
        }
    }
    for id in walk {
        let commit = repo.find_commit(id.map_err(git)?).map_err(git)?;
        seen.tree(&odb, commit.tree_id())?;
    }
    seen.modules.into_iter().try_for_each(|id| check_modules(&odb, id))
}

/// What was looked at already, and the `.gitmodules` found on the way.
#[derive(Default)]
struct Seen {
    trees: HashSet<Oid>,
    modules: HashSet<Oid>,
}

impl Seen {
    /// Looks at a tree and all that are in it.
    fn tree(&mut self, odb: &Odb<'_>, id: Oid) -> Result<()> {
        let mut left = vec![id];
        while let Some(id) = left.pop() {
            if !self.trees.insert(id) {
                continue;
            }
            interrupt::check().map_err(Error::of)?;
            let object = odb.read(id).ok().filter(|object| object.kind() == ObjectType::Tree);
            let object = object.ok_or_else(|| missing(id))?;
            check_tree(object.data(), &mut self.modules, &mut left).map_err(|what| broken(id, &what))?;
        }
        Ok(())
    }
}

fn missing(id: Oid) -> Error {
    Error::rule("G6", format_args!("the pack: {id} is not there, or not what it should be"))
}

fn broken(id: Oid, what: &str) -> Error {
    Error::rule("G7", format_args!("the object {id}: {what}"))
}

/// One tree, as its bytes: mode, blank, name, zero, 20 bytes of id.
fn check_tree(
    mut bytes: &[u8],
    modules: &mut HashSet<Oid>,
    trees: &mut Vec<Oid>,
) -> std::result::Result<(), String> {
    let mut names = HashSet::new();
    while !bytes.is_empty() {
        let cut = "a tree that is cut off";
        let blank = bytes.iter().position(|&c| c == b' ').ok_or(cut)?;
        let zero = bytes.iter().position(|&c| c == 0).filter(|zero| *zero > blank).ok_or(cut)?;
        let (mode, name) = (&bytes[..blank], &bytes[blank + 1..zero]);
        let id = bytes.get(zero + 1..zero + 21).ok_or(cut)?;
        let shown = || String::from_utf8_lossy(name).into_owned();
        let known: [&[u8]; 7] = [b"40000", b"100644", b"100755", b"100664", b"120000", b"160000", b"040000"];
        if !known.contains(&mode) {
            return Err(format!("{:?} has the mode {}", shown(), String::from_utf8_lossy(mode)));
        }
        if let Some(why) = danger(name) {
            return Err(format!("{:?} {why}", shown()));
        }
        if stands_for(name, "gitmodules", "gi7eba") {
            if mode == b"120000" {
                return Err(format!("{:?} is a symlink", shown()));
            }
            modules.extend(Oid::from_bytes(id));
        }
        if matches!(mode, b"40000" | b"040000") {
            trees.extend(Oid::from_bytes(id));
        }
        if !names.insert(name) {
            return Err(format!("{:?} stands in it twice", shown()));
        }
        bytes = &bytes[zero + 21..];
    }
    Ok(())
}

/// Why a name may not stand in a tree.
pub fn danger(name: &[u8]) -> Option<&'static str> {
    match name {
        b"" => return Some("is no name"),
        b"." | b".." => return Some("leads elsewhere"),
        _ if name.contains(&b'/') => return Some("is a path"),
        _ if name.len() > 255 => return Some("is too long for a name"),
        _ => {}
    }
    // On NTFS a backslash separates, and so `..\\x` and `a\\.git` would lead elsewhere.
    let parts = name.split(|&c| c == b'\\');
    for part in parts {
        if part == b".." && part.len() != name.len() {
            return Some("leads elsewhere on Windows");
        }
        if stands_for(part, "git", "git") {
            return Some("would be taken for .git");
        }
    }
    None
}

/// Whether some file system takes `name` for `.<word>`: without regard to case, without what HFS+ leaves out, with the dots,
/// blanks and streams that NTFS drops at the end, or as a short name of NTFS (`git~1`, `gitmod~1`, `gi7eba~1`).
fn stands_for(name: &[u8], word: &str, short: &str) -> bool {
    // Nearly all names are plain: this is asked of every entry of every tree.
    if name.first() != Some(&b'.') && !name.contains(&b'~') && name.is_ascii() {
        return false;
    }
    let text = String::from_utf8_lossy(name);
    let plain: String =
        text.chars().filter(|c| !IGNORED_BY_HFS.iter().any(|range| range.contains(c))).collect();
    let dotted = format!(".{word}");
    if plain.to_lowercase() == dotted {
        return true;
    }
    let lower = plain.to_lowercase();
    let stream = lower.split(':').next().unwrap_or_default();
    let kept = stream.trim_end_matches(['.', ' ']);
    if kept == dotted {
        return true;
    }
    let first: String = word.chars().take(6).collect();
    let Some((head, number)) = kept.split_once('~') else { return false };
    let number = !number.is_empty() && number.bytes().all(|c| c.is_ascii_digit());
    number && (head == first || head == short)
}

/// What `.gitmodules` says may not be an option to git, nor more lines than it seems.
fn check_modules(odb: &Odb<'_>, id: Oid) -> Result<()> {
    let Ok(blob) = odb.read(id) else { return Ok(()) };
    for line in String::from_utf8_lossy(blob.data()).lines() {
        let section = line.trim().strip_prefix('[').and_then(|rest| rest.split('"').nth(1));
        if let Some(name) = section.filter(|name| name.split(['/', '\\']).any(|part| part == "..")) {
            return Err(broken(id, &format!("a submodule's name is {name:?}")));
        }
        let Some((key, value)) = line.split_once('=') else { continue };
        if key.trim().eq_ignore_ascii_case("update") && value.trim().trim_start_matches('"').starts_with('!')
        {
            return Err(broken(id, "a submodule is to be updated by a command"));
        }
        let value = value.trim().trim_matches('"');
        let named = matches!(key.trim().to_lowercase().as_str(), "url" | "path");
        if named && (value.starts_with('-') || value.contains("\\n") || value.contains("::-")) {
            return Err(broken(id, &format!("a submodule's {} is {value:?}", key.trim())));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(mode: &str, name: &[u8]) -> Vec<u8> {
        [mode.as_bytes(), b" ", name, b"\0", &[7; 20]].concat()
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let long = vec![b'a'; 256];
        for bad in [
            &b".git"[..],
            b".GIT",
            b".Git",
            b"git~1",
            b"GIT~12",
            b".git ",
            b".git.",
            b".git. .",
            b".git::$INDEX_ALLOCATION",
            b".git:x",
            ".g\u{200c}it".as_bytes(),
            "\u{feff}.git".as_bytes(),
            b".",
            b"..",
            b"a/b",
            b"",
            b"..\\x",
            b"a\\.git",
            b"a\\git~1",
            &long,
        ] {
            assert!(
                check_tree(&tree("100644", bad), &mut HashSet::new(), &mut Vec::new()).is_err(),
                "{:?}",
                String::from_utf8_lossy(bad)
            );
        }
        for good in [
            &b".gitignore"[..],
            b"git",
            b".github",
            b"git~",
            b"gitk~1",
            b"a\\b",
            b"caf\xe9",
            b"..x",
            b".git2",
        ] {
            check_tree(&tree("100644", good), &mut HashSet::new(), &mut Vec::new()).unwrap();
        }
    }

    #[test]
    fn modes_links_and_repeats() {
        let mut modules = HashSet::new();
        for (bad, why) in [
            (tree("120000", b".gitmodules"), "symlink"),
            (tree("120000", b".GITMODULES "), "symlink"),
            (tree("120000", b"gitmod~1"), "symlink"),
            (tree("120000", b"GI7EBA~1"), "symlink"),
            (tree("104755", b"x"), "mode"),
            (tree("100600", b"x"), "mode"),
            ([tree("100644", b"x"), tree("40000", b"x")].concat(), "twice"),
            (tree("100644", b"x")[..20].to_vec(), "cut off"),
            (b"100644".to_vec(), "cut off"),
        ] {
            let error = check_tree(&bad, &mut modules, &mut Vec::new()).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        check_tree(&tree("100644", b".gitmodules"), &mut modules, &mut Vec::new()).unwrap();
        assert_eq!(modules.len(), 1);
    }
}
