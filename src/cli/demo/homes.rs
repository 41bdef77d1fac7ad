//! The demo's homes: what stands in them, and what is there afterwards.

use include_dir::{include_dir, Dir, DirEntry};
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A small home of the first user's kind. Names there have no leading dot; [`PLACES`] says where they go.
static FIXTURE: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/fixtures/kage-bunshin");

/// Where the fixture's entries stand in a home.
const PLACES: &[(&str, &str)] = &[
    ("dot-claude", ".claude"),
    ("bashrc", ".bashrc"),
    ("pgpass", ".pgpass"),
    ("credentials.json", ".claude/.credentials.json"),
    ("kbpack.toml", ".config/kbpack/profile.toml"),
];

/// What is kbpack's own in a home, and the database, which is compared by its rows.
const NOT_COMPARED: [&str; 3] = [".config/kbpack", ".local/state/kbpack", ".local/share/memory"];

/// Writes the fixture into `home`, with the modes it has on a real server: scripts 755, secrets 600.
pub(super) fn furnish(home: &Path) -> io::Result<()> {
    let mut left: Vec<&DirEntry<'_>> = FIXTURE.entries().iter().collect();
    while let Some(entry) = left.pop() {
        match entry {
            DirEntry::Dir(dir) => left.extend(dir.entries()),
            DirEntry::File(file) => {
                let Some(place) = place(file.path()) else { continue };
                write(home, &place, file.contents())?;
            }
        }
    }
    Ok(())
}

/// What the target has before: older settings, and what is excluded and stays its own.
pub(super) fn furnish_target(home: &Path) -> io::Result<()> {
    for (place, text) in [
        (".claude/settings.json", "{}\n"),
        (".claude/debug/own.txt", "of the target\n"),
        (".bashrc", "# ~/.bashrc of the target\nexport EDITOR=vi\n"),
    ] {
        write(home, Path::new(place), text.as_bytes())?;
    }
    Ok(())
}

fn write(home: &Path, place: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = home.join(place);
    fs::create_dir_all(path.parent().unwrap_or(home))?;
    fs::write(&path, bytes)?;
    fs::set_permissions(&path, Permissions::from_mode(mode(&path)))
}

fn place(path: &Path) -> Option<PathBuf> {
    let (_, place, rest) =
        PLACES.iter().find_map(|(from, to)| Some((from, to, path.strip_prefix(from).ok()?)))?;
    Some(if rest.as_os_str().is_empty() { PathBuf::from(place) } else { Path::new(place).join(rest) })
}

fn mode(path: &Path) -> u32 {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match name.as_ref() {
        ".pgpass" | ".credentials.json" | ".bashrc" => 0o600,
        name if name.ends_with(".sh") => 0o755,
        _ => 0o644,
    }
}

/// Files by their place, each with its mode and content.
pub(super) type Tree = BTreeMap<PathBuf, (u32, Vec<u8>)>;

/// All files in `home`, but for what is kbpack's own.
pub(super) fn tree(home: &Path) -> io::Result<Tree> {
    let mut tree = Tree::new();
    let mut left = vec![PathBuf::new()];
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(home.join(&folder))? {
            let entry = entry?;
            let path = folder.join(entry.file_name());
            if NOT_COMPARED.iter().any(|own| path == Path::new(own)) {
                continue;
            }
            match entry.file_type()?.is_dir() {
                true => left.push(path),
                false => {
                    let mode = entry.metadata()?.permissions().mode();
                    tree.insert(path, (mode, fs::read(entry.path())?));
                }
            }
        }
    }
    Ok(tree)
}

/// How many files below `~/.claude` have arrived, each equal to where it came from; the others are the target's own, as
/// `before` has them.
pub(super) fn arrived(source: &Path, target: &Path, before: &Tree) -> io::Result<usize> {
    let ours = tree(source)?;
    let mut equal = 0;
    for (path, file) in tree(target)?.iter().filter(|(path, _)| path.starts_with(".claude")) {
        match (ours.get(path) == Some(file), before.get(path) == Some(file)) {
            (true, _) => equal += 1,
            (false, true) => {}
            (false, false) => return Err(io::Error::other(format!("{} differs", path.display()))),
        }
    }
    match equal {
        0 => Err(io::Error::other("nothing arrived")),
        equal => Ok(equal),
    }
}
