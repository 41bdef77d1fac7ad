//! `init`: a first profile for what is found on this machine. It is a draft: a person reads it.

mod near;
mod text;

use crate::base::name::ComponentName;
use crate::component::{Claim, Host, Suggestion};
use crate::components::KINDS;
use crate::engine::error::Result;
use crate::engine::machine;
use crate::engine::presets::Preset;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// A profile, before it is written.
#[derive(Debug, Serialize)]
pub struct Draft {
    /// The preset that it begins with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// What was found beyond that, each a component.
    pub found: Vec<Drafted>,
    /// What was found and is left to the person: something else of the profile has its place already.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// The text.
    #[serde(skip)]
    pub text: String,
}

/// A component of a [`Draft`].
#[derive(Debug, Serialize)]
pub struct Drafted {
    /// Its name.
    pub name: ComponentName,
    /// Its kind.
    pub kind: &'static str,
    /// What it is.
    pub about: String,
}

/// What stands above a profile that begins with no preset.
const HEAD: &str = "\
# What kbpack packs of this machine. `kbpack export --dry-run` shows it; docs/PROFILE.md lists the options of each kind.

[bundle]
name = \"NAME\"

[recipients]
to = []                         # whom to encrypt to: \"age1...\" of each target; -r on the command line adds to these
";

/// Looks around in `places`, else in the home, and writes a profile that begins with `preset`.
pub fn draft(host: &Host, preset: Option<&Preset>, places: &[PathBuf]) -> Result<Draft> {
    let home = [host.home.clone()];
    let near = near::look(if places.is_empty() { &home } else { places });
    let mut text = preset.map_or_else(head, |preset| preset.text.to_owned());
    let mut names = BTreeSet::new();
    let mut claimed = BTreeSet::new();
    if let Some(preset) = preset {
        for (name, component) in preset.profile()?.components(host)? {
            claimed.extend(component.claims().unwrap_or_default());
            names.insert(name);
        }
    }
    let (mut found, mut also, mut commented) = (Vec::new(), Vec::new(), String::new());
    for kind in KINDS {
        for thing in kind.suggest(host, &near) {
            let name = free_name(&thing.name, kind.name(), &names);
            let options = Value::Object(
                thing.options.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect(),
            );
            let Ok(component) = kind.from_options(&name, &options, host) else { continue };
            let claims: Vec<Claim> = component.claims().unwrap_or_default();
            if claims.iter().all(|claim| claimed.contains(claim)) {
                continue;
            }
            if claims.iter().any(|claim| claimed.contains(claim)) {
                commented.push_str(&table(&name, kind.name(), &thing));
                also.push(thing.about);
                continue;
            }
            claimed.extend(claims);
            text.push_str(&table(&name, kind.name(), &thing));
            names.insert(name.clone());
            found.push(Drafted { name, kind: kind.name(), about: thing.about });
        }
    }
    if !also.is_empty() {
        text.push_str(
            "\n# Found too, and in part in a component above already. Add there what is missing:\n",
        );
        commented.lines().for_each(|line| {
            text.push_str(format!("# {line}").trim_end());
            text.push('\n');
        });
    }
    Ok(Draft { preset: preset.map(|preset| preset.name.clone()), found, also, text })
}

/// Called after the machine.
fn head() -> String {
    HEAD.replace("NAME", free_name(&machine::nodename(), "server", &BTreeSet::new()).as_str())
}

/// `[component.NAME]`
fn table(name: &ComponentName, kind: &str, found: &Suggestion) -> String {
    let options: String =
        found.options.iter().map(|(key, value)| format!("{key} = {}\n", text::toml(value))).collect();
    format!("\n# {}\n[component.{name}]\nkind = \"{kind}\"\n{options}", one_line(&found.about))
}

/// For a comment: names come from the machine, and may have a line's end in them.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// A name for a component, made of `wish`.
fn free_name(wish: &str, kind: &str, taken: &BTreeSet<ComponentName>) -> ComponentName {
    let plain = |c: char| match c.to_ascii_lowercase() {
        c if c.is_ascii_lowercase() || c.is_ascii_digit() => c,
        _ => '-',
    };
    let cut: String = wish.chars().map(plain).take(40).collect();
    let base = match cut.trim_matches('-') {
        "" => kind,
        name => name,
    };
    let mut number = 1;
    loop {
        let name = if number == 1 { base.to_owned() } else { format!("{base}-{number}") };
        match ComponentName::new(&name) {
            Some(name) if !taken.contains(&name) => return name,
            _ => number += 1,
        }
    }
}
