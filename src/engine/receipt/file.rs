//! The file: a document, and the signature over its bytes, one after the other (rules A1 to A3).

use crate::crypto::error::CryptoError;
use crate::crypto::sign::{verify, Namespace, Signer, SigningKey};
use crate::engine::error::{EngineError, Result};
use crate::engine::receipt::document::Receipt;
use crate::engine::receipt::error::ReceiptError;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Bytes of a receipt.
const MAX_SIZE: usize = 1024 * 1024;
/// How the signature begins. A document cannot have this line: in JSON, no string goes over a line's end.
const MARK: &str = "\n-----BEGIN SSH SIGNATURE-----\n";

/// The receipt's bytes: `document` and its signature by `key`.
pub fn seal(document: &[u8], key: &SigningKey) -> std::result::Result<Vec<u8>, CryptoError> {
    let signature = key.sign(Namespace::Receipt, document)?;
    Ok([document, signature.as_bytes()].concat())
}

/// Reads the file at `path` (`-` is standard input), a byte more than a receipt may have at most.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let io = |error| EngineError::Io { path: path.to_owned(), error };
    let input: Box<dyn Read> = match path.as_os_str() == "-" {
        true => Box::new(io::stdin().lock()),
        false => Box::new(File::open(path).map_err(io)?),
    };
    let mut bytes = Vec::new();
    input.take(MAX_SIZE as u64 + 1).read_to_end(&mut bytes).map_err(io)?;
    Ok(bytes)
}

/// The document of a receipt whose signature holds, and by whom. Nothing is said of trust.
pub fn signed(bytes: &[u8]) -> std::result::Result<(Signer, &[u8]), ReceiptError> {
    // A1.
    if bytes.len() > MAX_SIZE {
        return Err(ReceiptError::TooLarge);
    }
    // A2.
    let mark = MARK.as_bytes();
    let at = bytes.windows(mark.len()).position(|window| window == mark);
    let at = at.ok_or(ReceiptError::Form("it has no signature"))?;
    let (document, signature) = bytes.split_at(at + 1);
    if !document.starts_with(b"{") {
        return Err(ReceiptError::Form("it does not begin with a JSON object"));
    }
    // A3.
    let signer = verify(Namespace::Receipt, signature, document).map_err(ReceiptError::Seal)?;
    Ok((signer, document))
}

/// What a receipt says that was verified before.
pub fn open(bytes: &[u8]) -> std::result::Result<Receipt, ReceiptError> {
    let (signer, document) = signed(bytes)?;
    Receipt::parse(document, &signer.fingerprint())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::sign::SealError;
    use crate::engine::receipt::document::tests::sample;

    #[test]
    fn what_is_sealed_opens_and_nothing_else_does() {
        let key = SigningKey::generate().unwrap();
        let receipt = sample(&key.public().fingerprint());
        let document = receipt.to_bytes().unwrap();
        let good = seal(&document, &key).unwrap();
        assert_eq!(open(&good), Ok(receipt));
        let text = String::from_utf8(good.clone()).unwrap();

        let changed = text.replace("\"beta\"", "\"Beta\"");
        assert_eq!(open(changed.as_bytes()), Err(ReceiptError::Seal(SealError::BadSignature)));
        let (before, after) = text.split_at(document.len());
        for bad in
            [format!("{text}\n"), format!("{text}x"), format!("{text}{after}"), format!(" {before}{after}")]
        {
            assert!(
                matches!(open(bad.as_bytes()), Err(ReceiptError::Seal(_) | ReceiptError::Form(_))),
                "{bad}"
            );
        }
        let returns = text.replace('\n', "\r\n");
        for bad in
            ["", "hello\n", before, after, &returns, &format!("\n{text}"), &format!("{before} {after}")]
        {
            let error = open(bad.as_bytes()).unwrap_err();
            assert!(matches!(error, ReceiptError::Form(_)), "{bad:?}: {error}");
        }
        assert_eq!(open(&vec![b' '; MAX_SIZE + 1]), Err(ReceiptError::TooLarge));
    }

    #[test]
    fn a_signature_for_another_purpose_is_none() {
        let key = SigningKey::generate().unwrap();
        let document = sample(&key.public().fingerprint()).to_bytes().unwrap();
        for namespace in [Namespace::Bundle, Namespace::Ticket, Namespace::Backup] {
            let signature = key.sign(namespace, &document).unwrap();
            let error = open(&[&document, signature.as_bytes()].concat()).unwrap_err();
            let wanted = Namespace::Receipt;
            let found = Some(namespace);
            assert_eq!(error, ReceiptError::Seal(SealError::WrongNamespace { found, wanted }));
        }
    }
}
