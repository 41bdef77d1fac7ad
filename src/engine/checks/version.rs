//! `version`: a tool is new enough, or just as new as the source's.

use super::{child, Site, Trial, Tried};
use crate::format::VersionProbe;
use std::cmp::Ordering;

/// A tool, and which version it must have.
pub(super) struct Version {
    probe: VersionProbe,
}

impl Version {
    pub(super) fn new(probe: &VersionProbe) -> Self {
        Version { probe: probe.clone() }
    }
}

impl Trial for Version {
    fn what(&self) -> String {
        let run = child::shown(&self.probe.run);
        match (&self.probe.at_least, &self.probe.source_value) {
            (Some(least), _) => format!("runs {run} and expects version {least} or later"),
            (None, Some(source)) => format!("runs {run} and expects version {source}, as the source has"),
            (None, None) => format!("runs {run} and expects the version that the source has"),
        }
    }

    fn needs_trust(&self) -> Option<String> {
        Some("it runs a command".to_owned())
    }

    fn attempt(&self, site: &Site) -> Tried {
        let version = match self.value(site) {
            Ok(version) => version,
            Err(why) => return Tried::failed(why),
        };
        let found = [format!("version {version}")];
        let tried = match (&self.probe.at_least, &self.probe.source_value) {
            (Some(least), _) if compare(&version, least) == Ordering::Less => {
                Tried::failed(format!("version {version} is older than {least}"))
            }
            (None, Some(source)) if compare(&version, source) != Ordering::Equal => {
                Tried::failed(format!("version {version} is not the source's {source}"))
            }
            _ => Tried::passed(),
        };
        tried.with(found)
    }

    fn value(&self, site: &Site) -> Result<String, String> {
        let ran = child::run(&self.probe.run, None, site)?;
        if !ran.status.success() {
            return Err(format!("{}: {}", child::shown(&self.probe.run), ran.ending()));
        }
        let [stdout, stderr] = ran.said();
        let found = dotted(&stdout).or_else(|| dotted(&stderr));
        found.ok_or_else(|| format!("{} names no version like 1.2", child::shown(&self.probe.run)))
    }
}

/// The first run of numbers with dots between, at least two of them, at most eight.
fn dotted(text: &str) -> Option<String> {
    let runs = text.split(|c: char| !c.is_ascii_digit() && c != '.').map(|run| run.trim_matches('.'));
    let number = |part: &str| (1..=9).contains(&part.len());
    let fits = |run: &&str| (2..=8).contains(&run.split('.').count()) && run.split('.').all(number);
    runs.into_iter().find(fits).map(str::to_owned)
}

/// Number by number; what is missing counts as 0.
fn compare(a: &str, b: &str) -> Ordering {
    let numbers = |text: &str| text.split('.').map(|part| part.parse().unwrap_or(0)).collect::<Vec<u64>>();
    let (mut a, mut b) = (numbers(a), numbers(b));
    let len = a.len().max(b.len());
    a.resize(len, 0);
    b.resize(len, 0);
    a.cmp(&b)
}

#[cfg(test)]
mod tests {
    use super::super::child::tests::site;
    use super::super::Verdict;
    use super::*;
    use serde_json::json;

    #[test]
    fn versions_in_what_tools_say() {
        for (text, version) in [
            ("Python 3.13.1\n", "3.13.1"),
            ("psql (PostgreSQL) 15.8 (Debian 15.8-0+deb12u1)", "15.8"),
            ("openjdk version \"17.0.2\" 2022-01-18", "17.0.2"),
            ("git version 2.39.5.", "2.39.5"),
            ("v20.1.0-rc.1", "20.1.0"),
        ] {
            assert_eq!(dotted(text).as_deref(), Some(version), "{text}");
        }
        assert_eq!(dotted("no version 7 here ..."), None);
        assert_eq!(compare("3.13", "3.9"), Ordering::Greater);
        assert_eq!(compare("3.13.0", "3.13"), Ordering::Equal);
        assert_eq!(compare("15.8", "16"), Ordering::Less);
    }

    #[test]
    fn at_least_and_equal() {
        let attempt = |probe: serde_json::Value| {
            let (_dir, site) = site(true);
            Version::new(&serde_json::from_value(probe).unwrap()).attempt(&site)
        };
        let tool = json!(["sh", "-c", "echo tool 1.12.3 >&2"]);
        assert_eq!(attempt(json!({"run": tool, "at-least": "1.9"})).verdict, Verdict::Passed);
        let older = attempt(json!({"run": tool, "at-least": "1.13"}));
        assert_eq!(older.why.as_deref(), Some("version 1.12.3 is older than 1.13"));
        let equal = |source: &str| json!({"run": tool, "equal-to-source": true, "source-value": source});
        assert_eq!(attempt(equal("1.12.3")).verdict, Verdict::Passed);
        assert_eq!(attempt(equal("1.12.4")).verdict, Verdict::Failed);
        assert_eq!(attempt(json!({"run": ["false"], "at-least": "1"})).verdict, Verdict::Failed);
        assert_eq!(attempt(json!({"run": ["true"], "at-least": "1"})).verdict, Verdict::Failed);
    }
}
