//! Whose sealed documents count (rule 4), and the way in that every command takes.

use crate::base::path::ShownPath;
use crate::crypto::paths::KeyPaths;
use crate::crypto::sign::{Namespace, Signer};
use crate::crypto::trust::{TrustError, TrustStore};
use crate::engine::error::{At, EngineError, Result};
use crate::engine::sealed::file::{parse, read, signed};
use crate::engine::sealed::Document;
use std::path::Path;

/// Whom to believe.
pub struct Believe<'a> {
    /// The trusted and revoked signers.
    pub paths: &'a KeyPaths,
    /// `--trust SHA256:...`, each: these hosts, and no others, are believed in this run. None: those that are trusted.
    pub pins: &'a [String],
    /// The moment for `valid-after` and `valid-before`: seconds since 1970.
    pub at: u64,
}

/// A document by a host that is believed.
#[derive(Debug)]
pub struct Believed<D> {
    /// What to call it in messages: its path, or `standard input`.
    pub place: String,
    /// The name under which the host is trusted.
    pub principal: String,
    /// What it says.
    pub document: D,
    /// The file, as it came.
    pub bytes: Vec<u8>,
}

impl Believe<'_> {
    /// Reads and verifies `file` (`-` is standard input). Nothing of the document is parsed before its signer is trusted.
    pub fn open<D: Document>(&self, file: &Path) -> Result<Believed<D>> {
        let place = match file.as_os_str() == "-" {
            true => "standard input".to_owned(),
            false => ShownPath::from(file).to_string(),
        };
        let refused = |error| EngineError::Sealed { place: place.clone(), error };
        let bytes = read(file)?;
        let (signer, document) = signed(D::FORM, &bytes).map_err(refused)?;
        let principal = self.trusted(&place, &signer, D::FORM.namespace)?;
        let document = parse(document, &signer.fingerprint()).map_err(refused)?;
        Ok(Believed { place, principal, document, bytes })
    }

    fn trusted(&self, place: &str, signer: &Signer, namespace: Namespace) -> Result<String> {
        let fingerprint = signer.fingerprint();
        let pinned = !self.pins.is_empty();
        if pinned && !self.pins.contains(&fingerprint) {
            let (place, pin) = (place.to_owned(), self.pins.join(", "));
            return Err(EngineError::OtherSigner { place, signer: fingerprint, pin });
        }
        match TrustStore::load(self.paths)?.check(signer, namespace, self.at) {
            // Never over a revocation or a date.
            Err(TrustError::Unknown { .. } | TrustError::NotForNamespace { .. }) if pinned => {
                Ok("pinned".to_owned())
            }
            checked => Ok(checked.at(place)?.principal),
        }
    }
}
