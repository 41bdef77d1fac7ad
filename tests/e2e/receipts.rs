//! Receipts: made by an import, carried back, verified by kbpack and by stock `ssh-keygen`, shown by `history`.

use crate::crash::injected;
use crate::support::{furnish, Home, Run, World};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A source that exported to `b.kbp`, a target that imported it, and the receipt.
struct Scene {
    world: World,
    receipt: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let world = World::new();
        furnish(&world.source);
        let bundle = world.export("b.kbp");
        let receipt = world.path("carried.receipt");
        world.import(&bundle, &["--receipt", receipt.to_str().unwrap()]).ok();
        Scene { world, receipt }
    }

    /// The source believes the target's receipts.
    fn believing() -> Self {
        let scene = Scene::new();
        let signer = signer(&scene.world.target);
        scene.world.source.kbpack(&["trust", "add", "beta", &signer, "--for", "receipts"]).ok();
        scene
    }

    fn take(&self, receipt: &Path) -> Run {
        self.world.source.kbpack(&["receipt", receipt.to_str().unwrap()])
    }

    fn receipts_in_history(&self) -> usize {
        let history = self.world.source.kbpack(&["history", "--json"]).ok().json();
        history["exports"][0]["receipts"].as_array().unwrap().len()
    }

    /// The document of the receipt.
    fn document(&self) -> String {
        let text = fs::read_to_string(&self.receipt).unwrap();
        text[..text.find("-----BEGIN").unwrap()].to_owned()
    }

    /// `document`, signed by `home`'s key with ssh-keygen, as a file called `name`.
    fn signed(&self, name: &str, document: &str, home: &Home, namespace: &str) -> PathBuf {
        let key = home.join(".config/kbpack/signing_key");
        let mut sign = Command::new("ssh-keygen");
        sign.args(["-q", "-Y", "sign", "-n", namespace, "-f"]).arg(key);
        let signature = Run::with_input(&mut sign, document.as_bytes()).ok().text();
        let path = self.world.path(name);
        fs::write(&path, format!("{document}{signature}")).unwrap();
        path
    }
}

fn signer(home: &Home) -> String {
    home.kbpack(&["keygen", "--show", "--json"]).ok().json()["signer"].as_str().unwrap().to_owned()
}

#[test]
fn a_receipt_goes_back_and_history_shows_that_the_export_restores() {
    let scene = Scene::believing();
    let before = scene.world.source.kbpack(&["history"]).ok().text();
    assert!(before.contains("small exported to") && before.contains("no receipt came back"), "{before}");

    let taken = scene.take(&scene.receipt).ok();
    assert!(taken.stderr.contains("checks passed") && taken.stderr.contains("(beta)"), "{}", taken.stderr);
    let after = scene.world.source.kbpack(&["history"]).ok().text();
    assert!(after.contains("  restored on ") && !after.contains("no receipt came back"), "{after}");
    // Twice is once.
    scene.take(&scene.receipt).ok();
    assert_eq!(scene.receipts_in_history(), 1);
    // From a pipe, too.
    let mut piped = scene.world.source.command(&["receipt", "-", "--json"]);
    let taken = Run::with_input(&mut piped, &fs::read(&scene.receipt).unwrap()).ok().json();
    assert_eq!(taken["receipt"]["whole"], true);
    assert_eq!(taken["export"]["id"], taken["receipt"]["bundle"]);
    assert_eq!(scene.receipts_in_history(), 1);
}

#[test]
fn it_stands_in_the_state_directory_tight_and_the_report_names_it() {
    let scene = Scene::new();
    let world = &scene.world;
    let report = world.import(&world.path("b.kbp"), &["--json"]).ok().json();
    let path = PathBuf::from(report["receipt"]["path"].as_str().unwrap());
    assert_eq!(path.parent().unwrap(), world.target.join(".local/state/kbpack/receipts"));
    assert_eq!(
        path.file_name().unwrap().to_str(),
        Some(&*format!("{}.receipt", &report["id"].as_str().unwrap()[..16]))
    );
    assert_eq!(world.target.mode(".local/state/kbpack/receipts"), 0o700);
    let inside = path.strip_prefix(&world.target.path).unwrap().to_str().unwrap();
    assert_eq!(world.target.mode(inside), 0o600);
    let text = fs::read_to_string(path).unwrap();
    for secret in ["sk-demo", "tok-abcdef"] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[test]
fn stock_ssh_keygen_verifies_it() {
    let scene = Scene::new();
    let world = &scene.world;
    let good = world.verify_by_ssh_keygen("receipt", &scene.receipt).ok();
    assert!(good.text().contains("Good \"kbpack-receipt\" signature for beta"), "{}", good.text());
    let changed = fs::read_to_string(&scene.receipt).unwrap().replace("\"whole\": true", "\"whole\": false");
    fs::write(world.path("changed.receipt"), changed).unwrap();
    assert_ne!(world.verify_by_ssh_keygen("receipt", &world.path("changed.receipt")).code, 0);
}

#[test]
fn who_is_not_believed() {
    let scene = Scene::new();
    let source = &scene.world.source;
    let receipt = scene.receipt.to_str().unwrap();
    // Unknown, and the command that is named makes it known.
    let refused = scene.take(&scene.receipt).fails(4, "is not known here");
    assert!(refused.stderr.contains("--for receipts"), "{}", refused.stderr);
    // Trusted for bundles only.
    let target = signer(&scene.world.target);
    source.kbpack(&["trust", "add", "beta", &target]).ok();
    let refused = scene.take(&scene.receipt).fails(4, "is not trusted for kbpack-receipt");
    let todo = refused.stderr.lines().last().unwrap().split_once("believed: kbpack ").unwrap().1.to_owned();
    assert_eq!(scene.receipts_in_history(), 0);

    let other = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    source.kbpack(&["receipt", receipt, "--trust", other]).fails(4, "that --trust names");
    let own = scene.world.target.kbpack(&["keygen", "--show", "--json"]).ok().json();
    source.kbpack(&["receipt", receipt, "--trust", own["fingerprint"].as_str().unwrap()]).ok();
    // Pinned for that run only.
    scene.take(&scene.receipt).fails(4, "is not trusted for kbpack-receipt");
    let mut typed = Command::new("bash");
    typed.args(["-c", &format!("{} {todo}", crate::support::KBPACK)]).env_clear().env("HOME", &source.path);
    Run::of(&mut typed).ok();
    scene.take(&scene.receipt).ok();
    // Believed for receipts is not trusted for bundles.
    source.kbpack(&["trust", "remove", "beta"]).ok();
    source.kbpack(&["trust", "add", "beta", &target, "--for", "receipts"]).ok();
    source.kbpack(&["verify", scene.world.path("b.kbp").to_str().unwrap()]).fails(4, "own key");
    // A revoked one is not believed, pinned or not.
    source.kbpack(&["trust", "revoke", "beta"]).ok();
    scene.take(&scene.receipt).fails(4, "revoked");
    source.kbpack(&["receipt", receipt, "--trust", own["fingerprint"].as_str().unwrap()]).fails(4, "revoked");
}

#[test]
fn every_rule_that_a_receipt_can_break() {
    let scene = Scene::believing();
    let (world, document) = (&scene.world, scene.document());
    let target = |name: &str, document: &str| scene.signed(name, document, &world.target, "kbpack-receipt");
    let written = |name: &str, bytes: &[u8]| {
        fs::write(world.path(name), bytes).unwrap();
        world.path(name)
    };
    let whole = fs::read_to_string(&scene.receipt).unwrap();
    let digits = document.find("\"sequence\": ").unwrap() + 12;
    let other_sequence = format!("{}9{}", &document[..digits], &document[digits + 1..]);
    let id = document.find("\"bundle\": \"").unwrap() + 11;
    let other_bundle = format!("{}{}{}", &document[..id], "00".repeat(32), &document[id + 64..]);
    let with = |from: &str, to: &str| {
        assert!(document.contains(from), "{from}");
        document.replacen(from, to, 1)
    };
    for (receipt, code, words) in [
        (written("a1-huge", &vec![b' '; 1024 * 1024 + 1]), 7, "(rule A1)"),
        (written("a2-no-signature", document.as_bytes()), 3, "it has no signature (rule A2)"),
        (written("a2-a-bundle", &fs::read(world.path("b.kbp")).unwrap()), 3, "(rule A2)"),
        (written("a3-changed", whole.replace("\"whole\": true", "\"whole\": 1").as_bytes()), 4, "(rule A3)"),
        (written("a3-followed", format!("{whole}\n").as_bytes()), 4, "(rule A3)"),
        (
            scene.signed("a3-of-a-bundle", &document, &world.target, "kbpack-bundle"),
            4,
            "made for kbpack-bundle, not for kbpack-receipt",
        ),
        (scene.signed("a4-by-a-stranger", &document, &world.source, "kbpack-receipt"), 4, "not known here"),
        (target("a5-unknown-key", &with("\"whole\"", "\"more\": 1,\n  \"whole\"")), 6, "A5"),
        (target("a5-repeated-key", &with("\"whole\": true", "\"whole\": true, \"whole\": true")), 6, "A5"),
        (target("a6-version", &with("kbpack-receipt 1", "kbpack-receipt 2")), 6, "(rule A6)"),
        (
            target("a6-terminal", &with("\"profile\": \"small\"", "\"profile\": \"\\u001b[2J\"")),
            6,
            "(rule A6)",
        ),
        (target("a8-no-components", &with("\"kind\": \"files\"", "\"kind\": \"FILES\"")), 6, "(rule A8)"),
        (target("a9-never-exported", &other_bundle), 8, "nothing is known here of an export"),
        (
            target("a9-other-profile", &with("\"profile\": \"small\"", "\"profile\": \"large\"")),
            4,
            "its profile",
        ),
        (target("a9-other-sequence", &other_sequence), 4, "its sequence"),
        (
            target(
                "a9-fewer-components",
                &with("\"name\": \"keys\"", "\"name\": \"locks\"")
                    .replace("\"component\": \"keys\"", "\"component\": \"locks\""),
            ),
            4,
            "list of components",
        ),
    ] {
        let run = scene.take(&receipt);
        assert_eq!(run.code, code, "{receipt:?}: {}", run.stderr);
        assert!(!run.stderr.contains('\u{1b}'), "{}", run.stderr);
        run.fails(code, words);
    }
    // A7: the colleague is believed too, but not for the target.
    let fingerprint = world.source.kbpack(&["keygen", "--show", "--json"]).ok().json()["signer"].clone();
    world
        .source
        .kbpack(&["trust", "add", "colleague", fingerprint.as_str().unwrap(), "--for", "receipts"])
        .ok();
    let forged = scene.signed("a7-in-anothers-name", &document, &world.source, "kbpack-receipt");
    scene.take(&forged).fails(4, "(rule A7)");

    assert_eq!(scene.receipts_in_history(), 0);
    scene.take(&target("good", &document)).ok();
    assert_eq!(scene.receipts_in_history(), 1);
}

#[test]
fn a_part_of_a_bundle_is_said_to_be_one() {
    let scene = Scene::believing();
    let world = &scene.world;
    let part = world.path("part.receipt");
    world.import(&world.path("b.kbp"), &["--only", "app", "--receipt", part.to_str().unwrap()]).ok();
    let taken = scene.take(&part).ok();
    assert!(taken.stderr.contains("restored in part (app) on"), "{}", taken.stderr);
}

#[test]
fn without_a_key_there_is_none_and_the_import_holds() {
    let world = World::new();
    furnish(&world.source);
    let bundle = world.export("b.kbp");
    for key in ["signing_key", "signing_key.pub"] {
        fs::remove_file(world.target.join(&format!(".config/kbpack/{key}"))).unwrap();
    }
    let copy = world.path("copy.receipt");
    world.import(&bundle, &["--receipt", copy.to_str().unwrap()]).fails(8, "signing_key");
    assert!(!world.target.join("app").exists() && !copy.exists());
    let run = world.import(&bundle, &["-v", "--no-backup"]).ok();
    assert!(run.stderr.contains("there is no receipt of this import"), "{}", run.stderr);
    assert!(run.stderr.contains("kbpack keygen"), "{}", run.stderr);
    assert!(world.target.join("app/settings.json").exists());
}

#[test]
fn what_cannot_be_written_is_a_warning_and_what_is_there_is_not_overwritten() {
    let world = World::new();
    furnish(&world.source);
    let bundle = world.export("b.kbp");
    let taken = world.target.write("taken", "mine");
    world.import(&bundle, &["--receipt", taken.to_str().unwrap()]).fails(2, "exists already");
    assert!(!world.target.join("app").exists());
    assert_eq!(world.target.read("taken"), b"mine");
    // A file where the folder should be.
    world.target.write(".local/state/kbpack/receipts", "");
    let run = world.import(&bundle, &[]).ok();
    assert!(run.stderr.contains("the import holds, but there is no receipt"), "{}", run.stderr);
    assert!(world.target.join("app/settings.json").exists());
    assert_eq!(world.target.kbpack(&["recover"]).ok().stderr, "there is nothing to recover\n");
}

#[test]
fn an_export_that_fails_is_not_remembered_and_a_damaged_memory_stops_none() {
    let world = World::new();
    furnish(&world.source);
    let bundle = world.export("b.kbp");
    world
        .source
        .kbpack(&["export", "-r", &world.recipient, "-o", bundle.to_str().unwrap()])
        .fails(2, "exists");
    // Written, remembered, and then it cannot be given its name.
    let unnamed = world.path("unnamed.kbp");
    let args = ["export", "-r", &world.recipient, "-o", unnamed.to_str().unwrap()];
    injected(&world.source, &args, "linkat", 1, "error=EIO").fails(1, "unnamed.kbp");
    let exports = || world.source.kbpack(&["history", "--json"]).json()["exports"].as_array().unwrap().len();
    assert_eq!(exports(), 1);
    let piped = Run::of(&mut world.source.command(&["export", "-r", &world.recipient, "-o", "-"])).ok();
    assert!(piped.stdout.len() > 1000);
    assert_eq!(exports(), 2);
    let dir = world.source.join(".local/state/kbpack/exports");
    let first = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).min().unwrap();
    fs::write(first, "{}").unwrap();
    world.source.kbpack(&["history"]).fails(1, "damaged");
    assert_eq!(exports(), 1);
    world.export("c.kbp");
    // But the sequences must be whole.
    world.source.write(".local/state/kbpack/exports.json", "{}x");
    world.source.kbpack(&["export", "-r", &world.recipient]).fails(4, "damaged");
}

#[test]
fn it_tells_how_the_checks_of_the_profile_went() {
    let world = World::new();
    furnish(&world.source);
    let checks = r#"
[[check]]
name = "the settings are there"
file = { path = "~/app/settings.json" }

[[check]]
name = "something nobody needs"
severity = "warn"
file = { path = "~/app/nothing" }

[[check]]
name = "a command"
command = { run = ["true"] }
"#;
    world.source.profile(&format!("{}{checks}", crate::support::PROFILE));
    let receipt = world.path("carried.receipt");
    let bundle = world.export("b.kbp");
    world.import(&bundle, &["--receipt", receipt.to_str().unwrap()]).ok();
    let text = fs::read_to_string(&receipt).unwrap();
    assert!(text.contains("\"failed\": 1") && text.contains("\"skipped\": 1"), "{text}");
    world.source.kbpack(&["trust", "add", "beta", &signer(&world.target), "--for", "receipts"]).ok();
    let taken = world.source.kbpack(&["receipt", receipt.to_str().unwrap()]).ok();
    assert!(taken.stderr.contains(", 1 failed, 1 skipped"), "{}", taken.stderr);
    // What is taken back is checked no more.
    world.target.kbpack(&["check"]).ok();
    world.target.kbpack(&["rollback", "--yes"]).ok();
    let none = world.target.kbpack(&["check"]);
    assert_ne!(none.code, 0, "{}", none.stderr);
}
