//! On the source: a receipt that came back is verified and remembered. The steps are the rules of chapter A.

use crate::base::path::ShownPath;
use crate::crypto::paths::KeyPaths;
use crate::crypto::sign::{Namespace, Signer};
use crate::crypto::trust::{TrustError, TrustStore};
use crate::engine::error::{At, EngineError, Result};
use crate::engine::exports::{add_receipt, find, PastExport};
use crate::engine::receipt::document::Receipt;
use crate::engine::receipt::error::ReceiptError;
use crate::engine::receipt::file::{read, signed};
use crate::engine::state::State;
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::Path;

/// Whom to believe, and what this machine remembers.
pub struct Take<'a> {
    /// The trusted and revoked signers.
    pub paths: &'a KeyPaths,
    /// The exports.
    pub state: &'a State,
    /// `--trust SHA256:...`: this target, and no other, is believed in this run.
    pub pin: Option<&'a str>,
    /// The moment for `valid-after` and `valid-before`: seconds since 1970.
    pub at: u64,
}

/// A receipt that was remembered.
#[derive(Debug, Serialize)]
pub struct Taken {
    /// The name under which the target is trusted.
    pub principal: String,
    /// What it says.
    pub receipt: Receipt,
    /// The export that it is for.
    pub export: PastExport,
    /// Where it stands now.
    pub path: ShownPath,
}

impl Take<'_> {
    /// Verifies the receipt in `file` (`-` is standard input) and remembers it.
    pub fn run(&self, file: &Path) -> Result<Taken> {
        let _lock = self.state.lock()?;
        let place = match file.as_os_str() == "-" {
            true => "standard input".to_owned(),
            false => ShownPath::from(file).to_string(),
        };
        let refused = |error| EngineError::Receipt { place: place.clone(), error };

        // A1 to A3: size, form, signature.
        let bytes = read(file)?;
        let (signer, document) = signed(&bytes).map_err(refused)?;
        // A4: trust. Nothing of the document was parsed so far.
        let principal = self.trusted(&place, &signer)?;
        // A5 to A8: the document.
        let receipt = Receipt::parse(document, &signer.fingerprint()).map_err(refused)?;
        // A9: one of our own exports.
        let export = find(self.state, &receipt.bundle)?;
        let export = export.ok_or_else(|| refused(ReceiptError::UnknownExport(receipt.bundle)))?;
        matches(&receipt, &export).map_err(refused)?;

        let path = ShownPath(add_receipt(self.state, &receipt.bundle, &bytes)?);
        Ok(Taken { principal, receipt, export, path })
    }

    fn trusted(&self, place: &str, signer: &Signer) -> Result<String> {
        let fingerprint = signer.fingerprint();
        if let Some(pin) = self.pin.filter(|pin| *pin != fingerprint) {
            let (place, pin) = (place.to_owned(), pin.to_owned());
            return Err(EngineError::OtherSigner { place, signer: fingerprint, pin });
        }
        match TrustStore::load(self.paths)?.check(signer, Namespace::Receipt, self.at) {
            // Never over a revocation or a date.
            Err(TrustError::Unknown { .. } | TrustError::NotForNamespace { .. }) if self.pin.is_some() => {
                Ok("pinned".to_owned())
            }
            checked => Ok(checked.at(place)?.principal),
        }
    }
}

/// Rule A9.
fn matches(receipt: &Receipt, export: &PastExport) -> std::result::Result<(), ReceiptError> {
    let packed: BTreeSet<_> = export.components.iter().collect();
    let restored: BTreeSet<_> = receipt.components.iter().map(|component| &component.name).collect();
    for (what, same) in [
        ("profile", receipt.profile == export.profile),
        ("sequence", receipt.sequence == export.sequence),
        ("signer", receipt.signer == export.signer),
        ("list of components", restored.is_subset(&packed) && (!receipt.whole || restored == packed)),
    ] {
        if !same {
            return Err(ReceiptError::OtherExport(what));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::name::ComponentName;
    use crate::engine::receipt::document::tests::sample;

    #[test]
    fn a_receipt_is_for_the_export_as_it_was() {
        let receipt = sample("SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU");
        let good = PastExport {
            id: receipt.bundle,
            profile: receipt.profile.clone(),
            sequence: receipt.sequence,
            created: 1,
            signer: receipt.signer.clone(),
            recipients: Vec::new(),
            components: ["app", "keys"].map(|name| ComponentName::new(name).unwrap()).into(),
            path: None,
            size: None,
        };
        assert_eq!(matches(&receipt, &good), Ok(()));
        let more = ComponentName::new("more").unwrap();
        let refused = |change: &dyn Fn(&mut PastExport)| {
            let mut export = good.clone();
            change(&mut export);
            matches(&receipt, &export)
        };
        for (what, found) in [
            ("profile", refused(&|e| e.profile = "large".into())),
            ("sequence", refused(&|e| e.sequence += 1)),
            ("signer", refused(&|e| e.signer = "SHA256:x".into())),
            ("list of components", refused(&|e| e.components.truncate(1))),
            ("list of components", refused(&|e| e.components.push(more.clone()))),
        ] {
            assert_eq!(found, Err(ReceiptError::OtherExport(what)));
        }
        // A part of the bundle, and said so.
        let part = Receipt { whole: false, ..receipt };
        assert_eq!(
            matches(
                &part,
                &PastExport {
                    components: vec![good.components[0].clone(), good.components[1].clone(), more],
                    ..good
                }
            ),
            Ok(())
        );
    }
}
