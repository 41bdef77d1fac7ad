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
