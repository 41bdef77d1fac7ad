//! L1: keys, signatures, trust and the envelope. All cryptography is that of the `age` and `ssh-key` crates.
//!
//! ```text
//! paths       where keys lie                 keygen     makes them
//! sign        SSHSIG over exact bytes        trust      whose signatures count, and for what
//! recipient   whom a bundle is for           identity   who we are
//! allowed     one line of trust              when       the times in it
//! passphrase  where a passphrase comes from  plugin     age plugins, kept at arm's length
//! helper      the child that runs them       wire       what it and we say
//! prescan     age headers, before age reads  envelope   keys/<n>.age: sealed and opened
//! bundle_key  the one key of a bundle        own        what backups are kept with
//! error       what can go wrong
//! ```

pub mod allowed;
pub mod bundle_key;
pub mod envelope;
pub mod error;
mod helper;
pub mod identity;
pub mod keygen;
pub mod own;
pub mod passphrase;
pub mod paths;
pub mod plugin;
pub mod prescan;
mod printable;
pub mod recipient;
pub mod sign;
pub mod trust;
pub mod when;
mod wire;

#[cfg(test)]
mod testing;

pub use error::CryptoError;
