//! Components that help each other out of their places: one makes a symlink, another writes through it; and claims
//! on what is kbpack's own.

use crate::forge::Inside;
use crate::kit::{Kit, Trial};
use crate::tree::Tree;
use serde_json::{json, Value};

/// Imports `inside`, which must be refused, nothing changed.
fn refused(kit: &Kit, name: &str, inside: &Inside, code: i32, words: &str) -> Option<String> {
    let file = kit.world.path(&format!("{name}.kbp"));
    std::fs::write(&file, inside.sealed(&kit.source)).unwrap();
    let refused = Trial::of(kit, &file, &["import", "--yes"], |_| {}).refused(code, words);
    refused.err().map(|complaint| format!("{name}: {complaint}"))
}

/// The secret file goes to `path`, in facts and values alike.
fn secret_to(mut inside: Inside, path: &str) -> Inside {
    inside.facts("keys")["files"][0]["path"] = json!(path);
    let mut values: Value = serde_json::from_slice(&inside.stream("keys", "values").plain).unwrap();
    values["files"][0]["path"] = json!(path);
    inside.with_plain("keys", "values", serde_json::to_vec(&values).unwrap())
}

#[test]
fn one_links_and_the_other_writes() {
    let kit = Kit::new();
    let mut complaints = Vec::new();
    for (name, target, path) in [
        ("secret-through-a-link-into-kbpacks-own", "../.config/kbpack", "~/app/cfg/profile.toml"),
        ("secret-through-a-link-beside-the-root", "../secret", "~/app/cfg/new.txt"),
        ("secret-through-a-link-into-a-new-folder", "../secret", "~/app/cfg/a/b/new.txt"),
        ("secret-through-a-link-over-a-file", "../secret", "~/app/cfg/inner.txt"),
        ("secret-through-a-link-to-nothing", "../nowhere", "~/app/cfg/new.txt"),
        ("secret-through-a-link-to-itself", "cfg", "~/app/cfg/new.txt"),
    ] {
        let mut tree = Tree::of(&kit.inside);
        tree.move_link("cfg", target);
        complaints.extend(refused(&kit, name, &secret_to(tree.inside(), path), 9, "put back"));
    }
    // The same with a second tree: `app` makes the link, its twin has its root behind it.
    for (name, target) in [
        ("tree-through-a-link-beside-the-root", "../secret"),
        ("tree-through-a-link-into-kbpacks-own", "../.config/kbpack"),
    ] {
        let mut tree = Tree::of(&kit.inside);
        tree.move_link("cfg", target);
        let mut inside = tree.inside().with_twin("app", "twin", &kit.inside);
        inside.facts("twin")["root"] = json!("~/app/cfg/sub");
        complaints.extend(refused(&kit, name, &inside, 9, "put back"));
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn kbpacks_own() {
    let kit = Kit::new();
    let mut complaints = Vec::new();
    for path in [
        "~/.config/kbpack/trusted_signers",
        "~/.config/kbpack/profile.toml",
        "~/.config/kbpack/identity.txt",
        "~/.local/state/kbpack/signers/x.json",
        "~/.local/state/kbpack/lock",
    ] {
        let name = format!("secret-to-{}", path.replace('/', "-"));
        complaints.extend(refused(&kit, &name, &secret_to(kit.inside.clone(), path), 6, "kbpack's own"));
        let mut inside = kit.inside.clone();
        inside.facts("keys")["shell-file"] = json!(path);
        let name = format!("shell-file-is-{}", path.replace('/', "-"));
        complaints.extend(refused(&kit, &name, &inside, 6, "kbpack's own"));
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn two_claim_the_same() {
    let kit = Kit::new();
    let twin = kit.inside.clone().with_twin("app", "twin", &kit.inside);
    let file = secret_to(kit.inside.clone(), "~/app");
    let complaints = [
        refused(&kit, "two-trees-at-one-root", &twin, 6, "both claim"),
        refused(&kit, "a-secret-where-a-tree-is", &file, 6, "both claim"),
    ];
    let complaints: Vec<String> = complaints.into_iter().flatten().collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// Links that the target has inside the root lead nowhere, whatever the bundle asks for.
#[test]
fn links_of_the_target() {
    let kit = Kit::new();
    std::os::unix::fs::symlink("../secret", kit.world.target.join("app/hooks")).unwrap();
    let inner = || {
        (
            kit.world.target.read("secret/inner.txt"),
            std::fs::read_dir(kit.world.target.join("secret")).unwrap().count(),
        )
    };
    let before = inner();
    for (symlinks, code) in [("keep", 0), ("replace", 0), ("write-through", 8)] {
        let mut inside = kit.inside.clone();
        inside.facts("app")["options"]["symlinks"] = json!(symlinks);
        let file = kit.world.path(&format!("{symlinks}.kbp"));
        std::fs::write(&file, inside.sealed(&kit.source)).unwrap();
        let trial = Trial::of(&kit, &file, &["import", "--yes"], |_| {});
        assert_eq!(trial.run.code, code, "{symlinks}: {}", trial.run.stderr);
        assert_eq!(inner(), before, "{symlinks}");
        trial.manners().unwrap();
    }
}

/// What one import leaves behind must not open a way for the next: not into kbpack's own, by whatever link.
#[test]
fn links_of_an_earlier_import() {
    let mut complaints = Vec::new();
    for (link, path, code, words) in [
        ("../.config/kbpack/trusted_signers", "~/app/x", 8, "kbpack's own"),
        ("../.config/kbpack/profile.toml", "~/app/x", 8, "a symlink to nothing"),
        ("../.config/kbpack", "~/app/x/profile.toml", 6, "kbpack's own"),
        ("../.local/state/kbpack/signers", "~/app/x/mark.json", 6, "kbpack's own"),
    ] {
        let kit = Kit::new();
        let mut tree = Tree::of(&kit.inside);
        tree.move_link("x", link);
        let first = kit.world.path("first.kbp");
        std::fs::write(&first, tree.sealed(&kit.source)).unwrap();
        kit.world.import(&first, &[]).ok();
        let second = secret_to(kit.other.clone(), path).with_manifest(|m| m["sequence"] = json!(1u64 << 50));
        let file = kit.world.path("second.kbp");
        std::fs::write(&file, second.sealed(&kit.source)).unwrap();
        let trial = Trial::of(&kit, &file, &["import", "--yes", "--accept-new"], |_| {});
        let verdict = trial.refused(code, words);
        complaints.extend(verdict.err().map(|complaint| format!("{path} by {link}: {complaint}")));
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}
