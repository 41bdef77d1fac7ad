//! The commands of a shell file: which variables they assign, where, and whether always.
//!
//! No shell is run. The file is read as bash would (grammar: bash manual, 3.2), far enough to know what is a command
//! at the top and what lies inside an `if`, a function, a here-document or a substitution. What cannot be read is an
//! error, never a guess.

use super::shell_words::is_meta;
use crate::base::secret::Secret;
use std::ops::Range;

/// How deep substitutions and compound commands may nest.
pub(super) const MAX_NESTING: usize = 64;
pub(super) const TOO_DEEP: &str = "it is nested too deeply";

/// The file is not one that can be read: where (an offset) and why.
#[derive(Debug, Clone, Copy)]
pub(super) struct Broken {
    pub(super) at: usize,
    pub(super) why: &'static str,
}

impl Broken {
    pub(super) fn at(at: usize, why: &'static str) -> Self {
        Broken { at, why }
    }
}

pub(super) type Lex<T> = Result<T, Broken>;

/// What an assignment gives its variable.
pub(super) enum Value {
    Static(Secret),
    /// Known only to the shell that runs it, and why.
    Dynamic(&'static str),
}

/// One assignment that takes effect in the shell that reads the file.
pub(super) struct Assignment {
    pub(super) name: String,
    pub(super) value: Value,
    /// Offset of its word.
    pub(super) at: usize,
    /// Whether it is made under a condition (`if`, a loop, a function, `||`).
    pub(super) conditional: bool,
}

/// A command list at the top of the file, up to its `;`, `&` or end of line.
pub(super) struct Statement {
    pub(super) span: Range<usize>,
    /// The variables it assigns, if it does nothing else.
    pub(super) only_assigns: Option<Vec<String>>,
    /// Whether there is a `return` or `exit` in it.
    pub(super) returns: bool,
}

/// What a shell file says.
#[derive(Default)]
pub(super) struct Script {
    pub(super) assignments: Vec<Assignment>,
    pub(super) statements: Vec<Statement>,
    /// Comments, without their end of line.
    pub(super) comments: Vec<Range<usize>>,
}

/// Reads a shell file.
pub(super) fn parse(src: &[u8]) -> Lex<Script> {
    let mut lexer = Lexer { src, ..Lexer::default() };
    lexer.list(&[""])?;
    Ok(lexer.script)
}

#[derive(Default)]
pub(super) struct Lexer<'a> {
    pub(super) src: &'a [u8],
    pub(super) pos: usize,
    pub(super) nesting: usize,
    pub(super) script: Script,
    /// Here-documents announced on this line: delimiter, and whether leading tabs go.
    pub(super) heredocs: Vec<(Vec<u8>, bool)>,
    /// Inside this many compound commands.
    pub(super) compound: usize,
    /// Inside this many subshells: nothing assigned there stays.
    pub(super) subshell: usize,
    /// Inside this many functions: a `return` there is the function's.
    pub(super) function: usize,
    /// Whether the command being read runs whatever those before it in its list returned.
    pub(super) certain: bool,
    pub(super) returned: bool,
    /// The word being read is a command's first: `!(` there is a negated subshell, not a pattern.
    pub(super) first_word: bool,
    /// An unconditional `return` or `exit` was met: the rest is not read by the shell either.
    ended: bool,
}

/// Reserved words that end a list.
const CLOSING: [&str; 8] = ["then", "do", "done", "fi", "elif", "else", "esac", "}"];

impl Lexer<'_> {
    pub(super) fn peek(&self, ahead: usize) -> Option<u8> {
        self.src.get(self.pos + ahead).copied()
    }

    pub(super) fn looking_at(&self, text: &str) -> bool {
        self.src.get(self.pos..).is_some_and(|rest| rest.starts_with(text.as_bytes()))
    }

    pub(super) fn take(&mut self, text: &str) -> bool {
        let found = self.looking_at(text);
        if found {
            self.pos += text.len();
        }
        found
    }

    /// Skips blanks, continued lines and a comment.
    pub(super) fn blanks(&mut self) {
        loop {
            match self.peek(0) {
                Some(b' ' | b'\t') => self.pos += 1,
                Some(b'\\') if self.peek(1) == Some(b'\n') => self.pos += 2,
                Some(b'#') => self.comment(),
                _ => return,
            }
        }
    }

    pub(super) fn comment(&mut self) {
        let start = self.pos;
        while self.peek(0).is_some_and(|c| c != b'\n') {
            self.pos += 1;
        }
        self.script.comments.push(start..self.pos);
    }

    /// Skips ends of lines as well.
    pub(super) fn lines(&mut self) {
        loop {
            self.blanks();
            if self.peek(0) != Some(b'\n') {
                return;
            }
            self.newline();
        }
    }

    /// Takes the end of a line, and the here-documents that begin after it.
    fn newline(&mut self) {
        self.pos += 1;
        for (delimiter, strip) in std::mem::take(&mut self.heredocs) {
            while self.pos < self.src.len() {
                let rest = &self.src[self.pos..];
                let len = rest.iter().position(|&c| c == b'\n').unwrap_or(rest.len());
                self.pos = (self.pos + len + 1).min(self.src.len());
                let tabs = if strip { rest.iter().take_while(|&&c| c == b'\t').count() } else { 0 };
                if rest[tabs.min(len)..len] == delimiter[..] {
                    break;
                }
            }
        }
    }

    /// The bare word that begins here, without taking it.
    pub(super) fn bare_word(&self) -> &[u8] {
        let rest = &self.src[self.pos..];
        let len = rest.iter().position(|&c| is_meta(c)).unwrap_or(rest.len());
        &rest[..len]
    }

    pub(super) fn take_word(&mut self, word: &str) -> bool {
        self.bare_word() == word.as_bytes() && self.take(word)
    }

    /// Reads commands up to one of `stops`, which it takes and returns. `""` is the end of the file.
    pub(super) fn list(&mut self, stops: &[&'static str]) -> Lex<&'static str> {
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            return Err(Broken::at(self.pos, TOO_DEEP));
        }
        let began = self.pos;
        let stop = loop {
            self.lines();
            if self.ended && stops == [""] {
                break "";
            }
            let Some(c) = self.peek(0) else {
                if stops.contains(&"") {
                    break "";
                }
                return Err(Broken::at(began, "what begins here is not closed"));
            };
            let bare = self.bare_word();
            let wanted = stops.iter().copied().find(|s| match *s {
                ")" => c == b')',
                ";;" => self.looking_at(";;") || self.looking_at(";&"),
                word => bare == word.as_bytes() && !word.is_empty(),
            });
            if let Some(stop) = wanted {
                if stop == ";;" {
                    while matches!(self.peek(0), Some(b';' | b'&')) {
                        self.pos += 1;
                    }
                } else {
                    self.pos += stop.len();
                }
                break stop;
            }
            if matches!(c, b')' | b'|') || c == b'&' && self.peek(1) != Some(b'>') {
                return Err(Broken::at(self.pos, "an operator has no command before it"));
            }
            if CLOSING.iter().any(|word| bare == word.as_bytes()) {
                return Err(Broken::at(self.pos, "a reserved word stands where no command ends"));
            }
            if c == b';' {
                self.pos += 1;
                continue;
            }
            self.statement()?;
        };
        self.nesting -= 1;
        Ok(stop)
    }

    /// Commands joined by `&&`, `||` and `|`, up to and with what separates them from the next.
    fn statement(&mut self) -> Lex<()> {
        let outer = (self.certain, std::mem::take(&mut self.returned));
        let (start, first) = (self.pos, self.script.assignments.len());
        let mut names = Some(Vec::new());
        self.certain = true;
        let mut ends = false;
        loop {
            let before = self.script.assignments.len();
            let command = self.command()?;
            self.blanks();
            let and = self.take("&&");
            let or = !and && self.take("||");
            let pipe = !and && !or && (self.take("|&") || self.take("|"));
            if pipe {
                self.conditional_from(before);
            }
            let unsure = |a: &Assignment| matches!(a.value, Value::Dynamic(_));
            if or
                || pipe
                || command.only_assigns.is_none()
                || self.script.assignments[before..].iter().any(unsure)
            {
                self.certain = false;
            }
            names = match (names, command.only_assigns) {
                (Some(mut all), Some(more)) if !or && !pipe => {
                    all.extend(more);
                    Some(all)
                }
                _ => None,
            };
            if !(and || or || pipe) {
                break;
            }
            self.lines();
        }
        let span = start..self.pos;
        if self.peek(0) == Some(b'&') {
            self.pos += 1;
            self.conditional_from(first);
            names = None;
        } else if self.peek(0) == Some(b';') && !matches!(self.peek(1), Some(b';' | b'&')) {
            self.pos += 1;
        } else if !matches!(self.peek(0), None | Some(b'\n' | b')' | b';'))
            // After a compound command: '{ while a; do b; done }'.
            && !CLOSING.iter().any(|word| self.bare_word() == word.as_bytes())
        {
            return Err(Broken::at(self.pos, "something unexpected follows a command"));
        }
        let returns = self.returned;
        if self.compound == 0 && self.subshell == 0 {
            let words = &self.src[span.clone()];
            ends = returns && (words.starts_with(b"return") || words.starts_with(b"exit"));
            self.script.statements.push(Statement { span, only_assigns: names, returns });
        }
        self.ended |= ends;
        (self.certain, self.returned) = (outer.0, outer.1 || returns);
        Ok(())
    }

    pub(super) fn conditional_from(&mut self, first: usize) {
        self.script.assignments[first..].iter_mut().for_each(|a| a.conditional = true);
    }
}
