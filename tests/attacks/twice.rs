//! A medium that returns other bytes the second time (rule B6). The bundle is changed while a plugin is asked for
//! its key: after every digest was compared, before anything was used.

use crate::forge::span;
use crate::kit::{Kit, Trial};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A recipient of the plugin: bech32 of the prefix `age1fake` and no data.
const RECIPIENT: &str = "age1fake1f3suk7";

/// A plugin whose stanza is the file key itself.
fn plugin(bin: &Path, before_the_answer: &str) {
    let script = format!(
        "#!/bin/sh
while read -r line; do
  case $line in
    '-> wrap-file-key' | '-> recipient-stanza '*) read -r key ;;
    '-> done') break ;;
  esac
done
read -r line
case $1 in
  *recipient*) printf '%b' \"-> recipient-stanza 0 fake\\n$key\\n-> done\\n\\n\" ;;
  *) {before_the_answer}; printf '%b' \"-> file-key 0\\n$key\\n-> done\\n\\n\" ;;
esac
read -r line
read -r line
"
    );
    let path = bin.join("age-plugin-fake");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn bytes_that_change_after_they_were_checked() {
    let kit = Kit::new();
    let bin = kit.world.path("bin");
    fs::create_dir(&bin).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    plugin(&bin, "true");
    let mut inside = kit.inside.clone();
    inside.key_files = vec![encrypted(&path, &inside.key_text)];
    let good = inside.sealed(&kit.source);
    let identity = kit.world.path("fake.txt");
    let line = age::plugin::Identity::default_for_plugin("fake").unwrap();
    fs::write(&identity, format!("{line}\n")).unwrap();
    fs::set_permissions(&identity, fs::Permissions::from_mode(0o600)).unwrap();

    let bundle = kit.world.path("changing.kbp");
    let at = |name: &str| format!("{}", span(&good, name).content.start + 1000);
    let flip = |at: String| {
        format!("printf '\\007' | dd of={} bs=1 seek={at} conv=notrunc 2>/dev/null", bundle.display())
    };
    let part = |stream: usize| format!("s/{stream:06}/000001");
    let (tree, manifest) = (part(inside.number("app", "tree/000001")), part(inside.streams.len() + 1));
    let other: PathBuf = kit.world.path("other.kbp");
    let mut complaints = Vec::new();
    for (name, change, code) in [
        ("control", "true".to_owned(), 0),
        ("a part of a stream", flip(at(&tree)), 3),
        ("the manifest", flip(at(&manifest)), 3),
        ("the end", format!("truncate -s {} {}", at(&tree), bundle.display()), 3),
        ("all of it", format!("cat {} > {}", other.display(), bundle.display()), 3),
    ] {
        plugin(&bin, &change);
        for command in [&["verify", "--deep"][..], &["import", "--yes"]] {
            fs::write(&bundle, &good).unwrap();
            let command = [command, &["-i", identity.to_str().unwrap()]].concat();
            let trial = Trial::of(&kit, &bundle, &command, |process| {
                process.env("PATH", &path);
            });
            let verdict = match (trial.run.code, code) {
                (0, 0) => trial.manners(),
                _ => trial.refused(code, ""),
            };
            complaints.extend(verdict.err().map(|e| format!("{name}: {}: {e}", command[0])));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// What the stock age makes of `text` for the plugin.
fn encrypted(path: &str, text: &str) -> Vec<u8> {
    let mut age = Command::new("age");
    age.args(["-r", RECIPIENT]).env("PATH", path).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = age.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    output.stdout
}
