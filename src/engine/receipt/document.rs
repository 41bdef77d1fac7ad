//! What a receipt says (rules A6 and A8).

use crate::base::json;
use crate::base::limits::MAX_COMPONENTS;
use crate::base::name::ComponentName;
use crate::crypto::sign::Namespace;
use crate::engine::machine;
use crate::engine::sealed::{Document, Form, SealedError, NOT_A_FINGERPRINT, NOT_TEXT};
use crate::format::{is_fingerprint, is_text, BundleId, MAX_INTEGER, MAX_TIME};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The kind of document.
pub static FORM: Form = Form {
    what: "receipt",
    chapter: 'A',
    namespace: Namespace::Receipt,
    format: "kbpack-receipt 1",
    name_it: "name the file that the import on the target wrote (NAME.receipt)",
};
/// Checks that a receipt lists by name; of more, only the numbers are there.
pub const MAX_LISTED: usize = 1000;

/// A target's word that a bundle is in place there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// `kbpack-receipt 1`.
    pub format: String,
    /// The version of kbpack that imported.
    pub kbpack: String,
    /// The bundle.
    pub bundle: BundleId,
    /// The name of its profile.
    pub profile: String,
    /// Its sequence.
    pub sequence: u64,
    /// The fingerprint of the key that sealed it.
    pub signer: String,
    /// The target: the fingerprint of its signing key, which is the receipt's too (A7).
    pub host: String,
    /// The target's name. For people.
    pub hostname: String,
    /// The user who imported. For people.
    pub user: String,
    /// When the import was done: Unix time in seconds.
    pub imported: u64,
    /// The same in RFC 3339. For people.
    pub imported_at: String,
    /// Whether all of the bundle was imported, not only parts of it.
    pub whole: bool,
    /// What is in place.
    pub components: Vec<Restored>,
    /// How many checks passed in all.
    pub passed: u64,
    /// How many failed without undoing the import.
    pub failed: u64,
    /// How many were not made.
    pub skipped: u64,
    /// The first of them by name.
    pub checks: Vec<Check>,
    /// How many warnings the import gave.
    pub warnings: u64,
}

/// One component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restored {
    /// Its name.
    pub name: ComponentName,
    /// Its kind's word.
    pub kind: String,
    /// How many of its own checks passed: all there are, for one that fails undoes the import.
    pub passed: u64,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// The component whose own check it is; absent for one of the profile.
    #[serde(default, deserialize_with = "json::set", skip_serializing_if = "Option::is_none")]
    pub component: Option<ComponentName>,
    /// What was checked.
    pub name: String,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It is as it should be.
    Passed,
    /// It is not, and the import holds all the same.
    Failed,
    /// It was not made.
    Skipped,
}

impl Document for Receipt {
    const FORM: &'static Form = &FORM;

    fn host(&self) -> &str {
        &self.host
    }

    fn validate(&self) -> Result<(), SealedError> {
        let of_format = self.format == FORM.format;
        require(of_format, 6, "format", "is not 'kbpack-receipt 1': another kbpack may read it")?;
        for (field, text) in [
            ("kbpack", &self.kbpack),
            ("profile", &self.profile),
            ("hostname", &self.hostname),
            ("user", &self.user),
        ] {
            require(is_text(text), 6, field, NOT_TEXT)?;
        }
        for (field, text) in [("signer", &self.signer), ("host", &self.host)] {
            require(is_fingerprint(text), 6, field, NOT_A_FINGERPRINT)?;
        }
        let sequence = (1..=MAX_INTEGER).contains(&self.sequence);
        require(sequence, 6, "sequence", "is not from 1 to 2^53 - 1")?;
        require(self.imported <= MAX_TIME, 6, "imported", "is after the year 9999")?;
        let same = self.imported_at == machine::timestamp(self.imported);
        require(same, 6, "imported_at", "is not the time that imported says")?;
        self.validate_components()?;
        self.validate_checks()
    }
}

impl Receipt {
    /// Rule A8: the components, and how many of their checks passed.
    fn validate_components(&self) -> Result<(), SealedError> {
        let count = (1..=MAX_COMPONENTS).contains(&self.components.len());
        require(count, 8, "components", "are not from 1 to 256")?;
        let mut names = BTreeSet::new();
        for component in &self.components {
            require(names.insert(&component.name), 8, "components", "have one name twice")?;
            let kind = ComponentName::new(&component.kind).is_some();
            require(kind, 8, "components", "have a kind that is not 1 to 64 of a-z 0-9 - _")?;
            let listed = self.listed(|check| check.component.as_ref() == Some(&component.name));
            require(listed <= component.passed, 8, "checks", "are more than a component has passed")?;
        }
        Ok(())
    }

    /// Rule A8: what is listed is part of what is counted.
    fn validate_checks(&self) -> Result<(), SealedError> {
        require(self.checks.len() <= MAX_LISTED, 8, "checks", "are more than 1,000")?;
        for check in &self.checks {
            require(is_text(&check.name), 8, "checks", "have a name that is no text")?;
            if let Some(name) = &check.component {
                let known = self.components.iter().any(|component| component.name == *name);
                require(known, 8, "checks", "are of a component that is not there")?;
                let passed = check.outcome == Outcome::Passed;
                require(passed, 8, "checks", "of a component did not pass: the import would not hold")?;
            }
        }
        let own = self.components.iter().fold(0u64, |sum, component| sum.saturating_add(component.passed));
        require(own <= self.passed, 8, "passed", "is less than what the components say")?;
        for (field, outcome, count) in [
            ("passed", Outcome::Passed, self.passed),
            ("failed", Outcome::Failed, self.failed),
            ("skipped", Outcome::Skipped, self.skipped),
        ] {
            let listed = self.listed(|check| check.outcome == outcome);
            require(listed <= count, 8, field, "is less than what is listed")?;
            require(count <= MAX_INTEGER, 8, field, "is above 2^53 - 1")?;
        }
        require(self.warnings <= MAX_INTEGER, 8, "warnings", "is above 2^53 - 1")
    }

    fn listed(&self, which: impl Fn(&Check) -> bool) -> u64 {
        self.checks.iter().filter(|check| which(check)).count() as u64
    }
}

fn require(holds: bool, rule: u8, field: &'static str, what: &'static str) -> Result<(), SealedError> {
    FORM.require(holds, rule, field, what)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::engine::sealed::file::{parse, to_bytes};
    use crate::engine::sealed::Broken;

    pub(in crate::engine::receipt) fn sample(host: &str) -> Receipt {
        let name = |name: &str| ComponentName::new(name).unwrap();
        let check = |component: Option<&str>, text: &str, outcome| Check {
            component: component.map(name),
            name: text.to_owned(),
            outcome,
        };
        Receipt {
            format: FORM.format.into(),
            kbpack: "0.1.0".into(),
            bundle: BundleId([0xab; 32]),
            profile: "small".into(),
            sequence: 1_795_498_194,
            signer: "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU".into(),
            host: host.into(),
            hostname: "beta".into(),
            user: "ada".into(),
            imported: 1_795_498_194,
            imported_at: "2026-11-24T05:29:54Z".into(),
            whole: true,
            components: vec![
                Restored { name: name("app"), kind: "files".into(), passed: 2 },
                Restored { name: name("keys"), kind: "secrets".into(), passed: 1 },
            ],
            passed: 4,
            failed: 1,
            skipped: 1,
            checks: vec![
                check(Some("app"), "in place: content (4)", Outcome::Passed),
                check(Some("keys"), "a fresh bash reads the same values", Outcome::Passed),
                check(None, "the API answers", Outcome::Failed),
            ],
            warnings: 0,
        }
    }

    const HOST: &str = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";

    #[test]
    fn a_document_reads_back() {
        let receipt = sample(HOST);
        assert_eq!(parse(&to_bytes(&receipt).unwrap(), HOST), Ok(receipt));
    }

    #[test]
    fn values_out_of_bounds() {
        let rule = |change: &dyn Fn(&mut Receipt)| {
            let mut receipt = sample(HOST);
            change(&mut receipt);
            assert!(to_bytes(&receipt).is_err());
            let bytes = serde_json::to_vec(&receipt).unwrap();
            match parse::<Receipt>(&bytes, HOST).unwrap_err() {
                SealedError { rule, broken: Broken::Field { field, .. }, .. } => (rule, field),
                other => panic!("{other}"),
            }
        };
        for (expected, found) in [
            ((6, "format"), rule(&|r| r.format = "kbpack-receipt 2".into())),
            ((6, "kbpack"), rule(&|r| r.kbpack.clear())),
            ((6, "profile"), rule(&|r| r.profile = "a".repeat(256))),
            ((6, "hostname"), rule(&|r| r.hostname = "a\nb".into())),
            ((6, "user"), rule(&|r| r.user = "\u{1b}[2J".into())),
            ((6, "signer"), rule(&|r| r.signer = "SHA256:short".into())),
            ((6, "host"), rule(&|r| r.host.push('='))),
            ((6, "sequence"), rule(&|r| r.sequence = 0)),
            ((6, "sequence"), rule(&|r| r.sequence = 1 << 53)),
            ((6, "imported"), rule(&|r| r.imported = MAX_TIME + 1)),
            ((6, "imported_at"), rule(&|r| r.imported += 1)),
            ((8, "components"), rule(&|r| r.components.clear())),
            ((8, "components"), rule(&|r| r.components = vec![r.components[0].clone(); 257])),
            ((8, "components"), rule(&|r| r.components[1].name = r.components[0].name.clone())),
            ((8, "components"), rule(&|r| r.components[0].kind = "Files".into())),
            ((8, "checks"), rule(&|r| r.components[0].passed = 0)),
            ((8, "checks"), rule(&|r| r.checks = vec![r.checks[2].clone(); 1001])),
            ((8, "checks"), rule(&|r| r.checks[0].name = "a\u{85}b".into())),
            ((8, "checks"), rule(&|r| r.checks[0].component = ComponentName::new("other"))),
            ((8, "checks"), rule(&|r| r.checks[0].outcome = Outcome::Failed)),
            ((8, "passed"), rule(&|r| r.passed = 2)),
            ((8, "passed"), rule(&|r| r.passed = 1 << 53)),
            ((8, "failed"), rule(&|r| r.failed = 0)),
            ((8, "warnings"), rule(&|r| r.warnings = u64::MAX)),
        ] {
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn json_is_strict() {
        let good = String::from_utf8(to_bytes(&sample(HOST)).unwrap()).unwrap();
        for (from, to) in [
            ("\"whole\": true,", "\"whole\": true, \"more\": 1,"),
            ("\"whole\": true,", ""),
            ("\"whole\": true,", "\"whole\": 1,"),
            ("\"component\": \"app\"", "\"component\": null"),
            ("\"passed\"\n", "\"PASSED\"\n"),
            ("\"name\": \"app\"", "\"name\": \"../app\""),
            (&"ab".repeat(32), &"AB".repeat(32)),
        ] {
            assert!(good.contains(from), "{from}");
            let error = parse::<Receipt>(good.replacen(from, to, 1).as_bytes(), HOST).expect_err(to);
            assert!(matches!(error.broken, Broken::Json(_)), "{to}: {error}");
        }
    }
}
