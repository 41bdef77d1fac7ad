//! What stock tools make of the shards.

use super::world::*;
use serde_json::json;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

/// Extracts all shards, in order, with GNU tar.
fn untar(streams: &Streams, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for name in streams.names().iter().filter(|name| name.starts_with("tree/")) {
        let shard = to.with_extension("tar");
        std::fs::write(&shard, streams.get(name)).unwrap();
        let args =
            ["--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf", shard.to_str().unwrap(), "-C"];
        let args = [&args[..], &[to.to_str().unwrap()]].concat();
        let said = run("tar", &args);
        // A time before 1970 is right, and surprises tar.
        let surprised = said.lines().filter(|line| !line.contains("implausibly old")).collect::<String>();
        assert_eq!(surprised, "", "{name}");
    }
}

#[test]
fn gnu_tar_extracts_the_same_tree() {
    let world = World::new();
    rich(&world.src(""));
    let (streams, _) = world.capture();
    let to = world.host.home.join("untarred");
    untar(&streams, &to);
    touch(&to, 1, 0);
    touch(world.src(""), 1, 0);
    chmod(&to, 0o755);
    chmod(world.src(""), 0o755);
    let said = run(
        "rsync",
        &[
            "-aHAXn",
            "--checksum",
            "--delete",
            "--itemize-changes",
            &format!("{}/", world.src("").display()),
            &format!("{}/", to.display()),
        ],
    );
    assert_eq!(said, "");
    assert_eq!(snapshot(&to), snapshot(&world.src("")));
    use std::os::unix::fs::MetadataExt;
    assert!(std::fs::metadata(to.join("sparse")).unwrap().blocks() < 1000, "the holes were filled");
}

#[test]
fn rsync_sees_no_difference_after_an_import() {
    let world = World::new();
    rich(&world.src(""));
    world.import();
    let said = run(
        "rsync",
        &[
            "-aHAXn",
            "--checksum",
            "--delete",
            "--itemize-changes",
            &format!("{}/", world.src("").display()),
            &format!("{}/", world.dst("").display()),
        ],
    );
    assert_eq!(said, "");
    use std::os::unix::fs::MetadataExt;
    assert!(std::fs::metadata(world.dst("sparse")).unwrap().blocks() < 1000, "the holes were filled");
}

#[test]
fn a_sparse_file_of_nine_gigabytes() {
    use std::os::unix::fs::{FileExt, MetadataExt};
    let world = World::new();
    let file = File::create(world.src("huge")).unwrap();
    file.write_all_at(b"end", (9 << 30) - 3).unwrap();
    let (streams, captured) = world.capture();
    assert!(streams.get("tree/000001").len() < 100_000);
    untar(&streams, &world.host.home.join("untarred"));
    assert_eq!(std::fs::metadata(world.host.home.join("untarred/huge")).unwrap().len(), 9 << 30);
    world.job(streams, &captured.facts).unwrap().run().unwrap();
    let meta = std::fs::metadata(world.dst("huge")).unwrap();
    assert_eq!(meta.len(), 9 << 30);
    assert!(meta.blocks() < 1000);
    let mut end = [0; 4];
    File::open(world.dst("huge")).unwrap().read_exact_at(&mut end, (9 << 30) - 4).unwrap();
    assert_eq!(&end, b"\0end");
}

#[test]
fn tar_lists_a_full_file_of_nine_gigabytes() {
    use super::super::index::{FileNode, Node, Row};
    use super::super::meta::{Meta, Perm, Time};
    let meta = Meta {
        mode: Perm(0o644),
        mtime: Time { s: 1 << 34, ns: 0 },
        uid: 1 << 22,
        gid: 0,
        user: None,
        group: None,
        xattrs: Default::default(),
    };
    let node = FileNode { meta, size: 9 << 30, digest: crate::base::digest::Digest::of(b""), stored: None };
    let row =
        Row { path: crate::base::path::BundlePath::new("big").unwrap(), shard: 1, node: Node::File(node) };
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("t.tar");
    let header = super::super::tarfmt::header(&row);
    std::fs::write(&path, &header).unwrap();
    File::options().write(true).open(&path).unwrap().set_len(header.len() as u64 + (9 << 30) + 1024).unwrap();
    let said = run("tar", &["-tvf", path.to_str().unwrap(), "--utc"]);
    assert_eq!(said.trim(), "-rw-r--r-- 4194304/0 9663676416 2514-05-30 01:53 big");
}

#[test]
fn excludes_mean_what_they_mean_to_git() {
    let patterns = [
        "*.log",
        "!keep.log",
        "/top",
        "build/",
        "a/b",
        "**/deep",
        "x/**",
        "!x/y",
        "docs/**/*.pdf",
        "\\#odd",
        "\\!odd",
        "[ab].txt",
        "q?",
        "trail ",
        "# comment",
        "",
        "node_modules",
        "!node_modules/in",
        "caf\u{e9}",
    ];
    let files = [
        "1.log",
        "keep.log",
        "d/keep.log",
        "d/2.log",
        "top/f",
        "d/top/f",
        "build/f",
        "d/build/f",
        "e/build",
        "a/b/f",
        "c/a/b",
        "deep/f",
        "z/deep",
        "x/y",
        "x/z/w",
        "docs/1.pdf",
        "docs/d/2.pdf",
        "docs/d/e/3.pdf",
        "d/docs/4.pdf",
        "#odd",
        "!odd",
        "a.txt",
        "c.txt",
        "q1",
        "qq1",
        "trail",
        "node_modules/in/f",
        "s/node_modules/f",
        "café",
        "plain",
    ];
    let world = World::with(json!({"exclude": patterns}));
    for file in files {
        write(world.src(file), file);
    }
    let (streams, captured) = world.capture();
    world.job(streams, &captured.facts).unwrap().run().unwrap();
    std::fs::write(world.src(".gitignore"), patterns.join("\n")).unwrap();
    run("git", &["init", "-q", world.src("").to_str().unwrap()]);
    for file in files {
        let ignored = Command::new("git")
            .args(["-C", world.src("").to_str().unwrap(), "check-ignore", "-q", "--no-index", file])
            .stderr(Stdio::null())
            .status()
            .unwrap()
            .success();
        assert_eq!(world.dst(file).exists(), !ignored, "{file}: git says ignored = {ignored}");
    }
}
