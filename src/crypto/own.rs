//! What this machine keeps its own backups with: encrypted to its own identity, signed with its own key.

use crate::crypto::error::CryptoError;
use crate::crypto::identity::Identities;
use crate::crypto::keygen::made;
use crate::crypto::passphrase::Prompt;
use crate::crypto::paths::KeyPaths;
use crate::crypto::recipient::Recipients;
use crate::crypto::sign::SigningKey;
use std::sync::Arc;

/// The keys of this machine, loaded.
pub struct OwnKeys {
    /// Its own recipient, and no other.
    pub recipients: Recipients,
    /// What opens what is encrypted to that.
    pub identities: Identities,
    /// Its signing key.
    pub signer: SigningKey,
}

impl OwnKeys {
    /// Loads what `kbpack keygen` made. `prompt` is asked for the passphrase of the signing key, if that has one.
    pub fn load(paths: &KeyPaths, prompt: Arc<dyn Prompt>) -> Result<OwnKeys, CryptoError> {
        let mut recipients = Recipients::new();
        recipients.add_str(&made(paths)?.recipient)?;
        let signer = SigningKey::load(&paths.signing_key(), &*prompt)?;
        let mut identities = Identities::new();
        identities.add_default(paths, prompt)?;
        Ok(OwnKeys { recipients, identities, signer })
    }
}
