//! A document of which keys stay on each machine, with stock Python as the judge; and checks of what stands in one.

use crate::support::{snapshot_but_times_of_folders, Home, Run, World};
use std::process::Command;

/// What is in no bundle.
const STAYS: [&str; 3] = ["tok-source-0123456789", "uuid-source-0123456789", "id-source-0123456789"];
const MCP: &str = "sk-mcp-0123456789";

const PROFILE: &str = r#"
[bundle]
name = "claude"

[component.config]
kind = "files"
path = "~/.claude"

[component.login]
kind = "secrets"
files = [
    { path = "~/.claude.json", keep = ["oauthAccount", "userID"], mode = "600", how = "run `claude` there, and log in" },
]

[[check]]
name = "as many plugins as on the source"
severity = "warn"
json = { file = "~/.claude/settings.json", key = "enabledPlugins", count = true, where = true, equal-to-source = true }

[[check]]
name = "the memory server is there"
json = { file = "~/.claude.json", key = "mcpServers.memory.args.1", equals = "2.0" }
"#;

fn furnish(source: &Home) {
    let [token, account, id] = STAYS;
    source.write(
        ".claude.json",
        format!(
            r#"{{
  "userID": "{id}",
  "numStartups": 7,
  "cost": 1.2300,
  "big": 12345678901234567890123,
  "mcpServers": {{
    "memory": {{ "command": "python3", "args": ["-m", "2.0"], "env": {{ "API_KEY": "{MCP}" }} }}
  }},
  "oauthAccount": {{ "accountUuid": "{account}", "accessToken": "{token}" }},
  "ä\n": "\u00e4\ud83d\ude00"
}}
"#
        ),
    );
    source.chmod(".claude.json", 0o600);
    let plugins = r#"{"enabledPlugins": {"a@m": true, "b@m": false, "c@m": true}}"#;
    source.write(".claude/settings.json", plugins);
    source.profile(PROFILE);
}

/// What Python makes of the file with `code`, in which it is `d`.
fn python(home: &Home, code: &str) -> String {
    let program = format!("import json\nd = json.load(open('.claude.json'))\nprint({code})");
    let mut command = Command::new("python3");
    Run::of(command.args(["-c", &program]).current_dir(&home.path)).ok().text().trim().to_owned()
}

#[test]
fn keys_stay_and_all_else_moves() {
    let world = World::new();
    let (source, target) = (&world.source, &world.target);
    furnish(source);
    let survey = source.kbpack(&["export", "--dry-run"]).ok().text();
    assert!(
        survey.contains(
            "oauthAccount in ~/.claude.json (keep) is not packed: it stays on each machine as it is there"
        ),
        "{survey}"
    );
    source.chmod(".claude.json", 0o644);
    let bundle = world.export("b.kbp");
    let place = bundle.to_str().unwrap();
    source.kbpack(&["status", "--exit-code"]).ok();

    // It is in the bundle nowhere, but for the names.
    let out = world.path("out");
    target.kbpack(&["extract", place, "login", "-C", out.to_str().unwrap()]).ok();
    let values = std::fs::read_to_string(out.join("login/values")).unwrap();
    let values: serde_json::Value = serde_json::from_str(&values).unwrap();
    let packed = Run::with_input(
        Command::new("base64").arg("-d"),
        values["files"][0]["value"].as_str().unwrap().as_bytes(),
    );
    let packed = packed.ok().text();
    assert!(packed.contains(MCP) && packed.contains("12345678901234567890123"), "{packed}");
    for secret in STAYS {
        assert!(!packed.contains(secret), "{packed}");
    }
    let shown = target.kbpack(&["inspect", place]).ok().text();
    assert!(shown.contains("without userID in ~/.claude.json (keep): it stays on each machine"), "{shown}");

    // Onto nothing: made without, and what is to be done is said.
    let first = world.import(&bundle, &[]).ok().stderr;
    assert!(
        first.contains("oauthAccount in ~/.claude.json (keep): it is not here, and has to be made anew"),
        "{first}"
    );
    assert_eq!(first.matches("\n      todo: run `claude` there, and log in").count(), 1, "{first}");
    assert_eq!(target.mode(".claude.json"), 0o600);
    let keys = python(target, "' '.join(d)");
    assert_eq!(keys, "numStartups cost big mcpServers ä");
    assert_eq!(python(target, "d['cost'], d['big'], d['ä\\n']"), "1.23 12345678901234567890123 ä😀");

    // Onto a login of its own, which is written in another way.
    let before = r#"{"oauthAccount": {"accessToken": "tok-target"}, "mcpServers": {"own": {}}, "tips": 3, "userID": "t"}"#;
    target.write(".claude.json", before);
    target.chmod(".claude.json", 0o640);
    let untouched = snapshot_but_times_of_folders(target);
    let plan = target.kbpack(&["import", place, "--dry-run"]).ok().text();
    assert!(
        plan.contains(
            "not in the bundle: oauthAccount in ~/.claude.json (keep): it stays as it is on this machine"
        ),
        "{plan}"
    );
    assert!(plan.contains("- 'tips' in ~/.claude.json"), "{plan}");
    world.import(&bundle, &[]).ok();
    assert_eq!(python(target, "d['oauthAccount']['accessToken'], d['userID']"), "tok-target t");
    assert_eq!(python(target, "list(d['mcpServers']), 'tips' in d"), "['memory'] False");
    let text = String::from_utf8(target.read(".claude.json")).unwrap();
    assert!(text.contains("  \"cost\": 1.2300,\n") && text.contains(r#""\u00e4\ud83d\ude00""#), "{text}");
    for secret in STAYS {
        assert!(!text.contains(secret), "{text}");
    }

    // Again: nothing to do; also after a program has written it in its own way, and logged in anew.
    let again = "json.dump({**d, 'oauthAccount': {'accessToken': 'renewed'}}, open('.claude.json', 'w'), indent=1, sort_keys=True)";
    python(target, again);
    let check = target.kbpack(&["check", place]).ok().text();
    target.kbpack(&["diff", "--exit-code", place]).ok();
    assert!(check.contains("✓ login: ") && check.contains("✓ as many plugins"), "{check}");
    let plan = target.kbpack(&["import", place, "--dry-run"]).ok().text();
    assert!(!plan.contains(" ~ ~/.claude.json"), "{plan}");

    // A rollback puts the file back, and keeps what was edited since.
    target.kbpack(&["rollback", "--yes"]).ok();
    assert_eq!(target.read(".claude.json"), before.as_bytes());
    let kept: Vec<_> = std::fs::read_dir(&target.path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with(".claude.json.kbpack-kept-"))
        .collect();
    assert_eq!(kept.len(), 1);
    std::fs::remove_file(target.join(&kept[0])).unwrap();

    // A check that fails undoes it.
    target.profile(
        "[[check]]\nname = \"never\"\njson = { file = \"~/.claude.json\", key = \"tips\", exists = true }\n",
    );
    world.import(&bundle, &[]).fails(9, "the check 'never' failed: there is no tips");
    std::fs::remove_file(target.join(".config/kbpack/profile.toml")).unwrap();
    assert_eq!(snapshot_but_times_of_folders(target), untouched);
}

#[test]
fn documents_that_are_none_and_plugins_that_are_missing() {
    let world = World::new();
    let (source, target) = (&world.source, &world.target);
    furnish(source);
    let bundle = world.export("b.kbp");
    let out = world.path("odd.kbp");
    for (text, why) in [
        ("{", "it is not JSON: EOF"),
        ("[]", "it is a list"),
        (r#"{"a":1,"a":2}"#, "the key \"a\" is there twice"),
    ] {
        target.write(".claude.json", text);
        target.chmod(".claude.json", 0o600);
        let before = snapshot_but_times_of_folders(target);
        world.import(&bundle, &[]).fails(8, "");
        let refused = world.import(&bundle, &[]).stderr;
        assert!(
            refused.contains("~/.claude.json cannot be taken apart: ") && refused.contains(why),
            "{refused}"
        );
        assert_eq!(snapshot_but_times_of_folders(target), before);
        source.write(".claude.json", text);
        let export = ["export", "-r", &world.recipient, "-o", out.to_str().unwrap()];
        source.kbpack(&export).fails(8, "~/.claude.json cannot be taken apart: ");
        assert!(!out.exists());
    }
    std::fs::remove_file(target.join(".claude.json")).unwrap();
    world.import(&bundle, &[]).ok();
    let fewer = r#"{"enabledPlugins": {"a@m": true, "b@m": true, "c@m": true}}"#;
    target.write(".claude/settings.json", fewer);
    let table = target.kbpack(&["check"]).ok().text();
    assert!(table.contains("! as many plugins as on the source  it has 3 that are true, not 2"), "{table}");
}
