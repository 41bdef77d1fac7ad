//! Finds copies of declared secrets in streams where they do not belong. Never shows a value.

use crate::base::fault::{Fault, Faulty};
use crate::base::limits::MIN_SEARCHED_SECRET;
use crate::component::NamedSecret;
use aho_corasick::{AhoCorasick, MatchKind};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use zeroize::Zeroizing;

/// Bytes of a long secret (a whole file) that are searched for: its beginning tells it well enough.
const LONGEST_PATTERN: usize = 1024;

/// A copy of a secret outside its own stream.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Misplaced {
    /// The component whose stream holds it.
    pub component: String,
    /// What in the component holds it: a file's path, a table.
    pub place: String,
    /// The secret's name, never its value.
    pub secret: String,
}

/// The search cannot be set up, so nothing is packed: a search that silently did not happen would be a lie.
#[derive(Debug, thiserror::Error)]
#[error("there are too many secrets, or too long ones, to search for")]
pub struct TooManySecrets;

impl Faulty for TooManySecrets {
    fn fault(&self) -> Fault {
        Fault::Limit
    }
    fn remedy(&self) -> Option<String> {
        Some("pack them in several bundles, with --only".into())
    }
}

/// Searches streams for secret values as they pass.
pub struct Scanner {
    automaton: AhoCorasick,
    names: Vec<String>,
    longest: usize,
    found: Mutex<BTreeSet<Misplaced>>,
}

impl Scanner {
    /// A scanner for the values of at least [`MIN_SEARCHED_SECRET`] bytes among `secrets`, each as it is
    /// and as JSON would escape it. `None` if there is nothing to search for.
    ///
    /// The automaton holds copies of the values, which are not wiped: they live as long as the process does,
    /// which neither dumps core nor can be traced.
    pub fn new(secrets: &[NamedSecret]) -> Result<Option<Arc<Self>>, TooManySecrets> {
        let mut patterns: Vec<Zeroizing<Vec<u8>>> = Vec::new();
        let mut names = Vec::new();
        for secret in secrets.iter().filter(|s| s.value.len() >= MIN_SEARCHED_SECRET) {
            let value = secret.value.expose();
            let raw = Zeroizing::new(value[..value.len().min(LONGEST_PATTERN)].to_vec());
            if let Some(escaped) = json_escaped(&raw) {
                patterns.push(escaped);
                names.push(secret.name.clone());
            }
            patterns.push(raw);
            names.push(secret.name.clone());
        }
        let Some(longest) = patterns.iter().map(|p| p.len()).max() else { return Ok(None) };
        let patterns = patterns.iter().map(|p| p.as_slice());
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .build(patterns)
            .map_err(|_| TooManySecrets)?;
        Ok(Some(Arc::new(Scanner { automaton, names, longest, found: Mutex::default() })))
    }

    /// Begins a stream of `component`.
    pub fn stream(self: &Arc<Self>, component: &str) -> StreamScan {
        StreamScan {
            scanner: self.clone(),
            component: component.to_owned(),
            place: String::new(),
            tail: Zeroizing::new(Vec::with_capacity(2 * self.longest)),
        }
    }

    /// Everything found so far, sorted, each once.
    pub fn found(&self) -> Vec<Misplaced> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

/// A value as a JSON string holds it, if that differs from the value.
fn json_escaped(value: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let text = std::str::from_utf8(value).ok()?;
    let quoted = Zeroizing::new(serde_json::to_string(text).ok()?);
    let inner = &quoted.as_bytes()[1..quoted.len() - 1];
    (inner != value).then(|| Zeroizing::new(inner.to_vec()))
}

/// The search through one stream: keeps just as much of what passed as a match across two writes needs.
pub struct StreamScan {
    scanner: Arc<Scanner>,
    component: String,
    place: String,
    tail: Zeroizing<Vec<u8>>,
}

impl StreamScan {
    /// What comes from here on belongs to `place`. A match never spans two places.
    pub fn label(&mut self, place: &str) {
        self.tail.clear();
        self.place.clear();
        self.place.push_str(place);
    }

    /// Searches `bytes`, and the seam between them and what came before.
    pub fn pass(&mut self, bytes: &[u8]) {
        let keep = self.scanner.longest - 1;
        if !self.tail.is_empty() {
            let seam = self.tail.len();
            self.tail.extend_from_slice(&bytes[..bytes.len().min(keep)]);
            let crossing: Vec<usize> = self
                .scanner
                .automaton
                .find_overlapping_iter(self.tail.as_slice())
                .filter(|m| m.start() < seam && m.end() > seam)
                .map(|m| m.pattern().as_usize())
                .collect();
            crossing.into_iter().for_each(|pattern| self.report(pattern));
            self.tail.truncate(seam);
        }
        // Overlapping matches only matter once something was found: the plain search is the fast one.
        if self.scanner.automaton.is_match(bytes) {
            let inside: BTreeSet<usize> =
                self.scanner.automaton.find_overlapping_iter(bytes).map(|m| m.pattern().as_usize()).collect();
            inside.into_iter().for_each(|pattern| self.report(pattern));
        }
        if bytes.len() >= keep {
            self.tail.clear();
            self.tail.extend_from_slice(&bytes[bytes.len() - keep..]);
        } else {
            let surplus = (self.tail.len() + bytes.len()).saturating_sub(keep);
            self.tail.drain(..surplus);
            self.tail.extend_from_slice(bytes);
        }
    }

    fn report(&self, pattern: usize) {
        let found = Misplaced {
            component: self.component.clone(),
            place: self.place.clone(),
            secret: self.scanner.names[pattern].clone(),
        };
        self.scanner.found.lock().unwrap_or_else(PoisonError::into_inner).insert(found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scanner(values: &[&str]) -> Arc<Scanner> {
        let named = |v: &&str| NamedSecret {
            name: format!("name of {}", v.len()),
            value: v.as_bytes().to_vec().into(),
        };
        Scanner::new(&values.iter().map(named).collect::<Vec<_>>()).unwrap().unwrap()
    }

    #[test]
    fn found_at_every_way_to_cut_it() {
        let text = b"before sk-secret-1 after";
        for first in 0..text.len() {
            for second in first..text.len() {
                let scanner = scanner(&["sk-secret-1"]);
                let mut stream = scanner.stream("c");
                stream.label("f");
                stream.pass(&text[..first]);
                stream.pass(&text[first..second]);
                stream.pass(&text[second..]);
                assert_eq!(scanner.found().len(), 1, "{first} {second}");
                assert_eq!(scanner.found()[0].place, "f");
            }
        }
    }

    #[test]
    fn byte_by_byte_overlapping_and_escaped() {
        let scanner = scanner(&["aaaaaaaa", "aaaaaaaab", "with \"quotes\""]);
        let mut stream = scanner.stream("c");
        b"xaaaaaaaab {\"k\":\"with \\\"quotes\\\"\"}".iter().for_each(|b| stream.pass(&[*b]));
        assert_eq!(scanner.found().len(), 3);
    }

    #[test]
    fn short_values_and_other_places_do_not_match() {
        assert!(Scanner::new(&[NamedSecret { name: "short".into(), value: b"main".to_vec().into() }])
            .unwrap()
            .is_none());
        let scanner = scanner(&["sk-secret-1"]);
        let mut stream = scanner.stream("c");
        stream.label("one");
        stream.pass(b"sk-sec");
        stream.label("two");
        stream.pass(b"ret-1");
        assert_eq!(scanner.found(), vec![]);
    }
}
