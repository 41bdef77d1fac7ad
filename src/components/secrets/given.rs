//! Values that somebody wrote down beforehand, for secrets with the policy `prompt`: a file of `NAME=value` lines.

use super::dotenv;
use super::shell::Value;
use super::shell_file::line_of;
use crate::base::secret::Secret;

/// Why such a file cannot be read. Nothing of what stands in it is in here but a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct GivenError {
    /// From 1.
    pub line: usize,
    /// What is wrong there.
    pub why: String,
}

/// Reads `src`: lines `NAME=value` in the form of a `.env` file, `#` begins a comment. A line that is neither, a value that
/// readers of that form do not understand alike, and a name that comes twice are errors.
pub fn read_given(src: &[u8]) -> Result<Vec<(String, Secret)>, GivenError> {
    let error = |at, why: &str| GivenError { line: line_of(src, at), why: why.to_owned() };
    let entries = dotenv::parse(src).map_err(|broken| error(broken.at, broken.why))?;
    let (mut given, mut read) = (Vec::<(String, Secret)>::new(), 0);
    for entry in entries {
        let end = entry.end();
        no_strays(&src[read..entry.at]).map_err(|at| error(read + at, "neither NAME=value nor a comment"))?;
        read = end;
        if given.iter().any(|(name, _)| *name == entry.name) {
            return Err(error(entry.at, &format!("{} is given twice", entry.name)));
        }
        match entry.value {
            Value::Static(value) if value.is_empty() => {
                return Err(error(entry.at, &format!("{} has no value", entry.name)))
            }
            Value::Static(value) => given.push((entry.name, value)),
            Value::Dynamic(why) => {
                return Err(error(entry.at, &format!("{why} in the value: put it in single quotes")))
            }
        }
    }
    no_strays(&src[read..]).map_err(|at| error(read + at, "neither NAME=value nor a comment"))?;
    Ok(given)
}

/// The offset of the first line of `src` that has anything but a comment in it.
fn no_strays(src: &[u8]) -> Result<(), usize> {
    let mut at = 0;
    for line in src.split_inclusive(|&c| c == b'\n') {
        let text = line.trim_ascii();
        if !text.is_empty() && !text.starts_with(b"#") {
            return Err(at);
        }
        at += line.len();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_strictly() {
        let given = read_given(b"# keys\nA=one\n\nexport B='t w o'\nPGPASS_h=\"x\ny\"\n").unwrap();
        let given: Vec<_> = given.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
        assert_eq!(given, [("A", &b"one"[..]), ("B", b"t w o"), ("PGPASS_h", b"x\ny")]);
        for (src, line, part) in [
            (&b"A=1\nsk-demo\n"[..], 2, "neither NAME=value"),
            (b"A=1\nA-B=sk-demo\n", 2, "neither NAME=value"),
            (b"A=1\n\nA=sk-demo\n", 3, "A is given twice"),
            (b"A=$sk_demo\n", 1, "single quotes"),
            (b"# c\nA='sk-demo\n", 2, ""),
            (b"A=\n", 1, "A has no value"),
        ] {
            let error = read_given(src).unwrap_err();
            assert!(error.line == line && error.why.contains(part), "{error}");
            assert!(!error.to_string().contains("demo"), "{error}");
        }
    }
}
