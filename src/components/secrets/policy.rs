//! How a secret comes to the target, if not out of the bundle.

use serde::{Deserialize, Serialize};
use std::fmt;

/// How a secret comes to the target.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Policy {
    /// In the bundle.
    #[default]
    Copy,
    /// Asked for on the target.
    Prompt,
    /// What a command prints that runs on the target.
    Command(Argv),
    /// Made anew on the target by logging in.
    Reissue,
    /// It stays where it is.
    HostBound,
}

impl Policy {
    /// Its word.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Policy::Copy => "copy",
            Policy::Prompt => "prompt",
            Policy::Command(_) => "command",
            Policy::Reissue => "reissue",
            Policy::HostBound => "host-bound",
        }
    }

    /// Whether an import puts a value in place. What it does not bring it does not touch.
    pub(super) fn brings(&self) -> bool {
        matches!(self, Policy::Copy | Policy::Prompt | Policy::Command(_))
    }
}

/// A program and its arguments: at most 100, of at most 4,096 bytes each, without NUL; no shell sees them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub(super) struct Argv(Vec<String>);

impl TryFrom<Vec<String>> for Argv {
    type Error = &'static str;
    fn try_from(words: Vec<String>) -> Result<Self, Self::Error> {
        if words.first().is_none_or(String::is_empty) {
            return Err("a command is a program and its arguments: [\"pass\", \"show\", \"NAME\"]");
        }
        if words.len() > 100 || words.iter().any(|word| word.len() > 4096 || word.contains('\0')) {
            return Err("a command has at most 100 words of at most 4096 bytes, without NUL");
        }
        Ok(Argv(words))
    }
}

impl From<Argv> for Vec<String> {
    fn from(argv: Argv) -> Self {
        argv.0
    }
}

impl Argv {
    pub(super) fn program(&self) -> &str {
        &self.0[0]
    }
    pub(super) fn arguments(&self) -> &[String] {
        &self.0[1..]
    }
    pub(super) fn words(&self) -> &[String] {
        &self.0
    }
}

/// As one would type it.
impl fmt::Display for Argv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=@%+,".contains(c);
        for (n, word) in self.0.iter().enumerate() {
            let gap = if n > 0 { " " } else { "" };
            match !word.is_empty() && word.chars().all(plain) {
                true => write!(f, "{gap}{word}")?,
                false => write!(f, "{gap}'{}'", word.replace('\'', "'\\''"))?,
            }
        }
        Ok(())
    }
}

/// What to do where a secret has to be made anew: one line of at most 200 characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct How(String);

impl TryFrom<String> for How {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.is_empty() || text.chars().count() > 200 || text.chars().any(char::is_control) {
            return Err("'how' is one line of at most 200 characters");
        }
        Ok(How(text))
    }
}

impl From<How> for String {
    fn from(how: How) -> String {
        how.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(words: &[&str]) -> Result<Argv, &'static str> {
        Argv::try_from(words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn commands_are_shown_as_they_are_typed() {
        let shown = |words: &[&str]| argv(words).unwrap().to_string();
        assert_eq!(shown(&["pass", "show", "api/key"]), "pass show api/key");
        assert_eq!(shown(&["sh", "-c", "echo $HOME"]), "sh -c 'echo $HOME'");
        assert_eq!(shown(&["x", "", "it's"]), "x '' 'it'\\''s'");
        for bad in [&[][..], &[""], &["a", "b\0c"], &["a", &"x".repeat(4097)], &["a"; 101]] {
            assert!(argv(bad).is_err());
        }
    }

    #[test]
    fn what_to_do_is_one_line() {
        assert!(How::try_from("claude login".to_owned()).is_ok());
        for bad in ["", "a\nb", "\u{1b}[2J", &"x".repeat(201)] {
            assert!(How::try_from(bad.to_owned()).is_err());
        }
    }
}
