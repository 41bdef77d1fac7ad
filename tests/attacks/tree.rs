//! The streams of a component of the kind `files`, to be altered: the rows of its index and the entries of its two
//! shards.

use crate::forge::Inside;
use serde_json::{json, Value};
use ssh_key::PrivateKey;

/// The component that `furnish` makes.
const NAME: &str = "app";
/// Files and symlinks.
const SHARD: &str = "tree/000001";
/// Directories.
const LAST_SHARD: &str = "tree/000002";

/// Its index and its shards.
#[derive(Clone)]
pub struct Tree {
    inside: Inside,
    pub rows: Vec<Value>,
    /// The entries of the first shard.
    pub entries: Vec<Entry>,
    /// What stands behind the last of them.
    pub end: Vec<u8>,
    /// The entries of the last shard.
    pub dirs: Vec<Entry>,
}

/// An entry of a tar archive.
#[derive(Clone)]
pub struct Entry {
    /// What stands before the header: a PAX header and its records, or nothing.
    pub pax: Vec<u8>,
    pub header: tar::Header,
    /// The content with its padding.
    pub body: Vec<u8>,
}

impl Entry {
    /// Its path. The header of a sparse file has it in a folder that is none.
    pub fn path(&self) -> String {
        String::from_utf8_lossy(&self.path_bytes()).into_owned()
    }

    fn path_bytes(&self) -> Vec<u8> {
        let path = self.header.path_bytes();
        path.strip_prefix(b"GNUSparseFile.0/").unwrap_or(&path).to_vec()
    }

    /// Changes the header and makes its checksum right.
    pub fn with(mut self, change: impl FnOnce(&mut tar::UstarHeader)) -> Self {
        change(self.header.as_ustar_mut().unwrap());
        self.header.set_cksum();
        self
    }

    /// The same under another name.
    pub fn named(self, name: &[u8]) -> Self {
        self.with(|header| {
            let name = &name[..name.len().min(100)];
            header.name.fill(0);
            header.name[..name.len()].copy_from_slice(name);
        })
    }

    /// The same with another type.
    pub fn typed(self, kind: u8) -> Self {
        self.with(|header| header.typeflag[0] = kind)
    }

    /// The same with another link target.
    pub fn linked(self, target: &str) -> Self {
        self.with(|header| {
            header.linkname.fill(0);
            header.linkname[..target.len()].copy_from_slice(target.as_bytes());
        })
    }
}

impl Tree {
    pub fn of(inside: &Inside) -> Self {
        let index = String::from_utf8(inside.stream(NAME, "index").plain.clone()).unwrap();
        let (entries, end) = split(&inside.stream(NAME, SHARD).plain);
        let (dirs, _) = split(&inside.stream(NAME, LAST_SHARD).plain);
        let rows = index.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        Tree { inside: inside.clone(), rows, entries, end, dirs }
    }

    /// Where the row of `path` stands.
    pub fn at(&self, path: &str) -> usize {
        self.rows.iter().position(|row| row["path"] == path).unwrap_or_else(|| panic!("no row {path}"))
    }

    /// The row of `path`.
    pub fn row(&mut self, path: &str) -> &mut Value {
        let at = self.at(path);
        &mut self.rows[at]
    }

    /// Where the entry of `path` stands.
    pub fn entry(&self, path: &str) -> usize {
        self.entries
            .iter()
            .position(|entry| entry.path() == path)
            .unwrap_or_else(|| panic!("no entry {path}"))
    }

    /// Changes the entry of `path`.
    pub fn change_entry(&mut self, path: &str, change: impl FnOnce(Entry) -> Entry) {
        let at = self.entry(path);
        self.entries[at] = change(self.entries[at].clone());
    }

    /// Adds a file, a copy of `settings.json` under another name, to index and shard, each at its right place.
    pub fn add_file(&mut self, text: &str, name: &[u8]) {
        let mut row = self.row("settings.json").clone();
        row["path"] = json!(text);
        let entry = self.entries[self.entry("settings.json")].clone().named(name);
        let at = self.entries.iter().filter(|entry| entry.path_bytes() < name.to_vec()).count();
        self.entries.insert(at, entry);
        self.rows.push(row);
        self.sort();
    }

    /// Gives the symlink `link` another name and target, in index and shard alike.
    pub fn move_link(&mut self, name: &str, target: &str) {
        let row = self.row("link");
        row["path"] = json!(name);
        row["target"] = json!(target);
        let link = self.entries.remove(self.entry("link")).named(name.as_bytes()).linked(target);
        let at = self.entries.iter().filter(|entry| entry.path_bytes() < name.as_bytes().to_vec()).count();
        self.entries.insert(at, link);
        self.sort();
    }

    /// Adds a directory, a copy of `hooks` under another name. In their shard the last path comes first.
    pub fn add_dir(&mut self, name: &str) {
        let mut row = self.row("hooks").clone();
        row["path"] = json!(name);
        let hooks = self.dirs.iter().find(|entry| entry.path() == "hooks/").unwrap();
        let entry = hooks.clone().named(format!("{name}/").as_bytes());
        let at = self.dirs.iter().filter(|other| other.path().trim_end_matches('/') > name).count();
        self.dirs.insert(at, entry);
        self.rows.push(row);
        self.sort();
    }

    /// The rows in the order of their paths' bytes, for texts without `%`.
    pub fn sort(&mut self) {
        self.rows.sort_by_key(|row| unescaped(row["path"].as_str().unwrap()));
    }

    /// Facts, index and shard put together again.
    pub fn inside(&self) -> Inside {
        let index: String = self.rows.iter().map(|row| format!("{row}\n")).collect();
        self.saying(index.as_bytes())
    }

    /// The same with this text for an index.
    pub fn saying(&self, index: &[u8]) -> Inside {
        let mut inside = self.inside.clone();
        inside.facts(NAME)["entries"] = json!(index.iter().filter(|&&c| c == b'\n').count());
        let (first, last) = (joined(&self.entries, &self.end), joined(&self.dirs, &[0; 1024]));
        inside
            .with_plain(NAME, "index", index.to_vec())
            .with_plain(NAME, SHARD, first)
            .with_plain(NAME, LAST_SHARD, last)
    }

    /// The bundle, sealed by `key`.
    pub fn sealed(&self, key: &PrivateKey) -> Vec<u8> {
        self.inside().sealed(key)
    }
}

/// The bytes of a path's text form.
fn unescaped(text: &str) -> Vec<u8> {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        match part.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => bytes.extend([&[byte], &part.as_bytes()[2..]].concat()),
            None => bytes.extend(part.as_bytes()),
        }
    }
    bytes
}

fn joined(entries: &[Entry], end: &[u8]) -> Vec<u8> {
    let blocks = entries.iter().flat_map(|entry| [&entry.pax, &entry.header.as_bytes()[..], &entry.body]);
    [blocks.collect::<Vec<_>>().concat(), end.to_vec()].concat()
}

/// The entries of a good shard, and what follows them.
fn split(shard: &[u8]) -> (Vec<Entry>, Vec<u8>) {
    let mut entries = Vec::new();
    let (mut at, mut pax) = (0, Vec::new());
    while shard[at] != 0 {
        let header = tar::Header::from_byte_slice(&shard[at..at + 512]).clone();
        let body = header.entry_size().unwrap() as usize;
        let end = at + 512 + body.next_multiple_of(512);
        if header.entry_type().is_pax_local_extensions() {
            pax = shard[at..end].to_vec();
        } else {
            let body = shard[at + 512..end].to_vec();
            entries.push(Entry { pax: std::mem::take(&mut pax), header, body });
        }
        at = end;
    }
    (entries, shard[at..].to_vec())
}
