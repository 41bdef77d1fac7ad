//! A growing buffer of secret bytes that leaves nothing behind: not when it grows, not when it is dropped.

use crate::base::secret::Secret;
use std::io::{self, Write};
use zeroize::Zeroizing;

/// Bytes that are wiped on drop. A plain `Vec` that grows leaves its old room unwiped; this one does not.
#[derive(Default)]
pub(super) struct SecretBuf(Zeroizing<Vec<u8>>);

impl SecretBuf {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        SecretBuf(Zeroizing::new(Vec::with_capacity(bytes)))
    }

    pub(super) fn push(&mut self, byte: u8) {
        self.extend(&[byte]);
    }

    pub(super) fn extend(&mut self, bytes: &[u8]) {
        let len = self.0.len() + bytes.len();
        if len > self.0.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(len.max(self.0.capacity() * 2).max(64)));
            larger.extend_from_slice(&self.0);
            self.0 = larger;
        }
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn into_secret(mut self) -> Secret {
        Secret::from(std::mem::take(&mut *self.0))
    }
}

impl Write for SecretBuf {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.extend(buf);
        Ok(buf.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_what_it_was_given() {
        let mut buf = SecretBuf::default();
        let bytes: Vec<u8> = (0..10_000u32).map(|n| n as u8).collect();
        bytes.iter().for_each(|&b| buf.push(b));
        buf.extend(&bytes);
        assert_eq!(buf.into_secret().expose(), [&bytes[..], &bytes[..]].concat());
    }
}
