//! Secrets that are not copied: the suite, and what a target's profile or an edit does to them.

use super::*;
use crate::component::Nobody;

/// The kind's subject with policies mixed in: of each kind of secret some travel and some do not.
struct Policies;

impl Subject for Policies {
    fn kind(&self) -> &'static dyn Kind {
        &SecretsKind
    }
    fn options(&self, host: &Host) -> Value {
        let mut options = Keys.options(host);
        let more = [
            json!({ "file": "~/.bashrc", "names": ["GEMINI_API_KEY"], "policy": "prompt" }),
            json!({ "file": "~/.bashrc", "names": ["BASE_BRANCH"], "policy": { "command": ["echo", "ma in"] } }),
            json!({ "file": "~/.bashrc", "names": ["NOT_HERE"], "policy": "reissue" }),
            json!({ "file": "~/app/.env", "names": ["FETCHED"], "policy": { "command": ["echo", "it's"] } }),
            json!({ "file": "~/app/.env", "names": ["PINNED"], "policy": "host-bound" }),
        ];
        options["env"].as_array_mut().unwrap().extend(more);
        options["pgpass"] = json!({ "lines": ["localhost:1:claude_memory:claude_mcp"], "policy": "prompt" });
        let files = [
            json!({ "path": "~/printed", "mode": "640", "policy": { "command": ["printf", "a\\nb\\n"] } }),
            json!({ "path": "~/login.json", "policy": "reissue", "how": "log in" }),
            json!({ "path": "~/machine-id", "policy": "host-bound" }),
            json!({ "path": "~/state.json", "keep": ["login", "ids.machine"], "how": "log in" }),
        ];
        options["files"].as_array_mut().unwrap().extend(files);
        options
    }
    fn furnish(&self, host: &Host, state: State) {
        Keys.furnish(host, state);
        let at = |path: &str| host.home.join(path);
        put(&host.home, "machine-id", format!("{state:?}"), 0o600);
        if state == State::Source {
            put(&host.home, "login.json", "the source's", 0o600);
            put(&host.home, "printed", "a\nb\n", 0o640);
            // The facts say which of the keys were there; so that they are the same again, none is.
            put(&host.home, "state.json", r#"{ "n": 1.50, "ids": {"user": "ada"} }"#, 0o600);
        } else {
            put(&host.home, "state.json", r#"{"ids":{},"own":true}"#, 0o640);
            let env = fs::read_to_string(at("app/.env")).unwrap();
            put(&host.home, "app/.env", env + "FETCHED=before\nPINNED=to-this-machine\n", 0o600);
        }
    }
    fn edit(&self, host: &Host) {
        Keys.edit(host);
    }
}

#[test]
fn it_passes_the_suite_with_policies() {
    suite(&Policies);
}

fn facts(policy: Value) -> Value {
    json!({ "files": [{ "path": "~/token", "policy": policy }] })
}

fn none() -> Streams {
    let mut streams = Streams::default();
    streams.set("values", br#"{"env":[],"pgpass":[],"files":[]}"#.to_vec());
    streams
}

#[test]
fn an_edit_between_plan_and_preparation_is_noticed() {
    let home = Home::new();
    home.put("app.env", "A=1\n", 0o600);
    let entry = json!({ "file": "~/app.env", "format": "dotenv", "names": ["NEW"], "policy": "prompt" });
    let component = home.arriving(&json!({ "env": [entry] }));
    let mut plan = component.plan(&home.scope(), &none()).unwrap();
    home.put("app.env", "A=2\n", 0o600);
    let error = component.prepare(&home.scope(), &mut plan, &none()).unwrap_err();
    assert!(error.to_string().ends_with("app.env was edited since the plan"), "{error}");
    assert_eq!(home.get("app.env"), "A=2\n");
}

#[test]
fn an_open_plan_is_neither_backed_up_nor_staged() {
    let home = Home::new();
    let component = home.arriving(&facts(json!("prompt")));
    let plan = component.plan(&home.scope(), &none()).unwrap();
    assert!(component.stage(&home.scope(), &plan, &none()).is_err());
    assert!(component.back_up(&home.scope(), &plan, &Streams::default()).is_err());
    // What is in place can be looked at: it is there or not.
    let command = home.arriving(&facts(json!({ "command": ["echo", "x"] })));
    let looked_at = |there: bool| {
        let plan = command.plan(&home.scope(), &none()).unwrap();
        let results = command.check(&home.scope(), &plan).unwrap();
        assert!(results[0].name.contains("not compared"), "{results:?}");
        assert_eq!(results[0].failure.is_none(), there);
    };
    looked_at(false);
    home.put("token", "whatever", 0o600);
    looked_at(true);
}

#[test]
fn what_is_there_is_not_asked_for_again() {
    let home = Home::new();
    home.put("token", "old", 0o600);
    let unasked = Scope { ask: &Nobody, ..home.scope() };
    let component = home.arriving(&facts(json!("prompt")));
    let mut plan = component.plan(&unasked, &none()).unwrap();
    component.prepare(&unasked, &mut plan, &none()).unwrap();
    assert!(plan.changes.is_empty() && plan.not_packed[0].outcome.contains("stays"), "{:?}", plan.not_packed);
    assert_eq!(plan.not_packed[0].key.as_deref(), Some("FILE_token"));
}

#[test]
fn a_value_that_does_not_fit_is_refused() {
    let home = Home::new();
    let line = |script| {
        json!({ "pgpass": {
        "file": "~/.pgpass", "lines": ["h:1:d:u"], "policy": { "command": ["printf", script] },
    } })
    };
    let prepared = |script| {
        let component = home.arriving(&line(script));
        let mut plan = component.plan(&home.scope(), &none()).unwrap();
        component.prepare(&home.scope(), &mut plan, &none())
    };
    let error = prepared("sk-demo\\nmore").unwrap_err();
    assert!(error.to_string().contains("it is more than one line") && error.fault() == Fault::NotReady);
    assert!(!error.to_string().contains("demo"));
    prepared("one line\\n").unwrap();
}

#[test]
fn a_targets_profile_decides_on_the_policy() {
    let home = Home::new();
    let arriving = |policy: Value, own: Value| {
        SecretsKind.from_facts(&name(), &facts(policy), Some(&json!({ "files": [own] })), &home.host)
    };
    let own = |policy: Value| json!({ "path": "~/token", "policy": policy });
    let error = arriving(json!("reissue"), own(json!("copy"))).err().unwrap();
    assert!(error.to_string().contains("does not bring ~/token") && error.fault() == Fault::Usage, "{error}");

    let theirs = arriving(json!({ "command": ["true"] }), json!({ "path": "~/token" })).unwrap();
    assert_eq!(theirs.plan(&home.scope(), &none()).unwrap().commands, [["true"]]);
    let ours = arriving(json!("prompt"), own(json!({ "command": ["echo", "x"] }))).unwrap();
    let plan = ours.plan(&home.scope(), &none()).unwrap();
    assert!(plan.commands.is_empty() && plan.executes[0].starts_with("echo x (once"), "{:?}", plan.executes);

    let untouched = arriving(json!("prompt"), own(json!("host-bound"))).unwrap();
    let plan = untouched.plan(&home.scope(), &none()).unwrap();
    assert!(plan.changes.is_empty() && plan.destinations.is_empty());
    assert_eq!(untouched.claims().unwrap(), [Claim::Path(home.host.home.join("token"))]);
}

/// A variable of an earlier import under another policy stays in the file that others go to.
#[test]
fn what_is_made_anew_is_left_alone() {
    let home = Home::new();
    home.put(".bashrc", "", 0o600);
    home.import(&json!({ "env": [entry(&["OLD", "NEW"], "prompt")] }), &none());
    let facts = json!({ "env": [entry(&["NEW"], "prompt"), entry(&["OLD"], "reissue"), entry(&["NONE"], "reissue")] });
    let (plan, _) = home.import(&facts, &none());
    let env = home.get(".config/kbpack-env/keys/env.sh");
    assert!(env.contains("export OLD='told OLD'") && env.contains("export NEW="), "{env}");
    let todo: Vec<_> = plan.not_packed.iter().map(|n| n.todo.is_some()).collect();
    assert_eq!(todo, [false, false, true]);
    // With nothing to bring, nothing is touched.
    let before = home.state();
    let (plan, acts) = home.import(&json!({ "env": [entry(&["OLD"], "reissue")] }), &none());
    assert!(plan.destinations.is_empty() && acts.is_empty());
    assert_eq!(home.state(), before);
}

fn entry(names: &[&str], policy: &str) -> Value {
    json!({ "file": "~/.bashrc", "format": "shell", "names": names, "policy": policy })
}
