//! What is to be installed, line by line. pip takes much more in such a file, and some of it leads elsewhere (another index,
//! a folder, a URL) or runs code: only plain requirements pass, and pip is given what is written here from them, never the
//! text that was read.

use super::names::{is_name, is_version};
use std::fmt;

/// Bytes of the text.
pub const MAX_TEXT: u64 = 4 << 20;
/// Requirements in it.
const MAX_LINES: usize = 10_000;

/// One requirement (<https://packaging.python.org/en/latest/specifications/dependency-specifiers/>).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The distribution's name, as written.
    pub name: String,
    extras: Vec<String>,
    /// `==1.0`, `>=1`.
    versions: Vec<(&'static str, String)>,
    /// What stands after `;`.
    pub marker: Option<String>,
    /// `sha256:...`: one of them must be that of what is installed.
    hashes: Vec<String>,
}

/// A line that is no plain requirement: its number, from 1, and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bad {
    /// From 1.
    pub line: usize,
    /// In words that follow `it`.
    pub what: &'static str,
}

/// In the order in which one may be the beginning of another.
const OPERATORS: &[&str] = &["===", "==", "~=", "!=", "<=", ">=", "<", ">"];

impl Requirement {
    /// `name==version`.
    pub fn pinned(name: &str, version: &str) -> Requirement {
        let versions = vec![("==", version.to_owned())];
        Requirement { name: name.to_owned(), extras: vec![], versions, marker: None, hashes: vec![] }
    }

    /// Whether only files with certain digests will do.
    pub fn has_hashes(&self) -> bool {
        !self.hashes.is_empty()
    }

    /// The version that it is pinned to.
    pub fn pin(&self) -> Option<&str> {
        match self.versions.as_slice() {
            [("==", version)] if !version.ends_with(".*") => Some(version),
            _ => None,
        }
    }

    fn parse(line: &str) -> Result<Requirement, &'static str> {
        let (line, hashes) = take_hashes(line)?;
        let (line, marker) = match line.split_once(';') {
            Some((line, marker)) => (line.trim(), Some(marker_of(marker)?)),
            None => (line.trim(), None),
        };
        if line.contains("://") || line.contains('@') {
            return Err("is a URL");
        }
        if line.starts_with(['.', '/', '~']) || line.contains('/') || line.ends_with(".whl") {
            return Err("is a path");
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let (name, rest) = line.split_at(line.find(|c| !plain(c)).unwrap_or(line.len()));
        if !is_name(name) {
            return Err("does not begin with the name of a distribution");
        }
        let (extras, rest) = take_extras(rest.trim_start())?;
        let rest = rest.trim();
        let rest = match rest.strip_prefix('(') {
            Some(inner) => inner.strip_suffix(')').ok_or("has a '(' without its ')'")?.trim(),
            None => rest,
        };
        let parts = rest.split(',').map(str::trim).filter(|part| !part.is_empty());
        let versions = parts.map(version_of).collect::<Result<_, _>>()?;
        Ok(Requirement { name: name.to_owned(), extras, versions, marker, hashes })
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if !self.extras.is_empty() {
            write!(f, "[{}]", self.extras.join(","))?;
        }
        for (at, (operator, version)) in self.versions.iter().enumerate() {
            write!(f, "{}{operator}{version}", if at > 0 { "," } else { "" })?;
        }
        if let Some(marker) = &self.marker {
            write!(f, " ; {marker}")?;
        }
        self.hashes.iter().try_for_each(|hash| write!(f, " --hash={hash}"))
    }
}

/// Takes the `--hash` options from the end of a line.
fn take_hashes(line: &str) -> Result<(&str, Vec<String>), &'static str> {
    let Some(at) = line.find(" --") else { return Ok((line, Vec::new())) };
    let (rest, options) = line.split_at(at);
    let mut hashes = Vec::new();
    for option in options.split_ascii_whitespace() {
        let hash = option.strip_prefix("--hash=").ok_or("has an option that is not --hash")?;
        let (name, digest) = hash.split_once(':').unwrap_or_default();
        let size = [("sha256", 64), ("sha384", 96), ("sha512", 128)].iter().find(|(n, _)| *n == name);
        let hex = |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
        if size.is_none_or(|(_, size)| digest.len() != *size) || !digest.bytes().all(hex) {
            return Err("has a --hash that is not one of SHA-2");
        }
        hashes.push(hash.to_owned());
    }
    Ok((rest, hashes))
}

fn take_extras(text: &str) -> Result<(Vec<String>, &str), &'static str> {
    let Some(inner) = text.strip_prefix('[') else { return Ok((Vec::new(), text)) };
    let (inner, rest) = inner.split_once(']').ok_or("has a '[' without its ']'")?;
    let extras: Vec<String> =
        inner.split(',').map(|extra| extra.trim().to_owned()).filter(|e| !e.is_empty()).collect();
    match extras.iter().all(|extra| is_name(extra)) {
        true => Ok((extras, rest)),
        false => Err("has an extra that is not a name"),
    }
}

fn version_of(part: &str) -> Result<(&'static str, String), &'static str> {
    let operator = OPERATORS.iter().find(|operator| part.starts_with(**operator));
    let operator = operator.ok_or("has something after the name that is no version")?;
    let version = part[operator.len()..].trim();
    let base = version.strip_suffix(".*").unwrap_or(version);
    match is_version(base) {
        true => Ok((operator, version.to_owned())),
        false => Err("has a version that is none"),
    }
}

/// pip judges a marker; here it is only made sure that it is one, and not an option or a variable that pip would put in.
fn marker_of(text: &str) -> Result<String, &'static str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || " ._'\"<>=!~(),+*-".contains(c);
    let option = text.split_ascii_whitespace().any(|word| word.starts_with('-'));
    match !option && text.chars().all(plain) && !text.trim().is_empty() {
        true => Ok(text.split_ascii_whitespace().collect::<Vec<_>>().join(" ")),
        false => Err("has a marker that is none"),
    }
}

/// A line as pip joins and cuts them.
enum Line<'a> {
    /// `-r file`, `--requirement file`.
    Include(&'a str),
    /// Anything else.
    Requirement(&'a str),
}

/// Reads a text. `include` gives what `-r` of a line (its argument, its number) stands for; without one that is an error.
pub fn read(
    text: &str,
    include: &mut dyn FnMut(&str, usize) -> Option<Vec<Requirement>>,
) -> Result<Vec<Requirement>, Bad> {
    let mut all = Vec::new();
    for (number, line) in logical_lines(text) {
        let bad = |what| Bad { line: number, what };
        match classify(&line) {
            None => {}
            Some(Line::Include(file)) => {
                let known = "names another file, which only a file on the source may do";
                all.extend(include(file, number).ok_or_else(|| bad(known))?);
            }
            Some(Line::Requirement(line)) if line.starts_with('-') => {
                return Err(bad("is an option of pip's, not a requirement"));
            }
            Some(Line::Requirement(line)) => all.push(Requirement::parse(line).map_err(bad)?),
        }
        if all.len() > MAX_LINES {
            return Err(bad("is one too many"));
        }
    }
    Ok(all)
}

/// Lines with what is continued by `\` put together, and the number of the first.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (at, line) in text.lines().enumerate() {
        // A comment is not continued.
        let comment = line.trim_start().starts_with('#');
        let continues = !comment && line.ends_with('\\');
        let content = if continues { &line[..line.len() - 1] } else { line };
        match lines.last_mut().filter(|_| open) {
            Some((_, before)) => {
                before.push(' ');
                before.push_str(content);
            }
            None => lines.push((at + 1, content.to_owned())),
        }
        open = continues;
    }
    lines
}

fn classify(line: &str) -> Option<Line<'_>> {
    let line = line.trim();
    let line = if line.starts_with('#') { "" } else { line.split(" #").next().unwrap_or_default().trim() };
    if line.is_empty() {
        return None;
    }
    for option in ["-r", "--requirement"] {
        let file = line.strip_prefix(option).and_then(|rest| rest.strip_prefix([' ', '=']));
        if let Some(file) = file {
            return Some(Line::Include(file.trim()));
        }
    }
    Some(Line::Requirement(line))
}

/// Reads what [`write()`] wrote, and nothing else.
pub fn read_plain(text: &str) -> Result<Vec<Requirement>, Bad> {
    let all = read(text, &mut |_, _| None)?;
    let same = |(line, one): (&str, &Requirement)| line == one.to_string();
    match write(&all) == text {
        true => Ok(all),
        false => {
            let line = text.lines().zip(&all).take_while(|pair| same(*pair)).count() + 1;
            Err(Bad { line, what: "is not in the one form of a requirement" })
        }
    }
}

/// One line each.
pub fn write(all: &[Requirement]) -> String {
    all.iter().map(|one| format!("{one}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> Result<Vec<Requirement>, Bad> {
        read(text, &mut |_, _| None)
    }

    #[test]
    fn what_people_write() {
        let hash = "a".repeat(64);
        let text = format!(
            "# comment \\\nfastapi\n\nuvicorn[standard] >= 0.30, <1  # why\nruamel.yaml==0.18.*\nx (>=1)\n\
             tomli==2.0 ; python_version < \"3.11\" and sys_platform == 'linux'\n\
             idna==3.7 \\\n    --hash=sha256:{hash} \\\n    --hash=sha256:{hash}\n"
        );
        let all = plain(&text).unwrap();
        let lines: Vec<String> = all.iter().map(Requirement::to_string).collect();
        assert_eq!(lines[..4], ["fastapi", "uvicorn[standard]>=0.30,<1", "ruamel.yaml==0.18.*", "x>=1"]);
        assert_eq!(lines[4], "tomli==2.0 ; python_version < \"3.11\" and sys_platform == 'linux'");
        assert_eq!(lines[5], format!("idna==3.7 --hash=sha256:{hash} --hash=sha256:{hash}"));
        assert_eq!(read_plain(&write(&all)).unwrap(), all);
        assert_eq!((all[5].pin(), all[2].pin(), all[5].has_hashes()), (Some("3.7"), None, true));
    }

    #[test]
    fn what_leads_elsewhere_or_is_none() {
        for bad in [
            "-e .",
            "-e git+https://example.org/x",
            "--index-url https://example.org/",
            "--index-url=https://example.org/",
            "-i https://example.org/",
            "--extra-index-url https://example.org/",
            "--find-links /",
            "-f /tmp",
            "--no-index",
            "--pre",
            "--trusted-host example.org",
            "-c constraints.txt",
            "-r other.txt",
            "-rother.txt",
            "--requirement=other.txt",
            "https://example.org/x-1.0-py3-none-any.whl",
            "x @ https://example.org/x.zip",
            "x@file:///tmp/x",
            "git+ssh://example.org/x",
            "./x",
            "../x",
            "/tmp/x",
            "~/x",
            "x/y",
            "x-1.0-py3-none-any.whl",
            "x --config-settings=a=b",
            "x --global-option=--evil",
            "x --hash=md5:00",
            "x --hash=sha256:00",
            "x ; python_version > '3' --index-url=https://example.org/",
            "x ; -e .",
            "x ; os_name == '${HOME}'",
            "${EVIL}",
            "x==",
            "x==1 2",
            "x=1",
            "[x]",
            "x[a",
            "x[../a]",
            "x (>=1",
            "x\u{202e}==1",
        ] {
            assert!(plain(bad).is_err(), "{bad}");
        }
        assert_eq!(plain("a\nb \\\n==1\n-e .\n").unwrap_err().line, 4);
    }

    #[test]
    fn of_a_bundle_only_the_one_form_is_read() {
        for bad in ["a\n\n", "a", "# x\na\n", " a\n", "a >= 1\n", "a\r\n", "a \\\n==1\n"] {
            assert!(read_plain(bad).is_err(), "{bad:?}");
        }
        assert_eq!(read_plain("").unwrap(), []);
        assert_eq!(read_plain("a\nb >= 1\n").unwrap_err().line, 2);
    }

    #[test]
    fn other_files_are_put_in_their_place() {
        let mut asked = Vec::new();
        let mut include = |file: &str, line: usize| {
            asked.push((file.to_owned(), line));
            Some(vec![Requirement::pinned("inner", "1")])
        };
        let all = read("a\n-r base.txt # why\nb\n", &mut include).unwrap();
        assert_eq!(write(&all), "a\ninner==1\nb\n");
        assert_eq!(asked, [("base.txt".to_owned(), 2)]);
    }
}
