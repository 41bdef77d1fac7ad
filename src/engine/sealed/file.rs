//! The file: a document, and the signature over its bytes, one after the other (rules 1 to 3, 5 and 7).

use crate::base::json;
use crate::base::path::path_text;
use crate::crypto::sign::{verify, Signer, SigningKey};
use crate::engine::error::{EngineError, Result};
use crate::engine::sealed::{Broken, Document, Form, SealedError};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Bytes of a sealed document.
const MAX_SIZE: usize = 1024 * 1024;
/// How the signature begins. A document cannot have this line: in JSON, no string goes over a line's end.
const MARK: &str = "\n-----BEGIN SSH SIGNATURE-----\n";
/// Characters of what the reader of JSON says that an error repeats.
const MAX_COMPLAINT: usize = 200;

/// The bytes of `document`: JSON, indented for people, and a line feed; and its signature by `key`.
pub fn seal<D: Document>(document: &D, key: &SigningKey) -> Result<Vec<u8>> {
    let refused = |error| EngineError::Sealed { place: format!("the {}", D::FORM.what), error };
    let bytes = to_bytes(document).map_err(refused)?;
    let signature = key.sign(D::FORM.namespace, &bytes)?;
    let sealed = [&bytes, signature.as_bytes()].concat();
    match sealed.len() <= MAX_SIZE {
        true => Ok(sealed),
        false => Err(refused(D::FORM.broken(1, Broken::TooLarge))),
    }
}

/// The document's own bytes. Refuses what [`parse`] would refuse.
pub fn to_bytes<D: Document>(document: &D) -> std::result::Result<Vec<u8>, SealedError> {
    document.validate()?;
    let mut bytes = serde_json::to_vec_pretty(document).map_err(|error| complaint(D::FORM, &error))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Reads the file at `path` (`-` is standard input), a byte more than a document may have at most.
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

/// The document in a file whose signature holds, and by whom. Nothing is said of trust.
pub fn signed<'a>(
    form: &'static Form,
    bytes: &'a [u8],
) -> std::result::Result<(Signer, &'a [u8]), SealedError> {
    // 1. Size.
    if bytes.len() > MAX_SIZE {
        return Err(form.broken(1, Broken::TooLarge));
    }
    // 2. Two parts.
    let shape = |why| form.broken(2, Broken::Shape { what: form.what, why });
    let mark = MARK.as_bytes();
    let at = bytes.windows(mark.len()).position(|window| window == mark);
    let at = at.ok_or_else(|| shape("it has no signature"))?;
    let (document, signature) = bytes.split_at(at + 1);
    if !document.starts_with(b"{") {
        return Err(shape("it does not begin with a JSON object"));
    }
    // 3. Signature.
    let signer = verify(form.namespace, signature, document);
    Ok((signer.map_err(|error| form.broken(3, Broken::Seal(error)))?, document))
}

/// Reads a document whose signature holds, and is by the key with the fingerprint `signer`.
pub fn parse<D: Document>(document: &[u8], signer: &str) -> std::result::Result<D, SealedError> {
    // 5. JSON.
    let document: D = json::from_slice(document).map_err(|error| complaint(D::FORM, &error))?;
    // 6 and on.
    document.validate()?;
    // 7. Host.
    match document.host() == signer {
        true => Ok(document),
        false => {
            let (signer, host) = (signer.to_owned(), document.host().to_owned());
            Err(D::FORM.broken(7, Broken::OtherHost { signer, host }))
        }
    }
}

/// What a file says that was verified before: trust is not asked again.
pub fn open<D: Document>(bytes: &[u8]) -> std::result::Result<D, SealedError> {
    let (signer, document) = signed(D::FORM, bytes)?;
    parse(document, &signer.fingerprint())
}

fn complaint(form: &'static Form, error: &serde_json::Error) -> SealedError {
    let what = path_text(error.to_string().as_bytes());
    form.broken(5, Broken::Json(what.chars().take(MAX_COMPLAINT).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::sign::{Namespace, SealError};
    use serde::{Deserialize, Serialize};

    static FORM: Form = Form {
        what: "note",
        chapter: 'Z',
        namespace: Namespace::Receipt,
        format: "kbpack-note 1",
        name_it: "name a note",
    };

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Note {
        host: String,
        says: String,
    }

    impl Document for Note {
        const FORM: &'static Form = &FORM;
        fn host(&self) -> &str {
            &self.host
        }
        fn validate(&self) -> std::result::Result<(), SealedError> {
            FORM.require(!self.says.is_empty(), 6, "says", "is empty")
        }
    }

    fn note(key: &SigningKey, says: &str) -> Note {
        Note { host: key.public().fingerprint(), says: says.to_owned() }
    }

    fn broken(bytes: &[u8]) -> Broken {
        open::<Note>(bytes).unwrap_err().broken
    }

    #[test]
    fn what_is_sealed_opens_and_nothing_else_does() {
        let key = SigningKey::generate().unwrap();
        let document = to_bytes(&note(&key, "hello")).unwrap();
        let good = seal(&note(&key, "hello"), &key).unwrap();
        assert_eq!(open(&good), Ok(note(&key, "hello")));
        let text = String::from_utf8(good).unwrap();

        assert_eq!(broken(text.replace("hello", "Hello").as_bytes()), Broken::Seal(SealError::BadSignature));
        let (before, after) = text.split_at(document.len());
        for bad in
            [format!("{text}\n"), format!("{text}x"), format!("{text}{after}"), format!(" {before}{after}")]
        {
            assert!(matches!(broken(bad.as_bytes()), Broken::Seal(_) | Broken::Shape { .. }), "{bad}");
        }
        let returns = text.replace('\n', "\r\n");
        for bad in
            ["", "hello\n", before, after, &returns, &format!("\n{text}"), &format!("{before} {after}")]
        {
            assert!(matches!(broken(bad.as_bytes()), Broken::Shape { .. }), "{bad:?}");
        }
        assert_eq!(broken(&vec![b' '; MAX_SIZE + 1]), Broken::TooLarge);
    }

    #[test]
    fn what_would_not_open_is_not_sealed() {
        let key = SigningKey::generate().unwrap();
        assert!(seal(&note(&key, ""), &key).is_err());
        assert!(seal(&note(&key, &"x".repeat(MAX_SIZE)), &key).is_err());
    }

    #[test]
    fn a_host_speaks_for_itself_alone() {
        let (key, other) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        let error = open::<Note>(&seal(&note(&other, "hello"), &key).unwrap()).unwrap_err();
        assert!(matches!(error, SealedError { rule: 7, broken: Broken::OtherHost { .. }, .. }));
        assert!(error.to_string().ends_with("(rule Z7)"), "{error}");
    }

    #[test]
    fn a_signature_for_another_purpose_is_none() {
        let key = SigningKey::generate().unwrap();
        let document = to_bytes(&note(&key, "hello")).unwrap();
        for namespace in [Namespace::Bundle, Namespace::Ticket, Namespace::Backup] {
            let signature = key.sign(namespace, &document).unwrap();
            let (found, wanted) = (Some(namespace), Namespace::Receipt);
            assert_eq!(
                broken(&[&document, signature.as_bytes()].concat()),
                Broken::Seal(SealError::WrongNamespace { found, wanted })
            );
        }
    }

    #[test]
    fn json_is_strict() {
        let key = SigningKey::generate().unwrap();
        let good = String::from_utf8(to_bytes(&note(&key, "hello")).unwrap()).unwrap();
        let host = key.public().fingerprint();
        assert_eq!(parse(good.as_bytes(), &host), Ok(note(&key, "hello")));
        for (from, to) in [
            ("\"says\": \"hello\"", "\"says\": \"hello\", \"more\": 1"),
            ("\"says\": \"hello\"", "\"says\": \"hello\", \"says\": \"hello\""),
            ("\"says\": \"hello\"", "\"says\": \"hello\", \"\\u001b[2J\": true"),
            ("\"says\": \"hello\"", "\"says\": 1"),
            ("{", "\u{feff}{"),
            ("{", "{} {"),
        ] {
            assert!(good.contains(from), "{from}");
            let error = parse::<Note>(good.replacen(from, to, 1).as_bytes(), &host).expect_err(to);
            assert!(matches!(error, SealedError { rule: 5, broken: Broken::Json(_), .. }), "{to}: {error}");
            assert!(!error.to_string().contains(char::is_control), "{error}");
        }
    }
}
