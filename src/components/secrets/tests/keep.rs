//! Documents of which keys stay on each machine.

use super::super::values::Packed;
use super::*;

const SOURCE: &str = r#"{
  "numStartups": 12,
  "mcpServers": {"memory": {"env": {"API_KEY": "sk-mcp-0123456789"}, "n": 1.50}},
  "oauthAccount": {"accountUuid": "of-the-source", "accessToken": "tok-source-0123456789"},
  "userID": "id-source",
  "projects": {"/srv/a.b": {"trust": true, "session": "s-source"}}
}
"#;

fn options() -> Value {
    let keep = json!(["oauthAccount", "userID", "anonymousId", r"projects./srv/a\.b.session"]);
    json!({ "files": [{ "path": "~/.claude.json", "keep": keep, "how": "run `claude` there, and log in" }] })
}

fn packed() -> (Home, Captured, Streams) {
    let source = Home::new();
    source.put(".claude.json", SOURCE, 0o600);
    let (captured, streams) = source.capture(&options());
    (source, captured, streams)
}

fn said(plan: &Plan) -> Vec<String> {
    let todo = |todo: &Option<String>| todo.as_ref().map_or_else(String::new, |todo| format!(": {todo}"));
    plan.not_packed
        .iter()
        .map(|left| format!("{} ({}) {}{}", left.name, left.policy, left.outcome, todo(&left.todo)))
        .collect()
}

#[test]
fn what_stays_is_not_packed_and_all_else_is() {
    let (source, captured, streams) = packed();
    let document = String::from_utf8(streams.get("values")).unwrap();
    let document: Value = serde_json::from_str(&document).unwrap();
    let value: Packed = serde_json::from_value(document["files"][0]["value"].clone()).unwrap();
    let text = std::str::from_utf8(value.0.expose()).unwrap();
    assert_eq!(
        text,
        r#"{
  "numStartups": 12,
  "mcpServers": {"memory": {"env": {"API_KEY": "sk-mcp-0123456789"}, "n": 1.50}},
  "projects": {"/srv/a.b": {"trust": true}}
}
"#
    );
    let had = &captured.facts["files"][0]["had"];
    assert_eq!(*had, json!(["oauthAccount", "userID", r"projects./srv/a\.b.session"]));

    // What stays is searched for elsewhere, just as what travels.
    let secrets = source.component(&options()).unwrap().secrets().unwrap();
    let named: Vec<&str> = secrets.iter().map(|secret| secret.name.as_str()).collect();
    assert_eq!(named, ["API_KEY in ~/.claude.json", "accessToken in ~/.claude.json", "~/.claude.json"]);
}

#[test]
fn on_the_target_it_stays() {
    let (_source, Captured { facts, .. }, streams) = packed();
    let target = Home::new();
    let before = r#"{"userID":"id-target","tips":[1],"oauthAccount":{"accessToken":"tok-target"},
        "projects":{"/srv/a.b":{"session":"s-target"},"/x":{}}}"#;
    target.put(".claude.json", before, 0o640);
    let (plan, acts) = target.import(&facts, &streams);
    assert_eq!(
        target.get(".claude.json"),
        r#"{
  "numStartups": 12,
  "mcpServers": {"memory": {"env": {"API_KEY": "sk-mcp-0123456789"}, "n": 1.50}},
  "projects": {"/srv/a.b": {"trust": true,"session":"s-target"}},
  "userID":"id-target",
  "oauthAccount":{"accessToken":"tok-target"}
}
"#
    );
    assert_eq!(target.mode(".claude.json"), 0o600);
    let stays = |key: &str| format!("{key} in ~/.claude.json (keep) stays as it is on this machine");
    assert_eq!(said(&plan), ["oauthAccount", "userID", r"projects./srv/a\.b.session"].map(stays));
    let changes: Vec<_> = plan.changes.iter().map(|change| (change.kind, change.what.as_str())).collect();
    assert_eq!(
        changes,
        [(ChangeKind::Removed, "'tips' in ~/.claude.json"), (ChangeKind::Changed, "~/.claude.json")]
    );

    let component = target.arriving(&facts);
    component.undo(&target.scope(), &acts).unwrap();
    assert_eq!((target.get(".claude.json").as_str(), target.mode(".claude.json")), (before, 0o640));

    // Once it is in place, what a program changes of what stays, and the order in which it writes, is no change.
    target.import(&facts, &streams);
    let mut now: Value = serde_json::from_str(&target.get(".claude.json")).unwrap();
    now["oauthAccount"] = json!({ "accessToken": "tok-renewed" });
    now["anonymousId"] = json!("new");
    target.put(".claude.json", now.to_string(), 0o600);
    let plan = component.plan(&target.scope(), &streams).unwrap();
    assert!(plan.changes.is_empty() && plan.unchanged == 1, "{:?}", plan.changes);
    passed(&component.check(&target.scope(), &plan).unwrap());
    now["numStartups"] = json!(13);
    target.put(".claude.json", now.to_string(), 0o600);
    let plan = component.plan(&target.scope(), &streams).unwrap();
    assert_eq!(plan.changes.len(), 1);
    assert!(!component.check(&target.scope(), &plan).unwrap()[0].passed());
}

#[test]
fn commands_that_are_new_or_changed_are_named() {
    let source = Home::new();
    source.put(".claude.json", SOURCE, 0o600);
    let mut options = options();
    options["files"][0]["runs"] = json!(["mcpServers.*"]);
    let (Captured { facts, .. }, streams) = source.capture(&options);
    let target = Home::new();
    let named = |own: Option<Value>| {
        let component = SecretsKind.from_facts(&name(), &facts, own.as_ref(), &target.host).unwrap();
        component.plan(&target.scope(), &streams).unwrap().executes
    };
    let memory = "'mcpServers.memory' in ~/.claude.json (programs run what stands in it)";
    assert_eq!(named(None), [memory]);
    let more = json!({ "files": [{ "path": "~/.claude.json", "runs": ["projects.*.trust"] }] });
    assert_eq!(
        named(Some(more)),
        [memory, r"'projects./srv/a\.b.trust' in ~/.claude.json (programs run what stands in it)"]
    );
    let mut other: Value = serde_json::from_str(SOURCE).unwrap();
    other["numStartups"] = json!(13);
    target.put(".claude.json", other.to_string(), 0o600);
    assert_eq!(named(None), [""; 0]);
    other["mcpServers"]["memory"]["command"] = json!("sh");
    target.put(".claude.json", other.to_string(), 0o600);
    assert_eq!(named(None), [memory]);
    // The way back makes them run again.
    let (saved, backup) = back_up(&*target.arriving(&facts), &target.scope(), &streams);
    target.import(&facts, &streams);
    let old = SecretsKind.from_backup(&self::name(), &saved.facts, None, &target.host).unwrap();
    assert_eq!(old.plan(&target.scope(), &backup).unwrap().executes, [memory]);
    // Where it is another policy's, it may be anything.
    let fetched = json!({ "files": [{ "path": "~/.x", "policy": "prompt", "runs": ["a"] }] });
    let (Captured { facts, .. }, streams) = source.capture(&fetched);
    let plan = target.arriving(&facts).plan(&target.scope(), &streams).unwrap();
    assert_eq!(plan.executes, ["~/.x (programs run what stands in it)"]);
}

#[test]
fn where_nothing_is_it_is_made_without() {
    let (_source, Captured { facts, .. }, streams) = packed();
    let target = Home::new();
    let (plan, acts) = target.import(&facts, &streams);
    let made: Value = serde_json::from_str(&target.get(".claude.json")).unwrap();
    assert!(made.get("oauthAccount").is_none() && made["numStartups"] == 12, "{made}");
    // What the source did not have is missed by nobody, and one thing is to be done.
    let anew = "(keep) is not here, and has to be made anew";
    assert_eq!(
        said(&plan),
        [
            format!("oauthAccount in ~/.claude.json {anew}"),
            format!("userID in ~/.claude.json {anew}"),
            format!(r"projects./srv/a\.b.session in ~/.claude.json {anew}: run `claude` there, and log in"),
        ]
    );
    target.arriving(&facts).undo(&target.scope(), &acts).unwrap();
    assert!(!target.dir.path().join(".claude.json").exists());
}

#[test]
fn a_document_that_is_none() {
    let (_source, Captured { facts, .. }, streams) = packed();
    for (text, why) in [
        ("", "it is not JSON: EOF"),
        ("{'a': 1}", "it is not JSON: "),
        ("[]", "it is a list, not an object"),
        ("{\"a\": 1, \"a\": 2}", "the key \"a\" is there twice"),
    ] {
        let home = Home::new();
        home.put(".claude.json", text, 0o600);
        let refused = refusal(&home, &facts, &streams);
        assert!(
            refused.starts_with("~/.claude.json cannot be taken apart: ") && refused.contains(why),
            "{refused}"
        );
        let component = home.component(&options()).unwrap();
        let error = component.capture(&home.scope(), &Streams::default()).unwrap_err();
        assert_eq!(error.fault(), Fault::NotReady);
        assert!(error.to_string().contains(why) && error.remedy().unwrap().contains("`keep`"), "{error}");
    }
}

#[test]
fn a_target_keeps_more() {
    let (_source, Captured { facts, .. }, streams) = packed();
    let target = Home::new();
    target.put(".claude.json", r#"{"numStartups": 1, "userID": "id-target"}"#, 0o600);
    let own = json!({ "files": [{ "path": "~/.claude.json", "keep": ["numStartups", "tips"] }] });
    let component = SecretsKind.from_facts(&name(), &facts, Some(&own), &target.host).unwrap();
    target.import_as(&*component, &streams);
    let now: Value = serde_json::from_str(&target.get(".claude.json")).unwrap();
    assert_eq!((now["numStartups"].as_u64(), now["userID"].as_str()), (Some(1), Some("id-target")));
}

#[test]
fn large_documents_and_their_backups() {
    let source = Home::new();
    let history = "x".repeat(3 << 20);
    source.put(".claude.json", format!("{{\"history\":\"{history}\",\"userID\":1}}"), 0o600);
    let (captured, streams) = source.capture(&options());
    let target = Home::new();
    let before = format!("{{\"history\":\"{history}y\"}}");
    target.put(".claude.json", &before, 0o600);
    let (saved, backup) = back_up(&*target.arriving(&captured.facts), &target.scope(), &streams);
    target.import(&captured.facts, &streams);
    let old = SecretsKind.from_backup(&name(), &saved.facts, None, &target.host).unwrap();
    target.import_as(&*old, &backup);
    assert!(target.get(".claude.json") == before);

    let whole = json!({ "files": [{ "path": "~/.claude.json" }] });
    let error = source.component(&whole).unwrap().capture(&source.scope(), &Streams::default()).unwrap_err();
    assert_eq!(error.fault(), Fault::Limit);
}
