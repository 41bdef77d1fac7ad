//! Text from a bundle, made safe to show: no control character reaches the terminal, nothing changes the
//! direction of what follows.

pub use crate::base::escape::escape;
use crate::base::escape::is_unsafe;
use std::borrow::Cow;

/// A JSON text that means the same and is safe to show: what is not ASCII stands inside strings only, where JSON has
/// an escape for it.
pub fn escape_json(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|c| c != '\n' && is_unsafe(c)) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            c if c != '\n' && is_unsafe(c) => {
                c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| safe.push_str(&format!("\\u{unit:04x}")));
            }
            c => safe.push(c),
        }
    }
    Cow::Owned(safe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_keeps_its_meaning() {
        let value = serde_json::json!({"name\u{202e}": "a\u{1b}[2J\n\u{9b}31m\u{e0041} é"});
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        let safe = escape_json(&pretty);
        assert!(!safe.chars().any(|c| c != '\n' && is_unsafe(c)), "{safe}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
        assert_eq!(escape_json("{\n  \"é\": 1\n}"), "{\n  \"é\": 1\n}");
    }
}
