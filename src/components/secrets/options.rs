//! The options of a profile, in the short forms that people write, and their way into the model.

use super::model::{EnvEntry, FileEntry, Format, Mode, Model, PgpassEntry, VarName};
use super::pgpass::Key;
use super::policy::{How, Policy};
use crate::base::key_path::KeyPath;
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
    policy: Option<Policy>,
    how: Option<How>,
    format: Option<Format>,
    #[serde(default)]
    absent: Absent,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PgpassOption {
    file: Option<String>,
    lines: Vec<Key>,
    #[serde(default, deserialize_with = "policy")]
    policy: Option<Policy>,
    how: Option<How>,
    #[serde(default)]
    absent: Absent,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileOption {
    path: String,
    mode: Option<Mode>,
    #[serde(default, deserialize_with = "policy")]
    policy: Option<Policy>,
    how: Option<How>,
    /// Keys of a JSON document that stay on each machine.
    #[serde(default)]
    keep: Vec<KeyPath>,
    /// Keys of a JSON document at which commands stand.
    #[serde(default)]
    runs: Vec<KeyPath>,
    #[serde(default)]
    absent: Absent,
}

/// What an export does where a secret that is to be copied is not there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Absent {
    /// Stops.
    #[default]
    Refuse,
    /// Leaves it out, and says so.
    Ok,
}

/// What a profile says, in one form.
struct Parsed {
    env: Vec<EnvOption>,
    pgpass: Option<PgpassOption>,
    files: Vec<FileOption>,
    shell_file: Option<String>,
}

/// A policy in a profile: its word, or `{ command = [...] }`.
fn policy<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Policy>, D::Error> {
    let value = Value::deserialize(from)?;
    let command = value.get("command");
    if value == "command" || command.is_some_and(|words| !words.is_array()) {
        return Err(D::Error::custom(
            "the policy command names what to run: { command = [\"pass\", \"show\", \"NAME\"] }",
        ));
    }
    Policy::deserialize(&value).map(Some).map_err(|error| match command {
        Some(_) => D::Error::custom(error),
        None => D::Error::custom(format_args!(
            "{value} is none of the policies copy, prompt, command, reissue, host-bound"
        )),
    })
}

/// Reads a profile's options. The error is one line that says what is wrong in which of them.
pub(super) fn read(options: &Value) -> Result<Model, String> {
    let Parsed { env, pgpass, files, shell_file } = parsed(options)?;
    let pgpass = pgpass.map(|p| PgpassEntry {
        file: pgpass_file(p.file),
        lines: p.lines,
        policy: p.policy.unwrap_or_default(),
        how: p.how,
        own: false,
        optional: p.absent == Absent::Ok,
    });
    let file = |f: FileOption| FileEntry {
        path: f.path,
        mode: f.mode,
        policy: f.policy.unwrap_or_default(),
        how: f.how,
        keep: f.keep,
        had: Vec::new(),
        runs: f.runs,
        own: false,
        optional: f.absent == Absent::Ok,
    };
    Ok(Model {
        env: env.into_iter().map(env_entry).collect(),
        pgpass,
        files: files.into_iter().map(file).collect(),
        shell_file,
        backup: None,
    })
}

fn parsed(options: &Value) -> Result<Parsed, String> {
    let options = Options::deserialize(options).map_err(|e| e.to_string())?;
    let env = match options.env {
        None => Vec::new(),
        Some(list @ Value::Array(_)) => parse(&list, "env")?,
        Some(table) => vec![parse::<EnvOption>(&table, "env")?],
    };
    let pgpass = match options.pgpass {
        None => None,
        Some(list @ Value::Array(_)) => Some(PgpassOption {
            file: None,
            lines: parse(&list, "pgpass")?,
            policy: None,
            how: None,
            absent: Absent::Refuse,
        }),
        Some(table) => Some(parse(&table, "pgpass")?),
    };
    Ok(Parsed { env, pgpass, files: options.files, shell_file: options.shell_file })
}

fn pgpass_file(named: Option<String>) -> String {
    named.unwrap_or_else(|| "~/.pgpass".to_owned())
}

fn env_entry(option: EnvOption) -> EnvEntry {
    EnvEntry {
        format: option.format(),
        file: option.file,
        names: option.names,
        policy: option.policy.unwrap_or_default(),
        how: option.how,
        own: false,
        optional: option.absent == Absent::Ok,
    }
}

impl EnvOption {
    /// A file named `.env`, `.env.SOMETHING` or `SOMETHING.env` has the `.env` form unless told otherwise.
    fn format(&self) -> Format {
        let name = self.file.rsplit('/').next().unwrap_or_default();
        let dotenv = name.ends_with(".env") || name.starts_with(".env.");
        self.format.unwrap_or(if dotenv { Format::Dotenv } else { Format::Shell })
    }
}

fn parse<T: DeserializeOwned>(value: &Value, what: &str) -> Result<T, String> {
    T::deserialize(value).map_err(|e| format!("{what}: {e}"))
}

/// What the target's own profile changes: which shell file loads the variables, which `.pgpass` gets the lines, the
/// modes of whole files, more keys of them that stay or at which commands stand, and any policy that it writes out. What it says beyond that is about another machine's secrets.
pub(super) fn override_with(model: &mut Model, options: &Value) -> Result<(), String> {
    let own = parsed(options)?;
    if own.shell_file.is_some() {
        model.shell_file = own.shell_file;
    }
    for entry in &own.env {
        model.env =
            std::mem::take(&mut model.env).into_iter().flat_map(|theirs| split(theirs, entry)).collect();
    }
    if let (Some(theirs), Some(own)) = (&mut model.pgpass, own.pgpass) {
        theirs.file = pgpass_file(own.file);
        decide(&mut theirs.policy, &mut theirs.how, &mut theirs.own, &own.policy, &own.how);
    }
    for file in own.files {
        let Some(theirs) = model.files.iter_mut().find(|theirs| theirs.path == file.path) else { continue };
        theirs.mode = file.mode.or(theirs.mode);
        let how = theirs.how.clone();
        decide(&mut theirs.policy, &mut theirs.how, &mut theirs.own, &file.policy, &file.how);
        theirs.keep_more(file.keep);
        theirs.runs.extend(file.runs);
        if !theirs.keep.is_empty() && theirs.how.is_none() {
            theirs.how = how;
        }
    }
    Ok(())
}

/// `theirs` in two: the variables that `own` does not name, and those for which it decides.
fn split(mut theirs: EnvEntry, own: &EnvOption) -> Vec<EnvEntry> {
    let same_place =
        theirs.format == own.format() && (theirs.format == Format::Shell || theirs.file == own.file);
    if !same_place || own.policy.is_none() && own.how.is_none() {
        return vec![theirs];
    }
    let (named, others) = theirs.names.into_iter().partition(|name| own.names.contains(name));
    theirs.names = others;
    let mut decided = EnvEntry { names: named, ..theirs.clone() };
    decide(&mut decided.policy, &mut decided.how, &mut decided.own, &own.policy, &own.how);
    vec![theirs, decided].into_iter().filter(|entry| !entry.names.is_empty()).collect()
}

impl FileEntry {
    /// What either machine wants to stay does, as long as the bundle brings the file at all.
    fn keep_more(&mut self, more: Vec<KeyPath>) {
        let bundles = if self.policy == Policy::Copy { std::mem::take(&mut self.keep) } else { Vec::new() };
        self.keep = more;
        let covered = |key: &KeyPath, by: &[KeyPath]| by.iter().any(|own| key.keys().starts_with(own.keys()));
        let added: Vec<KeyPath> = bundles.into_iter().filter(|key| !covered(key, &self.keep)).collect();
        self.keep.retain(|own| !covered(own, &added));
        self.keep.extend(added);
        self.had.retain(|had| self.keep.contains(had));
    }
}

/// A policy that the profile writes out takes the place of the bundle's, and of its `how`.
fn decide(
    policy: &mut Policy,
    how: &mut Option<How>,
    own: &mut bool,
    new_policy: &Option<Policy>,
    new_how: &Option<How>,
) {
    if let Some(new) = new_policy {
        (*policy, *own) = (new.clone(), true);
    }
    if *policy != Policy::Reissue || new_how.is_some() {
        *how = new_how.clone();
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
    fn a_command_is_a_program_with_arguments() {
        for bad in [json!("command"), json!({ "command": "pass show x" }), json!({ "command": [] })] {
            let error = read(&json!({ "files": [{ "path": "~/.x", "policy": bad }] })).unwrap_err();
            assert!(error.contains("[\"pass\", \"show\", \"NAME\"]"), "{error}");
        }
        let two = json!({ "env": { "file": "~/x", "names": ["A", "B"], "policy": { "command": ["x"] } } });
        assert!(read(&two).unwrap().flaw().unwrap().contains("each name of ~/x needs its own"));
        let how = json!({ "files": [{ "path": "~/x", "how": "log in" }] });
        assert!(read(&how).unwrap().flaw().unwrap().contains("has a 'how'"));
    }

    #[test]
    fn a_target_decides_on_single_variables() {
        let mut model = read(&json!({
            "env": [{ "file": "~/.bashrc", "names": ["A", "B", "C"] }, { "file": "~/a.env", "names": ["B"] }],
            "files": [{ "path": "~/f", "policy": "reissue", "how": "log in" }],
        }))
        .unwrap();
        let own = json!({
            "env": [
                { "file": "~/.profile", "names": ["B", "X"], "policy": "prompt" },
                { "file": "~/.bashrc", "names": ["C"] },
            ],
            "files": [{ "path": "~/f", "mode": "640" }],
        });
        override_with(&mut model, &own).unwrap();
        let policies: Vec<_> =
            model.items().map(|item| (item.what.to_string(), item.policy.word(), item.own)).collect();
        let row = |what: &str, word, own| (what.to_owned(), word, own);
        assert_eq!(
            policies,
            [
                row("$A in ~/.bashrc", "copy", false),
                row("$C in ~/.bashrc", "copy", false),
                row("$B in ~/.bashrc", "prompt", true),
                row("$B in ~/a.env", "copy", false),
                row("~/f", "reissue", false),
            ]
        );
        assert!(model.files[0].how.is_some() && model.flaw().is_none());
        override_with(&mut model, &json!({ "files": [{ "path": "~/f", "policy": "host-bound" }] })).unwrap();
        assert!(model.files[0].how.is_none() && model.flaw().is_none());
    }

    #[test]
    fn keys_stay_if_either_machine_says_so() {
        let file = |more: Value| {
            let mut file = json!({ "path": "~/x" });
            file.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({ "files": [file] })
        };
        let flaw = |more: Value| read(&file(more)).unwrap().flaw();
        assert_eq!(flaw(json!({ "keep": ["a", "b.c"], "how": "log in" })), None);
        for (more, part) in [
            (json!({ "keep": ["a", "a"] }), "what stays at 'a' is named twice"),
            (json!({ "keep": ["a.b", "a"] }), "what stays at 'a' is named twice"),
            (json!({ "keep": ["a"], "policy": "reissue" }), "is not copied"),
            (json!({ "keep": (0..65).map(|n| n.to_string()).collect::<Vec<_>>() }), "more than 64 keys"),
        ] {
            assert!(flaw(more.clone()).is_some_and(|flaw| flaw.contains(part)), "{more}");
        }
        assert!(read(&file(json!({ "keep": ["a..b"] }))).unwrap_err().contains("joined by dots"));

        let overridden = |own: Value| {
            let mut model = read(&file(json!({ "keep": ["a", "b.c"], "how": "log in" }))).unwrap();
            model.files[0].had = model.files[0].keep.clone();
            override_with(&mut model, &file(own)).unwrap();
            assert_eq!(model.flaw(), None);
            let texts = |keys: &[KeyPath]| keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            let entry = &model.files[0];
            (texts(&entry.keep), texts(&entry.had), entry.how.is_some())
        };
        let row = |keep: &str, had: &str, how| (keep.to_owned(), had.to_owned(), how);
        assert_eq!(overridden(json!({ "mode": "640" })), row("a b.c", "a b.c", true));
        assert_eq!(overridden(json!({ "keep": ["d", "b"] })), row("d b a", "a", true));
        assert_eq!(overridden(json!({ "keep": ["a.x"], "how": "x" })), row("a b.c", "a b.c", true));
        assert_eq!(overridden(json!({ "policy": "host-bound" })), row("", "", false));
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
