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
            f("stash-that-is-not-there", "rule G10", &|f| {
                f["stashes"] = json!([{"id": "1".repeat(40), "message": "x"}])
            }),
            f("stash-of-two-lines", "rule G10", &|f| {
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
            text("ref-is-a-stash", "rule G10", "refs/heads/main", "refs/kbpack/stash/1"),
            text("ref-is-uncommitted-work", "rule G10", "refs/heads/main", "refs/kbpack/work"),
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
