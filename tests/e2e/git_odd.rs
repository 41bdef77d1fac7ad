//! Repositories with what is rare in them, stock git and ssh-keygen as the oracles.

use crate::git::{files, git, git_args, git_command, refs, sound, zoo, PROFILE};
use crate::support::{Run, World};
use std::fs;
use std::path::Path;
use std::process::Command;

fn empty_world() -> World {
    let world = World::new();
    world.source.profile(PROFILE);
    world
}

fn arrives(world: &World) {
    let _ = fs::remove_file(world.path("b.kbp"));
    world.import(&world.export("b.kbp"), &[]).ok();
    let (source, target) = (world.source.join("code"), world.target.join("code"));
    assert_eq!((refs(&target), files(&target)), (refs(&source), files(&source)));
    sound(&target);
}

#[test]
fn a_signed_tag_and_a_signed_commit_can_be_verified_on_the_target() {
    let world = empty_world();
    let (source, target) = (world.source.join("code"), world.target.join("code"));
    zoo(&source);
    let key = world.path("key");
    let made =
        Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status().unwrap();
    assert!(made.success());
    let public = fs::read_to_string(world.path("key.pub")).unwrap();
    let signers = world.path("signers");
    fs::write(&signers, format!("ada@example.com {public}")).unwrap();
    let signing = |dir: &Path, args: &[&str]| {
        let mut command = git_command(dir);
        command.args(["-c", "gpg.format=ssh", "-c", &format!("user.signingKey={}", key.display())]);
        command.args(["-c", &format!("gpg.ssh.allowedSignersFile={}", signers.display())]).args(args);
        Run::of(&mut command)
    };
    signing(&source, &["commit", "-q", "--allow-empty", "-S", "-m", "signed"]).ok();
    signing(&source, &["tag", "-s", "-m", "signed", "v2"]).ok();
    arrives(&world);
    for dir in [&source, &target] {
        let said = signing(dir, &["verify-tag", "v2"]).ok();
        assert!(said.stderr.contains("Good \"git\" signature"), "{}", said.stderr);
        signing(dir, &["verify-commit", "HEAD"]).ok();
    }
    assert_eq!(git(&target, "cat-file tag v2"), git(&source, "cat-file tag v2"));
}

#[test]
fn objects_packed_loose_and_packed_twice() {
    let world = empty_world();
    let source = world.source.join("code");
    zoo(&source);
    git(&source, "gc -q");
    git(&source, "repack -q -a -d --max-pack-size=1m");
    fs::write(source.join("loose"), "loose\n").unwrap();
    git(&source, "add -A");
    git(&source, "commit -q -m loose");
    git(&source, "repack -q");
    git(&source, "branch -q unpacked HEAD~1");
    fs::write(source.join("loose"), "again\n").unwrap();
    git(&source, "commit -q -a -m again");
    git(&source, "commit-graph write --reachable");
    git(&source, "multi-pack-index write");
    arrives(&world);
}

#[test]
fn a_large_file() {
    let world = empty_world();
    let source = world.source.join("code");
    zoo(&source);
    let mut bytes = vec![0u8; 100 << 20];
    for (n, chunk) in bytes.chunks_mut(4096).enumerate() {
        chunk[..8].copy_from_slice(&(n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    }
    fs::write(source.join("large"), &bytes).unwrap();
    git(&source, "add -A");
    git(&source, "commit -q -m large");
    arrives(&world);
    // A second one, much like it, is a delta of nothing.
    bytes[0] = 1;
    fs::write(source.join("large"), &bytes).unwrap();
    git(&source, "commit -q -a -m changed");
    arrives(&world);
}

#[test]
fn a_reftable_is_refused() {
    let world = empty_world();
    let source = world.source.join("code");
    let export = || {
        let out = world.path("b.kbp");
        world.source.kbpack(&["export", "-r", &world.recipient, "-o", out.to_str().unwrap()])
    };
    // As git 2.45 and later make one; an older git knows no such option.
    fs::create_dir_all(&source).unwrap();
    let made = Run::of(git_command(&source).args(["init", "-q", "--ref-format=reftable"]));
    if made.code == 0 {
        git(&source, "commit -q --allow-empty -m x");
        export().fails(8, "refs are kept in a reftable");
        fs::remove_dir_all(&source).unwrap();
        fs::create_dir(&source).unwrap();
    }
    git(&source, "init -q");
    git(&source, "config core.repositoryFormatVersion 1");
    git_args(&source, &["config", "extensions.refStorage", "reftable"]);
    export().fails(8, "refs are kept in a reftable");
    assert!(!world.path("b.kbp").exists());
}

#[test]
fn trees_as_old_tools_wrote_them_arrive() {
    let world = empty_world();
    let source = world.source.join("code");
    zoo(&source);
    // A mode with a zero before it and one that only old gits wrote.
    let blob = git(&source, "rev-parse HEAD:a.txt");
    let raw = |hex: &str| -> Vec<u8> {
        (0..20).map(|n| u8::from_str_radix(&hex[2 * n..2 * n + 2], 16).unwrap()).collect()
    };
    let entry =
        |mode: &str, name: &str, id: &str| [mode.as_bytes(), b" ", name.as_bytes(), b"\0", &raw(id)].concat();
    let object = |kind: &str, bytes: &[u8]| {
        let mut command = git_command(&source);
        command.args(["hash-object", "-w", "-t", kind, "--literally", "--stdin"]);
        Run::with_input(&mut command, bytes).ok().text().trim().to_owned()
    };
    let inner = object("tree", &entry("100664", "f", blob.trim()));
    let tree = object("tree", &[entry("100644", "a", blob.trim()), entry("040000", "sub", &inner)].concat());
    let commit = git_args(&source, &["commit-tree", "-m", "old", &tree]);
    git_args(&source, &["branch", "old", commit.trim()]);
    world.import(&world.export("b.kbp"), &[]).ok();
    assert_eq!(refs(&world.target.join("code")), refs(&source));
    git(&world.target.join("code"), "fsck");
}
