//! Secrets that try to be more than values (chapter X), sealed by a trusted signer.

use crate::kit::{attack, run, Attack, Kit, Seen};
use base64::engine::general_purpose::STANDARD;
use base64::Engine as _;
use serde_json::{json, Value};

const NAME: &str = "keys";

fn forged(
    kit: &Kit,
    name: &str,
    words: &str,
    facts: impl FnOnce(&mut Value),
    values: impl FnOnce(&mut Value),
) -> Attack {
    let mut inside = kit.inside.clone();
    facts(inside.facts(NAME));
    let mut document: Value = serde_json::from_slice(&inside.stream(NAME, "values").plain).unwrap();
    values(&mut document);
    let inside = inside.with_plain(NAME, "values", serde_json::to_vec(&document).unwrap());
    attack(name, inside.sealed(&kit.source), 6, words, Seen::ByImport)
}

#[test]
fn values() {
    let kit = Kit::new();
    let v = |name, words, change: fn(&mut Value)| forged(&kit, name, words, |_| {}, change);
    let text = |name: &str, change: &dyn Fn(String) -> Vec<u8>| {
        let plain = String::from_utf8(kit.inside.stream(NAME, "values").plain.clone()).unwrap();
        let inside = kit.inside.clone().with_plain(NAME, "values", change(plain));
        attack(name, inside.sealed(&kit.source), 6, "rule X3", Seen::ByImport)
    };
    let control = Attack { code: 0, seen: Seen::ByNone, ..v("control", "", |_| {}) };
    run(
        &kit,
        vec![
            control,
            v("values-unknown-key", "rule X3", |d| d["run"] = json!("touch pwned")),
            v("values-unknown-key-in-a-row", "rule X3", |d| d["env"][0]["run"] = json!("touch pwned")),
            v("values-missing-list", "rule X3", |d| drop(d.as_object_mut().unwrap().remove("pgpass"))),
            v("values-not-base64", "rule X3", |d| d["env"][0]["value"] = json!("sk-demo-0123456789!")),
            v("values-without-padding", "rule X3", |d| d["env"][0]["value"] = json!("YQ")),
            v("values-of-another-name", "rule X4", |d| d["env"][0]["name"] = json!("PATH")),
            v("values-name-is-a-command", "rule X4", |d| d["env"][0]["name"] = json!("A;touch pwned")),
            v("values-of-another-file", "rule X4", |d| d["env"][0]["file"] = json!("~/.profile")),
            v("values-one-more", "rule X4", |d| {
                let row = d["env"][0].clone();
                d["env"].as_array_mut().unwrap().push(row);
            }),
            v("values-one-less", "rule X4", |d| drop(d["env"].as_array_mut().unwrap().pop())),
            v("values-reordered", "rule X4", |d| d["env"].as_array_mut().unwrap().reverse()),
            v("values-file-elsewhere", "rule X4", |d| {
                d["files"][0]["path"] = json!("~/.ssh/authorized_keys")
            }),
            v("values-with-nul", "rule X4", |d| d["env"][0]["value"] = json!("YQBi")),
            v("values-too-long", "rule X4", |d| d["env"][0]["value"] = json!("QUFB".repeat(50_000))),
            text("values-repeated-key", &|t| t.replacen('{', "{\"env\":[],", 1).into()),
            text("values-deep", &|_| "[".repeat(500_000).into()),
            text("values-twice", &|t| format!("{t}{t}").into()),
            text("values-of-escapes", &|_| b"\x1b[2J\x07sk-demo-0123456789".to_vec()),
            text("values-empty", &|_| Vec::new()),
        ],
    );
}

#[test]
fn facts() {
    let kit = Kit::new();
    // A name or path that changes in facts and values alike.
    let name = |name: &str, variable: &str| {
        let change = |value: &mut Value| *value = json!(variable);
        forged(
            &kit,
            name,
            "rule X1",
            |f| change(&mut f["env"][0]["names"][0]),
            |d| change(&mut d["env"][0]["name"]),
        )
    };
    let path = |name: &str, path: &str| {
        let change = |value: &mut Value| *value = json!(path);
        forged(
            &kit,
            name,
            "rule X1",
            |f| change(&mut f["files"][0]["path"]),
            |d| change(&mut d["files"][0]["path"]),
        )
    };
    let file = |name: &str, path: &str| {
        let change = |value: &mut Value| *value = json!(path);
        let values = |d: &mut Value| {
            d["env"].as_array_mut().unwrap().iter_mut().for_each(|row| change(&mut row["file"]))
        };
        forged(&kit, name, "rule X1", |f| change(&mut f["env"][0]["file"]), values)
    };
    let mode = |name: &str, mode: &str| {
        forged(&kit, name, "rule X1", |f| f["files"][0]["mode"] = json!(mode), |_| {})
    };
    let f = |name, words, change: fn(&mut Value)| forged(&kit, name, words, change, |_| {});
    run(
        &kit,
        vec![
            name("name-is-a-command", "A;rm -rf ~"),
            name("name-is-a-substitution", "$(touch pwned)"),
            name("name-with-newline", "A\ntouch pwned\nB"),
            name("name-with-equals", "A=B"),
            name("name-begins-with-a-digit", "1A"),
            name("name-empty", ""),
            name("name-not-ascii", "Å"),
            name("name-with-escapes", "A\u{1b}[2J"),
            name("name-the-shell-keeps", "BASHOPTS"),
            name("name-too-long", &"A".repeat(201)),
            path("file-climbs", "../x"),
            path("file-relative", "x"),
            path("file-climbs-from-home", "~/../x"),
            // A path like any other, but what stands there is no file.
            Attack { code: 8, words: "not a regular file".into(), ..path("file-is-the-home", "~") },
            path("file-of-another-user", "~root/x"),
            path("file-with-nul", "~/a\0b"),
            path("file-empty", ""),
            path("file-of-escapes", "\u{1b}[2J"),
            file("env-file-relative", ".bashrc"),
            file("env-file-climbs", "~/x/../../y"),
            mode("mode-setuid", "4755"),
            mode("mode-over-777", "1600"),
            mode("mode-not-octal", "688"),
            mode("mode-unreadable", "000"),
            mode("mode-with-sign", "+60"),
            f("mode-missing", "rule X1", |f| drop(f["files"][0].as_object_mut().unwrap().remove("mode"))),
            f("mode-a-number", "rule X1", |f| f["files"][0]["mode"] = json!(600)),
            f("facts-unknown-key", "rule X1", |f| f["run"] = json!("touch pwned")),
            f("facts-null", "rule X1", |f| *f = Value::Null),
            f("facts-empty", "rule X2", |f| *f = json!({})),
            f("facts-name-twice", "rule X2", |f| f["env"][0]["names"][1] = f["env"][0]["names"][0].clone()),
            f("facts-shell-file-relative", "rule X1", |f| f["shell-file"] = json!(".profile")),
            f("facts-of-a-backup", "are those of a backup (rule X1)", |f| {
                f["backup"] = json!({"absent": ["~/app"], "times": {}, "folders": []})
            }),
            f("facts-policy-unknown", "rule X1", |f| f["files"][0]["policy"] = json!("steal")),
            f("facts-command-empty", "rule X1", |f| f["env"][0]["policy"] = json!({"command": []})),
            f("facts-command-of-a-shell", "rule X1", |f| {
                f["env"][0]["policy"] = json!({"command": "touch pwned"})
            }),
            f("facts-command-with-nul", "rule X1", |f| f["env"][0]["policy"] = json!({"command": ["a\0b"]})),
            f("facts-command-too-long", "rule X1", |f| {
                f["env"][0]["policy"] = json!({"command": ["touch", "x".repeat(5000)]})
            }),
            f("facts-command-with-options", "rule X1", |f| {
                f["env"][0]["policy"] = json!({"command": ["touch", "pwned"], "shell": true})
            }),
            f("facts-command-for-several", "rule X2", |f| {
                f["env"][0]["policy"] = json!({"command": ["touch", "pwned"]})
            }),
            f("facts-how-without-reissue", "rule X2", |f| f["files"][0]["how"] = json!("log in")),
            f("facts-how-of-two-lines", "rule X1", |f| {
                f["files"][0]["policy"] = json!("reissue");
                f["files"][0]["how"] = json!("log in\n\u{1b}[2Jand run: touch pwned")
            }),
            f("facts-pgpass-line-with-newline", "rule X1", |f| {
                f["pgpass"] = json!({"file": "~/.pgpass", "policy": "copy", "lines": ["a:1:b:c\nd"]})
            }),
        ],
    );
}

/// What the bundle says of secrets that it does not bring.
#[test]
fn policies() {
    let kit = Kit::new();
    // The stream has a value for every secret of the policy copy, and for no other.
    let file = |name, code, words: &str, policy: Value, without_value: bool| {
        let facts = |f: &mut Value| f["files"][0]["policy"] = policy;
        let values = |d: &mut Value| {
            if without_value {
                d["files"] = json!([]);
            }
        };
        Attack { code, ..forged(&kit, name, words, facts, values) }
    };
    let command = || json!({"command": ["touch", "pwned"]});
    run(
        &kit,
        vec![
            file("policy-with-a-value-all-the-same", 6, "rule X4", json!("prompt"), false),
            file("policy-copy-without-a-value", 6, "rule X4", json!("copy"), true),
            file("command-of-a-signer-who-may-not", 8, "wants to run 'touch' here", command(), true),
            file(
                "command-of-escapes",
                8,
                "wants to run '\\u{1b}[2Jsh' here",
                json!({"command": ["\u{1b}[2Jsh", "-c", "touch pwned"]}),
                true,
            ),
        ],
    );
}

/// A document of which keys are to stay on each machine.
#[test]
fn keys_that_stay() {
    let kit = Kit::new();
    let keep = |name: &str, words: &str, more: Value, document: &str| {
        let facts =
            |f: &mut Value| f["files"][0].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let value = STANDARD.encode(document);
        forged(&kit, name, words, facts, |d| d["files"][0]["value"] = json!(value))
    };
    let facts = |name: &str, words: &str, more: Value| keep(name, words, more, "{}");
    let value =
        |name: &str, document: &str| keep(name, "rule X5", json!({"keep": ["login", "a.b"]}), document);
    let control = keep("keep-control", "", json!({"keep": ["login"], "had": ["login"]}), "{\"a\": {}}");
    run(
        &kit,
        vec![
            Attack { code: 0, seen: Seen::ByNone, ..control },
            value("keep-and-bring-it", "{\"login\": {\"token\": \"planted\"}}"),
            value("keep-and-bring-it-below", "{\"a\": {\"b\": null}}"),
            value("keep-and-bring-it-escaped", "{\"log\\u0069n\": 1}"),
            value("keep-of-a-list", "[]"),
            value("keep-of-no-json", "login=planted"),
            value("keep-of-two-documents", "{}{\"login\": 1}"),
            value("keep-of-a-key-twice", "{\"c\": [{\"x\": 1, \"\\u0078\": 2}]}"),
            value("keep-of-escapes", "{\"\u{1b}[2J\": 1}"),
            value("keep-deep", &format!("{{\"c\": {}1{}}}", "[".repeat(64), "]".repeat(64))),
            value("keep-deeper", &"{\"c\":".repeat(100_000)),
            value("keep-of-commas", &format!("{{\"c\": [{}0}}", "0,".repeat(1 << 20))),
            facts("keep-path-empty", "rule X1", json!({"keep": [""]})),
            facts("keep-path-with-empty-key", "rule X1", json!({"keep": ["a..b"]})),
            facts("keep-path-of-escapes", "rule X1", json!({"keep": ["\u{1b}[2J"]})),
            facts("keep-path-odd-backslash", "rule X1", json!({"keep": ["a\\b"]})),
            facts("keep-path-too-long", "rule X1", json!({"keep": ["a".repeat(1025)]})),
            facts("keep-path-too-deep", "rule X1", json!({"keep": ["a.".repeat(16) + "a"]})),
            facts("keep-65", "rule X2", json!({"keep": (0..65).map(|n| n.to_string()).collect::<Vec<_>>()})),
            facts("runs-65", "rule X2", json!({"runs": (0..65).map(|n| n.to_string()).collect::<Vec<_>>()})),
            facts("runs-with-empty-key", "rule X1", json!({"runs": ["a..b"]})),
            facts("keep-twice", "rule X2", json!({"keep": ["a", "a"]})),
            facts("keep-inside", "rule X2", json!({"keep": ["a.b", "a"]})),
            facts("keep-had-a-stranger", "rule X2", json!({"keep": ["a"], "had": ["b"]})),
            facts("keep-had-twice", "rule X2", json!({"keep": ["a"], "had": ["a", "a"]})),
            facts("keep-had-alone", "rule X2", json!({"had": ["a"]})),
            facts("keep-of-what-is-not-copied", "rule X2", json!({"keep": ["a"], "policy": "reissue"})),
        ],
    );
}
