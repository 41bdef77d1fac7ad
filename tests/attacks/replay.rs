//! Bundles that are right in themselves but not for this machine at this time (chapter R), and known destinations.

use crate::forge::Inside;
use crate::kit::{attack, run, Attack, Kit, Seen};
use serde_json::{json, Value};

fn with(
    kit: &Kit,
    inside: &Inside,
    name: &str,
    code: i32,
    words: &str,
    change: impl FnOnce(&mut Value),
) -> Attack {
    let seen = if code == 0 { Seen::ByNone } else { Seen::ByImport };
    attack(name, inside.clone().with_manifest(change).sealed(&kit.source), code, words, seen)
}

#[test]
fn not_here_and_not_now() {
    let kit = Kit::new();
    let own = kit.world.target.read(".config/kbpack/signing_key.pub");
    let own = ssh_key::PublicKey::from_openssh(String::from_utf8(own).unwrap().trim()).unwrap();
    let own = own.fingerprint(ssh_key::HashAlg::Sha256).to_string();
    let ticket = kit.world.target.kbpack(&["ticket"]).ok().text();
    let issued = ticket.split("\"nonce\": \"").nth(1).unwrap()[..64].to_owned();
    let w =
        |name, code, words, change: &dyn Fn(&mut Value)| with(&kit, &kit.inside, name, code, words, change);
    run(
        &kit,
        vec![
            w("expired", 4, "expired on", &|m| {
                m["created"] = json!(1);
                m["expires"] = json!(2);
            }),
            w("for-another-machine", 4, "meant for another machine", &|m| {
                m["targets"] = json!([{"host": "beta"}])
            }),
            w("for-a-machine-that-turns-the-text", 4, "meant for another machine", &|m| {
                m["targets"] = json!([{"host": "\u{202e}ateb\u{2066}"}])
            }),
            w("for-a-ticket-that-was-never-made", 4, "that this machine does not remember", &|m| {
                m["targets"] = json!([{"host": own, "nonce": "00".repeat(32)}])
            }),
            w(
                "for-anothers-ticket-besides",
                4,
                "that this machine does not remember",
                &|m| m["targets"] = json!([{"host": "beta"}, {"host": own, "nonce": format!("{}{}", &issued[32..], &issued[..32])}]),
            ),
            w("for-our-ticket-under-anothers-name", 4, "meant for another machine", &|m| {
                m["targets"] = json!([{"host": "beta", "nonce": issued}])
            }),
            w("control-for-our-ticket", 0, "", &|m| {
                m["targets"] =
                    json!([{"host": own, "nonce": "00".repeat(32)}, {"host": own, "nonce": issued}])
            }),
            w("control-for-this-machine", 0, "", &|m| {
                m["targets"] = json!([{"host": "beta"}, {"host": own}])
            }),
        ],
    );
}

#[test]
fn older_than_what_was_applied() {
    let kit = Kit::new();
    kit.world.import(&kit.world.path("good.kbp"), &[]).ok();
    let applied = kit.inside.manifest["sequence"].as_u64().unwrap();
    let w = |inside, name, words, change: &dyn Fn(&mut Value)| with(&kit, inside, name, 4, words, change);
    let mut elsewhere = kit.other.clone();
    elsewhere.facts("app")["root"] = json!("~/.ssh");
    run(
        &kit,
        vec![
            w(&kit.other, "older-sequence", "was applied already", &|m| m["sequence"] = json!(applied - 1)),
            w(&kit.other, "sequence-one", "was applied already", &|m| m["sequence"] = json!(1)),
            w(&kit.other, "same-sequence-in-another-bundle", "was applied already", &|m| {
                m["sequence"] = json!(applied)
            }),
            w(&elsewhere, "a-destination-that-is-new", "where no earlier one", &|_| {}),
            with(&kit, &kit.inside, "control-the-same-again", 0, "", |_| {}),
            with(&kit, &kit.other, "control-newer", 0, "", |_| {}),
        ],
    );
}
