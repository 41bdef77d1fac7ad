//! Repositories that are not what they seem (chapter G), sealed by a trusted signer.

use crate::forge::Inside;
use crate::kit::{attack, run, Attack, Kit, Seen};
use serde_json::{json, Value};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const NAME: &str = "code";
const BUNDLE: &str = "repository.bundle";

/// Stock git in `dir`, in nobody's environment, fed with `input`. What it prints.
fn git(dir: &Path, args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut command = Command::new("git");
    command.current_dir(dir).env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", dir);
    command.args(["-c", "user.name=Eve", "-c", "user.email=eve@example.com", "-c", "core.protectNTFS=false"]);
    command.args(["-c", "core.protectHFS=false"]).args(args);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "git {args:?}");
    output.stdout
}

fn word(output: Vec<u8>) -> String {
    String::from_utf8(output).unwrap().trim().to_owned()
}

/// A repository of Eve's, where objects are made without asking whether they should be.
struct Workshop(PathBuf);

impl Workshop {
    fn new(kit: &Kit, name: &str) -> Workshop {
        let dir = kit.world.path(&format!("workshop-{name}"));
        fs::create_dir(&dir).unwrap();
        git(&dir, &["init", "-q", "--bare", "-b", "main"], b"");
        Workshop(dir)
    }

    fn object(&self, kind: &str, content: &[u8]) -> String {
        word(git(&self.0, &["hash-object", "--literally", "-t", kind, "-w", "--stdin"], content))
    }

    /// A tree of one entry.
    fn tree(&self, mode: &str, name: &[u8], id: &str) -> String {
        let raw: Vec<u8> = (0..20).map(|n| u8::from_str_radix(&id[2 * n..2 * n + 2], 16).unwrap()).collect();
        self.object("tree", &[mode.as_bytes(), b" ", name, b"\0", &raw].concat())
    }

    fn commit(&self, tree: &str) -> String {
        let text = format!("tree {tree}\nauthor E <e@e> 1 +0000\ncommitter E <e@e> 1 +0000\n\nx\n");
        self.object("commit", text.as_bytes())
    }

    /// The pack of these objects, whatever they lead to.
    fn pack(&self, ids: &[&str]) -> Vec<u8> {
        git(&self.0, &["pack-objects", "--stdout", "-q"], ids.join("\n").as_bytes())
    }
}

fn kit() -> Kit {
    let mut kit = Kit::new();
    let code = kit.world.source.join("code");
    fs::create_dir(&code).unwrap();
    git(&code, &["init", "-q", "-b", "main"], b"");
    fs::write(code.join("a.txt"), "hello\n").unwrap();
    git(&code, &["add", "-A"], b"");
    git(&code, &["commit", "-q", "-m", "first"], b"");
    git(&code, &["remote", "add", "origin", "https://example.com/x.git"], b"");
    let profile =
        format!("{}\n[component.{NAME}]\nkind = \"git\"\npath = \"~/code\"\n", crate::support::PROFILE);
    kit.world.source.profile(&profile);
    kit.bundle = fs::read(kit.world.export("with-repository.kbp")).unwrap();
    kit.inside = Inside::open(&kit.bundle, &kit.identity);
    kit
}

/// A bundle of one branch, main, at `commit`.
fn bundle(commit: &str, pack: &[u8]) -> Vec<u8> {
    let head = format!("# v2 git bundle\n{commit} refs/heads/main\n{commit} HEAD\n\n");
    [head.as_bytes(), pack].concat()
}

#[test]
fn facts() {
    let kit = kit();
    let f = |name: &str, words: &str, change: &dyn Fn(&mut Value)| {
        let mut inside = kit.inside.clone();
        change(inside.facts(NAME));
        attack(name, inside.sealed(&kit.source), 6, words, Seen::ByImport)
    };
    let url = |name: &str, url: &str| f(name, "rule G2", &|f| f["remotes"][0]["url"] = json!(url));
    let remote = |name: &str, word: &str| f(name, "rule G2", &|f| f["remotes"][0]["name"] = json!(word));
    let upstream = |name: &str, key: &'static str, value: &str| {
        f(name, "rule G2", &|f| {
            f["upstreams"] = json!([{"branch": "main", "remote": "origin", "merge": "refs/heads/main"}]);
            f["upstreams"][0][key] = json!(value);
        })
    };
    run(
        &kit,
        vec![
            Attack { code: 0, seen: Seen::ByNone, ..f("control", "", &|_| {}) },
            f("path-climbs", "rule G1", &|f| f["path"] = json!("~/../x")),
            f("path-is-the-root", "rule G1", &|f| f["path"] = json!("/")),
            f("facts-unknown-key", "rule G1", &|f| f["hooks"] = json!(["touch pwned"])),
            f("facts-null", "rule G1", &|f| *f = Value::Null),
            f("facts-absent-with-head", "rule G1", &|f| f["state"] = json!("absent")),
            f("facts-without-head", "rule G1", &|f| drop(f.as_object_mut().unwrap().remove("head"))),
            f("facts-one-ref-more", "rule G4", &|f| f["refs"] = json!(2)),
            f("facts-no-refs", "rule G3", &|f| f["refs"] = json!(0)),
            f("uncommitted-without-stream", "rule G3", &|f| {
                f["uncommitted"] = json!({"index": "1".repeat(40), "work": "2".repeat(40)})
            }),
            f("head-is-no-branch", "rule G2", &|f| f["head"] = json!({"branch": "refs/tags/x"})),
            f("head-climbs", "rule G2", &|f| f["head"] = json!({"branch": "refs/heads/../../config"})),
            f("head-is-an-option", "rule G2", &|f| f["head"] = json!({"branch": "refs/heads/-x"})),
            f("head-of-another-commit", "rule G4", &|f| f["head"] = json!({"detached": "1".repeat(40)})),
            f("needs-what-the-bundle-does-not-say", "rule G4", &|f| f["needs"] = json!(1)),
            f("stash-that-is-not-there", "rule G15", &|f| {
                f["stashes"] = json!([{"id": "1".repeat(40), "message": "x"}])
            }),
            f("stash-of-two-lines", "rule G15", &|f| {
                f["stashes"] = json!([{"id": "1".repeat(40), "message": "x\n0000 1111 E <e@e> 1 +0000\tx"}])
            }),
            f("stash-with-more", "rule G1", &|f| {
                f["stashes"] = json!([{"id": "1".repeat(40), "message": "x", "ref": "refs/heads/main"}])
            }),
            f("head-no-id", "rule G1", &|f| f["head"] = json!({"detached": "HEAD"})),
            url("url-is-an-option", "-oProxyCommand=touch pwned"),
            url("url-is-a-command", "ext::sh -c touch% pwned"),
            url("url-has-two-lines", "https://x/\n[core]\n\tfsmonitor = touch pwned"),
            url("url-host-is-an-option", "ssh://-oProxyCommand=touch/x"),
            url("url-empty", ""),
            remote("remote-closes-its-section", "x\"]\n[core"),
            remote("remote-climbs", "../x"),
            remote("remote-is-an-option", "-x"),
            upstream("upstream-of-two-lines", "branch", "main\n[core]"),
            upstream("upstream-remote-is-an-option", "remote", "--upload-pack=x"),
            upstream("upstream-climbs", "merge", "refs/../x"),
        ],
    );
}

#[test]
fn bundles() {
    let kit = kit();
    let plain = kit.inside.stream(NAME, BUNDLE).plain.clone();
    let with = |name: &str, words: &str, bytes: Vec<u8>| {
        let inside = kit.inside.clone().with_plain(NAME, BUNDLE, bytes);
        attack(name, inside.sealed(&kit.source), 6, words, Seen::ByImport)
    };
    let text = |name: &str, words: &str, from: &str, to: &str| {
        let at = plain.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
        with(name, words, [&plain[..at], to.as_bytes(), &plain[at + from.len()..]].concat())
    };
    // Both say that it needs a commit, and nobody has that.
    let mut needing = kit.inside.clone();
    needing.facts(NAME)["needs"] = json!(1);
    let head = format!("# v2 git bundle\n-{} x\n", "1".repeat(40));
    let needing = needing.with_plain(NAME, BUNDLE, [head.as_bytes(), &plain[16..]].concat());
    let needing = attack(
        "prerequisite-that-nobody-has",
        needing.sealed(&kit.source),
        8,
        "needs commit 111",
        Seen::ByImport,
    );
    let end = plain.windows(6).position(|w| w == b"\n\nPACK").unwrap() + 2;
    let graph = |name: &str, change: &dyn Fn(String) -> String| {
        let graph = String::from_utf8(kit.inside.stream(NAME, "graph").plain.clone()).unwrap();
        let inside = kit.inside.clone().with_plain(NAME, "graph", change(graph).into_bytes());
        attack(name, inside.sealed(&kit.source), 6, "rule G5", Seen::ByImport)
    };
    let flipped = |at: usize| {
        let mut bytes = plain.clone();
        bytes[at] ^= 1;
        bytes
    };
    run(
        &kit,
        vec![
            text("bundle-version", "rule G4", "# v2", "# v3"),
            needing,
            text(
                "bundle-prerequisite",
                "rule G4",
                "git bundle\n",
                &format!("git bundle\n-{} x\n", "1".repeat(40)),
            ),
            text("ref-climbs", "rule G2", "refs/heads/main", "refs/../../x"),
            text("ref-is-kbpacks", "rule G2", "refs/heads/main", "refs/kbpack/x"),
            text("ref-is-a-stash", "rule G15", "refs/heads/main", "refs/kbpack/stash/1"),
            text("ref-is-uncommitted-work", "rule G15", "refs/heads/main", "refs/kbpack/work"),
            text("ref-is-the-config", "rule G2", " refs/heads/main", " config"),
            text("ref-twice", "rule G4", " HEAD\n", " refs/heads/main\n"),
            text("ref-elsewhere", "rule G4", "refs/heads/main", "refs/heads/mine"),
            with("pack-cut-off", "rule G6", plain[..plain.len() - 30].to_vec()),
            with("pack-followed", "rule G6", [&plain[..], b"more"].concat()),
            with("pack-followed-by-a-pack", "rule G6", [&plain[..], &plain[end..]].concat()),
            with("pack-missing", "rule G6", plain[..end].to_vec()),
            with("pack-of-garbage", "rule G6", [&plain[..end], &[0xa7; 500]].concat()),
            with("pack-flipped-bit", "rule G6", flipped(plain.len() - 40)),
            with("pack-flipped-checksum", "rule G6", flipped(plain.len() - 1)),
            with("bundle-empty", "rule G4", Vec::new()),
            graph("graph-of-words", &|_| "touch pwned\n".to_owned()),
            graph("graph-twice", &|t| format!("{t}{t}")),
            graph("graph-without-end", &|t| t.trim_end().to_owned()),
        ],
    );
}

#[test]
fn objects() {
    let kit = kit();
    let mut attacks = Vec::new();
    let mut add = |name: &str, words: &str, pack: &dyn Fn(&Workshop) -> (String, Vec<u8>)| {
        let shop = Workshop::new(&kit, name);
        let (tip, pack) = pack(&shop);
        let mut inside = kit.inside.clone().with_plain(NAME, BUNDLE, bundle(&tip, &pack));
        inside.facts(NAME)["head"] = json!({"branch": "refs/heads/main"});
        attacks.push(attack(name, inside.sealed(&kit.source), 6, words, Seen::ByImport));
    };
    // A file under a name that some file system takes for another.
    let mut name = |name: &str, file: &[u8]| {
        add(name, "rule G7", &|shop| {
            let blob = shop.object("blob", b"[core]\n\tfsmonitor = touch pwned\n");
            let tree = shop.tree("100644", file, &blob);
            let commit = shop.commit(&tree);
            (commit.clone(), shop.pack(&[&blob, &tree, &commit]))
        });
    };
    name("tree-git", b".git");
    name("tree-git-in-capitals", b".GIT");
    name("tree-git-of-ntfs", b"git~1");
    name("tree-git-with-a-dot", b".git.");
    name("tree-git-as-a-stream", b".git::$INDEX_ALLOCATION");
    name("tree-git-of-hfs", ".g\u{200c}it".as_bytes());
    name("tree-climbs", b"..");
    name("tree-is-a-path", b"a/../../x");
    name("tree-backslash", b"..\\x");
    add("tree-git-deep-down", "rule G7", &|shop| {
        let blob = shop.object("blob", b"x");
        let hooks = shop.tree("100755", b"post-checkout", &blob);
        let git = shop.tree("40000", b".Git", &hooks);
        let tree = shop.tree("40000", b"sub", &git);
        let commit = shop.commit(&tree);
        (commit.clone(), shop.pack(&[&blob, &hooks, &git, &tree, &commit]))
    });
    add("modules-are-a-symlink", "rule G7", &|shop| {
        let blob = shop.object("blob", b".git/config");
        let tree = shop.tree("120000", b".gitmodules", &blob);
        let commit = shop.commit(&tree);
        (commit.clone(), shop.pack(&[&blob, &tree, &commit]))
    });
    add("module-url-is-an-option", "rule G7", &|shop| {
        let blob = shop.object("blob", b"[submodule \"x\"]\n\tpath = x\n\turl = -u./pwn\n");
        let tree = shop.tree("100644", b".gitmodules", &blob);
        let commit = shop.commit(&tree);
        (commit.clone(), shop.pack(&[&blob, &tree, &commit]))
    });
    add("module-url-has-two-lines", "rule G7", &|shop| {
        let blob = shop.object("blob", b"[submodule \"x\"]\n\tpath = x\n\turl = \"https://x\\nhost=y\"\n");
        let tree = shop.tree("100644", b".gitmodules", &blob);
        let commit = shop.commit(&tree);
        (commit.clone(), shop.pack(&[&blob, &tree, &commit]))
    });
    for (case, text) in [
        ("module-name-in-the-tree-climbs", "[submodule \"../../hooks\"]\n\tpath = x\n\turl = https://x/\n"),
        (
            "module-name-in-the-tree-of-windows",
            "[submodule \"a\\\\..\\\\x\"]\n\tpath = x\n\turl = https://x/\n",
        ),
        ("module-name-after-a-blank", "[ submodule \t\"..\"]\n\tpath = x\n"),
        ("module-update-is-a-command", "[submodule \"x\"]\n\tpath = x\n\tupdate = !touch pwned\n"),
    ] {
        add(case, "rule G7", &|shop| {
            let blob = shop.object("blob", text.as_bytes());
            let tree = shop.tree("100644", b".gitmodules", &blob);
            let commit = shop.commit(&tree);
            (commit.clone(), shop.pack(&[&blob, &tree, &commit]))
        });
    }
    add("file-is-a-device", "rule G", &|shop| {
        let blob = shop.object("blob", b"x");
        let tree = shop.tree("60660", b"x", &blob);
        let commit = shop.commit(&tree);
        (commit.clone(), shop.pack(&[&blob, &tree, &commit]))
    });
    add("file-is-a-tree", "rule G6", &|shop| {
        let inner = shop.object("tree", b"");
        let tree = shop.tree("100644", b"x", &inner);
        let commit = shop.commit(&tree);
        (commit.clone(), shop.pack(&[&inner, &tree, &commit]))
    });
    add("tag-of-another-kind", "rule G6", &|shop| {
        let blob = shop.object("blob", b"x");
        let tree = shop.tree("100644", b"x", &blob);
        let commit = shop.commit(&tree);
        let text = format!("object {blob}\ntype commit\ntag x\ntagger E <e@e> 1 +0000\n\nx\n");
        let tag = shop.object("tag", text.as_bytes());
        (commit.clone(), shop.pack(&[&blob, &tree, &commit, &tag]))
    });
    add("pack-lacks-a-blob", "rule G6", &|shop| {
        let blob = shop.object("blob", b"x");
        let tree = shop.tree("100644", b"x", &blob);
        let commit = shop.commit(&tree);
        (commit.clone(), shop.pack(&[&tree, &commit]))
    });
    add("branch-is-a-blob", "rule G6", &|shop| {
        let blob = shop.object("blob", b"x");
        (blob.clone(), shop.pack(&[&blob]))
    });
    add("branch-of-nothing", "rule G6", &|shop| {
        let blob = shop.object("blob", b"x");
        ("1".repeat(40), shop.pack(&[&blob]))
    });
    run(&kit, attacks);
}

/// Folders in each other that can be made and not be removed again, because that takes more open files than there may be.
#[test]
fn folders_without_end() {
    let kit = kit();
    let shop = Workshop::new(&kit, "deep");
    let mut ids = vec![shop.object("blob", b"x")];
    ids.push(shop.tree("100644", b"f", &ids[0]));
    for _ in 0..1100 {
        ids.push(shop.tree("40000", b"d", ids.last().unwrap()));
    }
    let commit = shop.commit(ids.last().unwrap());
    ids.push(commit.clone());
    let pack = shop.pack(&ids.iter().map(String::as_str).collect::<Vec<_>>());
    let inside = kit.inside.clone().with_plain(NAME, BUNDLE, bundle(&commit, &pack));
    let sealed = inside.sealed(&kit.source);
    run(&kit, vec![attack("folders-without-end", sealed, 7, "nesting too deep", Seen::ByImport)]);
}

#[test]
fn uncommitted_work() {
    let mut kit = kit();
    kit.world.source.write("code/a.txt", "changed\n");
    let profile = format!(
        "{}\n[component.{NAME}]\nkind = \"git\"\npath = \"~/code\"\nuncommitted = \"include\"\n",
        crate::support::PROFILE
    );
    kit.world.source.profile(&profile);
    kit.bundle = fs::read(kit.world.export("with-changes.kbp")).unwrap();
    kit.inside = Inside::open(&kit.bundle, &kit.identity);
    let stream = "uncommitted.bundle";
    let plain = kit.inside.stream(NAME, stream).plain.clone();
    let with = |name: &str, words: &str, bytes: Vec<u8>| {
        let inside = kit.inside.clone().with_plain(NAME, stream, bytes);
        attack(name, inside.sealed(&kit.source), 6, words, Seen::ByImport)
    };
    let f = |name: &str, words: &str, change: &dyn Fn(&mut Value)| {
        let mut inside = kit.inside.clone();
        change(inside.facts(NAME));
        attack(name, inside.sealed(&kit.source), 6, words, Seen::ByImport)
    };
    let end = plain.windows(6).position(|w| w == b"\n\nPACK").unwrap() + 2;
    // Commits of other parents than HEAD.
    let shop = Workshop::new(&kit, "uncommitted");
    let blob = shop.object("blob", b"x");
    let tree = shop.tree("100644", b"x", &blob);
    let orphan = shop.commit(&tree);
    let head = String::from_utf8_lossy(&plain).split('\n').nth(1).unwrap().to_owned();
    let forged =
        format!("# v2 git bundle\n{head}\n{orphan} refs/kbpack/index\n{orphan} refs/kbpack/work\n\n");
    let mut orphans = kit.inside.clone();
    orphans.facts(NAME)["uncommitted"] = json!({"index": orphan, "work": orphan});
    let pack = shop.pack(&[&blob, &tree, &orphan]);
    let orphans = orphans.with_plain(NAME, stream, [forged.as_bytes(), &pack].concat());
    run(
        &kit,
        vec![
            Attack { code: 0, seen: Seen::ByNone, ..with("control", "", plain.clone()) },
            with("uncommitted-cut-off", "rule G6", plain[..plain.len() - 30].to_vec()),
            with("uncommitted-followed", "rule G6", [&plain[..], b"more"].concat()),
            with("uncommitted-of-nothing", "rule G8", Vec::new()),
            with("uncommitted-without-pack", "rule G6", plain[..end].to_vec()),
            with(
                "uncommitted-other-head",
                "rule G8",
                [&b"# v2 git bundle\n-"[..], &[b'1'; 40], &plain[57..]].concat(),
            ),
            attack("uncommitted-orphans", orphans.sealed(&kit.source), 6, "rule G8", Seen::ByImport),
            f("uncommitted-other-commits", "rule G8", &|f| f["uncommitted"]["work"] = json!("1".repeat(40))),
            f("uncommitted-null", "rule G1", &|f| f["uncommitted"] = Value::Null),
            f("uncommitted-in-a-bare-one", "rule G1", &|f| f["state"] = json!("bare")),
            f("uncommitted-not-said", "rule G3", &|f| drop(f.as_object_mut().unwrap().remove("uncommitted"))),
        ],
    );
}

/// The world again, with a large file in its repository: its oid, too.
fn kit_with_lfs() -> (Kit, String) {
    let mut kit = kit();
    let code = kit.world.source.join("code");
    let content = b"a large file\n";
    let oid = kbpack::base::digest::Digest::of(content).to_string();
    let pointer =
        format!("version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {}\n", content.len());
    fs::write(code.join(".gitattributes"), "*.bin filter=lfs -text\n").unwrap();
    fs::write(code.join("big.bin"), pointer).unwrap();
    git(&code, &["add", "-A"], b"");
    git(&code, &["commit", "-q", "-m", "large"], b"");
    kit.world.source.write(&format!("code/.git/lfs/objects/{}/{}/{oid}", &oid[..2], &oid[2..4]), content);
    kit.bundle = fs::read(kit.world.export("with-large-files.kbp")).unwrap();
    kit.inside = Inside::open(&kit.bundle, &kit.identity);
    (kit, oid)
}

#[test]
fn large_files() {
    let (kit, oid) = kit_with_lfs();
    let list = String::from_utf8(kit.inside.stream(NAME, "lfs").plain.clone()).unwrap();
    let tar = kit.inside.stream(NAME, "lfs.tar").plain.clone();
    let f = |name: &str, words: &str, change: &dyn Fn(&mut Value)| {
        let mut inside = kit.inside.clone();
        change(inside.facts(NAME));
        attack(name, inside.sealed(&kit.source), 6, words, Seen::ByImport)
    };
    let listed = |name: &str, text: String| {
        let inside = kit.inside.clone().with_plain(NAME, "lfs", text.into_bytes());
        attack(name, inside.sealed(&kit.source), 6, "rule G10", Seen::ByImport)
    };
    let with = |name: &str, bytes: Vec<u8>| {
        let inside = kit.inside.clone().with_plain(NAME, "lfs.tar", bytes);
        attack(name, inside.sealed(&kit.source), 6, "rule G11", Seen::ByImport)
    };
    let header = |change: &dyn Fn(&mut [u8; 512])| {
        let mut header: [u8; 512] = tar[..512].try_into().unwrap();
        change(&mut header);
        [&crate::forge::rechecked(header), &tar[512..]].concat()
    };
    let changed = |at: usize| {
        let mut bytes = tar.clone();
        bytes[at] ^= 1;
        bytes
    };
    // A pointer that says another size of what the bundle has.
    let shop = Workshop::new(&kit, "pointer");
    let lie = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 7\n");
    let blob = shop.object("blob", lie.as_bytes());
    let tree = shop.tree("100644", b"big.bin", &blob);
    let commit = shop.commit(&tree);
    let graph = format!("{commit}\n").into_bytes();
    let sizes = kit
        .inside
        .clone()
        .with_plain(NAME, BUNDLE, bundle(&commit, &shop.pack(&[&blob, &tree, &commit])))
        .with_plain(NAME, "graph", graph);
    let climbs = format!("../../../{}", &oid[9..]);
    run(
        &kit,
        vec![
            Attack { code: 0, seen: Seen::ByNone, ..with("lfs-control", tar.clone()) },
            f("lfs-null", "rule G1", &|f| f["lfs"] = Value::Null),
            f("lfs-negative", "rule G1", &|f| f["lfs"]["bytes"] = json!(-1)),
            f("lfs-not-said", "rule G3", &|f| drop(f.as_object_mut().unwrap().remove("lfs"))),
            f("lfs-none-said", "rule G3", &|f| f["lfs"]["objects"] = json!(0)),
            f("lfs-one-more", "rule G10", &|f| f["lfs"]["objects"] = json!(2)),
            f("lfs-more-bytes", "rule G10", &|f| f["lfs"]["bytes"] = json!(14)),
            listed("lfs-list-empty", String::new()),
            listed("lfs-list-twice", list.repeat(2)),
            listed("lfs-list-of-words", "touch pwned\n".to_owned()),
            listed("lfs-list-climbs", list.replace(&oid, &climbs)),
            listed("lfs-list-in-capitals", list.to_uppercase()),
            listed("lfs-list-plus", list.replace(" 13", " +13")),
            listed("lfs-list-without-end", list.trim_end().to_owned()),
            listed("lfs-list-other-size", list.replace(" 13", " 12")),
            with("lfs-empty", Vec::new()),
            with("lfs-cut-off", tar[..600].to_vec()),
            with("lfs-followed", [&tar[..], &tar].concat()),
            with("lfs-other-content", changed(512)),
            with("lfs-padding", changed(512 + 20)),
            with("lfs-end", changed(tar.len() - 1)),
            with("lfs-climbs", header(&|h| h[..14].copy_from_slice(b"../../objects/"))),
            with("lfs-absolute", header(&|h| h[0] = b'/')),
            with("lfs-is-a-link", header(&|h| h[156] = b'2')),
            with("lfs-setuid", header(&|h| h[100..107].copy_from_slice(b"0004755"))),
            with("lfs-other-size", header(&|h| h[134] = b'4')),
            attack("lfs-pointer-lies", sizes.sealed(&kit.source), 6, "rule G12", Seen::ByImport),
        ],
    );
}

/// The world again, with a submodule in its repository.
fn kit_with_submodule() -> Kit {
    let mut kit = kit();
    let code = kit.world.source.join("code");
    let lib = kit.world.source.join("lib");
    fs::create_dir(&lib).unwrap();
    git(&lib, &["init", "-q", "-b", "main"], b"");
    fs::write(lib.join("inner.txt"), "inner\n").unwrap();
    git(&lib, &["add", "-A"], b"");
    git(&lib, &["commit", "-q", "-m", "inner"], b"");
    std::os::unix::fs::symlink(".git", code.join("link")).unwrap();
    let add =
        ["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", lib.to_str().unwrap(), "lib"];
    git(&code, &add, b"");
    git(&code, &["config", "submodule.lib.url", "https://example.com/lib.git"], b"");
    git(&code, &["add", "-A"], b"");
    git(&code, &["commit", "-q", "-m", "lib"], b"");
    let profile = format!(
        "{}\n[component.{NAME}]\nkind = \"git\"\npath = \"~/code\"\nsubmodules = true\n",
        crate::support::PROFILE
    );
    kit.world.source.profile(&profile);
    kit.bundle = fs::read(kit.world.export("with-submodule.kbp")).unwrap();
    kit.inside = Inside::open(&kit.bundle, &kit.identity);
    kit
}

#[test]
fn submodules() {
    let kit = kit_with_submodule();
    let f = |name: &str, words: &str, change: &dyn Fn(&mut Value)| {
        let mut inside = kit.inside.clone();
        change(inside.facts(NAME));
        attack(name, inside.sealed(&kit.source), 6, words, Seen::ByImport)
    };
    let name =
        |case: &str, words: &str, text: &str| f(case, words, &|f| f["modules"][0]["name"] = json!(text));
    let url = |case: &str, text: &str| f(case, "rule G13", &|f| f["modules"][0]["url"] = json!(text));
    let path = |case: &str, words: &str, text: &str| {
        f(case, words, &|f| {
            f["modules"][0]["path"] = json!(text);
            f["modules"][0]["repository"]["path"] = json!(format!("~/code/{text}"));
        })
    };
    let inner = |case: &str, words: &str, change: &dyn Fn(&mut Value)| {
        f(case, words, &|f| change(&mut f["modules"][0]["repository"]))
    };
    let stream = "modules/1/repository.bundle";
    let plain = kit.inside.stream(NAME, stream).plain.clone();
    let with = |case: &str, words: &str, bytes: Vec<u8>| {
        let inside = kit.inside.clone().with_plain(NAME, stream, bytes);
        attack(case, inside.sealed(&kit.source), 6, words, Seen::ByImport)
    };
    // A submodule whose own files would be git's.
    let shop = Workshop::new(&kit, "module");
    let blob = shop.object("blob", b"x");
    let hooks = shop.tree("100755", b"post-checkout", &blob);
    let tree = shop.tree("40000", b".git", &hooks);
    let commit = shop.commit(&tree);
    let mut evil = kit.inside.clone();
    evil.facts(NAME)["modules"][0]["repository"]["head"] = json!({"branch": "refs/heads/main"});
    let pack = shop.pack(&[&blob, &hooks, &tree, &commit]);
    let evil = evil.with_plain(NAME, stream, bundle(&commit, &pack));
    let evil = evil.with_plain(NAME, "modules/1/graph", format!("{commit}\n").into_bytes());
    let twin = |f: &mut Value, name: &str, path: &str| {
        let mut twin = f["modules"][0].clone();
        twin["name"] = json!(name);
        twin["path"] = json!(path);
        twin["repository"]["path"] = json!(format!("~/code/{path}"));
        f["modules"].as_array_mut().unwrap().push(twin);
    };
    run(
        &kit,
        vec![
            Attack { code: 0, seen: Seen::ByNone, ..f("module-control", "", &|_| {}) },
            name("module-name-climbs", "rule G13", "../../hooks"),
            name("module-name-climbs-later", "rule G13", "lib/../../../hooks"),
            name("module-name-absolute", "rule G13", "/tmp/pwned"),
            name("module-name-empty", "rule G13", ""),
            name("module-name-is-an-option", "rule G13", "-u./pwned"),
            name("module-name-closes-its-section", "rule G13", "x\"]\n[core"),
            name("module-name-of-windows", "rule G13", "..\\..\\hooks"),
            name("module-name-is-git", "rule G13", "x/.GIT"),
            name("module-name-of-another", "rule G14", "other"),
            path("module-path-climbs", "rule G13", "../pwned"),
            path("module-path-absolute", "rule G13", "/tmp/pwned"),
            path("module-path-in-git", "rule G13", ".git/hooks"),
            path("module-path-in-git-of-ntfs", "rule G13", "git~1/hooks"),
            path("module-path-is-an-option", "rule G13", "-x"),
            path("module-path-through-a-symlink", "rule G14", "link/hooks"),
            path("module-path-is-a-symlink", "rule G14", "link"),
            path("module-path-is-a-file", "rule G14", "a.txt"),
            path("module-path-is-nowhere", "rule G14", "nowhere"),
            url("module-url-is-an-option", "--upload-pack=touch pwned"),
            url("module-url-is-a-command", "ext::sh -c touch% pwned"),
            url("module-url-has-two-lines", "https://x/\n[core]\n\tfsmonitor = touch pwned"),
            f("module-twice", "rule G13", &|f| twin(f, "lib", "lib2")),
            f("module-in-a-module", "rule G13", &|f| twin(f, "lib/hooks", "lib2")),
            f("module-in-capitals", "rule G13", &|f| twin(f, "LIB/modules", "lib2")),
            f("module-path-in-a-module", "rule G13", &|f| twin(f, "lib2", "Lib/x")),
            f("module-without-streams", "rule G3", &|f| twin(f, "lib2", "lib2")),
            f("module-not-said", "rule G3", &|f| drop(f.as_object_mut().unwrap().remove("modules"))),
            f("module-unknown-key", "rule G1", &|f| f["modules"][0]["update"] = json!("!touch pwned")),
            inner("module-elsewhere", "rule G13", &|f| f["path"] = json!("~/.ssh")),
            inner("module-bare", "rule G13", &|f| f["state"] = json!("bare")),
            inner("module-exact", "rule G13", &|f| f["exact"] = json!(true)),
            inner("module-that-needs-more", "rule G13", &|f| f["needs"] = json!(1)),
            inner("module-remote-is-a-command", "rule G2", &|f| {
                f["remotes"] = json!([{"name": "origin", "url": "ext::sh -c touch% pwned"}])
            }),
            inner("module-other-head", "rule G4", &|f| f["head"] = json!({"detached": "1".repeat(40)})),
            with("module-cut-off", "rule G6", plain[..plain.len() - 30].to_vec()),
            with("module-empty", "rule G4", Vec::new()),
            attack("module-with-git-in-it", evil.sealed(&kit.source), 6, "rule G7", Seen::ByImport),
        ],
    );
}
