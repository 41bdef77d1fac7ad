//! What a simple command does to variables: assignments, `export` and its kin, and the commands that set them otherwise.

use super::buffer::SecretBuf;
use super::shell::{Assignment, Lexer, Value};
use super::shell_words::{is_name, Word};

impl Lexer<'_> {
    /// A command of words: notes what it assigns, and returns those names if it does nothing else.
    pub(super) fn simple(&mut self, words: Vec<Word>) -> Option<Vec<String>> {
        let prefix = words.iter().take_while(|w| w.assigns.is_some()).count();
        if prefix == words.len() {
            return (prefix > 0).then(|| words.into_iter().filter_map(|w| self.assign(w, None)).collect());
        }
        let mut words = words.into_iter();
        let before: Vec<Word> = words.by_ref().take(prefix).collect();
        let head = words.next()?;
        if head.dynamic.is_some() {
            // It may turn out to be 'export'.
            words.for_each(|word| drop(self.assign(word, Some("the command before it is not known"))));
            return None;
        }
        match head.text.bytes() {
            b"export" | b"declare" | b"typeset" | b"readonly" => {
                // 'K=v export K' does keep the value; who writes that?
                before
                    .into_iter()
                    .for_each(|word| drop(self.assign(word, Some("it stands before a command"))));
                self.declare(words, prefix == 0)
            }
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

    pub(super) fn other_assignment(&mut self, word: &Word, why: &'static str) {
        if let Ok(name) = std::str::from_utf8(word.text.bytes()) {
            self.note(name.to_owned(), Value::Dynamic(why), word.span.start);
        }
    }

    fn note(&mut self, name: String, value: Value, at: usize) {
        let conditional = self.compound > 0 || !self.certain;
        self.script.assignments.push(Assignment { name, value, at, conditional });
    }
}
