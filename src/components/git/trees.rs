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

/// Holds every tree that the `tips` lead to to the rule, but those that the commits `known` lead to, and requires that
/// all that they name is there. From the newest commit to the oldest: so most of what a tree is a delta of has just been read.
pub fn check(repo: &Repository, tips: &[Oid], known: &[Oid]) -> Result<()> {
    let git = |e: git2::Error| failed(repo.path(), &e);
    let odb = repo.odb().map_err(git)?;
    let mut walk = repo.revwalk().map_err(git)?;
    let mut seen = Seen::default();
    for id in known {
        let commit = repo.find_commit(*id).map_err(|_| missing(*id))?;
        walk.hide(*id).map_err(git)?;
        seen.pass_by(&odb, commit.tree_id())?;
    }
    for tip in tips {
        let object = repo.find_object(*tip, None).map_err(|_| missing(*tip))?;
        match (object.peel_to_commit(), object.peel_to_tree()) {
            (Ok(commit), _) => walk.push(commit.id()).map_err(git)?,
            (_, Ok(tree)) => seen.tree(&odb, tree.id())?,
            // A tag of a blob.
            _ => drop(object.peel(ObjectType::Blob).map_err(|_| missing(*tip))?),
        }
    }
    for id in walk {
        let id = id.map_err(|e| broken_history(repo, &e))?;
        let commit = repo.find_commit(id).map_err(|_| missing(id))?;
        seen.tree(&odb, commit.tree_id())?;
    }
    seen.modules.into_iter().try_for_each(|id| check_modules(&odb, id))
}

fn broken_history(repo: &Repository, error: &git2::Error) -> Error {
    match error.code() {
        git2::ErrorCode::NotFound => Error::rule(
            "G6",
            format_args!("the pack: a commit that it names is not there: {}", error.message()),
        ),
        _ => failed(repo.path(), error),
    }
}

/// What was looked at already, and the `.gitmodules` found on the way.
#[derive(Default)]
struct Seen {
    trees: HashSet<Oid>,
    blobs: HashSet<Oid>,
    modules: HashSet<Oid>,
}

impl Seen {
    /// Looks at a tree and all that are in it.
    fn tree(&mut self, odb: &Odb<'_>, id: Oid) -> Result<()> {
        let Seen { trees, blobs, modules } = self;
        descend(odb, id, trees, &mut |id, bytes, left| {
            check_tree(id, bytes, &mut |entry| {
                let blob = match entry {
                    Entry::Tree(id) => {
                        left.push(oid(id));
                        return Ok(());
                    }
                    Entry::Submodule => return Ok(()),
                    Entry::Modules(id) => {
                        modules.insert(oid(id));
                        oid(id)
                    }
                    Entry::Blob(id) => oid(id),
                };
                match !blobs.insert(blob) || odb.exists(blob) {
                    true => Ok(()),
                    false => Err(missing(blob)),
                }
            })
        })
    }

    /// Takes a tree and all that are in it for looked at: they are the target's own.
    fn pass_by(&mut self, odb: &Odb<'_>, id: Oid) -> Result<()> {
        let Seen { trees, blobs, .. } = self;
        descend(odb, id, trees, &mut |_, bytes, left| {
            each_entry(bytes, &mut |mode, _, id| {
                match mode {
                    b"40000" | b"040000" => left.push(oid(id)),
                    b"160000" => {}
                    _ => drop(blobs.insert(oid(id))),
                }
                Ok(())
            })
            .map_err(|what| broken(id, &what))
        })
    }
}

/// Looks at a tree, as its bytes, and puts those that are in it on the list of those that are left.
type Look<'a> = dyn FnMut(Oid, &[u8], &mut Vec<Oid>) -> Result<()> + 'a;

/// Reads a tree, and what `look` puts on the list of those that are left, but those in `seen`.
fn descend(odb: &Odb<'_>, id: Oid, seen: &mut HashSet<Oid>, look: &mut Look<'_>) -> Result<()> {
    let mut left = vec![id];
    while let Some(id) = left.pop() {
        if !seen.insert(id) {
            continue;
        }
        interrupt::check().map_err(Error::of)?;
        let object = odb.read(id).ok().filter(|object| object.kind() == ObjectType::Tree);
        let object = object.ok_or_else(|| missing(id))?;
        look(id, object.data(), &mut left)?;
    }
    Ok(())
}

/// The id of 20 bytes of a tree.
fn oid(bytes: &[u8]) -> Oid {
    Oid::from_bytes(bytes).unwrap_or(Oid::ZERO_SHA1)
}

/// An object that is named and not there.
pub fn missing(id: Oid) -> Error {
    Error::rule("G6", format_args!("the pack: {id} is not there, or not what it should be"))
}

fn broken(id: Oid, what: &str) -> Error {
    Error::rule("G7", format_args!("the object {id}: {what}"))
}

/// What an entry of a tree names, by the 20 bytes of its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry<'a> {
    /// A tree.
    Tree(&'a [u8]),
    /// A file or a symlink.
    Blob(&'a [u8]),
    /// A file that some file system takes for `.gitmodules`.
    Modules(&'a [u8]),
    /// A commit of another repository.
    Submodule,
}

/// Holds one tree to the rule, and hands out what it names.
pub fn check_tree(id: Oid, bytes: &[u8], each: &mut dyn FnMut(Entry<'_>) -> Result<()>) -> Result<()> {
    let mut names: Vec<&[u8]> = Vec::new();
    let mut in_order = true;
    let mut outcome = Ok(());
    let looked = each_entry(bytes, &mut |mode, name, id| {
        let shown = || String::from_utf8_lossy(name).into_owned();
        let entry = match mode {
            b"40000" | b"040000" => Entry::Tree(id),
            b"100644" | b"100755" | b"100664" | b"120000" => Entry::Blob(id),
            b"160000" => Entry::Submodule,
            _ => return Err(format!("{:?} has the mode {}", shown(), String::from_utf8_lossy(mode))),
        };
        if let Some(why) = danger(name) {
            return Err(format!("{:?} {why}", shown()));
        }
        let is_modules = stands_for(name, "gitmodules", "gi7eba");
        if is_modules && mode == b"120000" {
            return Err(format!("{:?} is a symlink", shown()));
        }
        let entry = match entry {
            Entry::Blob(id) if is_modules => Entry::Modules(id),
            entry => entry,
        };
        in_order &= names.last().is_none_or(|last| *last < name);
        names.push(name);
        if outcome.is_ok() {
            outcome = each(entry);
        }
        Ok(())
    });
    looked.map_err(|what| broken(id, &what))?;
    outcome?;
    // Git sorts folders as if a slash followed their names.
    if !in_order {
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            let what = format!("{:?} stands in it twice", String::from_utf8_lossy(pair[0]));
            return Err(broken(id, &what));
        }
    }
    Ok(())
}

/// One tree, as its bytes: mode, blank, name, zero, 20 bytes of id.
fn each_entry<'a>(
    mut bytes: &'a [u8],
    each: &mut dyn FnMut(&'a [u8], &'a [u8], &'a [u8]) -> std::result::Result<(), String>,
) -> std::result::Result<(), String> {
    while !bytes.is_empty() {
        let cut = "a tree that is cut off";
        let zero = memchr::memchr(0, bytes).ok_or(cut)?;
        let blank = bytes[..zero].iter().position(|&c| c == b' ').ok_or(cut)?;
        let id = bytes.get(zero + 1..zero + 21).ok_or(cut)?;
        each(&bytes[..blank], &bytes[blank + 1..zero], id)?;
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
    // Nearly all names are plain: this is asked of every entry of every tree.
    if is_plain(name) {
        return None;
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

/// Whether nobody takes `name` for anything but what it says.
fn is_plain(name: &[u8]) -> bool {
    name.first() != Some(&b'.') && name.iter().all(|&c| c.is_ascii() && c != b'~' && c != b'\\')
}

/// Whether some file system takes `name` for `.<word>`: without regard to case, without what HFS+ leaves out, with the dots,
/// blanks and streams that NTFS drops at the end, or as a short name of NTFS (`git~1`, `gitmod~1`, `gi7eba~1`).
fn stands_for(name: &[u8], word: &str, short: &str) -> bool {
    if is_plain(name) {
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
pub fn check_modules(odb: &Odb<'_>, id: Oid) -> Result<()> {
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

    fn check(bytes: &[u8]) -> std::result::Result<Vec<String>, String> {
        let mut found = Vec::new();
        let id = Oid::from_bytes(&[9; 20]).unwrap();
        let each = &mut |entry: Entry<'_>| {
            found.push(format!("{entry:?}"));
            Ok(())
        };
        check_tree(id, bytes, each).map_err(|e| e.to_string()).map(|()| found)
    }

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
            assert!(check(&tree("100644", bad)).is_err(), "{:?}", String::from_utf8_lossy(bad));
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
            check(&tree("100644", good)).unwrap();
        }
    }

    #[test]
    fn modes_links_and_repeats() {
        for (bad, why) in [
            (tree("120000", b".gitmodules"), "symlink"),
            (tree("120000", b".GITMODULES "), "symlink"),
            (tree("120000", b"gitmod~1"), "symlink"),
            (tree("120000", b"GI7EBA~1"), "symlink"),
            (tree("104755", b"x"), "mode"),
            (tree("100600", b"x"), "mode"),
            ([tree("100644", b"x"), tree("40000", b"x")].concat(), "twice"),
            ([tree("100644", b"x"), tree("100644", b"x.c"), tree("40000", b"x")].concat(), "twice"),
            (tree("100644", b"x")[..20].to_vec(), "cut off"),
            (b"100644".to_vec(), "cut off"),
        ] {
            let error = check(&bad).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        assert!(check(&tree("100644", b".gitmodules")).unwrap()[0].starts_with("Modules"));
        // As git sorts them, which is not by their bytes alone; and as some old tool did.
        check(&[tree("100644", b"x.c"), tree("40000", b"x")].concat()).unwrap();
        check(&[tree("100644", b"b"), tree("100644", b"a")].concat()).unwrap();
    }
}
