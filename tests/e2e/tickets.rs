//! Tickets: issued by a target, carried to the source, answered with a bundle for that target and that ticket alone.

use crate::crash::injected;
use crate::support::{furnish, snapshot_but_state, Home, Run, World};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A furnished source, a target that trusts it, and a ticket of the target.
struct Scene {
    world: World,
    ticket: PathBuf,
}

impl Scene {
    fn new() -> Self {
        let world = World::new();
        furnish(&world.source);
        let ticket = world.path("beta.ticket");
        world.target.kbpack(&["ticket", "-o", ticket.to_str().unwrap()]).ok();
        Scene { world, ticket }
    }

    /// The source believes the target's tickets.
    fn believing() -> Self {
        let scene = Scene::new();
        scene
            .world
            .source
            .kbpack(&["trust", "add", "beta", &signer(&scene.world.target), "--for", "tickets"])
            .ok();
        scene
    }

    /// `kbpack export --for TICKET`, and nothing to say whom it is encrypted to.
    fn answer(&self, ticket: &Path, name: &str, more: &[&str]) -> Run {
        let out = self.world.path(name);
        let mut args = vec!["export", "--for", ticket.to_str().unwrap(), "-o", out.to_str().unwrap()];
        args.extend(more);
        self.world.source.kbpack(&args)
    }

    /// The bundle that answers the ticket.
    fn bundle(&self, name: &str) -> PathBuf {
        self.answer(&self.ticket, name, &[]).ok();
        self.world.path(name)
    }

    /// The target refuses `bundle` with exit 4 and `what`, and is as before.
    #[track_caller]
    fn refused(&self, bundle: &Path, more: &[&str], what: &str) {
        let before = snapshot_but_state(&self.world.target);
        self.world.import(bundle, more).fails(4, what);
        assert_eq!(snapshot_but_state(&self.world.target), before);
    }

    /// The document of the ticket.
    fn document(&self) -> String {
        let text = fs::read_to_string(&self.ticket).unwrap();
        text[..text.find("-----BEGIN").unwrap()].to_owned()
    }

    /// The document with its field `name` (a whole line) set to `value`.
    fn with(&self, name: &str, value: serde_json::Value) -> String {
        let mut document: serde_json::Value = serde_json::from_str(&self.document()).unwrap();
        document[name] = value;
        serde_json::to_string_pretty(&document).unwrap() + "\n"
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

    fn by_target(&self, name: &str, document: &str) -> PathBuf {
        self.signed(name, document, &self.world.target, "kbpack-ticket")
    }
}

fn keys(home: &Home) -> serde_json::Value {
    home.kbpack(&["keygen", "--show", "--json"]).ok().json()
}

fn signer(home: &Home) -> String {
    keys(home)["signer"].as_str().unwrap().to_owned()
}

fn remembered(home: &Home) -> usize {
    fs::read_dir(home.join(".local/state/kbpack/tickets")).map_or(0, Iterator::count)
}

#[test]
fn a_bundle_for_a_ticket_is_encrypted_to_its_target_and_goes_there_alone() {
    let scene = Scene::believing();
    let world = &scene.world;
    let said = scene.answer(&scene.ticket, "b.kbp", &["-v"]).ok().stderr;
    assert!(said.contains(&format!("for {}", world.recipient)), "{said}");
    let host = keys(&world.target)["fingerprint"].as_str().unwrap().to_owned();
    assert!(said.contains(&format!("({host}) may import it, before ")), "{said}");
    assert!(said.contains("the home there is "), "{said}");
    let bundle = world.path("b.kbp");
    let inspected = world.target.kbpack(&["inspect", bundle.to_str().unwrap()]).ok().text();
    assert!(inspected.contains(&format!("only for  {host}, ticket ")), "{inspected}");
    assert!(world.source.kbpack(&["history"]).ok().text().contains(&format!("  only for {host}\n")));

    world.import(&bundle, &[]).ok();
    assert_eq!(world.target.read("app/settings.json"), world.source.read("app/settings.json"));
    // The same bundle as often as need be, another one never.
    world.import(&bundle, &[]).ok();
    let other = scene.bundle("other.kbp");
    scene.refused(&other, &[], "is used up: bundle ");
    scene.refused(&other, &["--allow-older"], "is used up: bundle ");
    world.import(&bundle, &["--allow-older"]).ok();
}

#[test]
fn a_bundle_for_another_machine_is_refused_and_one_for_two_machines_is_not() {
    let scene = Scene::believing();
    let world = &scene.world;
    let third = Home { path: world.path("third") };
    fs::create_dir(&third.path).unwrap();
    let recipient = third.kbpack(&["keygen", "--json"]).ok().json()["recipient"].as_str().unwrap().to_owned();
    third.kbpack(&["trust", "add", "source", &world.signer]).ok();
    let import = |bundle: &str| third.kbpack(&["import", world.path(bundle).to_str().unwrap(), "--yes"]);
    // It could open it, and it is not meant to.
    scene.answer(&scene.ticket, "b.kbp", &["-r", &recipient]).ok();
    import("b.kbp").fails(4, "the bundle is meant for another machine (SHA256:");
    assert!(!third.join("app").exists());

    let (ticket, own) = (world.path("third.ticket"), signer(&third));
    third.kbpack(&["ticket", "-o", ticket.to_str().unwrap()]).ok();
    world.source.kbpack(&["trust", "add", "third", &own, "--for", "tickets"]).ok();
    let exported =
        scene.answer(&scene.ticket, "both.kbp", &["--for", ticket.to_str().unwrap(), "--json"]).ok().json();
    assert_eq!(exported["targets"].as_array().unwrap().len(), 2);
    assert_eq!(exported["recipients"].as_array().unwrap().len(), 2);
    import("both.kbp").ok();
    world.import(&world.path("both.kbp"), &[]).ok();
}

#[test]
fn what_a_target_no_longer_remembers_it_refuses() {
    let scene = Scene::believing();
    let bundle = scene.bundle("b.kbp");
    let tickets = scene.world.target.join(".local/state/kbpack/tickets");
    scene.refused(&bundle, &["--verify-time", "20990101Z"], "a ticket of this machine that expired on ");
    let file = fs::read_dir(&tickets).unwrap().next().unwrap().unwrap().path();
    assert_eq!(scene.world.target.mode(".local/state/kbpack/tickets"), 0o700);
    let good = fs::read(&file).unwrap();
    fs::write(&file, "{}").unwrap();
    scene.refused(&bundle, &[], "what this machine remembers of the bundle's ticket is damaged");
    fs::remove_file(&file).unwrap();
    scene.refused(&bundle, &[], "a ticket that this machine does not remember");
    fs::write(&file, good).unwrap();
    scene.world.import(&bundle, &[]).ok();
    // In place once, it may come again at any time.
    scene.world.import(&bundle, &["--verify-time", "20990101Z"]).ok();
}

#[test]
fn an_import_that_does_not_hold_uses_no_ticket() {
    let scene = Scene::believing();
    let (world, first, second) = (&scene.world, scene.bundle("1.kbp"), scene.bundle("2.kbp"));
    world.import(&first, &["--dry-run"]).ok();
    // A folder where a file should be.
    fs::create_dir_all(world.target.join("app/big.bin/inside")).unwrap();
    world.import(&first, &[]).fails(8, "big.bin");
    fs::remove_dir_all(world.target.join("app")).unwrap();
    world.import(&second, &[]).ok();
    scene.refused(&first, &["--allow-older"], "is used up: bundle ");
}

#[test]
fn killed_anywhere_what_is_in_place_has_used_the_ticket_and_may_come_again() {
    let scene = Scene::believing();
    let (world, first, second) = (&scene.world, scene.bundle("1.kbp"), scene.bundle("2.kbp"));
    let args = ["import", first.to_str().unwrap(), "--yes", "--allow-older"];
    let (mut nth, mut taken_back, mut kept) = (0, 0, 0);
    loop {
        nth += 1;
        // Whatever gives a file its name: the journal's, the ticket's, the mark's, the components'.
        let run = injected(&world.target, &args, "/^rename|^linkat", nth, "signal=SIGKILL");
        if run.code == 0 {
            break;
        }
        world.target.kbpack(&["recover"]).ok();
        if world.target.join("app/settings.json").exists() {
            kept += 1;
            scene.refused(&second, &["--allow-older"], "is used up: bundle ");
            world.target.kbpack(&["rollback", "--yes"]).ok();
        } else {
            taken_back += 1;
        }
    }
    assert!(taken_back > 3 && kept > 0, "{taken_back} taken back, {kept} kept");
    scene.refused(&second, &["--allow-older"], "is used up: bundle ");
}

#[test]
fn an_expired_ticket_is_refused_on_the_source() {
    let scene = Scene::believing();
    let brief = scene.world.path("brief.ticket");
    scene.world.target.kbpack(&["ticket", "--expires", "1s", "-o", brief.to_str().unwrap()]).ok();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    scene.answer(&brief, "b.kbp", &[]).fails(4, "the ticket expired on ");
    scene.answer(&brief, "b.kbp", &["--dry-run"]).fails(4, "(rule N9)");
    assert!(!scene.world.path("b.kbp").exists());
}

#[test]
fn who_is_not_believed() {
    let scene = Scene::new();
    let source = &scene.world.source;
    let own = keys(&scene.world.target);
    let (target, fingerprint) = (own["signer"].as_str().unwrap(), own["fingerprint"].as_str().unwrap());
    let answer = |more: &[&str]| scene.answer(&scene.ticket, "b.kbp", more);
    // Unknown: the fingerprint to compare and the command that makes it known.
    let refused = answer(&[]).fails(4, fingerprint);
    assert!(refused.stderr.contains("kbpack trust add NAME 'ssh-ed25519 "), "{}", refused.stderr);
    assert!(refused.stderr.contains("--for tickets"), "{}", refused.stderr);
    answer(&["--dry-run"]).fails(4, "is not known here");
    // Trusted for bundles and receipts only.
    source.kbpack(&["trust", "add", "beta", target, "--for", "bundles", "--for", "receipts"]).ok();
    let refused = answer(&[]).fails(4, "is not trusted for kbpack-ticket");
    let todo =
        refused.stderr.lines().last().unwrap().split_once("tickets say: kbpack ").unwrap().1.to_owned();
    assert!(!scene.world.path("b.kbp").exists());

    let other = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    answer(&["--trust", other]).fails(4, "that --trust names");
    scene.answer(&scene.ticket, "pinned.kbp", &["--trust", other, "--trust", fingerprint]).ok();
    // Pinned for that run only.
    answer(&[]).fails(4, "is not trusted for kbpack-ticket");
    let mut typed = Command::new("bash");
    typed.args(["-c", &format!("{} {todo}", crate::support::KBPACK)]).env_clear().env("HOME", &source.path);
    Run::of(&mut typed).ok();
    answer(&[]).ok();
    // A revoked one is not believed, pinned or not.
    source.kbpack(&["trust", "revoke", "beta"]).ok();
    scene.answer(&scene.ticket, "c.kbp", &[]).fails(4, "revoked");
    scene.answer(&scene.ticket, "c.kbp", &["--trust", fingerprint]).fails(4, "revoked");
}

#[test]
fn every_rule_that_a_ticket_can_break() {
    use serde_json::json;
    let scene = Scene::believing();
    let (world, document) = (&scene.world, scene.document());
    let whole = fs::read_to_string(&scene.ticket).unwrap();
    let written = |name: &str, bytes: &[u8]| {
        fs::write(world.path(name), bytes).unwrap();
        world.path(name)
    };
    let with = |name: &str, field: &str, value| scene.by_target(name, &scene.with(field, value));
    let twice = document.replace("\"uid\":", "\"uid\": 1,\n  \"uid\":");
    for (ticket, code, words) in [
        (written("n1-huge", &vec![b' '; 1024 * 1024 + 1]), 7, "(rule N1)"),
        (written("n2-no-signature", document.as_bytes()), 3, "it has no signature (rule N2)"),
        (written("n3-changed", whole.replace("age1", "age2").as_bytes()), 4, "(rule N3)"),
        (written("n3-followed", format!("{whole}\n").as_bytes()), 4, "(rule N3)"),
        (
            scene.signed("n3-a-receipt", &document, &world.target, "kbpack-receipt"),
            4,
            "made for kbpack-receipt, not for kbpack-ticket",
        ),
        (scene.signed("n4-by-a-stranger", &document, &world.source, "kbpack-ticket"), 4, "not known here"),
        (with("n5-unknown-key", "has", json!([])), 6, "(rule N5)"),
        (scene.by_target("n5-repeated-key", &twice), 6, "(rule N5)"),
        (with("n5-null", "tools", json!(null)), 6, "(rule N5)"),
        (with("n6-version", "format", json!("kbpack-ticket 2")), 6, "(rule N6)"),
        (with("n6-terminal", "hostname", json!("\u{1b}[2J")), 6, "(rule N6)"),
        (with("n6-plugin", "recipient", json!("age1fake1f3suk7")), 6, "its recipient is not an age X25519"),
        (with("n6-for-ever", "expires", json!(253_402_300_800_u64)), 6, "(rule N6)"),
        (with("n8-no-path", "space", json!([{"mount": "../x", "free": 1}])), 6, "(rule N8)"),
        (with("n8-no-object", "kinds", json!({"files": 1, "secrets": {}})), 6, "(rule N8)"),
    ] {
        let run = scene.answer(&ticket, "b.kbp", &[]);
        assert_eq!(run.code, code, "{ticket:?}: {}", run.stderr);
        assert!(!run.stderr.contains('\u{1b}'), "{}", run.stderr);
        run.fails(code, words);
        assert!(!world.path("b.kbp").exists(), "{ticket:?}");
    }
    // N7: the colleague is believed too, but not for the target.
    world.source.kbpack(&["trust", "add", "colleague", &signer(&world.source), "--for", "tickets"]).ok();
    let forged = scene.signed("n7-in-anothers-name", &document, &world.source, "kbpack-ticket");
    scene.answer(&forged, "b.kbp", &[]).fails(4, "(rule N7)");
    scene.answer(&scene.by_target("good", &document), "b.kbp", &[]).ok();
}

#[test]
fn what_would_fail_on_the_target_fails_on_the_source() {
    use serde_json::json;
    let scene = Scene::believing();
    let no_secrets = scene.by_target("kinds", &scene.with("kinds", json!({"files": {}})));
    scene.answer(&no_secrets, "b.kbp", &[]).fails(8, "does not know the kind 'secrets' of component 'keys'");
    scene.answer(&no_secrets, "b.kbp", &["--dry-run"]).fails(8, "does not know the kind");
    let full = scene.by_target("space", &scene.with("space", json!([{"mount": "/", "free": 100_000}])));
    let refused = scene.answer(&full, "b.kbp", &[]).fails(8, "/ on the target has 100000 bytes free");
    assert!(refused.stderr.contains("--no-space-check"), "{}", refused.stderr);
    assert!(!scene.world.path("b.kbp").exists());
    scene.answer(&full, "small.kbp", &["--only", "keys"]).ok();
    scene.answer(&full, "all.kbp", &["--no-space-check"]).ok();
    scene.answer(&no_secrets, "app.kbp", &["--only", "app"]).ok();
}

#[test]
fn what_a_ticket_says_and_what_it_does_not() {
    let scene = Scene::new();
    let target = &scene.world.target;
    let says: serde_json::Value = serde_json::from_str(&scene.document()).unwrap();
    assert_eq!(says["recipient"], scene.world.recipient.as_str());
    assert_eq!(says["host"], keys(target)["fingerprint"]);
    assert_eq!(says["home"], target.path.canonicalize().unwrap().to_str().unwrap());
    assert_eq!(says["expires"].as_u64().unwrap() - says["issued"].as_u64().unwrap(), 30 * 86_400);
    assert!(says["kinds"]["files"].is_object() && says["kinds"]["secrets"].is_object());
    assert!(says["space"][0]["free"].as_u64().unwrap() > 0);
    let git = says["tools"].as_array().unwrap().iter().find(|tool| tool["name"] == "git");
    assert!(git.unwrap()["version"].as_str().unwrap().starts_with("git version "));
    let identity = String::from_utf8(target.read(".config/kbpack/identity.txt")).unwrap();
    assert!(!scene.document().contains(identity.lines().last().unwrap()));
    // Every ticket is another.
    let again = target.kbpack(&["ticket"]).ok().text();
    assert!(!again.contains(says["nonce"].as_str().unwrap()) && remembered(target) == 2);
}

#[test]
fn through_a_pipe_and_never_over_a_file() {
    let scene = Scene::believing();
    let (source, target) = (&scene.world.source, &scene.world.target);
    let piped = target.kbpack(&["ticket"]).ok();
    let bundle =
        Run::with_input(&mut source.command(&["export", "--for", "-", "-o", "-"]), &piped.stdout).ok();
    Run::with_input(&mut target.command(&["import", "-", "--yes"]), &bundle.stdout).ok();
    assert!(target.join("app/settings.json").exists());

    let before = (remembered(target), fs::read(&scene.ticket).unwrap());
    target.kbpack(&["ticket", "-o", scene.ticket.to_str().unwrap()]).fails(2, "exists already");
    target.kbpack(&["ticket", "-o", "no/such.ticket"]).fails(2, "no/such.ticket");
    target.kbpack(&["ticket", "--json"]).fails(2, "both want standard output");
    // What could not be given out is not remembered.
    assert_eq!((remembered(target), fs::read(&scene.ticket).unwrap()), before);
    let third = Home { path: scene.world.path("third") };
    fs::create_dir(&third.path).unwrap();
    let refused = third.kbpack(&["ticket"]).fails(8, "signing_key.pub");
    assert!(refused.stderr.contains("kbpack keygen"), "{}", refused.stderr);
}

#[test]
fn stock_ssh_keygen_verifies_it() {
    let scene = Scene::new();
    let world = &scene.world;
    let good = world.verify_by_ssh_keygen("ticket", &scene.ticket).ok();
    assert!(good.text().contains("Good \"kbpack-ticket\" signature for beta"), "{}", good.text());
    let changed = fs::read_to_string(&scene.ticket).unwrap().replace("\"uid\": ", "\"uid\": 1");
    fs::write(world.path("changed.ticket"), changed).unwrap();
    assert_ne!(world.verify_by_ssh_keygen("ticket", &world.path("changed.ticket")).code, 0);
}
