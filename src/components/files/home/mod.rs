//! The option `rewrite-home`: paths of the source's home, in files that name them, become paths of the target's.
//!
//! Source: [`source`] looks whether the files that are meant can be read so, and writes down what the home is called.
//! Target: [`target`] works out what each will hold, for the plan; staging writes it. What a file holds is taken apart
//! only as far as its strings ([`json`], [`toml`]), and in them [`word`] says which paths are meant: all else stays byte for byte.

mod json;
mod name;
mod source;
mod target;
#[cfg(test)]
mod tests;
mod text;
mod toml;
mod word;

pub use name::{is_name, names_of, written_name};
pub use source::{examine, Examined};
pub use target::{rewrite_rows, written, Moved};

use super::index::{Node, Row};
use crate::base::digest::Digest;
use crate::base::path::BundlePath;
use std::ops::Range;

/// Bytes of a file that is rewritten, at most.
const MAX_BYTES: u64 = 16 * 1024 * 1024;
/// Bytes of one in TOML, whose parser takes many times that.
const MAX_TOML: u64 = 1024 * 1024;
/// Bytes that one has afterwards, at most.
const MAX_WRITTEN: usize = 2 * MAX_BYTES as usize;
/// Files that are rewritten in one component, at most.
const MAX_FILES: usize = 10_000;
/// Bytes of them together: a plan reads them all.
const MAX_TOTAL: u64 = 1 << 30;

/// What a file that is rewritten was in the bundle.
#[derive(Debug, Clone)]
pub struct Packed {
    /// As the index has it.
    pub row: Row,
    /// How many paths in it are rewritten; 0 where only its metadata is another.
    pub places: u64,
}

impl Packed {
    /// Of a file's content.
    pub fn digest(&self) -> Option<Digest> {
        match &self.row.node {
            Node::File(file) => Some(file.digest),
            _ => None,
        }
    }
}

/// How a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    /// One JSON document.
    Json,
    /// TOML.
    Toml,
    /// Commands and variables, one word after another.
    Shell,
}

/// The files that can be rewritten, for people.
pub const SUPPORTED: &str =
    ".json, .toml and shell files (.sh, .bash, .zsh, .ksh, .env, .bashrc, .profile and the like)";

const SHELL_NAMES: [&str; 14] = [
    ".bashrc",
    ".bash_profile",
    ".bash_login",
    ".bash_logout",
    ".bash_aliases",
    ".profile",
    ".zshrc",
    ".zshenv",
    ".zprofile",
    ".zlogin",
    ".zlogout",
    ".kshrc",
    ".env",
    ".envrc",
];

impl Syntax {
    /// By the name of the file.
    pub fn of(path: &BundlePath) -> Option<Syntax> {
        let name = path.file_name().to_str()?;
        if SHELL_NAMES.contains(&name) {
            return Some(Syntax::Shell);
        }
        match name.rsplit_once('.')?.1 {
            "json" => Some(Syntax::Json),
            "toml" => Some(Syntax::Toml),
            "sh" | "bash" | "zsh" | "ksh" | "env" => Some(Syntax::Shell),
            _ => None,
        }
    }

    /// Bytes that such a file may have.
    pub fn max(self) -> u64 {
        match self {
            Syntax::Toml => MAX_TOML,
            Syntax::Json | Syntax::Shell => MAX_BYTES,
        }
    }
}

/// Why a file cannot be rewritten, in words that follow its name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Nothing is known of such names.
    #[error("rewrite-home knows no such files; it knows {SUPPORTED}")]
    Unknown,
    /// It has more bytes than this.
    #[error("it is larger than the {0} bytes that rewrite-home takes")]
    Large(u64),
    /// What it should be, and why it is not.
    #[error("it is not {0}: {1}")]
    Malformed(&'static str, String),
    /// One too many, or too many bytes together.
    #[error("with it rewrite-home means more than {MAX_FILES} files, or more than {MAX_TOTAL} bytes")]
    TooMany,
    /// Two keys of one object would become one.
    #[error("rewritten for this home it would have a key twice")]
    Collides,
    /// It would have too many bytes.
    #[error("rewritten for this home it would be larger than {MAX_WRITTEN} bytes")]
    Grows,
}

/// Where in `content` a path of one of `homes` begins with that home: the bytes of the home, in order. An error where the content is
/// not what its syntax says.
pub fn places(syntax: Syntax, content: &[u8], homes: &[String]) -> Result<Vec<Range<usize>>, Unfit> {
    if content.len() as u64 > syntax.max() {
        return Err(Unfit::Large(syntax.max()));
    }
    match syntax {
        Syntax::Json => json::places(content, homes),
        Syntax::Toml => toml::places(content, homes),
        Syntax::Shell if content.contains(&0) => {
            Err(Unfit::Malformed("a shell file", "it has a NUL byte".to_owned()))
        }
        Syntax::Shell => Ok(word::places(content, homes)),
    }
}

/// `content` with `to` at all `places`; `None` if there are none. An error where it would no longer say the same.
pub fn rewrite(
    syntax: Syntax,
    content: &[u8],
    homes: &[String],
    to: &str,
) -> Result<Option<(Vec<u8>, u64)>, Unfit> {
    let places = places(syntax, content, homes)?;
    if places.is_empty() {
        return Ok(None);
    }
    let gone: usize = places.iter().map(Range::len).sum();
    let size = content.len() - gone + places.len().saturating_mul(to.len());
    if size > MAX_WRITTEN {
        return Err(Unfit::Grows);
    }
    let mut out = Vec::with_capacity(size);
    let mut at = 0;
    for place in &places {
        out.extend_from_slice(&content[at..place.start]);
        out.extend_from_slice(to.as_bytes());
        at = place.end;
    }
    out.extend_from_slice(&content[at..]);
    match syntax {
        Syntax::Json if json::repeats(&out) > json::repeats(content) => return Err(Unfit::Collides),
        Syntax::Toml if toml::parses(&out).is_err() => return Err(Unfit::Collides),
        _ => {}
    }
    Ok(Some((out, places.len() as u64)))
}

/// Counts files and their bytes.
#[derive(Default)]
struct Sum {
    files: usize,
    bytes: u64,
}

impl Sum {
    /// Adds a file of `bytes`, of this name.
    fn add(&mut self, path: &BundlePath, bytes: u64) -> Result<Syntax, Unfit> {
        let syntax = Syntax::of(path).ok_or(Unfit::Unknown)?;
        if bytes > syntax.max() {
            return Err(Unfit::Large(syntax.max()));
        }
        self.files += 1;
        self.bytes += bytes;
        match self.files > MAX_FILES || self.bytes > MAX_TOTAL {
            true => Err(Unfit::TooMany),
            false => Ok(syntax),
        }
    }
}

/// Whether `patterns` mean the file at `path`.
fn matches(patterns: &ignore::gitignore::Gitignore, path: &BundlePath) -> bool {
    patterns.matched_path_or_any_parents(path.as_path(), false).is_ignore()
}
