//! Where a passphrase comes from: a file descriptor, a pinentry program, or the terminal. Never argv, never the environment.

use crate::base::fault::{Fault, Faulty};
use crate::base::secret::Secret;
use crate::crypto::printable::printable;
use secrecy::{ExposeSecret, SecretString};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::sync::OnceLock;
use zeroize::Zeroizing;

/// The variable that names the file descriptor to read a passphrase from.
pub const FD_VARIABLE: &str = "KBPACK_PASSPHRASE_FD";
/// The variable that names a pinentry program.
pub const PINENTRY_VARIABLE: &str = "PINENTRY_PROGRAM";
/// Bytes of a passphrase.
pub const MAX_PASSPHRASE: usize = 4096;
/// How often a person is asked for one passphrase.
const TRIES: usize = 3;
/// Characters of what a prompt says.
const MAX_PROMPT: usize = 300;

/// Why there is no passphrase.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PassphraseError {
    /// There is nobody to ask.
    #[error("no passphrase for {what}: there is no terminal to ask at")]
    NoTerminal {
        /// What it is for, escaped.
        what: String,
    },
    /// `KBPACK_PASSPHRASE_FD` is not the number of an open file descriptor that can be read.
    #[error("{FD_VARIABLE} does not name a file descriptor that can be read")]
    Descriptor,
    /// It is empty.
    #[error("the passphrase is empty")]
    Empty,
    /// It is too long.
    #[error("the passphrase is longer than {MAX_PASSPHRASE} bytes")]
    TooLong,
    /// age takes only UTF-8.
    #[error("the passphrase is not UTF-8 text")]
    NotText,
    /// The second time differed from the first.
    #[error("the two passphrases differ")]
    Differ,
    /// The person said no.
    #[error("no passphrase was given")]
    Cancelled,
    /// The pinentry program is missing or broke off.
    #[error("the program named by {PINENTRY_VARIABLE} does not work")]
    Pinentry,
}

impl Faulty for PassphraseError {
    fn fault(&self) -> Fault {
        match self {
            PassphraseError::NoTerminal { .. } | PassphraseError::Pinentry => Fault::NotReady,
            PassphraseError::Cancelled => Fault::CannotDecrypt,
            _ => Fault::Usage,
        }
    }
    fn remedy(&self) -> Option<String> {
        Some(match self {
            PassphraseError::NoTerminal { .. } => format!(
                "set {FD_VARIABLE}=N, N being an open descriptor to read it from, or run it at a terminal"
            ),
            PassphraseError::Descriptor => {
                format!("for example: {FD_VARIABLE}=3 kbpack ... 3< <(pass show NAME)")
            }
            PassphraseError::Pinentry => format!("unset {PINENTRY_VARIABLE} to be asked at the terminal"),
            PassphraseError::TooLong => "use a shorter one".into(),
            PassphraseError::NotText => "use one that is UTF-8 text".into(),
            PassphraseError::Empty | PassphraseError::Differ | PassphraseError::Cancelled => {
                "run it again, and give the passphrase".into()
            }
        })
    }
}

/// A person, or what stands for one. Texts may come from a plugin; an implementation escapes them.
pub trait Prompt: Send + Sync {
    /// The passphrase for `what`; with `confirm`, a new one, asked for twice. Never empty.
    ///
    /// `what` completes "Passphrase for ..." (`the bundle`).
    fn passphrase(&self, what: &str, confirm: bool) -> Result<Secret, PassphraseError>;

    /// How often it makes sense to ask for the same one: more than once only where a person answers.
    fn tries(&self) -> usize {
        1
    }

    /// Shows a message (touch the key). It may go unseen.
    fn message(&self, _text: &str) {}

    /// Asks for one of two answers; `None` if nobody answers.
    fn confirm(&self, _text: &str, _yes: &str, _no: Option<&str>) -> Option<bool> {
        None
    }

    /// Asks for a line that is no secret; `None` if nobody answers.
    fn line(&self, _text: &str) -> Option<String> {
        None
    }
}

/// Asks until `open` takes what was given, as often as `prompt` has it. `None` if none was right.
pub(super) fn until_right<T, E: From<PassphraseError>>(
    prompt: &dyn Prompt,
    what: &str,
    mut open: impl FnMut(&Secret) -> Result<Option<T>, E>,
) -> Result<Option<T>, E> {
    for left in (0..prompt.tries()).rev() {
        if let Some(opened) = open(&prompt.passphrase(what, false)?)? {
            return Ok(Some(opened));
        }
        if left > 0 {
            prompt.message("That passphrase does not open it. Try again.");
        }
    }
    Ok(None)
}

/// The real one. `KBPACK_PASSPHRASE_FD=N` stands for every passphrase that is asked for; else
/// `PINENTRY_PROGRAM` if it is set; else the terminal (`/dev/tty`, never stdin).
#[derive(Debug, Clone)]
pub struct SystemPrompt {
    given: Option<Result<Secret, PassphraseError>>,
}

impl Default for SystemPrompt {
    fn default() -> Self {
        SystemPrompt::new()
    }
}

impl SystemPrompt {
    /// One that has not asked yet. The descriptor is read to its end now, once in a process, for it is
    /// handed on to children (plugins): they find a pipe empty, and the variable not set. What is a
    /// regular file they could read again, so a pipe is the better choice.
    pub fn new() -> Self {
        static GIVEN: OnceLock<Option<Result<Secret, PassphraseError>>> = OnceLock::new();
        let given = GIVEN.get_or_init(|| set(FD_VARIABLE).map(|number| read_descriptor(&number)));
        SystemPrompt { given: given.clone() }
    }
}

fn read_descriptor(number: &str) -> Result<Secret, PassphraseError> {
    let number: u32 = number.parse().map_err(|_| PassphraseError::Descriptor)?;
    let file = File::open(format!("/proc/self/fd/{number}")).map_err(|_| PassphraseError::Descriptor)?;
    read_passphrase(file)
}

impl Prompt for SystemPrompt {
    fn passphrase(&self, what: &str, confirm: bool) -> Result<Secret, PassphraseError> {
        let what = printable(what, MAX_PROMPT);
        match (&self.given, set(PINENTRY_VARIABLE)) {
            (Some(given), _) => given.clone(),
            (None, Some(program)) => from_pinentry(&program, &what, confirm),
            (None, None) => from_terminal(&what, confirm),
        }
    }

    fn tries(&self) -> usize {
        if self.given.is_some() {
            1
        } else {
            TRIES
        }
    }

    fn message(&self, text: &str) {
        // Without a terminal there is nobody to see it.
        if let Ok(mut tty) = OpenOptions::new().write(true).open("/dev/tty") {
            let _ = writeln!(tty, "{}", printable(text, MAX_PROMPT));
        }
    }

    fn confirm(&self, text: &str, yes: &str, no: Option<&str>) -> Option<bool> {
        let (yes, no) = (printable(yes, 80), printable(no.unwrap_or("no"), 80));
        let question = format!("{} (y: {yes}, n: {no}) ", printable(text, MAX_PROMPT));
        match ask(&question)?.as_str() {
            "y" | "Y" => Some(true),
            "n" | "N" => Some(false),
            _ => None,
        }
    }

    fn line(&self, text: &str) -> Option<String> {
        ask(&format!("{}: ", printable(text, MAX_PROMPT)))
    }
}

fn set(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|value| !value.is_empty())
}

/// Asks one open question at the terminal.
fn ask(question: &str) -> Option<String> {
    let mut tty = OpenOptions::new().read(true).write(true).open("/dev/tty").ok()?;
    write!(tty, "{question}").ok()?;
    let mut line = String::new();
    BufReader::new(tty.take(1024)).read_line(&mut line).ok()?;
    line.ends_with('\n').then(|| line.trim_end().to_owned())
}

/// Everything to the end, without one newline at the end.
fn read_passphrase(from: impl Read) -> Result<Secret, PassphraseError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_PASSPHRASE + 2));
    from.take(MAX_PASSPHRASE as u64 + 2).read_to_end(&mut bytes).map_err(|_| PassphraseError::Descriptor)?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    accept(bytes)
}

fn from_terminal(what: &str, confirm: bool) -> Result<Secret, PassphraseError> {
    let ask = |prompt: String| {
        rpassword::prompt_password(prompt).map(|text| Zeroizing::new(text.into_bytes())).map_err(|error| {
            match error.kind() {
                io::ErrorKind::Interrupted | io::ErrorKind::UnexpectedEof => PassphraseError::Cancelled,
                _ => PassphraseError::NoTerminal { what: what.to_owned() },
            }
        })
    };
    let first = ask(format!("Passphrase for {what}: "))?;
    if confirm && *first != *ask("The same again: ".to_owned())? {
        return Err(PassphraseError::Differ);
    }
    accept(first)
}

fn from_pinentry(program: &str, what: &str, confirm: bool) -> Result<Secret, PassphraseError> {
    let description = format!("Passphrase for {what}");
    let mut input = pinentry::PassphraseInput::with_binary(program).ok_or(PassphraseError::Pinentry)?;
    input.with_title("kbpack").with_description(&description).with_prompt("Passphrase:");
    if confirm {
        input.with_confirmation("The same again:", "The two differ");
    }
    match input.interact() {
        Ok(text) => accept(Zeroizing::new(text.expose_secret().as_bytes().to_vec())),
        Err(pinentry::Error::Cancelled | pinentry::Error::Timeout) => Err(PassphraseError::Cancelled),
        Err(_) => Err(PassphraseError::Pinentry),
    }
}

fn accept(mut bytes: Zeroizing<Vec<u8>>) -> Result<Secret, PassphraseError> {
    match bytes.len() {
        0 => Err(PassphraseError::Empty),
        n if n > MAX_PASSPHRASE => Err(PassphraseError::TooLong),
        _ if std::str::from_utf8(&bytes).is_err() => Err(PassphraseError::NotText),
        _ => Ok(Secret::from(std::mem::take(&mut *bytes))),
    }
}

/// The form in which age takes a passphrase.
pub(super) fn as_age(passphrase: &Secret) -> Result<SecretString, PassphraseError> {
    let text = std::str::from_utf8(passphrase.expose()).map_err(|_| PassphraseError::NotText)?;
    if text.is_empty() {
        return Err(PassphraseError::Empty);
    }
    Ok(SecretString::from(text))
}

/// Answers every question with one passphrase.
#[derive(Debug, Clone)]
pub struct Fixed(Secret);

impl Fixed {
    /// With this passphrase.
    pub fn new(passphrase: &str) -> Self {
        Fixed(Secret::from(passphrase.as_bytes().to_vec()))
    }
}

impl Prompt for Fixed {
    fn passphrase(&self, _what: &str, _confirm: bool) -> Result<Secret, PassphraseError> {
        Ok(self.0.clone())
    }
}

/// Nobody is there to ask.
#[derive(Debug, Clone, Copy)]
pub struct Never;

impl Prompt for Never {
    fn passphrase(&self, what: &str, _confirm: bool) -> Result<Secret, PassphraseError> {
        Err(PassphraseError::NoTerminal { what: printable(what, MAX_PROMPT) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn one_newline_is_not_part_of_it() {
        let read = |bytes: &[u8]| read_passphrase(bytes).map(|secret| secret.expose().to_vec());
        assert_eq!(read(b"open\n").unwrap(), b"open");
        assert_eq!(read(b"open").unwrap(), b"open");
        assert_eq!(read(b"open\n\n").unwrap(), b"open\n");
        assert_eq!(read(b" open \n").unwrap(), b" open ");
        assert!(matches!(read(b""), Err(PassphraseError::Empty)));
        assert!(matches!(read(b"\n"), Err(PassphraseError::Empty)));
        assert!(matches!(read(b"\xff"), Err(PassphraseError::NotText)));
        assert!(matches!(read(&[b'x'; 5000]), Err(PassphraseError::TooLong)));
        assert_eq!(read(&[b'x'; 4096]).unwrap().len(), 4096);
    }

    #[test]
    fn a_descriptor_is_read_to_its_end() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"sesame\n").unwrap();
        drop(writer);
        let fd = reader.as_raw_fd().to_string();
        let given = Some(read_descriptor(&fd));
        let prompt = SystemPrompt { given };
        for _ in 0..2 {
            assert_eq!(prompt.passphrase("x", false).unwrap().expose(), b"sesame");
        }
        assert_eq!(prompt.tries(), 1);
        assert!(matches!(read_descriptor(&fd), Err(PassphraseError::Empty)));
        for bad in ["", "-1", "x", "999999"] {
            assert!(matches!(read_descriptor(bad), Err(PassphraseError::Descriptor)));
        }
        assert!(!format!("{prompt:?}").contains("sesame"));
    }

    #[test]
    fn a_person_may_try_three_times() {
        /// Says one word after another.
        struct Person(std::sync::Mutex<Vec<&'static str>>);
        impl Prompt for Person {
            fn passphrase(&self, _: &str, _: bool) -> Result<Secret, PassphraseError> {
                let word = self.0.lock().unwrap().pop().ok_or(PassphraseError::Cancelled)?;
                Ok(Secret::from(word.as_bytes().to_vec()))
            }
            fn tries(&self) -> usize {
                TRIES
            }
        }
        let opened = |words: &[&'static str]| {
            let person = Person(std::sync::Mutex::new(words.iter().rev().copied().collect()));
            until_right(&person, "x", |word| {
                Ok::<_, PassphraseError>((word.expose() == b"right").then_some(()))
            })
        };
        assert_eq!(opened(&["right"]).unwrap(), Some(()));
        assert_eq!(opened(&["a", "b", "right"]).unwrap(), Some(()));
        assert_eq!(opened(&["a", "b", "c", "right"]).unwrap(), None);
        assert!(matches!(opened(&["a"]), Err(PassphraseError::Cancelled)));
        let fixed = until_right(&Fixed::new("a"), "x", |_| Ok::<_, PassphraseError>(None::<()>));
        assert!(fixed.unwrap().is_none());
    }

    #[test]
    fn a_pinentry_program_is_spoken_to() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("pinentry");
        let script = "#!/bin/sh\necho OK ready\nwhile read -r cmd rest; do case $cmd in\n\
            GETPIN) printf 'D s%%25cret\\nOK\\n';; *) echo OK;; esac; done\n";
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let program = program.to_str().unwrap();
        let long = printable(&"é".repeat(5000), MAX_PROMPT);
        assert_eq!(from_pinentry(program, &long, true).unwrap().expose(), b"s%cret");
        std::fs::write(program, "#!/bin/sh\nexit 1\n").unwrap();
        assert!(matches!(from_pinentry(program, "x", false), Err(PassphraseError::Pinentry)));
        assert!(matches!(from_pinentry("/nonexistent", "x", false), Err(PassphraseError::Pinentry)));
    }
}
