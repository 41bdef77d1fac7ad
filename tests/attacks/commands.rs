//! The other commands that open a bundle refuse the same, and a refused one leaves no output.

use crate::forge::{age_header, Members};
use crate::kit::{Kit, Trial};
use serde_json::json;
use std::fs;

/// A few attacks, one a layer: name, bundle, exit code.
fn attacks(kit: &Kit) -> Vec<(&'static str, Vec<u8>, i32)> {
    let good = Members::read(&kit.bundle);
    let stream = kit.inside.stream("app", "tree/000001");
    let name = format!("s/{:06}/000001", kit.inside.number("app", "tree/000001"));
    let mut flipped = good.get(&name).to_vec();
    flipped[1000] ^= 1;
    let damaged = good.clone().with_content(&name, flipped).sealed_over(&good.sums(), &kit.source);
    let with =
        |stored: Vec<u8>| kit.inside.clone().with_stored("app", "tree/000001", stored).sealed(&kit.source);
    let short = age_header(&stream.stored) + 16 + 64 * 1024 + 16;
    let mut lying = kit.inside.clone();
    lying.entry("app", "tree/000001")["sha256"] = json!("0".repeat(64));
    let mut missing = kit.inside.clone();
    missing.manifest["components"].as_array_mut().unwrap().clear();
    vec![
        ("cut", kit.bundle[..kit.bundle.len() / 2].to_vec(), 3),
        ("damaged-part", damaged, 3),
        ("last-chunks-dropped", with(stream.stored[..short].to_vec()), 6),
        ("digest-lies", lying.sealed(&kit.source), 6),
        ("components-left-out", missing.sealed(&kit.source), 6),
        ("by-a-stranger", good.clone().sealed(&kit.stranger), 4),
        ("by-another-trusted-signer", good.sealed(&kit.colleague), 4),
    ]
}

#[test]
fn extract_and_rekey() {
    let kit = Kit::new();
    let (out, new) = (kit.world.path("out"), kit.world.path("new.kbp"));
    let mut complaints = Vec::new();
    for (name, bundle, code) in attacks(&kit) {
        let file = kit.world.path(&format!("{name}.kbp"));
        fs::write(&file, bundle).unwrap();
        let extracted = Trial::of(&kit, &file, &["extract", "-C", out.to_str().unwrap()], |command| {
            command.arg("app");
        });
        complaints.extend(extracted.refused(code, "").err().map(|e| format!("{name}: extract: {e}")));
        let files = walkdir::WalkDir::new(&out).into_iter().flatten().filter(|e| e.file_type().is_file());
        complaints.extend(files.map(|file| format!("{name}: extract: {} is left", file.path().display())));
        let command = ["rekey", "-r", &kit.world.recipient, "-o", new.to_str().unwrap()];
        let rekeyed = Trial::of(&kit, &file, &command, |_| {});
        // What is in the streams is not read: it is handed on as it was sealed.
        let seen = !matches!(name, "last-chunks-dropped" | "digest-lies");
        let verdict = if seen { rekeyed.refused(code, "") } else { rekeyed.manners() };
        complaints.extend(verdict.err().map(|e| format!("{name}: rekey: {e}")));
        assert_eq!(new.exists(), !seen, "{name}: {}", rekeyed.run.stderr);
        let _ = fs::remove_file(&new);
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// A bundle from a pipe is spooled, checked like any other, and the spool has no name.
#[test]
fn from_a_pipe() {
    let kit = Kit::new();
    let mut complaints = Vec::new();
    for (name, bundle, code) in attacks(&kit) {
        let trial = Trial::fed(&kit, &bundle, &["import", "--yes", "-"]);
        complaints.extend(trial.refused(code, "").err().map(|e| format!("{name}: {e}")));
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// With `--json`, what is wrong is a document too: one, with the exit code in it.
#[test]
fn as_a_document() {
    let kit = Kit::new();
    let mut complaints = Vec::new();
    for (name, bundle, code) in attacks(&kit) {
        let file = kit.world.path(&format!("{name}.kbp"));
        fs::write(&file, bundle).unwrap();
        let trial = Trial::of(&kit, &file, &["import", "--yes", "--json"], |_| {});
        complaints.extend(trial.refused(code, "").err().map(|e| format!("{name}: {e}")));
        let error = &trial.run.json()["error"];
        if error["exit_code"] != code || error["what"].as_str().is_none_or(str::is_empty) {
            complaints.push(format!("{name}: {error}"));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}
