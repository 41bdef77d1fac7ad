//! How a tree is cut into shards.

use super::walk::{Entry, Kind};
use std::collections::HashMap;

/// Bytes of content after which a shard ends.
const SHARD_BYTES: u64 = 32 * 1024 * 1024;
/// Entries after which a shard ends.
const SHARD_ENTRIES: usize = 8192;

/// How the entries are cut into shards; numbers are places in the list of entries.
pub struct Shards {
    /// What each shard holds, in order: files and symlinks.
    pub shards: Vec<Vec<usize>>,
    /// Later names of files and their first names.
    pub links: Vec<(usize, usize)>,
    /// Directories, in the order of their paths.
    pub dirs: Vec<usize>,
}

impl Shards {
    /// Cuts them.
    pub fn cut(entries: &[Entry]) -> Shards {
        let mut out = Shards { shards: Vec::new(), links: Vec::new(), dirs: Vec::new() };
        let mut firsts: HashMap<(u64, u64), usize> = HashMap::new();
        let (mut shard, mut bytes) = (Vec::new(), 0);
        for (i, entry) in entries.iter().enumerate() {
            match entry.stat.kind {
                Kind::Special => continue,
                Kind::Dir => {
                    out.dirs.push(i);
                    continue;
                }
                Kind::File if entry.stat.nlink > 1 => {
                    let first = *firsts.entry(entry.stat.file).or_insert(i);
                    if first != i {
                        out.links.push((i, first));
                        continue;
                    }
                }
                _ => {}
            }
            // The holes of a large file weigh nothing.
            let size = match entry.stat.size {
                size if size > SHARD_BYTES => size.min(entry.stat.blocks.saturating_mul(512)),
                size => size,
            };
            if !shard.is_empty() && (bytes + size > SHARD_BYTES || shard.len() == SHARD_ENTRIES) {
                out.shards.push(std::mem::take(&mut shard));
                bytes = 0;
            }
            bytes += size;
            shard.push(i);
        }
        if !shard.is_empty() {
            out.shards.push(shard);
        }
        out
    }
}
