//! Manifests that lie, sealed by a trusted signer (chapters M and B).

use crate::kit::{attack, run, Attack, Kit, Seen};
use serde_json::{json, Value};

/// A manifest after `change`, refused by all who have the key.
fn changed(kit: &Kit, name: &str, words: &str, change: impl FnOnce(&mut Value)) -> Attack {
    let bundle = kit.inside.clone().with_manifest(change).sealed(&kit.source);
    attack(name, bundle, 6, words, Seen::WithKey)
}

/// A manifest's text with one thing replaced.
fn replaced(kit: &Kit, name: &str, from: &str, to: &str) -> Attack {
    let text = kit.inside.manifest_text();
    assert!(text.contains(from), "{name}: {from}");
    let bundle = kit.inside.members_saying(text.replacen(from, to, 1).as_bytes()).sealed(&kit.source);
    attack(name, bundle, 6, "rule M1", Seen::WithKey)
}

#[test]
fn values() {
    let kit = Kit::new();
    let c = |name, words, change: fn(&mut Value)| changed(&kit, name, words, change);
    run(
        &kit,
        vec![
            attack("control", kit.inside.sealed(&kit.source), 0, "", Seen::ByNone),
            c("id-of-another-bundle", "rule B2", |m| m["id"] = json!("ab".repeat(32))),
            c("format-2", "rule M2", |m| m["format"] = json!(2)),
            c("sequence-zero", "rule M2", |m| m["sequence"] = json!(0)),
            c("sequence-beyond-json", "rule M2", |m| m["sequence"] = json!(1u64 << 53)),
            c("expires-before-created", "rule M2", |m| m["expires"] = json!(1)),
            c("created-after-9999", "rule M2", |m| m["created"] = json!(u64::MAX)),
            c("profile-with-escapes", "rule M3", |m| m["profile"] = json!("\u{1b}[2J")),
            c("profile-empty", "rule M3", |m| m["profile"] = json!("")),
            c("host-with-newline", "rule M3", |m| m["origin"]["host"] = json!("a\nerror: b")),
            c("user-of-300-bytes", "rule M3", |m| m["origin"]["user"] = json!("u".repeat(300))),
            c("origin-signer-is-none", "rule M3", |m| m["origin"]["signer"] = json!("SHA256:me")),
            c("target-with-escapes", "rule M4", |m| m["targets"] = json!([{"host": "\u{9b}31m"}])),
            c("target-nonce-short", "rule M4", |m| m["targets"] = json!([{"host": "b", "nonce": "00"}])),
            c("component-name-with-escapes", "rule M1", |m| m["components"][0]["name"] = json!("\u{1b}[2J")),
            c("component-name-climbs", "rule M1", |m| m["components"][0]["name"] = json!("../x")),
            c("component-name-twice", "rule M5", |m| {
                m["components"][1]["name"] = m["components"][0]["name"].clone()
            }),
            c("kind-with-escapes", "rule M5", |m| m["components"][0]["kind"] = json!("\u{1b}[2J")),
            c("stream-name-climbs", "rule M1", |m| m["components"][0]["streams"][0]["name"] = json!("../x")),
            c("stream-name-twice", "rule M6", |m| {
                m["components"][0]["streams"][1]["name"] = m["components"][0]["streams"][0]["name"].clone()
            }),
            c("stream-number-twice", "rule M6", |m| {
                m["components"][0]["streams"][1]["number"] =
                    m["components"][0]["streams"][0]["number"].clone()
            }),
            c("stream-number-zero", "rule M6", |m| m["components"][0]["streams"][0]["number"] = json!(0)),
            c("stream-number-of-the-manifest", "rule M6", |m| {
                m["components"][0]["streams"][0]["number"] = json!(999)
            }),
            c("stream-left-out", "rule", |m| {
                drop(m["components"][0]["streams"].as_array_mut().unwrap().pop())
            }),
            c("all-components-left-out", "rule B5", |m| m["components"] = json!([])),
            c("stored-size-larger", "rule B5", |m| {
                m["components"][0]["streams"][0]["stored_size"] = json!(1_000_000)
            }),
            c("stored-size-beyond-json", "rule M6", |m| {
                m["components"][0]["streams"][0]["stored_size"] = json!(u64::MAX)
            }),
            c("size-beyond-json", "rule M6", |m| m["components"][0]["streams"][0]["size"] = json!(u64::MAX)),
            c("sizes-together-beyond-json", "rule M6", |m| {
                let streams = m["components"][0]["streams"].as_array_mut().unwrap();
                streams.iter_mut().for_each(|stream| stream["size"] = json!(1u64 << 52));
            }),
            attack(
                "unknown-kind",
                kit.inside
                    .clone()
                    .with_manifest(|m| m["components"][0]["kind"] = json!("kernel-module"))
                    .sealed(&kit.source),
                6,
                "kernel-module",
                Seen::ByImport,
            ),
            // For people only: after a change of recipients it is another's. Nothing is decided by it.
            attack(
                "origin-signer-of-another",
                kit.inside
                    .clone()
                    .with_manifest(|m| m["origin"]["signer"] = json!(format!("SHA256:{}", "A".repeat(43))))
                    .sealed(&kit.source),
                0,
                "",
                Seen::ByNone,
            ),
        ],
    );
}

#[test]
fn checks() {
    let kit = Kit::new();
    let with = |name: &str, words: &str, checks: Value| changed(&kit, name, words, |m| m["checks"] = checks);
    let one = |name: &str, words: &str, kind: &str, probe: Value| {
        with(name, words, json!([{"name": "x", kind: probe}]))
    };
    let head = |name: &str, words: &str, field: &str, value: Value| {
        let mut check = json!({"name": "x", "tcp": {"address": "localhost:1"}});
        check[field] = value;
        with(name, words, json!([check]))
    };
    let http = |name: &str, words: &str, field: &str, value: Value| {
        let mut probe = json!({"url": "http://localhost:1/"});
        probe[field] = value;
        one(name, words, "http", probe)
    };
    let sql = |name: &str, words: &str, field: &str, value: Value| {
        let mut probe = json!({"url": "postgresql:///x", "query": "SELECT 1", "equals": "1"});
        probe[field] = value;
        one(name, words, "sql", probe)
    };
    let about = |name: &str, field: &str, value: Value| {
        let mut probe = json!({"file": "~/app/settings.json", "exists": true});
        probe[field] = value;
        one(name, "rule M8", "json", probe)
    };
    let env = |n: usize| json!({"name": n.to_string(), "env": {"name": "HOME"}});
    let long = || json!("x".repeat(4097));
    let made = |name: &str, code, words: &str, seen, kind: &str, probe: Value| {
        let bundle = kit.inside.clone().with_manifest(|m| m["checks"] = json!([{"name": "x", kind: probe}]));
        attack(name, bundle.sealed(&kit.source), code, words, seen)
    };
    run(
        &kit,
        vec![
            with("checks-empty", "rule M1", json!([])),
            with("checks-null", "rule M1", Value::Null),
            with("checks-no-kind", "rule M1", json!([{"name": "x"}])),
            with(
                "checks-two-kinds",
                "rule M1",
                json!([{"name": "x", "env": {"name": "A"}, "tcp": {"address": "a:1"}}]),
            ),
            one("check-of-unknown-kind", "rule M1", "exec", json!("id")),
            one("check-with-unknown-key", "rule M1", "command", json!({"run": ["id"], "shell": true})),
            head("check-severity-unknown", "rule M1", "severity", json!("none")),
            with("checks-257", "rule M7", (0..257).map(env).collect()),
            with("checks-of-one-name", "rule M7", json!([env(1), env(1)])),
            head("check-name-with-escapes", "rule M7", "name", json!("\u{1b}[2J")),
            head("check-name-empty", "rule M7", "name", json!("")),
            head("check-timeout-zero", "rule M7", "timeout", json!(0)),
            head("check-timeout-hours", "rule M7", "timeout", json!(86_400)),
            head("check-retry-for-hours", "rule M7", "retry-for", json!(u64::MAX)),
            with(
                "check-retry-of-what-cannot-be-retried",
                "rule M7",
                json!([{"name": "x", "retry-for": 1, "env": {"name": "A"}}]),
            ),
            one("check-run-empty", "rule M8", "command", json!({"run": []})),
            one("check-run-with-nul", "rule M8", "command", json!({"run": ["id", "a\u{0}b"]})),
            one("check-run-long", "rule M8", "command", json!({"run": ["x".repeat(4097)]})),
            one("check-run-of-65-words", "rule M8", "command", json!({"run": vec!["x"; 65]})),
            one("check-directory-climbs", "rule M8", "command", json!({"run": ["id"], "directory": "~/.."})),
            http("check-url-of-another-scheme", "rule M8", "url", json!("file:///etc/passwd")),
            http("check-https-url-with-a-user", "rule M8", "url", json!("https://localhost@192.0.2.1/")),
            http("check-url-with-a-user", "rule M8", "url", json!("http://localhost@192.0.2.1/")),
            http("check-url-with-blanks", "rule M8", "url", json!("http://localhost/ HTTP/1.1")),
            http("check-header-that-splits", "rule M8", "header", json!({"A": "b\r\nHost: c"})),
            http("check-header-name-that-splits", "rule M8", "header", json!({"A: b\r\nC": "d"})),
            http("check-header-dollar", "rule M8", "header", json!({"A": "${B}"})),
            http("check-header-open-secret", "rule M8", "header", json!({"Authorization": "Bearer abc"})),
            http("check-body-of-a-get", "rule M8", "body", json!("x")),
            http("check-json-of-a-list", "rule M8", "json", json!({"a": [1]})),
            http("check-status-0", "rule M8", "status", json!(0)),
            sql("check-sql-password", "rule M8", "url", json!("postgresql://u:secret@localhost/x")),
            sql("check-sql-password-parameter", "rule M8", "url", json!("postgresql:///x?password=secret")),
            sql("check-sql-of-another-scheme", "rule M8", "url", json!("http://localhost/")),
            sql("check-sql-long", "rule M8", "query", long()),
            sql("check-sql-compared-twice", "rule M8", "recorded", json!(true)),
            sql("check-sql-source-value-too-much", "rule M8", "source-value", json!("1")),
            one(
                "check-version-without-the-source's",
                "rule M8",
                "version",
                json!({"run": ["id"], "equal-to-source": true}),
            ),
            one("check-file-relative", "rule M8", "file", json!({"path": "x"})),
            one("check-file-climbs", "rule M8", "file", json!({"path": "/tmp/../etc"})),
            one(
                "check-file-absent-with-mode",
                "rule M8",
                "file",
                json!({"path": "/x", "exists": false, "mode": "600"}),
            ),
            one(
                "check-file-absent-both-ways",
                "rule M8",
                "file",
                json!({"path": "/x", "exists": true, "absent": "ok"}),
            ),
            one("check-file-absent-unknown", "rule M1", "file", json!({"path": "/x", "absent": "maybe"})),
            about("check-json-file-relative", "file", json!("x.json")),
            about("check-json-file-climbs", "file", json!("~/../root/x.json")),
            about("check-json-key-empty", "key", json!("a..b")),
            about("check-json-key-of-escapes", "key", json!("\u{1b}[2J")),
            about("check-json-key-too-deep", "key", json!("a.".repeat(16) + "a")),
            about("check-json-asked-twice", "equals", json!("x")),
            about("check-json-where-without-count", "where", json!(true)),
            about("check-json-counts-whether-it-exists", "count", json!(true)),
            about("check-json-source-value-too-much", "source-value", json!("1")),
            one("check-json-equals-a-list", "rule M8", "json", json!({"file": "~/x", "equals": [1]})),
            one(
                "check-json-source-value-that-is-no-json",
                "rule M8",
                "json",
                json!({"file": "~/x", "equal-to-source": true, "source-value": "\u{1b}[2J"}),
            ),
            one(
                "check-json-source-value-of-a-list",
                "rule M8",
                "json",
                json!({"file": "~/x", "equal-to-source": true, "source-value": "[1]"}),
            ),
            one(
                "check-json-unknown-key",
                "rule M1",
                "json",
                json!({"file": "~/x", "exists": true, "run": ["id"]}),
            ),
            one("check-env-name", "rule M8", "env", json!({"name": "A=B"})),
            one("check-tcp-empty", "rule M8", "tcp", json!({"address": ""})),
            made(
                "check-pattern-broken",
                6,
                "stdout-matches is not a regular expression",
                Seen::ByImport,
                "command",
                json!({"run": ["id"], "stdout-matches": "("}),
            ),
            made(
                "check-pattern-that-swells",
                6,
                "stdout-matches is not a regular expression",
                Seen::ByImport,
                "command",
                json!({"run": ["id"], "stdout-matches": "((a{1000}){1000}){1000}"}),
            ),
            made(
                "check-tcp-without-port",
                6,
                "is not HOST:PORT",
                Seen::ByImport,
                "tcp",
                json!({"address": "localhost"}),
            ),
            made(
                "check-sql-two-servers",
                6,
                "it names more than one host",
                Seen::ByImport,
                "sql",
                json!({"url": "postgresql://localhost,192.0.2.1/x", "query": "SELECT 1", "equals": "1"}),
            ),
            // Not run, for its signer may not have commands run; shown, and safely.
            made(
                "check-command-with-escapes",
                0,
                "",
                Seen::ByNone,
                "command",
                json!({"run": ["touch", "\u{1b}[2J\u{202e}pwned"]}),
            ),
        ],
    );
    assert!(!kit.world.target.path.join("\u{1b}[2J\u{202e}pwned").exists());
}

/// What is left to a person is copied into a shell by hand: nothing in it may be hidden.
#[test]
fn todos() {
    let kit = Kit::new();
    let with = |name: &str, words: &str, todos: Value| changed(&kit, name, words, |m| m["todos"] = todos);
    let one = |name: &str, words: &str, field: &str, value: Value| {
        let mut todo = json!({"text": "a unit", "run": ["touch pwned"]});
        todo[field] = value;
        with(name, words, json!([todo]))
    };
    let good = |name: &str, todo: Value| {
        let bundle = kit.inside.clone().with_manifest(|m| m["todos"] = json!([todo]));
        attack(name, bundle.sealed(&kit.source), 0, "", Seen::ByNone)
    };
    let many: Vec<Value> = (0..65).map(|n| json!({"text": n.to_string()})).collect();
    run(
        &kit,
        vec![
            with("todos-empty", "rule M1", json!([])),
            with("todos-null", "rule M1", Value::Null),
            with("todos-of-text", "rule M1", json!(["touch pwned"])),
            with("todo-without-text", "rule M1", json!([{"run": ["touch pwned"]}])),
            one("todo-run-of-text", "rule M1", "run", json!("touch pwned")),
            one("todo-run-empty", "rule M1", "run", json!([])),
            one("todo-with-unknown-key", "rule M1", "user", json!("root")),
            one("todo-unless-command", "rule M1", "unless", json!({"command": ["touch", "pwned"]})),
            one("todo-unless-two", "rule M1", "unless", json!({"program": "sh", "path": "/"})),
            one("todo-unless-elsewhere", "rule M1", "unless", json!({"port": "192.0.2.1:80"})),
            one("todo-unless-port-beyond", "rule M1", "unless", json!({"port": 65536})),
            with("todos-65", "rule M10", json!(many)),
            with("todos-twice", "rule M10", json!([{"text": "a"}, {"text": "a"}])),
            one("todo-text-empty", "rule M10", "text", json!("")),
            one("todo-text-long", "rule M10", "text", json!("x".repeat(256))),
            one("todo-text-with-escapes", "rule M10", "text", json!("\u{1b}[2J")),
            one("todo-run-with-escapes", "rule M10", "run", json!(["touch \u{1b}[8mpwned"])),
            one("todo-run-with-line-end", "rule M10", "run", json!(["true\ntouch pwned"])),
            one("todo-run-with-return", "rule M10", "run", json!(["touch pwned; true\rls"])),
            one("todo-run-turned", "rule M10", "run", json!(["ls \u{202e}dewp hcuot;"])),
            one("todo-run-unseen", "rule M10", "run", json!(["ls\u{200b}"])),
            one("todo-run-long", "rule M10", "run", json!(["x".repeat(1025)])),
            one("todo-run-of-65-lines", "rule M10", "run", json!(vec!["x"; 65])),
            one("todo-unless-program-climbs", "rule M10", "unless", json!({"program": "../sh"})),
            one("todo-unless-path-climbs", "rule M10", "unless", json!({"path": "~/../x"})),
            // Good ones: shown, and safely, and never run.
            good("todo-with-commands", json!({"text": "a unit", "run": ["touch pwned", "$(touch pwned)"]})),
            good("todo-text-turned", json!({"text": "\u{202e}tinu a"})),
        ],
    );
    assert!(!kit.world.target.join("pwned").exists());
}

#[test]
fn hooks() {
    let kit = Kit::new();
    let with = |name: &str, words: &str, hooks: Value| changed(&kit, name, words, |m| m["hooks"] = hooks);
    let one = |name: &str, words: &str, field: &str, value: Value| {
        let mut hook = json!({"stage": "after-commit", "run": ["touch", "pwned"]});
        hook[field] = value;
        with(name, words, json!([hook]))
    };
    let made = |name: &str, code, words: &str, seen, hook: Value| {
        let bundle = kit.inside.clone().with_manifest(|m| m["hooks"] = json!([hook]));
        attack(name, bundle.sealed(&kit.source), code, words, seen)
    };
    let variables = (0..65).map(|n| (format!("A{n}"), json!(""))).collect::<serde_json::Map<_, _>>();
    run(
        &kit,
        vec![
            with("hooks-empty", "rule M1", json!([])),
            with("hooks-null", "rule M1", Value::Null),
            with("hooks-of-text", "rule M1", json!(["touch pwned"])),
            with("hook-without-stage", "rule M1", json!([{"run": ["touch", "pwned"]}])),
            with("hook-without-run", "rule M1", json!([{"stage": "quiesce"}])),
            one("hook-of-unknown-stage", "rule M1", "stage", json!("before-trust")),
            one("hook-run-of-text", "rule M1", "run", json!("touch pwned")),
            one("hook-with-unknown-key", "rule M1", "user", json!("root")),
            one("hook-where-unknown", "rule M1", "where", json!("everywhere")),
            one("hook-shell-of-text", "rule M1", "shell", json!("/bin/bash")),
            one("hook-directory-null", "rule M1", "directory", Value::Null),
            with(
                "hooks-65",
                "rule M9",
                json!(vec![json!({"stage": "quiesce", "run": ["touch", "pwned"]}); 65]),
            ),
            one("hook-for-the-source", "rule M9", "where", json!("target")),
            one("hook-run-empty", "rule M9", "run", json!([])),
            one("hook-run-of-no-program", "rule M9", "run", json!(["", "pwned"])),
            one("hook-run-with-nul", "rule M9", "run", json!(["touch", "pwned\u{0}x"])),
            one("hook-run-long", "rule M9", "run", json!(["x".repeat(4097)])),
            one("hook-run-of-65-words", "rule M9", "run", json!(vec!["x"; 65])),
            one("hook-shell-of-two-words", "rule M9", "shell", json!(true)),
            one("hook-directory-climbs", "rule M9", "directory", json!("~/../x")),
            one("hook-directory-relative", "rule M9", "directory", json!("app")),
            one("hook-env-name", "rule M9", "env", json!({"A=B": "x"})),
            one("hook-env-with-nul", "rule M9", "env", json!({"A": "x\u{0}"})),
            one("hook-env-of-65", "rule M9", "env", json!(variables)),
            one("hook-timeout-zero", "rule M9", "timeout", json!(0)),
            one("hook-timeout-hours", "rule M9", "timeout", json!(3601)),
            one("hook-timeout-beyond", "rule M9", "timeout", json!(u64::MAX)),
            with(
                "hook-severity-of-a-resume",
                "rule M9",
                json!([{"stage": "resume", "run": ["touch", "pwned"], "severity": "error"}]),
            ),
            // A good bundle of a signer who may not have commands run: shown, and safely, and refused.
            made(
                "hook-with-escapes",
                8,
                "its signer may not have commands run",
                Seen::ByImport,
                json!({"stage": "quiesce", "run": ["touch", "\u{1b}[2J\u{202e}pwned"], "directory": "~/app", "env": {"A": "\u{1b}"}}),
            ),
            one("hook-optional-of-text", "rule M1", "optional", json!("yes")),
            // One that the target may go without: it does.
            made(
                "hook-optional",
                0,
                "",
                Seen::ByNone,
                json!({"stage": "after-commit", "run": ["touch", "pwned"], "optional": true}),
            ),
            made(
                "hook-of-a-shell",
                8,
                "its signer may not have commands run",
                Seen::ByImport,
                json!({"stage": "rollback", "run": ["touch pwned"], "shell": true}),
            ),
        ],
    );
    let pwned = |name: &str| kit.world.target.path.join(name).exists();
    assert!(!pwned("pwned") && !pwned("\u{1b}[2J\u{202e}pwned") && !pwned("app/\u{1b}[2J\u{202e}pwned"));
}

#[test]
fn streams_that_are_not_as_it_says() {
    let kit = Kit::new();
    let lying = |name: &str, words: &str, field: &str, value: Value| {
        let mut inside = kit.inside.clone();
        inside.entry("app", "index")[field] = value;
        attack(name, inside.sealed(&kit.source), 6, words, Seen::InStreams)
    };
    let size = kit.inside.stream("app", "index").plain.len();
    let zeros = json!("0".repeat(64));
    run(
        &kit,
        vec![
            lying("size-smaller", "rule T6", "size", json!(size - 1)),
            lying("size-zero", "rule T6", "size", json!(0)),
            lying("size-larger", "rule B5", "size", json!(size + 1)),
            lying("size-absurd", "rule B5", "size", json!(1u64 << 52)),
            lying("digest-of-something-else", "rule B5", "sha256", zeros.clone()),
            lying("stored-digest-of-something-else", "rule B5", "stored_sha256", zeros),
        ],
    );
}

#[test]
fn json() {
    let kit = Kit::new();
    let text = kit.inside.manifest_text();
    let says = |name: &str, bytes: &[u8]| {
        attack(name, kit.inside.members_saying(bytes).sealed(&kit.source), 6, "rule M1", Seen::WithKey)
    };
    let r = |name, from, to: &str| replaced(&kit, name, from, to);
    let nested = |n: usize| format!("\"format\": 1, \"facts\": {}{}", "[".repeat(n), "]".repeat(n));
    let in_facts = |name, n: usize| {
        r(name, "\"facts\": {", &format!("\"facts\": {{\"x\": {}{},", "[".repeat(n), "]".repeat(n)))
    };
    let id = format!("\"{}\"", kit.inside.id);
    let upper = id.to_uppercase();
    run(
        &kit,
        vec![
            says("json-empty", b""),
            says("json-not", b"\x1b[2J\x07"),
            says("json-not-utf8", b"{\"format\": \"\xff\"}"),
            says("json-with-bom", format!("\u{feff}{text}").as_bytes()),
            says("json-twice", format!("{text}{text}").as_bytes()),
            says("json-and-nul", format!("{text}\0").as_bytes()),
            says("json-array", format!("[{text}]").as_bytes()),
            says("json-deep", "[".repeat(1_000_000).as_bytes()),
            r("json-deep-unknown", "\"format\": 1", &nested(100_000)),
            in_facts("json-deep-facts", 20),
            in_facts("json-very-deep-facts", 500_000),
            r("json-unknown-key", "\"format\": 1", "\"format\": 1, \"exec\": \"touch pwned\""),
            r("json-unknown-key-with-escapes", "\"format\": 1", "\"format\": 1, \"\\u001b[2J\": 1"),
            r("json-unknown-key-in-a-stream", "\"number\"", "\"path\": \"/etc\", \"number\""),
            r("json-repeated-key", "\"format\": 1", "\"format\": 1, \"format\": 1"),
            r("json-repeated-id", "\"format\": 1", &format!("\"id\": {id}, \"format\": 1")),
            r("json-repeated-key-by-escape", "\"format\": 1", "\"format\": 1, \"f\\u006frmat\": 1"),
            r("json-repeated-key-in-facts", "\"facts\": {", "\"facts\": {\"x\": 1, \"x\": 1, "),
            r("json-missing-key", "\"format\": 1,", ""),
            r("json-null-for-absent", "\"format\": 1", "\"expires\": null, \"format\": 1"),
            r("json-float", "\"format\": 1", "\"format\": 1.0"),
            r("json-exponent", "\"format\": 1", "\"format\": 1e0"),
            r("json-text-for-number", "\"format\": 1", "\"format\": \"1\""),
            r("json-negative", "\"format\": 1", "\"format\": -1"),
            r("json-comment", "\"format\": 1", "/* */ \"format\": 1"),
            r("json-id-in-upper-case", &id, &upper),
        ],
    );
}

/// Some mebibytes of JSON, packed to some kibibytes, that would be many times as much in memory.
#[test]
fn json_that_swells() {
    let kit = Kit::new();
    let numbers = format!("\"facts\": {{\"x\": [{}0],", "0,".repeat(2_100_000));
    let text = kit.inside.manifest_text().replacen("\"facts\": {", &numbers, 1);
    let bundle = kit.inside.members_saying(text.as_bytes()).sealed(&kit.source);
    run(&kit, vec![attack("json-of-numbers", bundle, 6, "more than 2000000 values", Seen::WithKey)]);
}

/// What takes time or stack by its number, its depth or its length.
#[test]
fn too_much_of_it() {
    let kit = Kit::new();
    let nested = |n: usize, depth: usize| {
        let root = format!("~/x{}", "/a".repeat(depth));
        let options = json!({"mode": "overlay", "symlinks": "keep", "one-filesystem": false});
        let facts = json!({"root": root, "state": "absent", "entries": 0, "bytes": 0, "options": options});
        json!({"name": format!("c{n}"), "kind": "files", "streams": [], "facts": facts})
    };
    let components = |name: &str, more: usize, words: &str, seen| {
        let list = (0..more).map(|n| nested(n, more - n));
        let inside =
            kit.inside.clone().with_manifest(|m| m["components"].as_array_mut().unwrap().extend(list));
        attack(name, inside.sealed(&kit.source), 6, words, seen)
    };
    let exclude = |name: &str, patterns: Vec<String>| {
        let mut inside = kit.inside.clone();
        inside.facts("app")["options"]["exclude"] = json!(patterns);
        attack(name, inside.sealed(&kit.source), 6, "rule F1", Seen::ByImport)
    };
    run(
        &kit,
        vec![
            components("components-257", 255, "rule M5", Seen::WithKey),
            components("components-nested", 254, "rule F1", Seen::ByImport),
            exclude("patterns-100000", (0..100_000).map(|n| format!("a{n}")).collect()),
            exclude("pattern-long", vec!["{a,b}*".repeat(100_000)]),
            exclude("pattern-deep", vec![format!("{}a{}", "{".repeat(100_000), "}".repeat(100_000))]),
            exclude("pattern-as-deep-as-may-be", vec![format!("{}a{}", "{".repeat(511), "}".repeat(511))]),
            exclude("pattern-broken", vec!["[a".to_owned(), "a{".to_owned()]),
            exclude("pattern-of-two-lines", vec!["a\nb".to_owned()]),
        ],
    );
}
