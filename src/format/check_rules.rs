//! What a check must keep to beyond its shape (rules M7 and M8), in a manifest and in a profile alike.

use super::checks::{
    Absent, Check, CommandProbe, FileProbe, HttpProbe, JsonProbe, Method, Probe, SqlProbe, VersionProbe,
};
use super::template;
use crate::base::key_path::KeyPath;
use crate::base::limits::{MAX_CHECKS, MAX_CHECK_BODY, MAX_CHECK_ITEMS, MAX_CHECK_SECONDS, MAX_CHECK_TEXT};
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};

/// Request headers whose values are secrets: a value of one must not stand there itself.
const SECRET_HEADERS: [&str; 4] = ["authorization", "cookie", "proxy-authorization", "x-api-key"];

/// What a list of checks breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// The number of the rule.
    pub rule: &'static str,
    /// Which check, by its place in the list; `None` for the list itself.
    pub check: Option<usize>,
    /// What is wrong, in words that follow the check's name.
    pub what: &'static str,
}

/// Who wrote a list of checks, or of hooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Author {
    /// A person, in a profile: what the source had is not known yet.
    Profile,
    /// An export, in a manifest: what the source had is written down.
    Export,
}

/// The first rule that `checks` break.
pub fn flaw(checks: &[Check], author: Author) -> Option<Flaw> {
    if checks.len() > MAX_CHECKS {
        return Some(Flaw { rule: "M7", check: None, what: "are more than 256" });
    }
    let mut names = HashSet::new();
    checks.iter().enumerate().find_map(|(at, check)| {
        let fresh = names.insert(&check.name);
        let broken = head(check, fresh).map(|what| ("M7", what));
        let broken =
            broken.or_else(|| source(check, author).or_else(|| probe(&check.probe)).map(|w| ("M8", w)));
        broken.map(|(rule, what)| Flaw { rule, check: Some(at), what })
    })
}

pub(super) type Wrong = Option<&'static str>;

/// The first of `rules` that does not hold.
pub(super) fn first(rules: &[(bool, &'static str)]) -> Wrong {
    rules.iter().find(|(holds, _)| !holds).map(|(_, what)| *what)
}

fn head(check: &Check, fresh: bool) -> Wrong {
    let seconds = 1..=MAX_CHECK_SECONDS;
    let repeats = matches!(check.probe, Probe::Command(_) | Probe::Http(_) | Probe::Sql(_) | Probe::Tcp(_));
    first(&[
        (is_text(&check.name), "has a name that is not 1 to 255 bytes without control characters"),
        (fresh, "is there twice"),
        (seconds.contains(&check.timeout), "has a timeout that is not 1 to 600 seconds"),
        (check.retry_for <= MAX_CHECK_SECONDS, "has a retry-for of more than 600 seconds"),
        (check.retry_for == 0 || repeats, "has a retry-for, which only command, http, sql and tcp can have"),
    ])
}

fn source(check: &Check, author: Author) -> Wrong {
    match author {
        Author::Profile => {
            first(&[(check.source_value().is_none(), "has a source-value, which only an export writes")])
        }
        Author::Export => first(&[(
            check.records() == check.source_value().is_some(),
            "has a source-value without need, or lacks the one it needs",
        )]),
    }
}

fn probe(probe: &Probe) -> Wrong {
    match probe {
        Probe::Command(command) => of_command(command),
        Probe::Http(http) => of_http(http),
        Probe::Sql(sql) => of_sql(sql),
        Probe::File(file) => of_file(file),
        Probe::Tcp(tcp) => first(&[(is_text(&tcp.address), "has an address that is not text")]),
        Probe::Version(version) => of_version(version),
        Probe::Env(env) => first(&[
            (template::is_variable(&env.name), "has a name of a variable that is not letters, digits and _"),
            (env.equals.as_deref().is_none_or(is_value), VALUE),
        ]),
        Probe::Json(json) => of_json(json),
    }
}

pub(super) const RUN: &str = "has a run that is not 1 to 64 words of at most 4,096 bytes without NUL";
const VALUE: &str = "has a value that is longer than 4,096 bytes, or has a NUL";

fn of_command(command: &CommandProbe) -> Wrong {
    first(&[
        (is_run(&command.run), RUN),
        (command.directory.as_deref().is_none_or(is_path), "has a directory that is not a path from / or ~"),
        (
            command.stdout_matches.as_deref().is_none_or(is_long),
            "has a stdout-matches that is empty or too long",
        ),
    ])
}

fn of_http(http: &HttpProbe) -> Wrong {
    let plain = |text: &String| is_value(text) && !text.chars().any(char::is_control);
    let names =
        |map: &BTreeMap<String, String>| map.len() <= MAX_CHECK_ITEMS && map.keys().all(|n| is_token(n));
    let open = http.header.iter().any(|(name, value)| {
        SECRET_HEADERS.contains(&name.to_ascii_lowercase().as_str()) && template::variables(value).is_empty()
    });
    let templates = http.header.values().chain(&http.body).all(|text| template::pieces(text).is_some());
    let may_have_body = !matches!(http.method, Method::Get | Method::Head | Method::Options);
    first(&[
        (
            is_url(&http.url),
            "has a url that is not http://HOST... or https://HOST... without a name and blanks",
        ),
        (names(&http.header) && http.header.values().all(plain), "has a header that is none"),
        (
            names(&http.expect_header) && http.expect_header.values().all(plain),
            "expects a header that is none",
        ),
        (templates, "has a $ that is followed by neither a name nor another $"),
        (!open, "has a secret written out in a header: let it be an environment variable, and write $NAME"),
        (
            http.body.as_deref().is_none_or(|body| body.len() <= MAX_CHECK_BODY),
            "has a body of more than 65,536 bytes",
        ),
        (http.body.is_none() || may_have_body, "has a body, which GET, HEAD and OPTIONS cannot have"),
        (
            http.status.is_none_or(|status| (100..=599).contains(&status)),
            "has a status that is not 100 to 599",
        ),
        (
            http.json.len() <= MAX_CHECK_ITEMS && http.json.keys().all(|path| is_long(path)),
            "has a JSON path that is none",
        ),
        (
            http.json.values().all(is_scalar),
            "compares a JSON field with something else than a text, number or truth value",
        ),
    ])
}

fn of_sql(sql: &SqlProbe) -> Wrong {
    let address = sql.url.strip_prefix("postgresql://").or_else(|| sql.url.strip_prefix("postgres://"));
    let user = address.unwrap_or_default().split(['/', '?']).next().and_then(|host| host.rsplit_once('@'));
    let password = user.is_some_and(|(user, _)| user.contains(':')) || sql.url.contains("password=");
    first(&[
        (
            address.is_some() && is_long(&sql.url) && is_line(&sql.url),
            "has a url that is not postgresql://...",
        ),
        (!password, "has a password in its url: let it stand in ~/.pgpass"),
        (is_long(&sql.query), "has a query that is empty, longer than 4,096 bytes, or has a NUL"),
        (sql.equals.is_some() != sql.recorded, "needs either equals = \"...\" or recorded = true"),
        (sql.equals.as_deref().is_none_or(is_value), VALUE),
        (sql.source_value.as_deref().is_none_or(is_value), VALUE),
    ])
}

fn of_file(file: &FileProbe) -> Wrong {
    let octal =
        |mode: &str| (3..=4).contains(&mode.len()) && mode.bytes().all(|c| (b'0'..=b'7').contains(&c));
    let asks = file.kind.is_some() || file.mode.is_some() || file.owner.is_some();
    let asks = asks || file.min_size.is_some() || file.sha256.is_some();
    first(&[
        (is_path(&file.path), "has a path that is not a path from / or ~"),
        (file.exists != Some(false) || !asks, "asks more of a file that must not exist"),
        (
            file.absent == Absent::Refuse || file.exists.is_none(),
            "says both whether the file exists and what it means that it is absent",
        ),
        (file.mode.as_deref().is_none_or(octal), "has a mode that is not 3 or 4 octal digits"),
        (file.owner.as_deref().is_none_or(is_text), "has an owner that is not text"),
        (file.min_size.is_none_or(|size| size < 1 << 53), "has a min-size above 2^53 - 1"),
    ])
}

fn of_json(json: &JsonProbe) -> Wrong {
    let asked = [json.exists.is_some(), json.equals.is_some(), json.equal_to_source];
    let source = json.source_value.as_deref();
    let source =
        source.is_none_or(|text| is_value(text) && serde_json::from_str(text).is_ok_and(|v| is_scalar(&v)));
    let is_count = |value: &Value| value.as_u64().is_some();
    first(&[
        (is_path(&json.file), "has a file that is not a path from / or ~"),
        (
            json.key.as_ref().is_none_or(|key| KeyPath::try_from(key.clone()).is_ok()),
            "has a key that is not 1 to 16 keys joined by dots",
        ),
        (
            asked.iter().filter(|asked| **asked).count() == 1,
            "needs either exists, equals or equal-to-source = true",
        ),
        (json.only.is_none() || json.count, "has a where, and does not count"),
        (!json.count || json.exists.is_none(), "counts, and asks whether it exists"),
        (
            json.only.iter().chain(&json.equals).all(is_scalar),
            "compares with something else than a text, number or truth value",
        ),
        (!json.count || json.equals.iter().all(is_count), "counts, and compares with no number of things"),
        (source, "has a source-value that is not a text, number or truth value in JSON"),
    ])
}

fn of_version(version: &VersionProbe) -> Wrong {
    first(&[
        (is_run(&version.run), RUN),
        (
            version.at_least.is_some() != version.equal_to_source,
            "needs either at-least = \"...\" or equal-to-source = true",
        ),
        (
            version.at_least.as_deref().is_none_or(is_version),
            "has an at-least that is not numbers with dots between",
        ),
        (
            version.source_value.as_deref().is_none_or(is_version),
            "has a source-value that is not numbers with dots between",
        ),
    ])
}

fn is_text(text: &str) -> bool {
    (1..=255).contains(&text.len()) && is_line(text)
}

fn is_line(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

pub(super) fn is_value(text: &str) -> bool {
    text.len() <= MAX_CHECK_TEXT && !text.contains('\0')
}

fn is_long(text: &str) -> bool {
    !text.is_empty() && is_value(text)
}

pub(super) fn is_run(run: &[String]) -> bool {
    let program = run.first().is_some_and(|program| !program.is_empty());
    program && run.len() <= MAX_CHECK_ITEMS && run.iter().all(|word| is_value(word))
}

pub(super) fn is_path(path: &str) -> bool {
    let rooted = path.starts_with('/') || path == "~" || path.starts_with("~/");
    rooted && is_long(path) && is_line(path) && !path.split('/').any(|segment| matches!(segment, "." | ".."))
}

fn is_url(url: &str) -> bool {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let Some(rest) = rest else { return false };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let visible = url.bytes().all(|c| c.is_ascii_graphic());
    is_long(url) && visible && !host.is_empty() && !host.contains('@')
}

/// A `token` of RFC 9110.
fn is_token(name: &str) -> bool {
    let token = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c);
    (1..=255).contains(&name.len()) && name.bytes().all(token)
}

fn is_scalar(value: &Value) -> bool {
    match value {
        Value::String(text) => is_value(text),
        Value::Number(_) | Value::Bool(_) => true,
        _ => false,
    }
}

fn is_version(text: &str) -> bool {
    let number = |part: &str| (1..=9).contains(&part.len()) && part.bytes().all(|c| c.is_ascii_digit());
    text.split('.').count() <= 8 && text.split('.').all(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(table: Value) -> Result<Check, String> {
        serde_json::from_value(table).map_err(|error| error.to_string())
    }

    fn broken(table: Value) -> Option<(&'static str, &'static str)> {
        flaw(&[check(table).unwrap()], Author::Profile).map(|flaw| (flaw.rule, flaw.what))
    }

    #[test]
    fn one_kind_each_and_no_other_keys() {
        for bad in [
            json!({"name": "x"}),
            json!({"name": "x", "tcp": {"address": "a:1"}, "env": {"name": "A"}}),
            json!({"name": "x", "tcp": {"address": "a:1"}, "more": 1}),
            json!({"name": "x", "tcp": {"address": "a:1", "more": 1}}),
            json!({"name": "x", "tcp": null, "env": {"name": "A"}}),
            json!({"name": "x", "severity": "fatal", "env": {"name": "A"}}),
            json!({"name": "x", "http": {"url": "http://x", "method": "get"}}),
            json!({"name": "x", "command": {"run": ["a"], "exit": 256}}),
        ] {
            check(bad.clone()).expect_err(&bad.to_string());
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let tables = json!([
            {"name": "a", "severity": "warn", "timeout": 5, "retry-for": 30, "tcp": {"address": "[::1]:80"}},
            {"name": "b", "command": {"run": ["a"], "directory": "~/x", "exit": 3, "stdout-matches": "^a"}},
            {"name": "c", "http": {"url": "http://localhost/x", "method": "POST", "header": {"X-API-Key": "$K"},
                "body": "{\"a\": \"$A\"}", "status": 204, "expect-header": {"A": "b"}, "json": {"a.b": 1, "c": true}}},
            {"name": "d", "sql": {"url": "postgresql://u@h/db", "query": "SELECT 1", "recorded": true}},
            {"name": "e", "sql": {"url": "postgresql:///db?host=/run", "query": "SELECT 1", "equals": ""}},
            {"name": "f", "file": {"path": "~", "type": "directory", "mode": "0700", "owner": "ada", "min-size": 1}},
            {"name": "g", "file": {"path": "/x", "exists": false}},
            {"name": "h", "version": {"run": ["python3", "--version"], "at-least": "3.13"}},
            {"name": "i", "version": {"run": ["python3"], "equal-to-source": true}},
            {"name": "j", "env": {"name": "A", "equals": "b"}},
            {"name": "k", "json": {"file": "~/a.json", "key": "a.b", "count": true, "where": true, "equals": 2}},
            {"name": "l", "json": {"file": "/a.json", "exists": false}},
            {"name": "m", "file": {"path": "~/x", "absent": "ok", "mode": "600"}},
            {"name": "n", "http": {"url": "https://localhost:8443/"}},
        ]);
        let checks: Vec<Check> = serde_json::from_value(tables.clone()).unwrap();
        assert_eq!(flaw(&checks, Author::Profile), None);
        assert_eq!(serde_json::to_value(&checks).unwrap(), tables);
        // Only once the source's values are there may they travel.
        assert_eq!(flaw(&checks, Author::Export).unwrap().check, Some(3));
        let recorded = |check: &Check| match check.records() {
            true => check.clone().with_source_value("3.11.2".to_owned()),
            false => check.clone(),
        };
        let checks: Vec<Check> = checks.iter().map(recorded).collect();
        assert_eq!(flaw(&checks, Author::Export), None);
        assert_eq!(
            flaw(&checks, Author::Profile).unwrap().what,
            "has a source-value, which only an export writes"
        );
    }

    #[test]
    fn bounds() {
        let http = |more: Value| {
            let mut http = json!({"url": "http://localhost/"});
            http.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({"name": "x", "http": http})
        };
        let sql = |url: &str| json!({"name": "x", "sql": {"url": url, "query": "q", "equals": "1"}});
        let file = |more: Value| {
            let mut file = json!({"path": "/x"});
            file.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({"name": "x", "file": file})
        };
        let about = |more: Value| {
            let mut about = json!({"file": "~/x", "exists": true});
            about.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            // A null stands for what is not there.
            about.as_object_mut().unwrap().retain(|_, value| !value.is_null());
            json!({"name": "x", "json": about})
        };
        for (table, words) in [
            (json!({"name": "", "env": {"name": "A"}}), "name"),
            (json!({"name": "a\nb", "env": {"name": "A"}}), "name"),
            (json!({"name": "x", "timeout": 0, "env": {"name": "A"}}), "timeout"),
            (json!({"name": "x", "timeout": 601, "env": {"name": "A"}}), "timeout"),
            (json!({"name": "x", "retry-for": 601, "tcp": {"address": "a:1"}}), "retry-for"),
            (json!({"name": "x", "retry-for": 1, "env": {"name": "A"}}), "retry-for"),
            (json!({"name": "x", "env": {"name": "1A"}}), "variable"),
            (json!({"name": "x", "env": {"name": "A", "equals": "a\u{0}"}}), "NUL"),
            (json!({"name": "x", "command": {"run": []}}), "run"),
            (json!({"name": "x", "command": {"run": ["a", "b\u{0}"]}}), "run"),
            (json!({"name": "x", "command": {"run": ["a"], "directory": "x"}}), "directory"),
            (json!({"name": "x", "version": {"run": ["a"]}}), "either"),
            (json!({"name": "x", "version": {"run": ["a"], "at-least": "v1"}}), "at-least"),
            (http(json!({"url": "ftp://localhost/"})), "url"),
            (http(json!({"url": "https://user@localhost/"})), "url"),
            (http(json!({"url": "http://user@host/"})), "url"),
            (http(json!({"url": "http:///x"})), "url"),
            (http(json!({"header": {"A B": "c"}})), "header"),
            (http(json!({"header": {"A": "b\r\nC: d"}})), "header"),
            (http(json!({"header": {"A": "$1"}})), "$"),
            (http(json!({"header": {"authorization": "Bearer x"}})), "secret"),
            (http(json!({"body": "x"})), "body"),
            (http(json!({"status": 99})), "status"),
            (http(json!({"json": {"a": {"b": 1}}})), "JSON field"),
            (sql("mysql://x"), "url"),
            (sql("postgresql://u:p@h/db"), "password"),
            (sql("postgresql://u@h/db?password=p"), "password"),
            (json!({"name": "x", "sql": {"url": "postgresql://h", "query": "q"}}), "either"),
            (file(json!({"path": "x"})), "path"),
            (file(json!({"path": "/x/../y"})), "path"),
            (file(json!({"mode": "9"})), "mode"),
            (file(json!({"exists": false, "mode": "600"})), "must not exist"),
            (file(json!({"exists": true, "absent": "ok"})), "absent"),
            (about(json!({"file": "x"})), "file"),
            (about(json!({"file": "~/../x"})), "file"),
            (about(json!({"key": "a..b"})), "key"),
            (about(json!({"equals": 1})), "either"),
            (about(json!({"exists": true, "where": 1})), "does not count"),
            (about(json!({"exists": true, "count": true})), "whether it exists"),
            (about(json!({"exists": null, "equals": [1]})), "something else"),
            (about(json!({"exists": null, "count": true, "equals": -1})), "number of things"),
            (about(json!({"exists": null, "count": true, "equals": 1, "where": {}})), "something else"),
        ] {
            let (_, what) = broken(table.clone()).unwrap_or_else(|| panic!("{table}"));
            assert!(what.contains(words), "{table}: {what}");
        }
        let one = check(json!({"name": "x", "env": {"name": "A"}})).unwrap();
        let twice = flaw(&[one.clone(), one.clone()], Author::Profile).unwrap();
        assert_eq!((twice.rule, twice.check, twice.what), ("M7", Some(1), "is there twice"));
        assert_eq!(flaw(&vec![one; 257], Author::Profile).unwrap().check, None);
    }
}
