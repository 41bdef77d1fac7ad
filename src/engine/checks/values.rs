//! The values of `$NAME`: what a fresh shell would have, and how they are kept out of what is said.

use crate::base::limits::MIN_SEARCHED_SECRET;
use crate::base::secret::Secret;
use crate::component::Host;
use crate::components::secrets;
use crate::format::template::{self, Piece};
use zeroize::Zeroizing;

/// The value of the variable `name`: as an import has put it on this machine, else from our own environment.
pub(super) fn value(host: &Host, name: &str) -> Result<Secret, String> {
    if let Some(value) = deployed(host, name)? {
        return Ok(value);
    }
    let own = std::env::var_os(name).map(|value| Secret::from(value.into_encoded_bytes()));
    own.ok_or_else(|| {
        format!("${name} is neither among the variables that imports have put here nor in the environment")
    })
}

/// The value that an import has put on this machine.
pub(super) fn deployed(host: &Host, name: &str) -> Result<Option<Secret>, String> {
    let all = secrets::deployed(&host.home).map_err(|error| format!("~/.config/kbpack-env: {error}"))?;
    Ok(all.into_iter().find(|(other, _)| other == name).map(|(_, value)| value))
}

/// `text` with the values of its variables in their places.
pub(super) fn expand(host: &Host, text: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let pieces = template::pieces(text).unwrap_or_default();
    let mut parts = Vec::new();
    for piece in pieces {
        parts.push(match piece {
            Piece::Text(text) => Secret::from(text.as_bytes().to_vec()),
            Piece::Variable(name) => value(host, name)?,
        });
    }
    // With room for all from the start, it leaves no copy behind.
    let mut expanded = Zeroizing::new(Vec::with_capacity(parts.iter().map(Secret::len).sum()));
    parts.iter().for_each(|part| expanded.extend_from_slice(part.expose()));
    Ok(expanded)
}

/// Takes the values that imports have put on this machine out of texts.
pub(in crate::engine) struct Redactor {
    values: Vec<(String, Secret)>,
}

impl Redactor {
    /// Knows what can be read now; a file that cannot be read holds nothing that could be said.
    pub(in crate::engine) fn new(host: &Host) -> Self {
        let mut values = secrets::deployed(&host.home).unwrap_or_default();
        values.retain(|(_, value)| value.len() >= MIN_SEARCHED_SECRET);
        // A value that is part of another one must not leave the rest of it.
        values.sort_by_key(|(_, value)| std::cmp::Reverse(value.len()));
        Redactor { values }
    }

    /// `text` with each value as `[$NAME]`.
    pub(in crate::engine) fn redact(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, value) in &self.values {
            if let Ok(value) = std::str::from_utf8(value.expose()) {
                if text.contains(value) {
                    text = text.replace(value, &format!("[${name}]"));
                }
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> (tempfile::TempDir, Host) {
        let dir = tempfile::tempdir().unwrap();
        let env = dir.path().join(".config/kbpack-env/keys");
        std::fs::create_dir_all(&env).unwrap();
        std::fs::write(
            env.join("env.sh"),
            "export A='secret-value'\nexport LONG='secret-value-2'\nexport S='ab'\n",
        )
        .unwrap();
        let host = Host { home: dir.path().to_owned(), uid: 0, own: vec![], maps: vec![] };
        (dir, host)
    }

    #[test]
    fn variables_are_expanded() {
        let (_dir, host) = host();
        assert_eq!(&**expand(&host, "Bearer $A $$x").unwrap(), b"Bearer secret-value $x");
        let error = expand(&host, "$KBPACK_TEST_NO_SUCH").unwrap_err();
        assert!(error.contains("$KBPACK_TEST_NO_SUCH"), "{error}");
        // Not among what was deployed: from our own environment.
        let path = std::env::var("PATH").unwrap();
        assert_eq!(&**expand(&host, "$PATH").unwrap(), path.as_bytes());
    }

    #[test]
    fn values_are_taken_out_of_what_is_said() {
        let (_dir, host) = host();
        let redactor = Redactor::new(&host);
        let said = redactor.redact("got secret-value-2 and 'secret-value', ab");
        assert_eq!(said, "got [$LONG] and '[$A]', ab");
    }
}
