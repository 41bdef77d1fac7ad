//! Text of others, made safe for a terminal.

/// `text` with everything escaped that could move a cursor, change a terminal or reorder what is read,
/// cut after `max` characters.
pub(super) fn printable(text: &str, max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(max));
    for (i, c) in text.chars().enumerate() {
        if i == max {
            out.push('…');
            break;
        }
        if c.is_control() || invisible(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// Zero-width characters, line separators and bidirectional controls (Unicode UAX #9).
fn invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn what_moves_a_terminal_is_escaped() {
        assert_eq!(printable("a\x1b[2J\r\n\u{202e}é", 99), "a\\u{1b}[2J\\u{d}\\u{a}\\u{202e}é");
        assert_eq!(printable("abcdef", 3), "abc…");
    }
}
