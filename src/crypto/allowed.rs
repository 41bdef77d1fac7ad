//! One line of `trusted_signers`: a small, strict part of OpenSSH's `allowed_signers` format.
//!
//! `principals [options] ssh-ed25519 BASE64 [comment]`, with single spaces between. What `ssh-keygen`
//! would take and we don't (patterns, certificate authorities, local times, unknown options) is refused, so that a
//! line never means more than it says.

use crate::crypto::sign::{Namespace, Signer};
use crate::crypto::when::{format_time, parse_time};
use std::fmt;

/// Bytes of a line.
const MAX_LINE: usize = 4096;

/// Someone who is trusted, for what, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Names, joined by commas.
    pub principals: String,
    /// The purposes; `None` is every one but [`Namespace::Hooks`], which must always be named.
    pub namespaces: Option<Vec<Namespace>>,
    /// First second (unix) of validity.
    pub valid_after: Option<u64>,
    /// Last second (unix) of validity.
    pub valid_before: Option<u64>,
    /// The key.
    pub signer: Signer,
    /// What stands after the key.
    pub comment: String,
}

impl Entry {
    /// Reads one line. The error says which rule it breaks.
    pub fn parse(line: &str) -> Result<Self, &'static str> {
        if line.len() > MAX_LINE {
            return Err("the line is too long");
        }
        if line.chars().any(char::is_control) {
            return Err("the line has a control character");
        }
        let (principals, rest) = line.split_once(' ').ok_or("a key is missing")?;
        if !valid_principals(principals) {
            return Err("names are letters, digits and -._@+ joined by commas; patterns are not taken");
        }
        let (options, key) = if rest.starts_with("ssh-") {
            ("", rest)
        } else {
            let split = rest.split_once(' ').filter(|(options, _)| !options.is_empty());
            split.ok_or("a key is missing, or there is more than one space")?
        };
        let signer = Signer::parse_line(key)
            .ok_or("after the name and the options comes an ssh-ed25519 key, with single spaces between")?;
        let mut entry = Entry {
            principals: principals.to_owned(),
            namespaces: None,
            valid_after: None,
            valid_before: None,
            signer,
            comment: key.splitn(3, ' ').nth(2).unwrap_or_default().to_owned(),
        };
        entry.take_options(options)?;
        Ok(entry)
    }

    fn take_options(&mut self, mut options: &str) -> Result<(), &'static str> {
        while !options.is_empty() {
            let (name, rest) = options.split_once("=\"").ok_or("an option is not name=\"value\"")?;
            let (value, rest) = rest.split_once('"').ok_or("an option's value is not closed")?;
            let repeated = "an option is repeated";
            match name {
                "namespaces" if self.namespaces.is_some() => return Err(repeated),
                "valid-after" if self.valid_after.is_some() => return Err(repeated),
                "valid-before" if self.valid_before.is_some() => return Err(repeated),
                "namespaces" => self.namespaces = Some(parse_namespaces(value)?),
                "valid-after" => self.valid_after = Some(parse_time(value).ok_or(TIME)?),
                "valid-before" => self.valid_before = Some(parse_time(value).ok_or(TIME)?),
                _ => {
                    return Err(
                        "the options are namespaces, valid-after and valid-before; others are not taken",
                    )
                }
            }
            options = match rest.strip_prefix(',') {
                Some("") => return Err("an option is missing after a comma"),
                Some(more) => more,
                None if rest.is_empty() => rest,
                None => return Err("options are joined by commas, without spaces"),
            };
        }
        match (self.valid_after, self.valid_before) {
            (Some(after), Some(before)) if before <= after => {
                Err("valid-before is not later than valid-after")
            }
            _ => Ok(()),
        }
    }

    /// Whether the entry speaks of this purpose.
    pub fn is_for(&self, namespace: Namespace) -> bool {
        match &self.namespaces {
            Some(named) => named.contains(&namespace),
            None => namespace != Namespace::Hooks,
        }
    }

    /// Whether `name` is one of its principals.
    pub fn is_of(&self, name: &str) -> bool {
        self.principals.split(',').any(|principal| principal == name)
    }
}

const TIME: &str = "a time is YYYYMMDDZ, YYYYMMDDHHMMZ or YYYYMMDDHHMMSSZ, with the Z";

fn valid_principals(text: &str) -> bool {
    text.split(',').all(|name| {
        !name.is_empty()
            && !name.starts_with("ssh-")
            && name
                .bytes()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_' | b'@' | b'+'))
    })
}

fn parse_namespaces(value: &str) -> Result<Vec<Namespace>, &'static str> {
    let named: Option<Vec<_>> = value.split(',').map(Namespace::parse).collect();
    named.ok_or(
        "the namespaces are kbpack-bundle, -backup, -ticket, -receipt and -hooks; patterns are not taken",
    )
}

impl fmt::Display for Entry {
    /// The line, without its end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut options = Vec::new();
        if let Some(named) = &self.namespaces {
            let words: Vec<_> = named.iter().map(|namespace| namespace.as_str()).collect();
            options.push(format!("namespaces=\"{}\"", words.join(",")));
        }
        options.extend(self.valid_after.map(|at| format!("valid-after=\"{}\"", format_time(at))));
        options.extend(self.valid_before.map(|at| format!("valid-before=\"{}\"", format_time(at))));
        write!(f, "{} ", self.principals)?;
        if !options.is_empty() {
            write!(f, "{} ", options.join(","))?;
        }
        f.write_str(&self.signer.to_line(&self.comment))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::sign::SigningKey;

    #[test]
    fn lines_are_read_and_written_alike() {
        let key = SigningKey::generate().unwrap().public().to_line("");
        for line in [
            format!("ada@host {key}"),
            format!("ada,bob {key} a comment here"),
            format!("ada namespaces=\"kbpack-bundle,kbpack-hooks\" {key}"),
            format!("ada namespaces=\"kbpack-bundle\",valid-after=\"20240101000000Z\",valid-before=\"20250101000000Z\" {key} c"),
        ] {
            assert_eq!(Entry::parse(&line).unwrap().to_string(), line);
        }
    }

    #[test]
    fn hooks_must_be_named() {
        let key = SigningKey::generate().unwrap().public().to_line("");
        let bare = Entry::parse(&format!("ada {key}")).unwrap();
        assert!(bare.is_for(Namespace::Bundle) && !bare.is_for(Namespace::Hooks));
        let named = Entry::parse(&format!("ada namespaces=\"kbpack-hooks\" {key}")).unwrap();
        assert!(!named.is_for(Namespace::Bundle) && named.is_for(Namespace::Hooks));
    }

    #[test]
    fn anything_else_is_refused() {
        let key = SigningKey::generate().unwrap().public().to_line("");
        for bad in [
            "ada".into(),
            "ada ".into(),
            key.clone(),
            format!("* {key}"),
            format!("a?a {key}"),
            format!("!ada {key}"),
            format!("ada,!bob {key}"),
            format!("ada, {key}"),
            format!("\"ada\" {key}"),
            format!(" ada {key}"),
            format!("ada  {key}"),
            format!("ada\t{key}"),
            format!("ada cert-authority {key}"),
            format!("ada cert-authority,namespaces=\"kbpack-bundle\" {key}"),
            format!("ada namespaces=\"kbpack-*\" {key}"),
            format!("ada namespaces=\"!kbpack-hooks,kbpack-bundle\" {key}"),
            format!("ada namespaces=\"kbpack-bundle,git\" {key}"),
            format!("ada namespaces=\"\" {key}"),
            format!("ada namespaces=kbpack-bundle {key}"),
            format!("ada NAMESPACES=\"kbpack-bundle\" {key}"),
            format!("ada namespaces=\"kbpack-bundle\",namespaces=\"kbpack-hooks\" {key}"),
            format!("ada namespaces=\"kbpack-bundle\", {key}"),
            format!("ada namespaces=\"kbpack-bundle\"x {key}"),
            format!("ada valid-after=\"20240101\" {key}"),
            format!("ada valid-after=\"20240230Z\" {key}"),
            format!("ada valid-after=\"20250101Z\",valid-before=\"20240101Z\" {key}"),
            format!("ada zzz=\"1\" {key}"),
            format!("ada {} extra", key.replace("ssh-ed25519", "ssh-rsa")),
            format!("ada {key}\u{1b}[2J"),
            format!("ada {key} {}", "x".repeat(5000)),
        ] {
            assert!(Entry::parse(&bad).is_err(), "{bad:?}");
        }
    }
}
