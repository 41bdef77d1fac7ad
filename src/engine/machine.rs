//! This machine and this user, as components and manifests see them.

use crate::component::Host;
use crate::engine::error::{EngineError, Result};
use crate::engine::gate::Dirs;
use crate::format::Origin;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The user's home: `HOME`, which must be absolute, else the user database's.
pub fn home() -> Result<PathBuf> {
    let from_user =
        || nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten().map(|user| user.dir);
    let home =
        std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute()).or_else(from_user);
    let home = home.unwrap_or_else(|| PathBuf::from("/"));
    home.canonicalize().map_err(|error| EngineError::Home { path: home, error })
}

/// The [`Host`] whose own directories are those of `dirs`, and always the standard ones too.
pub fn host(dirs: &Dirs, maps: Vec<(PathBuf, PathBuf)>) -> Result<Host> {
    let standard = Dirs::resolve(None, None)?;
    let own = [&dirs.config, &dirs.state, &standard.config, &standard.state];
    // As they are written and as they really are: a claim is compared with resolved paths.
    let own = own.into_iter().flat_map(|dir| [dir.clone(), resolved(dir)]).collect();
    Ok(Host { home: home()?, uid: rustix::process::geteuid().as_raw(), own, maps })
}

/// `path` with the symlinks in that part of it that exists resolved.
fn resolved(path: &Path) -> PathBuf {
    match (path.canonicalize(), path.parent(), path.file_name()) {
        (Ok(real), ..) => real,
        (Err(_), Some(parent), Some(name)) => resolved(parent).join(name),
        _ => path.to_owned(),
    }
}

/// What a manifest says of where it comes from.
pub fn origin(signer: String) -> Origin {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten();
    Origin {
        host: nodename(),
        user: user.map_or_else(|| nix::unistd::geteuid().to_string(), |user| plain(&user.name)),
        os: plain(&os_name()),
        arch: std::env::consts::ARCH.to_owned(),
        kbpack: env!("CARGO_PKG_VERSION").to_owned(),
        signer,
    }
}

/// The machine's name, as `uname -n` says it.
pub fn nodename() -> String {
    plain(&rustix::system::uname().nodename().to_string_lossy())
}

/// `PRETTY_NAME` of os-release(5), else the kernel's name.
fn os_name() -> String {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or_else(|| std::env::consts::OS.to_owned(), |name| name.trim_matches('"').to_owned())
}

/// Without control characters, and short: manifests refuse others.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

/// Seconds since 1970-01-01T00:00:00Z.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Milliseconds since then.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// How many threads to use: as many as there are processors, at most 16.
pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from).min(16)
}

/// `seconds` since 1970 as `2026-11-24T05:29:54Z` (RFC 3339).
pub fn timestamp(seconds: u64) -> String {
    let moment = i64::try_from(seconds).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
    moment.unwrap_or(jiff::Timestamp::MAX).to_string()
}

/// `milliseconds` since 1970 as `2026-11-24T05:29:54.123Z`.
pub fn timestamp_ms(milliseconds: u64) -> String {
    let moment = i64::try_from(milliseconds).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    format!("{:.3}", moment.unwrap_or(jiff::Timestamp::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps() {
        assert_eq!(timestamp(0), "1970-01-01T00:00:00Z");
        assert_eq!(timestamp(1_795_498_194), "2026-11-24T05:29:54Z");
        assert!(timestamp(u64::MAX).starts_with("9999-"));
        assert_eq!(timestamp_ms(1_795_498_194_007), "2026-11-24T05:29:54.007Z");
    }
}
