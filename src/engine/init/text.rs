//! A value as TOML (v1.0.0): what a person would write, on one line.

use serde_json::Value;

/// `value`, which holds no null: TOML has none.
pub fn toml(value: &Value) -> String {
    let all = |values: Vec<String>| values.join(", ");
    match value {
        Value::String(text) => string(text),
        Value::Array(values) => format!("[{}]", all(values.iter().map(toml).collect())),
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| format!("{} = {}", key(name), toml(value));
            format!("{{ {} }}", all(fields.iter().map(field).collect()))
        }
        plain => plain.to_string(),
    }
}

/// A basic string. JSON escapes all that TOML wants escaped, but for DEL.
fn string(text: &str) -> String {
    Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

fn key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    match !name.is_empty() && name.chars().all(bare) {
        true => name.to_owned(),
        false => string(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn it_reads_back_as_it_was() {
        let value = json!({
            "a": "q\"\\ \u{7f}\u{1}\n é", "b": [1, -2, true], "a b": { "c": [{ "d": "~/x" }] }, "": "e",
        });
        let read: Value = toml::from_str(&format!("v = {}", super::toml(&value))).unwrap();
        assert_eq!(read["v"], value);
    }
}
