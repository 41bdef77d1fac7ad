//! The commands of a shell file: which variables they assign, where, and whether always.
//!
//! No shell is run. The file is read as bash would (grammar: bash manual, 3.2), far enough to know what is a command
//! at the top and what lies inside an `if`, a function, a here-document or a substitution. What cannot be read is an
//! error, never a guess.

use super::buffer::SecretBuf;
use super::shell_words::{is_meta, is_name, Word};
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
    script: Script,
    /// Here-documents announced on this line: delimiter, and whether leading tabs go.
    heredocs: Vec<(Vec<u8>, bool)>,
    /// Inside this many compound commands.
    compound: usize,
    /// Inside this many subshells: nothing assigned there stays.
    subshell: usize,
    /// Inside this many functions: a `return` there is the function's.
    function: usize,
    /// Whether the command being read runs whatever those before it in its list returned.
    certain: bool,
    returned: bool,
    /// The word being read is a command's first: `!(` there is a negated subshell, not a pattern.
    pub(super) first_word: bool,
    /// An unconditional `return` or `exit` was met: the rest is not read by the shell either.
    ended: bool,
}

/// A command, as its list sees it.
struct Command {
    only_assigns: Option<Vec<String>>,
}

/// A command that does more than assign.
const OTHER: Command = Command { only_assigns: None };

/// Reserved words that end a list.
const CLOSING: [&str; 8] = ["then", "do", "done", "fi", "elif", "else", "esac", "}"];

impl Lexer<'_> {
    pub(super) fn peek(&self, ahead: usize) -> Option<u8> {
        self.src.get(self.pos + ahead).copied()
    }

    fn looking_at(&self, text: &str) -> bool {
        self.src.get(self.pos..).is_some_and(|rest| rest.starts_with(text.as_bytes()))
    }

    fn take(&mut self, text: &str) -> bool {
        let found = self.looking_at(text);
        if found {
            self.pos += text.len();
        }
        found
    }

    /// Skips blanks, continued lines and a comment.
    fn blanks(&mut self) {
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
    fn lines(&mut self) {
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
    fn bare_word(&self) -> &[u8] {
        let rest = &self.src[self.pos..];
        let len = rest.iter().position(|&c| is_meta(c)).unwrap_or(rest.len());
        &rest[..len]
    }

    fn take_word(&mut self, word: &str) -> bool {
        self.bare_word() == word.as_bytes() && self.take(word)
    }

    /// Reads commands up to one of `stops`, which it takes and returns. `""` is the end of the file.
    fn list(&mut self, stops: &[&'static str]) -> Lex<&'static str> {
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
        } else if !matches!(self.peek(0), None | Some(b'\n' | b')' | b';')) {
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

    fn conditional_from(&mut self, first: usize) {
        self.script.assignments[first..].iter_mut().for_each(|a| a.conditional = true);
    }

    fn command(&mut self) -> Lex<Command> {
        let mut words: Vec<Word> = Vec::new();
        let mut redirected = false;
        loop {
            self.blanks();
            let Some(c) = self.peek(0) else { break };
            match c {
                b'\n' | b';' | b'|' | b')' => break,
                b'&' if self.peek(1) != Some(b'>') => break,
                b'(' if words.is_empty() => return self.parenthesis(),
                b'(' if words.len() == 1 && words[0].assigns.is_none() => return self.function_body(true),
                b'(' => return Err(Broken::at(self.pos, "a parenthesis stands where none may")),
                b'&' | b'<' | b'>' if self.peek(1) != Some(b'(') => {
                    redirected = true;
                    self.redirection()?;
                }
                _ => {
                    self.first_word = words.is_empty();
                    let word = self.word()?;
                    self.first_word = false;
                    if words.is_empty() {
                        if word.is("!") || word.is("time") {
                            redirected = true;
                            continue;
                        }
                        if let Some(command) = self.compound(&word)? {
                            return Ok(command);
                        }
                    }
                    let number = !word.quoted && word.text.bytes().iter().all(u8::is_ascii_digit);
                    if !(number && matches!(self.peek(0), Some(b'<' | b'>'))) {
                        words.push(word);
                    }
                }
            }
        }
        let names = self.simple(words);
        Ok(Command { only_assigns: names.filter(|_| !redirected) })
    }

    fn redirection(&mut self) -> Lex<()> {
        let strip = self.looking_at("<<-");
        let heredoc = self.looking_at("<<") && !self.looking_at("<<<");
        while matches!(self.peek(0), Some(b'<' | b'>' | b'&' | b'|')) {
            if self.peek(1) == Some(b'(') {
                break;
            }
            self.pos += 1;
        }
        if strip {
            self.pos += 1;
        }
        self.blanks();
        let word = self.word()?;
        if word.span.is_empty() {
            return Err(Broken::at(self.pos, "a redirection leads nowhere"));
        }
        if heredoc {
            self.heredocs.push((word.text.bytes().to_vec(), strip));
        }
        Ok(())
    }

    /// `( ... )` or `(( ... ))` where a command begins.
    fn parenthesis(&mut self) -> Lex<Command> {
        if self.looking_at("((") {
            self.balanced(b'(', b')')?;
        } else {
            self.pos += 1;
            self.substituted()?;
        }
        self.after_compound()
    }

    /// The inside of `$(...)`, `<(...)` or a subshell, up to its parenthesis: what it assigns is lost with it.
    pub(super) fn substituted(&mut self) -> Lex<()> {
        let known = (self.script.assignments.len(), std::mem::take(&mut self.heredocs));
        let returned = self.returned;
        self.subshell += 1;
        self.list(&[")"])?;
        self.subshell -= 1;
        self.returned = returned;
        self.script.assignments.truncate(known.0);
        self.heredocs.splice(0..0, known.1);
        Ok(())
    }

    fn after_compound(&mut self) -> Lex<Command> {
        loop {
            self.blanks();
            match self.peek(0) {
                Some(b'0'..=b'9') if matches!(self.peek(1), Some(b'<' | b'>')) => self.pos += 1,
                Some(b'<' | b'>') => self.redirection()?,
                Some(b'&') if self.peek(1) == Some(b'>') => self.redirection()?,
                _ => return Ok(OTHER),
            }
        }
    }

    /// A compound command, if `word` begins one. All in it is conditional.
    fn compound(&mut self, word: &Word) -> Lex<Option<Command>> {
        if word.quoted
            || word.dynamic.is_some()
                && !word.text.bytes().starts_with(b"{")
                && !word.text.bytes().starts_with(b"[[")
        {
            return Ok(None);
        }
        self.compound += 1;
        match word.text.bytes() {
            b"if" => {
                self.list(&["then"])?;
                while match self.list(&["elif", "else", "fi"])? {
                    "elif" => self.list(&["then"]).map(|_| true)?,
                    "else" => self.list(&["fi"]).map(|_| false)?,
                    _ => false,
                } {}
            }
            b"while" | b"until" => {
                self.list(&["do"])?;
                self.list(&["done"])?;
            }
            b"for" | b"select" => self.for_loop()?,
            b"case" => self.case()?,
            b"{" => {
                self.list(&["}"])?;
            }
            b"[[" => self.test()?,
            b"function" => {
                self.blanks();
                self.word()?;
                self.blanks();
                self.compound -= 1;
                let parentheses = self.peek(0) == Some(b'(');
                return self.function_body(parentheses).map(Some);
            }
            _ => {
                self.compound -= 1;
                return Ok(None);
            }
        }
        self.compound -= 1;
        self.after_compound().map(Some)
    }

    fn function_body(&mut self, parentheses: bool) -> Lex<Command> {
        if parentheses {
            self.pos += 1;
            self.blanks();
            if !self.take(")") {
                return Err(Broken::at(self.pos, "a parenthesis stands where none may"));
            }
        }
        self.lines();
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            return Err(Broken::at(self.pos, TOO_DEEP));
        }
        self.compound += 1;
        self.function += 1;
        self.command()?;
        self.compound -= 1;
        self.function -= 1;
        self.nesting -= 1;
        Ok(OTHER)
    }

    fn for_loop(&mut self) -> Lex<()> {
        self.blanks();
        if self.looking_at("((") {
            self.balanced(b'(', b')')?;
        } else {
            let name = self.word()?;
            self.other_assignment(&name, "a loop's variable");
            self.lines();
            while !matches!(self.peek(0), None | Some(b';' | b'\n')) && self.bare_word() != b"do" {
                let at = self.pos;
                self.word()?;
                if self.pos == at {
                    return Err(Broken::at(at, "something unexpected stands in a loop's head"));
                }
                self.blanks();
            }
        }
        self.blanks();
        self.take(";");
        self.lines();
        if self.take_word("{") {
            return self.list(&["}"]).map(drop);
        }
        if !self.take_word("do") {
            return Err(Broken::at(self.pos, "a loop has no 'do'"));
        }
        self.list(&["done"]).map(drop)
    }

    fn case(&mut self) -> Lex<()> {
        self.blanks();
        self.word()?;
        self.lines();
        if !self.take_word("in") {
            return Err(Broken::at(self.pos, "a 'case' has no 'in'"));
        }
        loop {
            self.lines();
            if self.take_word("esac") {
                return Ok(());
            }
            self.take("(");
            loop {
                self.blanks();
                self.word()?;
                self.blanks();
                if self.take(")") {
                    break;
                }
                if !self.take("|") {
                    return Err(Broken::at(self.pos, "a pattern of a 'case' is not closed"));
                }
            }
            if self.list(&[";;", "esac"])? == "esac" {
                return Ok(());
            }
        }
    }

    /// `[[ ... ]]`: words and operators of its own, skipped.
    fn test(&mut self) -> Lex<()> {
        let at = self.pos;
        loop {
            self.blanks();
            match self.peek(0) {
                None => return Err(Broken::at(at, "'[[' is not closed")),
                Some(b'\n' | b'<' | b'>' | b'&' | b'|' | b';' | b')') => self.pos += 1,
                Some(b'(') => self.balanced(b'(', b')')?,
                Some(_) if self.bare_word() == b"]]" => break self.pos += 2,
                Some(_) => drop(self.word()?),
            }
        }
        Ok(())
    }

    /// A command of words: notes what it assigns, and returns those names if it does nothing else.
    fn simple(&mut self, words: Vec<Word>) -> Option<Vec<String>> {
        let prefix = words.iter().take_while(|w| w.assigns.is_some()).count();
        if prefix == words.len() {
            return (prefix > 0).then(|| words.into_iter().filter_map(|w| self.assign(w, None)).collect());
        }
        let mut words = words.into_iter().skip(prefix);
        let head = words.next()?;
        if head.dynamic.is_some() {
            return None;
        }
        match head.text.bytes() {
            b"export" | b"declare" | b"typeset" | b"readonly" => self.declare(words, prefix == 0),
            b"return" | b"exit" => {
                self.returned |= self.function == 0 && self.subshell == 0;
                None
            }
            b"unset" | b"read" => {
                for word in words {
                    self.other_assignment(&word, "another command sets or unsets it");
                }
                None
            }
            b"printf" => {
                let target = words.next().filter(|w| w.is("-v")).and_then(|_| words.next());
                if let Some(word) = target {
                    self.other_assignment(&word, "another command sets or unsets it");
                }
                None
            }
            _ => None,
        }
    }

    /// `export` and its kin. Options that change the value, or what the variable is, make it dynamic.
    fn declare(&mut self, words: impl Iterator<Item = Word>, alone: bool) -> Option<Vec<String>> {
        let (mut names, mut pure, mut options, mut odd) = (Vec::new(), alone, true, None);
        for word in words {
            let text = word.text.bytes();
            if word.assigns.is_some() {
                options = false;
                names.extend(self.assign(word, odd));
            } else if options && (text.starts_with(b"-") || text.starts_with(b"+")) {
                options = text != b"--";
                if options && !(text[0] == b'-' && text[1..].iter().all(|c| b"xgrp".contains(c))) {
                    odd = Some("an option changes what the variable is");
                }
            } else if is_name(text) && word.dynamic.is_none() {
                options = false;
                names.push(String::from_utf8_lossy(text).into_owned());
            } else {
                pure = false;
            }
        }
        (pure && !names.is_empty()).then_some(names)
    }

    /// Notes an assignment; gives back its name.
    fn assign(&mut self, word: Word, odd: Option<&'static str>) -> Option<String> {
        let assigns = word.assigns?;
        let value = match word.dynamic.or(odd) {
            Some(why) => Value::Dynamic(why),
            None => {
                let mut value = SecretBuf::default();
                value.extend(&word.text.bytes()[assigns.value_at..]);
                Value::Static(value.into_secret())
            }
        };
        self.note(assigns.name.clone(), value, word.span.start);
        Some(assigns.name)
    }

    fn other_assignment(&mut self, word: &Word, why: &'static str) {
        if let Ok(name) = std::str::from_utf8(word.text.bytes()) {
            self.note(name.to_owned(), Value::Dynamic(why), word.span.start);
        }
    }

    fn note(&mut self, name: String, value: Value, at: usize) {
        let conditional = self.compound > 0 || !self.certain;
        self.script.assignments.push(Assignment { name, value, at, conditional });
    }
}
