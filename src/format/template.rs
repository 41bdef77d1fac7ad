//! Texts with variables in them: `$NAME` stands for a variable's value, `$$` for a dollar sign (rule M8).

/// A piece of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Stands for itself.
    Text(&'a str),
    /// The name of a variable.
    Variable(&'a str),
}

/// The pieces of `text`. `None` if a `$` is followed by neither a name nor another `$`.
pub fn pieces(text: &str) -> Option<Vec<Piece<'_>>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, after) = (&rest[..at], &rest[at + 1..]);
        let name = after.bytes().take_while(|c| c.is_ascii_alphanumeric() || *c == b'_').count();
        pieces.push(Piece::Text(before));
        rest = match &after[..name] {
            "" => {
                pieces.push(Piece::Text("$"));
                after.strip_prefix('$')?
            }
            variable if is_variable(variable) => {
                pieces.push(Piece::Variable(variable));
                &after[name..]
            }
            _ => return None,
        };
    }
    pieces.push(Piece::Text(rest));
    pieces.retain(|piece| *piece != Piece::Text(""));
    Some(pieces)
}

/// The variables in `text`; none if it is not well-formed.
pub fn variables(text: &str) -> Vec<&str> {
    let pieces = pieces(text).unwrap_or_default();
    pieces
        .into_iter()
        .filter_map(|piece| match piece {
            Piece::Variable(name) => Some(name),
            Piece::Text(_) => None,
        })
        .collect()
}

/// Whether `name` can be a variable's: letters, digits and `_`, not beginning with a digit, at most 255 bytes.
pub fn is_variable(name: &str) -> bool {
    let word = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
    (1..=255).contains(&name.len()) && name.bytes().all(word) && !name.as_bytes()[0].is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_and_dollars() {
        use Piece::{Text, Variable};
        let of = |text| pieces(text);
        assert_eq!(of("").unwrap(), []);
        assert_eq!(of("plain").unwrap(), [Text("plain")]);
        assert_eq!(of("Bearer $A_1-x").unwrap(), [Text("Bearer "), Variable("A_1"), Text("-x")]);
        assert_eq!(of("$A$B").unwrap(), [Variable("A"), Variable("B")]);
        assert_eq!(of("5 $$A").unwrap(), [Text("5 "), Text("$"), Text("A")]);
        for bad in ["$", "a$ b", "$1", "${A}", "$-"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
