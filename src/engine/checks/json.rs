//! `json`: what stands in a JSON file. Of its texts, which may be secrets, nothing is said but whether they are the right ones.

use super::{Site, Trial, Tried};
use crate::base::json_text::{document, Node};
use crate::base::key_path::KeyPath;
use crate::format::JsonProbe;
use serde_json::Value;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use zeroize::Zeroizing;

/// Bytes of a file that are read.
const MAX_FILE: u64 = 16 * 1024 * 1024;

/// A file, a place in it, and what must stand there.
pub(super) struct Json {
    probe: JsonProbe,
    /// `None` for the whole document.
    key: Option<KeyPath>,
}

/// What is found: the value itself, or how many there are.
enum Found {
    Count(u64),
    /// As JSON writes it.
    Value(Zeroizing<Vec<u8>>),
    Nothing,
}

impl Json {
    pub(super) fn new(probe: &JsonProbe) -> Result<Self, String> {
        let key = probe.key.clone().map(KeyPath::try_from).transpose()?;
        Ok(Json { probe: probe.clone(), key })
    }

    /// What is asked for, in words: `enabledPlugins in ~/x.json`.
    fn place(&self) -> String {
        match &self.key {
            Some(key) => format!("{key} in {}", self.probe.file),
            None => self.probe.file.clone(),
        }
    }

    /// What is to be there, as JSON writes it.
    fn wanted(&self) -> Option<String> {
        let source = self.probe.source_value.clone();
        source.or_else(|| self.probe.equals.as_ref().map(Value::to_string))
    }

    fn that_are(&self) -> String {
        self.probe.only.as_ref().map_or_else(String::new, |only| format!(" that are {only}"))
    }

    /// The file's value. An error is a line that says why there can be none.
    fn find(&self, site: &Site) -> Result<Found, Tried> {
        let failed = |why: &dyn std::fmt::Display| Tried::failed(format!("{}: {why}", self.probe.file));
        let path = site.host.expand(&self.probe.file).ok_or_else(|| failed(&"it is not a path"))?;
        let real = match fs::canonicalize(&path) {
            Ok(real) => real,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(self.nothing()),
            Err(error) => return Err(failed(&error)),
        };
        let own = site.host.own.iter().any(|own| real.starts_with(own));
        if !site.trusted && (own || !real.starts_with(&site.host.home)) {
            let why = "the file is not one of the home's, and its signer may not have commands run here";
            return Err(Tried::skipped(why));
        }
        let bytes = read(&real).map_err(|error| failed(&error))?;
        let whole = document(&bytes).map_err(|error| failed(&error))?;
        let Some(node) = self.key.as_ref().map_or(Some(whole), |key| whole.at(key)) else {
            return Ok(self.nothing());
        };
        if !self.probe.count {
            return Ok(Found::Value(Zeroizing::new(node.text().to_vec())));
        }
        let members = node.members().map(|members| members.iter().map(|member| member.value).collect());
        let Some(values) = members.or_else(|| node.elements()) else {
            return Err(failed(&format_args!("{} has no members", node.kind())));
        };
        let counts = |value: &&Node<'_>| self.probe.only.as_ref().is_none_or(|only| is(**value, only));
        Ok(Found::Count(values.iter().filter(counts).count() as u64))
    }

    /// What is not there has no members.
    fn nothing(&self) -> Found {
        if self.probe.count {
            Found::Count(0)
        } else {
            Found::Nothing
        }
    }

    /// Why what is found is not what is to be there.
    fn wrong(&self, found: &Found) -> Option<String> {
        let key = self.key.as_ref().map_or_else(|| self.probe.file.clone(), ToString::to_string);
        if let Some(exists) = self.probe.exists {
            let is_there = !matches!(found, Found::Nothing);
            let why = if exists { "there is no" } else { "there is" };
            return (exists != is_there).then(|| format!("{why} {key}"));
        }
        let wanted = self.wanted().unwrap_or_default();
        let expected: Value = serde_json::from_str(&wanted).unwrap_or_default();
        match found {
            Found::Nothing => Some(format!("there is no {key}")),
            Found::Count(count) if expected.as_u64() == Some(*count) => None,
            Found::Count(count) => Some(format!("it has {count}{}, not {wanted}", self.that_are())),
            Found::Value(text) => match document(text) {
                Ok(node) if is(node, &expected) => None,
                Ok(node) => Some(format!("{key} is {}, not {wanted}", shown(node))),
                Err(error) => Some(error.to_string()),
            },
        }
    }
}

impl Trial for Json {
    fn what(&self) -> String {
        let place = self.place();
        match (self.probe.exists, self.probe.count) {
            (Some(true), _) => return format!("looks that there is {place}"),
            (Some(false), _) => return format!("looks that there is no {place}"),
            _ => {}
        }
        let asks = match (self.probe.count, self.that_are()) {
            (true, that_are) if !that_are.is_empty() => format!("counts those in {place}{that_are}"),
            (true, _) => format!("counts what is in {place}"),
            (false, _) => format!("reads {place}"),
        };
        let expects = match (self.wanted(), self.probe.equal_to_source) {
            (Some(wanted), true) => format!("{wanted}, as the source has"),
            (Some(wanted), false) => wanted,
            (None, _) => "what the source has".to_owned(),
        };
        format!("{asks} and expects {expects}")
    }

    fn needs_trust(&self) -> Option<String> {
        let file = &self.probe.file;
        (!file.starts_with("~/")).then(|| format!("it reads {file}, which is not named as one of the home"))
    }

    fn attempt(&self, site: &Site) -> Tried {
        let found = match self.find(site) {
            Ok(found) => found,
            Err(tried) => return tried,
        };
        self.wrong(&found).map_or_else(Tried::passed, Tried::failed)
    }

    fn value(&self, site: &Site) -> Result<String, String> {
        let found = self.find(site).map_err(|tried| tried.why.unwrap_or_default())?;
        let cannot = |why: &str| format!("{} {why}", self.place());
        let text = match found {
            Found::Nothing => return Err(format!("there is no {}", self.place())),
            Found::Count(count) => return Ok(count.to_string()),
            Found::Value(text) => text,
        };
        let node = document(&text).map_err(|error| error.to_string())?;
        match (node.kind(), node.string()) {
            ("a number" | "a truth value", _) => Ok(String::from_utf8_lossy(node.text()).into_owned()),
            // So that a secret can be found in it, however JSON would write that.
            (_, Some(text)) if !text.chars().any(|c| c.is_control() || c == '"' || c == '\\') => {
                Ok(format!("\"{}\"", *text))
            }
            ("a text", _) => Err(cannot("has quotes, backslashes or control characters in it")),
            (kind, _) => {
                Err(cannot(&format!("is {kind}: only texts, numbers and truth values are compared")))
            }
        }
    }
}

/// Whether a value is this text, number or truth value; numbers by what they are worth.
fn is(node: Node<'_>, scalar: &Value) -> bool {
    match scalar {
        Value::String(text) => node.string().is_some_and(|found| *found == *text),
        Value::Number(number) => {
            let found = std::str::from_utf8(node.text()).ok().and_then(|text| text.parse::<f64>().ok());
            node.kind() == "a number" && found.is_some() && found == number.as_f64()
        }
        other => node.text() == other.to_string().as_bytes(),
    }
}

/// What may be said of a value.
fn shown(node: Node<'_>) -> String {
    match node.kind() {
        "a number" | "a truth value" | "null" => {
            String::from_utf8_lossy(node.text()).chars().take(100).collect()
        }
        "a text" => "another text (not shown)".to_owned(),
        kind => kind.to_owned(),
    }
}

/// The content of a regular file; of nothing else, for opening or reading a device may do something.
fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = fs::File::options().read(true).custom_flags(nonblocking).open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    if meta.len() > MAX_FILE {
        return Err(io::Error::other(format!("it has more than {MAX_FILE} bytes")));
    }
    // With room for all from the start, the buffer leaves no copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(meta.len() as usize + 1));
    file.take(meta.len()).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::child::tests::site;
    use super::super::Verdict;
    use super::*;
    use serde_json::json;
    use std::os::unix::fs::symlink;

    const SETTINGS: &str = r#"{
        "enabledPlugins": {"a@m": true, "b@m": false, "c@m": true},
        "list": [{"n": 1.0}, "x", true], "token": "sesame-opens", "odd": "a\"b", "big": 1e3, "none": null
    }"#;

    fn json(probe: Value) -> Json {
        let mut whole = json!({"file": "~/s.json"});
        whole.as_object_mut().unwrap().extend(probe.as_object().unwrap().clone());
        Json::new(&serde_json::from_value(whole).unwrap()).unwrap()
    }

    #[test]
    fn facts_of_a_document() {
        let (_dir, site) = site(false);
        fs::write(site.host.home.join("s.json"), SETTINGS).unwrap();
        for good in [
            json!({"key": "enabledPlugins", "count": true, "where": true, "equals": 2}),
            json!({"key": "enabledPlugins", "count": true, "equals": 3}),
            json!({"key": "enabledPlugins", "count": true, "equal-to-source": true, "source-value": "3"}),
            json!({"key": "list", "count": true, "where": "x", "equals": 1}),
            json!({"key": "none.such", "count": true, "equals": 0}),
            json!({"file": "~/none.json", "key": "a", "count": true, "equals": 0}),
            json!({"key": "list.0.n", "equals": 1}),
            json!({"key": "big", "equals": 1000}),
            json!({"key": "token", "equals": "sesame-opens"}),
            json!({"key": "odd", "equals": "a\"b"}),
            json!({"key": "enabledPlugins.b@m", "equals": false}),
            json!({"key": "none", "exists": true}),
            json!({"key": "nothing", "exists": false}),
            json!({"exists": true}),
            json!({"file": "~/none.json", "exists": false}),
        ] {
            let tried = json(good.clone()).attempt(&site);
            assert_eq!((tried.verdict, tried.why), (Verdict::Passed, None), "{good}");
        }
        for (bad, why) in [
            (
                json!({"key": "enabledPlugins", "count": true, "where": true, "equals": 3}),
                "it has 2 that are true, not 3",
            ),
            (json!({"count": true, "equals": 3}), "it has 6, not 3"),
            (json!({"key": "token", "equals": "other"}), "token is another text (not shown), not \"other\""),
            (json!({"key": "big", "equals": "1000"}), "big is 1e3, not \"1000\""),
            (json!({"key": "list", "equals": 3}), "list is a list, not 3"),
            (json!({"key": "nothing", "equals": 1}), "there is no nothing"),
            (json!({"key": "nothing", "exists": true}), "there is no nothing"),
            (json!({"key": "none", "exists": false}), "there is none"),
            (json!({"key": "token", "count": true, "equals": 1}), "~/s.json: a text has no members"),
            (json!({"file": "~/none.json", "exists": true}), "there is no ~/none.json"),
            (json!({"file": "~", "exists": true}), "~: it is not a regular file"),
        ] {
            let tried = json(bad.clone()).attempt(&site);
            assert_eq!((tried.verdict, tried.why.as_deref()), (Verdict::Failed, Some(why)), "{bad}");
        }
        let value = |key: &str, count: bool| {
            json(json!({"key": key, "count": count, "equal-to-source": true})).value(&site)
        };
        assert_eq!(value("enabledPlugins", true).unwrap(), "3");
        assert_eq!(value("nothing", true).unwrap(), "0");
        assert_eq!(value("token", false).unwrap(), "\"sesame-opens\"");
        assert_eq!(value("list.2", false).unwrap(), "true");
        for odd in ["odd", "none", "list", "nothing"] {
            assert!(!value(odd, false).unwrap_err().contains("a\"b"), "{odd}");
        }
        fs::write(site.host.home.join("s.json"), "{\"token\": sesame-opens}").unwrap();
        let why = json(json!({"exists": true})).attempt(&site).why.unwrap();
        assert!(why.starts_with("~/s.json: it is not JSON: ") && !why.contains("sesame"), "{why}");
    }

    #[test]
    fn a_bundle_asks_only_of_the_home() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("s.json"), "{}").unwrap();
        let (_dir, mut site) = site(false);
        let home = site.host.home.clone();
        symlink(outside.path().join("s.json"), home.join("s.json")).unwrap();
        fs::create_dir(home.join("own")).unwrap();
        fs::write(home.join("own/s.json"), "{}").unwrap();
        site.host.own.push(home.join("own"));
        let there = |file: &str| json(json!({"file": file, "exists": true}));
        for file in ["~/s.json", "~/own/s.json"] {
            assert_eq!(there(file).attempt(&site).verdict, Verdict::Skipped, "{file}");
            let trusted = Site { trusted: true, ..site.clone() };
            assert_eq!(there(file).attempt(&trusted).verdict, Verdict::Passed, "{file}");
        }
        assert!(there("/etc/s.json").needs_trust().is_some() && there("~/s.json").needs_trust().is_none());
    }
}
