//! Single commands of a shell file: simple ones, with their redirections, and compound ones, whose inside is conditional.

use super::shell::{Broken, Lex, Lexer, MAX_NESTING, TOO_DEEP};
use super::shell_words::Word;

/// A command, as its list sees it.
pub(super) struct Command {
    pub(super) only_assigns: Option<Vec<String>>,
}

/// A command that does more than assign.
const OTHER: Command = Command { only_assigns: None };

impl Lexer<'_> {
    /// Reads one command, up to the operator that follows it.
    pub(super) fn command(&mut self) -> Lex<Command> {
        let mut words: Vec<Word> = Vec::new();
        let (mut redirected, mut may_fail) = (false, false);
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
                    may_fail |= !self.redirection()?;
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
        let before = self.script.assignments.len();
        let names = self.simple(words);
        if may_fail {
            self.conditional_from(before);
        }
        Ok(Command { only_assigns: names.filter(|_| !redirected) })
    }

    /// Whether it leads where it always can: to `/dev/null`, or to a descriptor that every shell has. If another fails,
    /// its command is not run.
    fn redirection(&mut self) -> Lex<bool> {
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
        Ok(!heredoc && ["/dev/null", "1", "2"].iter().any(|place| word.is(place)))
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
                Some(b'<' | b'>') => drop(self.redirection()?),
                Some(b'&') if self.peek(1) == Some(b'>') => drop(self.redirection()?),
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
}
