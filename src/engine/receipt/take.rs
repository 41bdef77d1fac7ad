//! On the source: a receipt that came back is verified and remembered. The steps are the rules of chapter A.

use crate::base::path::ShownPath;
use crate::engine::error::{EngineError, Result};
use crate::engine::exports::{add_receipt, find, PastExport};
use crate::engine::receipt::document::Receipt;
use crate::engine::receipt::error::ReceiptError;
use crate::engine::sealed::{Believe, Believed};
use crate::engine::state::State;
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::Path;

/// Whom to believe, and what this machine remembers.
pub struct Take<'a> {
    /// Whose receipts count.
    pub believe: &'a Believe<'a>,
    /// The exports.
    pub state: &'a State,
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
        // A1 to A8: size, form, signature, trust, and what it says.
        let Believed { place, principal, document: receipt, bytes } = self.believe.open::<Receipt>(file)?;
        let refused = |error| EngineError::Receipt { place: place.clone(), error };
        // A9: one of our own exports.
        let export = find(self.state, &receipt.bundle)?;
        let export = export.ok_or_else(|| refused(ReceiptError::UnknownExport(receipt.bundle)))?;
        matches(&receipt, &export).map_err(refused)?;

        let path = ShownPath(add_receipt(self.state, &receipt.bundle, &bytes)?);
        Ok(Taken { principal, receipt, export, path })
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
            targets: Vec::new(),
            path: None,
            size: None,
            amounts: Default::default(),
            shrunk: false,
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
