//! The options of a profile, in the short forms that people write, and their way into the model.

use super::model::{EnvEntry, FileEntry, Format, Mode, Model, PgpassEntry, Policy, VarName};
use super::pgpass::Key;
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Options {
    env: Option<Value>,
    pgpass: Option<Value>,
    #[serde(default)]
    files: Vec<FileOption>,
    shell_file: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EnvOption {
    file: String,
    names: Vec<VarName>,
    #[serde(default, deserialize_with = "policy")]
    policy: Policy,
    format: Option<Format>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PgpassOption {
    file: Option<String>,
    lines: Vec<Key>,
    #[serde(default, deserialize_with = "policy")]
    policy: Policy,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileOption {
    path: String,
    mode: Option<Mode>,
    #[serde(default, deserialize_with = "policy")]
    policy: Policy,
}

/// A policy in a profile: its word, or `{ command = [...] }`. Of a command the word alone is enough to be
/// understood, and to be refused by its name.
fn policy<'de, D: Deserializer<'de>>(from: D) -> Result<Policy, D::Error> {
    let value = Value::deserialize(from)?;
    if value == "command" {
        return Ok(Policy::Command(Vec::new()));
    }
    Policy::deserialize(&value).map_err(|_| {
        D::Error::custom(format_args!(
            "{value} is none of the policies copy, prompt, command, reissue, host-bound"
        ))
    })
}

/// Reads a profile's options. The error is one line that says what is wrong in which of them.
pub(super) fn read(options: &Value) -> Result<Model, String> {
    let options = Options::deserialize(options).map_err(|e| e.to_string())?;
    let env = match options.env {
        None => Vec::new(),
        Some(list @ Value::Array(_)) => parse(&list, "env")?,
        Some(table) => vec![parse::<EnvOption>(&table, "env")?],
    };
    let pgpass = match options.pgpass {
        None => None,
        Some(list @ Value::Array(_)) => {
            Some(PgpassOption { file: None, lines: parse(&list, "pgpass")?, policy: Policy::Copy })
        }
        Some(table) => Some(parse(&table, "pgpass")?),
    };
    Ok(Model {
        env: env.into_iter().map(env_entry).collect(),
        pgpass: pgpass.map(|p| PgpassEntry {
            file: p.file.unwrap_or_else(|| "~/.pgpass".to_owned()),
            lines: p.lines,
            policy: p.policy,
        }),
        files: options
            .files
            .into_iter()
            .map(|f| FileEntry { path: f.path, mode: f.mode, policy: f.policy })
            .collect(),
        shell_file: options.shell_file,
        backup: None,
    })
}

/// A file named `.env`, `.env.SOMETHING` or `SOMETHING.env` has the `.env` form unless told otherwise.
fn env_entry(option: EnvOption) -> EnvEntry {
    let name = option.file.rsplit('/').next().unwrap_or_default();
    let dotenv = name.ends_with(".env") || name.starts_with(".env.");
    let guess = if dotenv { Format::Dotenv } else { Format::Shell };
    EnvEntry {
        format: option.format.unwrap_or(guess),
        file: option.file,
        names: option.names,
        policy: option.policy,
    }
}

fn parse<T: DeserializeOwned>(value: &Value, what: &str) -> Result<T, String> {
    T::deserialize(value).map_err(|e| format!("{what}: {e}"))
}

/// What the target's own profile changes: which shell file loads the variables, which `.pgpass` gets the lines, and the
/// modes of whole files. What it says beyond that is about another machine's secrets.
pub(super) fn override_with(model: &mut Model, own: Model) {
    if own.shell_file.is_some() {
        model.shell_file = own.shell_file;
    }
    if let (Some(theirs), Some(own)) = (&mut model.pgpass, own.pgpass) {
        theirs.file = own.file;
    }
    for file in own.files {
        let same = model.files.iter_mut().find(|theirs| theirs.path == file.path);
        if let (Some(theirs), Some(mode)) = (same, file.mode) {
            theirs.mode = Some(mode);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn short_and_long_forms() {
        let model = read(&json!({
            "env": { "file": "~/.bashrc", "names": ["A", "B"] },
            "pgpass": ["localhost:5432:db:user"],
            "files": [{ "path": "~/.x", "mode": "640", "policy": "reissue" }],
        }))
        .unwrap();
        assert_eq!(model.env[0].format, Format::Shell);
        assert_eq!(model.pgpass.as_ref().unwrap().file, "~/.pgpass");
        assert_eq!(model.files[0].mode, Some(Mode(0o640)));
        assert_eq!(model.files[0].policy, Policy::Reissue);
        assert_eq!(model.count(), 4);

        let model = read(&json!({
            "env": [
                { "file": "/srv/.env.local", "names": ["A"], "policy": { "command": ["pass", "show", "a"] } },
                { "file": "~/x.sh", "names": ["A"], "format": "dotenv" },
            ],
            "pgpass": { "file": "/srv/pgpass", "lines": ["h:1:d:u"], "policy": "prompt" },
        }))
        .unwrap();
        assert!(model.env.iter().all(|e| e.format == Format::Dotenv));
        assert!(model.flaw().is_none());
    }

    #[test]
    fn wrong_options_are_named() {
        for (options, part) in [
            (json!({ "envs": [] }), "unknown field `envs`"),
            (json!({ "env": { "file": "x", "names": ["A B"] } }), "env: a variable's name"),
            (json!({ "env": { "file": "x", "names": ["UID"] } }), "keeps for itself"),
            (json!({ "pgpass": ["a:b"] }), "pgpass: a line of .pgpass is named by"),
            (json!({ "files": [{ "path": "x", "mode": "4755" }] }), "three octal digits"),
            (json!({ "files": [{ "path": "x", "policy": "steal" }] }), "\"steal\" is none of the policies"),
            (json!({ "pgpass": { "lines": [], "policy": 3 } }), "pgpass: 3 is none of"),
        ] {
            let error = read(&options).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_command_is_understood_as_a_word_too() {
        let model = read(&json!({ "files": [{ "path": "~/.x", "policy": "command" }] })).unwrap();
        assert_eq!(model.files[0].policy, Policy::Command(Vec::new()));
    }

    #[test]
    fn nothing_is_declared_twice() {
        for options in [
            json!({}),
            json!({ "env": { "file": "~/.bashrc", "names": ["A", "A"] } }),
            json!({ "env": [{ "file": "~/a", "names": ["A"] }, { "file": "~/b", "names": ["A"] }] }),
            json!({ "files": [{ "path": "~/a" }, { "path": "~/a" }] }),
            json!({ "env": { "file": "~/a", "names": ["A"] }, "files": [{ "path": "~/a" }] }),
            json!({ "pgpass": ["h:1:d:u", "h:1:d:u"] }),
        ] {
            assert!(read(&options).unwrap().flaw().is_some(), "{options}");
        }
    }
}
