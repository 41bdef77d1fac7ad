//! The words of a shell file, as bash cuts and unquotes them (bash manual, 3.1.2 Quoting, 3.5 Expansions).
//!
//! Nothing is expanded. A word that bash would expand is remembered as such, with the reason.

use super::buffer::SecretBuf;
use super::shell::{Broken, Lex, Lexer, MAX_NESTING, TOO_DEEP};
use std::ops::Range;

const PATTERN: &str = "a pattern";

/// One word: its text after quote removal, and what would keep that text from being all of it.
#[derive(Default)]
pub(super) struct Word {
    pub(super) text: SecretBuf,
    /// Some part was quoted, so that it is no reserved word.
    pub(super) quoted: bool,
    /// Why the shell would make something else of it.
    pub(super) dynamic: Option<&'static str>,
    /// The word has the form of an assignment.
    pub(super) assigns: Option<Assigns>,
    pub(super) span: Range<usize>,
}

/// `NAME=`, at the front of a word.
pub(super) struct Assigns {
    pub(super) name: String,
    /// Where the value begins in the word's text.
    pub(super) value_at: usize,
}

impl Word {
    pub(super) fn is(&self, text: &str) -> bool {
        !self.quoted && self.dynamic.is_none() && self.text.bytes() == text.as_bytes()
    }

    fn not_static(&mut self, why: &'static str) {
        self.dynamic.get_or_insert(why);
    }

    /// Whether the next unquoted byte begins a word, an assigned value, or an element after `:` in one.
    fn tilde_position(&self) -> bool {
        let text = self.text.bytes();
        match &self.assigns {
            Some(a) => text.len() == a.value_at || text.ends_with(b":"),
            None => text.is_empty(),
        }
    }
}

/// A variable's name: letters, digits and `_`, not beginning with a digit.
pub(super) fn is_name(text: &[u8]) -> bool {
    !text.is_empty()
        && !text[0].is_ascii_digit()
        && text.iter().all(|c| c.is_ascii_alphanumeric() || *c == b'_')
}

/// Bytes that end an unquoted word.
pub(super) fn is_meta(c: u8) -> bool {
    matches!(c, b' ' | b'\t' | b'\n' | b';' | b'&' | b'|' | b'(' | b')' | b'<' | b'>')
}

impl Lexer<'_> {
    /// Reads the word that begins here.
    pub(super) fn word(&mut self) -> Lex<Word> {
        let mut w = Word::default();
        let start = self.pos;
        while let Some(c) = self.peek(0) {
            match c {
                b'\'' => self.single_quoted(&mut w)?,
                b'"' => self.double_quoted(&mut w)?,
                b'\\' => match self.peek(1) {
                    Some(b'\n') => self.pos += 2,
                    Some(escaped) => {
                        w.quoted = true;
                        w.text.push(escaped);
                        self.pos += 2;
                    }
                    None => {
                        w.text.push(c);
                        self.pos += 1;
                    }
                },
                b'$' => self.dollar(&mut w, false)?,
                b'`' => self.backtick(&mut w)?,
                b'<' | b'>' if self.peek(1) == Some(b'(') => {
                    w.not_static("a process substitution");
                    self.pos += 2;
                    self.substituted()?;
                }
                b'(' if self.extended_glob(start) => {
                    w.not_static(PATTERN);
                    self.balanced(b'(', b')')?;
                }
                c if is_meta(c) => break,
                b'=' if w.assigns.is_none() && !w.quoted => self.equals(&mut w)?,
                _ => {
                    match c {
                        b'*' | b'?' | b'[' => w.not_static(PATTERN),
                        b'{' => w.not_static("a brace expansion"),
                        b'~' if w.tilde_position() => w.not_static("a tilde"),
                        _ => {}
                    }
                    w.text.push(c);
                    self.pos += 1;
                }
            }
        }
        w.span = start..self.pos;
        Ok(w)
    }

    /// The first unquoted `=` of a word: `NAME=`, `NAME+=`, `NAME[...]=`, or just a byte.
    fn equals(&mut self, w: &mut Word) -> Lex<()> {
        let text = w.text.bytes();
        let plain = text.strip_suffix(b"+").unwrap_or(text);
        let name = plain.split(|&c| c == b'[').next().unwrap_or(plain);
        let element = plain.len() > name.len();
        // What was expanded before the '=' makes it another word; '[' counts as the beginning of a pattern.
        let literal = w.dynamic.is_none() || element && w.dynamic == Some(PATTERN);
        let assigns = literal && is_name(name) && (!element || plain.ends_with(b"]"));
        let dynamic = match (element, plain.len() < text.len()) {
            (true, _) => Some("an element of an array"),
            (_, true) => Some("an appended value"),
            _ => None,
        };
        if assigns {
            let name = String::from_utf8_lossy(name).into_owned();
            w.assigns = Some(Assigns { name, value_at: text.len() + 1 });
            w.dynamic = dynamic;
        }
        w.text.push(b'=');
        self.pos += 1;
        if assigns && self.peek(0) == Some(b'(') {
            w.not_static("an array");
            self.balanced(b'(', b')')?;
        }
        Ok(())
    }

    /// `?(`, `*(`, `+(`, `@(` and `!(` inside a word.
    fn extended_glob(&self, start: usize) -> bool {
        let before = self.pos.checked_sub(1).filter(|&at| at >= start).map(|at| self.src[at]);
        match before {
            Some(b'?' | b'*' | b'+' | b'@') => true,
            Some(b'!') => self.pos - 1 > start || !self.first_word,
            _ => false,
        }
    }

    fn single_quoted(&mut self, w: &mut Word) -> Lex<()> {
        let open = self.pos;
        let rest = &self.src[open + 1..];
        let len =
            rest.iter().position(|&c| c == b'\'').ok_or(Broken::at(open, "a single quote is not closed"))?;
        w.quoted = true;
        w.text.extend(&rest[..len]);
        self.pos = open + len + 2;
        Ok(())
    }

    fn double_quoted(&mut self, w: &mut Word) -> Lex<()> {
        let open = self.pos;
        w.quoted = true;
        self.pos += 1;
        loop {
            match self.peek(0) {
                None => return Err(Broken::at(open, "a double quote is not closed")),
                Some(b'"') => break self.pos += 1,
                Some(b'$') => self.dollar(w, true)?,
                Some(b'`') => self.backtick(w)?,
                Some(b'\\') if self.peek(1) == Some(b'\n') => self.pos += 2,
                Some(b'\\') if matches!(self.peek(1), Some(b'$' | b'`' | b'"' | b'\\')) => {
                    w.text.push(self.src[self.pos + 1]);
                    self.pos += 2;
                }
                Some(c) => {
                    w.text.push(c);
                    self.pos += 1;
                }
            }
        }
        Ok(())
    }

    /// What begins with `$`: an expansion, a quote of its own kind, or just the byte.
    fn dollar(&mut self, w: &mut Word, in_double: bool) -> Lex<()> {
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            return Err(Broken::at(self.pos, TOO_DEEP));
        }
        let at = self.pos;
        self.pos += 1;
        match self.peek(0) {
            Some(b'\'') if !in_double => self.ansi_c(w)?,
            Some(b'"') if !in_double => {
                w.not_static("a translated string");
                self.double_quoted(w)?;
            }
            Some(b'(') if self.peek(1) == Some(b'(') => {
                w.not_static("an arithmetic expansion");
                self.balanced(b'(', b')')?;
            }
            Some(b'(') => {
                w.not_static("a command substitution");
                self.pos += 1;
                self.substituted()?;
            }
            Some(b'{') => {
                w.not_static("a variable");
                self.parameter(at, in_double)?;
            }
            Some(b'[') => {
                w.not_static("an arithmetic expansion");
                self.balanced(b'[', b']')?;
            }
            Some(c) if c.is_ascii_alphanumeric() || b"_@*#?-$!".contains(&c) => {
                w.not_static("a variable");
                self.pos += 1;
                while c.is_ascii_alphabetic()
                    && self.peek(0).is_some_and(|c| c.is_ascii_alphanumeric() || c == b'_')
                {
                    self.pos += 1;
                }
            }
            _ => w.text.push(b'$'),
        }
        self.nesting -= 1;
        Ok(())
    }

    /// `${...}`: skipped up to its brace.
    fn parameter(&mut self, at: usize, in_double: bool) -> Lex<()> {
        let mut skipped = Word::default();
        self.pos += 1;
        loop {
            match self.peek(0) {
                None => return Err(Broken::at(at, "'${' is not closed")),
                Some(b'}') => break self.pos += 1,
                Some(b'\\') => self.pos += 2,
                Some(b'\'') if !in_double => self.single_quoted(&mut skipped)?,
                Some(b'"') => self.double_quoted(&mut skipped)?,
                Some(b'$') => self.dollar(&mut skipped, in_double)?,
                Some(b'`') => self.backtick(&mut skipped)?,
                Some(_) => self.pos += 1,
            }
        }
        Ok(())
    }

    fn backtick(&mut self, w: &mut Word) -> Lex<()> {
        let open = self.pos;
        w.not_static("a command substitution");
        self.pos += 1;
        loop {
            match self.peek(0) {
                None => return Err(Broken::at(open, "a backtick is not closed")),
                Some(b'`') => break self.pos += 1,
                Some(b'\\') => self.pos += 2,
                Some(_) => self.pos += 1,
            }
        }
        Ok(())
    }

    /// Skips from `open` to its partner; quotes are respected, commands are not read.
    pub(super) fn balanced(&mut self, open: u8, close: u8) -> Lex<()> {
        let at = self.pos;
        let mut skipped = Word::default();
        let mut depth = 0usize;
        loop {
            match self.peek(0) {
                None => return Err(Broken::at(at, "a bracket is not closed")),
                Some(b'\\') => self.pos += 2,
                Some(b'\'') => self.single_quoted(&mut skipped)?,
                Some(b'"') => self.double_quoted(&mut skipped)?,
                Some(b'$') => self.dollar(&mut skipped, false)?,
                Some(b'`') => self.backtick(&mut skipped)?,
                Some(b'#') if self.src[self.pos - 1].is_ascii_whitespace() => self.comment(),
                Some(c) => {
                    self.pos += 1;
                    if c == open {
                        depth += 1;
                    } else if c == close {
                        depth -= 1;
                        if depth == 0 {
                            return Ok(());
                        }
                    }
                }
            }
        }
    }

    /// `$'...'` with its escapes. Those that differ between shells, or that make a NUL, are not static.
    fn ansi_c(&mut self, w: &mut Word) -> Lex<()> {
        let open = self.pos;
        w.quoted = true;
        self.pos += 1;
        loop {
            let c = self.peek(0).ok_or(Broken::at(open, "a single quote is not closed"))?;
            self.pos += 1;
            match c {
                b'\'' => return Ok(()),
                b'\\' => self.ansi_c_escape(w),
                c => w.text.push(c),
            }
        }
    }

    fn ansi_c_escape(&mut self, w: &mut Word) {
        let Some(c) = self.peek(0) else { return };
        self.pos += 1;
        let byte = match c {
            b'a' => 7,
            b'b' => 8,
            b'e' | b'E' => 0x1b,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 11,
            b'\\' | b'\'' | b'"' | b'?' => c,
            b'0'..=b'7' => {
                self.pos -= 1;
                match self.digits(8, 3) {
                    Some(n) if n & 0xff != 0 => n as u8,
                    _ => return w.not_static("a NUL byte"),
                }
            }
            b'x' => match self.digits(16, 2) {
                Some(0) => return w.not_static("a NUL byte"),
                Some(n) => n as u8,
                None => return w.not_static("an unusual escape"),
            },
            b'u' | b'U' => {
                let scalar = self.digits(16, if c == b'u' { 4 } else { 8 }).and_then(char::from_u32);
                let Some(scalar) = scalar.filter(|&s| s != '\0') else {
                    return w.not_static("an unusual escape");
                };
                return w.text.extend(scalar.encode_utf8(&mut [0; 4]).as_bytes());
            }
            b'c' => return w.not_static("an unusual escape"),
            other => {
                w.text.push(b'\\');
                other
            }
        };
        w.text.push(byte);
    }

    /// Up to `max` digits. `None` if there is none.
    fn digits(&mut self, radix: u32, max: usize) -> Option<u32> {
        let mut value = None;
        for _ in 0..max {
            let Some(digit) = self.peek(0).and_then(|c| (c as char).to_digit(radix)) else { break };
            value = Some(value.unwrap_or(0) * radix + digit);
            self.pos += 1;
        }
        value
    }
}
