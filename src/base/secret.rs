//! Values that must not leak: wiped when dropped, redacted in `Debug`, never serialised by accident.

use secrecy::{ExposeSecret, SecretSlice};

/// Secret bytes. Wiped on drop; `Debug` prints `[REDACTED]`; there is no `Display` and no `Serialize`.
#[derive(Clone)]
pub struct Secret(SecretSlice<u8>);

impl Secret {
    /// The bytes, for the moment of use.
    pub fn expose(&self) -> &[u8] {
        self.0.expose_secret()
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.expose().len()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.expose().is_empty()
    }
}

impl From<Vec<u8>> for Secret {
    /// Takes the bytes over. A `Vec` with spare capacity is copied by the allocator and its old room wiped
    /// first, so nothing of it stays behind.
    fn from(mut bytes: Vec<u8>) -> Self {
        if bytes.capacity() != bytes.len() {
            let exact: Box<[u8]> = bytes.as_slice().into();
            zeroize::Zeroize::zeroize(&mut bytes);
            return Secret(SecretSlice::from(exact.into_vec()));
        }
        Secret(SecretSlice::from(bytes))
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[REDACTED]")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}
impl Eq for Secret {}

/// Forbids core dumps and `ptrace` by others of the same user, so that secrets in memory stay there, and takes the right to
/// write from everybody else in what is made from now on.
///
/// Best effort: a kernel that refuses leaves the process as it was.
pub fn harden_process() {
    use rustix::fs::Mode;
    use rustix::process::{setrlimit, umask, DumpableBehavior, Resource, Rlimit};
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    // What this process and its children make is not for everybody to write to, whatever shell it was started from.
    let mask = umask(Mode::WOTH);
    umask(mask | Mode::WOTH);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_is_redacted() {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend_from_slice(b"hunter2");
        let secret = Secret::from(bytes);
        assert_eq!(format!("{secret:?}"), "[REDACTED]");
        assert_eq!(secret.expose(), b"hunter2");
    }
}
