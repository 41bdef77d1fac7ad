//! Keys on this machine, for a first profile: names alone.

use super::disk::{self, Links};
use super::model::{Format, VarName};
use super::pgpass;
use super::source::variables;
use crate::component::{Host, Near, Suggestion};
use serde_json::{json, Value};
use std::path::Path;

/// Where people export variables.
const SHELL_FILES: [&str; 4] = ["~/.bashrc", "~/.profile", "~/.bash_profile", "~/.zshenv"];

/// One component with the keys exported in shell files, `~/.pgpass` and the `.env` files near.
pub fn suggest(host: &Host, near: &Near) -> Vec<Suggestion> {
    let mut options = Vec::new();
    let mut parts = Vec::new();
    let env: Vec<Value> = SHELL_FILES.iter().filter_map(|file| shell_file(host, file)).collect();
    for entry in &env {
        let names = entry["names"].as_array().map_or(0, Vec::len);
        parts.push(format!("{names} exported in {}", entry["file"].as_str().unwrap_or_default()));
    }
    if !env.is_empty() {
        options.push(("env", Value::Array(env)));
    }
    let lines = pgpass_lines(host);
    if !lines.is_empty() {
        parts.push(format!("{} of ~/.pgpass", lines.len()));
        options.push(("pgpass", json!(lines)));
    }
    let files: Vec<String> =
        near.files.iter().filter(|file| is_env_file(file)).filter_map(|file| host.contract(file)).collect();
    if !files.is_empty() {
        parts.extend(files.iter().cloned());
        let entries: Vec<Value> = files.iter().map(|path| json!({ "path": path })).collect();
        options.push(("files", Value::Array(entries)));
    }
    match options.is_empty() {
        true => Vec::new(),
        false => {
            let about = format!("keys and passwords: {}", parts.join(", "));
            vec![Suggestion { name: "keys".to_owned(), about, options }]
        }
    }
}

/// The variables of a shell file that look like keys.
fn shell_file(host: &Host, file: &str) -> Option<Value> {
    let all = variables(host, &host.expand(file)?, Format::Shell).ok()?;
    let mut names: Vec<String> = Vec::new();
    for variable in all {
        let can_move = VarName::try_from(variable.name.clone()).is_ok();
        if can_move && looks_like_a_key(&variable.name) && !names.contains(&variable.name) {
            names.push(variable.name.clone());
            if variable.fixed().is_err() {
                // An export of it would stop there.
                names.pop();
            }
        }
    }
    (!names.is_empty()).then(|| json!({ "file": file, "names": names }))
}

fn looks_like_a_key(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    name.split('_').any(|word| {
        matches!(word, "KEY" | "KEYS" | "TOKEN" | "TOKENS" | "SECRET" | "PASSWORD" | "PASSWD" | "CREDENTIALS")
    })
}

/// `.env` and the like, but no example of one.
fn is_env_file(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let example = ["example", "sample", "template", "dist"].iter().any(|word| name.contains(word));
    (name == ".env" || name.starts_with(".env.")) && !example
}

fn pgpass_lines(host: &Host) -> Vec<String> {
    let seen = host.expand("~/.pgpass").and_then(|path| disk::read(&path, Links::Follow).ok().flatten());
    seen.map_or_else(Vec::new, |seen| pgpass::keys(seen.bytes.expose()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_by_their_names() {
        for name in ["OPENAI_API_KEY", "API_KEYS", "GITHUB_TOKEN", "db_password"] {
            assert!(looks_like_a_key(name), "{name}");
        }
        for name in ["KEYBOARD", "PATH", "MONKEY", "BASE_BRANCH"] {
            assert!(!looks_like_a_key(name), "{name}");
        }
        assert!(is_env_file(Path::new("/a/.env")) && is_env_file(Path::new("/a/.env.local")));
        assert!(!is_env_file(Path::new("/a/.env.example")) && !is_env_file(Path::new("/a/x.env.md")));
    }
}
