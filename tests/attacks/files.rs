//! Trees that try to get out of their root, or that are not what their index says (chapter F), sealed by a trusted
//! signer: to a target that takes what the signer sends, but nothing beside it.

use crate::kit::{attack, run, Attack, Kit, Seen, Trial};
use crate::tree::{Entry, Tree};
use serde_json::{json, Value};

/// A tree after `change`: the import refuses it.
fn forged(kit: &Kit, name: &str, words: &str, change: impl FnOnce(&mut Tree)) -> Attack {
    let mut tree = Tree::of(&kit.inside);
    change(&mut tree);
    attack(name, tree.sealed(&kit.source), 6, words, Seen::ByImport)
}

/// The file under another path, in index and shard alike.
fn renamed(kit: &Kit, name: &str, text: &str, bytes: &[u8]) -> Attack {
    forged(kit, name, "rule F2", |tree| {
        tree.row("settings.json")["path"] = json!(text);
        tree.change_entry("settings.json", |entry| entry.named(bytes));
    })
}

#[test]
fn paths_that_leave_the_root() {
    let kit = Kit::new();
    let r = |name, text: &str| renamed(&kit, name, text, text.as_bytes());
    let f = |name, words, change: fn(&mut Tree)| forged(&kit, name, words, change);
    let mut legal = Tree::of(&kit.inside);
    legal.add_file("settings2.json", b"settings2.json");
    run(
        &kit,
        vec![
            attack("control", Tree::of(&kit.inside).sealed(&kit.source), 0, "", Seen::ByNone),
            attack("control-one-more-file", legal.sealed(&kit.source), 0, "", Seen::ByNone),
            r("path-climbs", "../secret/inner.txt"),
            r("path-climbs-in-the-middle", "hooks/../../secret/inner.txt"),
            r("path-climbs-at-the-end", "hooks/.."),
            r("path-absolute", "/tmp/kbpack-attack"),
            r("path-is-dot", "."),
            r("path-is-dot-dot", ".."),
            r("path-begins-with-dot", "./settings.json"),
            r("path-empty", ""),
            r("path-with-empty-segment", "hooks//x"),
            r("path-ends-with-slash", "settings.json/"),
            r("path-too-long", &"a/".repeat(3000)),
            r("path-segment-too-long", &"a".repeat(256)),
            renamed(&kit, "path-climbs-escaped", "%2E%2E/secret/inner.txt", b"../secret/inner.txt"),
            renamed(&kit, "path-climbs-escaped-in-lower-case", "%2e%2e/x", b"../x"),
            renamed(&kit, "path-with-nul", "a%00b", b"a"),
            renamed(&kit, "path-with-raw-escape", "a\u{1b}[2J", b"a\x1b[2J"),
            renamed(&kit, "path-with-broken-escape", "a%zz", b"a%zz"),
            f("path-of-a-staging-area", "rule F4", |t| {
                t.row("settings.json")["path"] = json!(".kbpack-stage-0000000000000000");
                t.sort();
            }),
            f("tar-name-climbs", "rule F7", |t| {
                t.change_entry("settings.json", |e| e.named(b"../secret/inner.txt"))
            }),
            f("tar-name-absolute", "rule F7", |t| {
                t.change_entry("settings.json", |e| e.named(b"/tmp/kbpack-attack"))
            }),
            f("tar-prefix-climbs", "rule F7", |t| {
                t.change_entry("settings.json", |e| e.with(|h| h.prefix[..2].copy_from_slice(b"..")))
            }),
            f("symlink-then-a-file-through-it", "rule F5", |t| {
                t.row("link")["target"] = json!("../secret");
                t.change_entry("link", |e| e.linked("../secret"));
                t.add_file("link/inner.txt", b"link/inner.txt");
            }),
            f("file-where-a-directory-stands", "rule F5", |t| {
                let mut file = t.row("settings.json").clone();
                file["path"] = json!("hooks");
                *t.row("hooks") = file;
            }),
            f("file-without-its-directory", "rule F5", |t| t.add_file("nowhere/x", b"nowhere/x")),
            f("path-twice", "rule F4", |t| {
                let row = t.row("settings.json").clone();
                t.rows.push(row);
                t.sort();
            }),
            f("rows-not-in-order", "rule F4", |t| t.rows.reverse()),
        ],
    );
}

/// Makes a hard link of the row of `run.sh`.
fn link_row(tree: &mut Tree, first: &str) {
    *tree.row("hooks/run.sh") = json!({"path": "hooks/run.sh", "type": "link", "shard": 1, "first": first});
    tree.change_entry("hooks/run.sh", |entry| {
        let entry = entry.typed(b'1').linked(first).with(|header| header.size[..11].fill(b'0'));
        Entry { body: Vec::new(), ..entry }
    });
}

#[test]
fn things_that_are_no_plain_files() {
    let kit = Kit::new();
    let f = |name, words, change: fn(&mut Tree)| forged(&kit, name, words, change);
    run(
        &kit,
        vec![
            f("hard-link-outside", "rule F2", |t| link_row(t, "../secret/inner.txt")),
            f("hard-link-absolute", "rule F2", |t| link_row(t, "/etc/passwd")),
            f("hard-link-to-what-only-the-target-has", "rule F6", |t| link_row(t, "own.txt")),
            f("hard-link-to-a-symlink", "rule F6", |t| link_row(t, "link")),
            f("hard-link-to-a-directory", "rule F6", |t| link_row(t, "hooks")),
            f("hard-link-to-a-later-file", "rule F6", |t| link_row(t, "settings.json")),
            f("hard-link-to-itself", "rule F6", |t| link_row(t, "hooks/run.sh")),
            f("hard-link-in-the-tar-only", "rule F7", |t| {
                t.change_entry("settings.json", |e| e.typed(b'1').linked("../secret/inner.txt"))
            }),
            f("device-in-the-index", "rule F2", |t| t.row("settings.json")["type"] = json!("device")),
            f("character-device", "rule F7", |t| t.change_entry("settings.json", |e| e.typed(b'3'))),
            f("block-device", "rule F7", |t| t.change_entry("settings.json", |e| e.typed(b'4'))),
            f("fifo", "rule F7", |t| t.change_entry("settings.json", |e| e.typed(b'6'))),
            f("gnu-sparse", "rule F7", |t| t.change_entry("settings.json", |e| e.typed(b'S'))),
            f("gnu-long-name", "rule F7", |t| t.change_entry("settings.json", |e| e.typed(b'L'))),
            f("directory-in-the-tar-only", "rule F7", |t| t.change_entry("settings.json", |e| e.typed(b'5'))),
            f("symlink-in-the-tar-only", "rule F7", |t| {
                t.change_entry("settings.json", |e| e.typed(b'2').linked("/etc/passwd"))
            }),
            f("symlink-elsewhere-in-the-tar", "rule F7", |t| {
                t.change_entry("link", |e| e.linked("/etc/passwd"))
            }),
            f("setuid", "rule F3", |t| t.row("settings.json")["meta"]["mode"] = json!("4755")),
            f("setgid", "rule F3", |t| t.row("settings.json")["meta"]["mode"] = json!("2755")),
            f("sticky-file", "rule F3", |t| t.row("settings.json")["meta"]["mode"] = json!("1755")),
            f("setuid-directory", "rule F3", |t| t.row("hooks")["meta"]["mode"] = json!("4755")),
            f("setuid-in-the-tar-only", "rule F7", |t| {
                t.change_entry("settings.json", |e| e.with(|h| h.mode[..7].copy_from_slice(b"0004755")))
            }),
            f("mode-of-five-digits", "rule F2", |t| t.row("settings.json")["meta"]["mode"] = json!("10755")),
            f("capability", "rule F2", |t| {
                t.row("settings.json")["meta"]["xattrs"] = json!({"security.capability": "00"})
            }),
            f("trusted-attribute", "rule F2", |t| {
                t.row("settings.json")["meta"]["xattrs"] = json!({"trusted.overlay": "00"})
            }),
            f("owner-with-escapes", "rule F2", |t| {
                t.row("settings.json")["meta"]["user"] = json!("\u{1b}[2J")
            }),
            f("symlink-target-empty", "rule F3", |t| t.row("link")["target"] = json!("")),
            f("symlink-target-with-nul", "rule F3", |t| t.row("link")["target"] = json!("a%00")),
            f("symlink-target-not-canonical", "rule F3", |t| t.row("link")["target"] = json!("%61")),
        ],
    );
}

#[test]
fn index_and_shard_that_differ() {
    let kit = Kit::new();
    let f = |name, words, change: fn(&mut Tree)| forged(&kit, name, words, change);
    let text = |name: &str, words: &str, change: fn(String) -> Vec<u8>| {
        let tree = Tree::of(&kit.inside);
        let index: String = tree.rows.iter().map(|row| format!("{row}\n")).collect();
        attack(name, tree.saying(&change(index)).sealed(&kit.source), 6, words, Seen::ByImport)
    };
    run(
        &kit,
        vec![
            f("entry-without-row", "rule F7", |t| {
                let at = t.at("settings.json");
                t.rows.remove(at);
            }),
            f("extra-entry", "rule F7", |t| {
                let entry = t.entries[t.entry("settings.json")].clone().named(b"zz");
                t.entries.insert(0, entry);
            }),
            f("extra-entry-at-the-end", "rule F7", |t| {
                let entry = t.entries[t.entry("settings.json")].clone().named(b"zz");
                t.entries.push(entry);
            }),
            f("row-without-entry", "rule F7", |t| {
                let at = t.entry("settings.json");
                t.entries.remove(at);
            }),
            f("shard-empty", "rule F7", |t| {
                t.entries.clear();
                t.end.clear();
            }),
            f("shard-without-end", "rule F7", |t| t.end.clear()),
            f("shard-with-half-an-end", "rule F7", |t| t.end.truncate(512)),
            f("shard-goes-on-behind-its-end", "rule F7", |t| t.end.extend([0; 512])),
            f("shard-and-a-byte", "rule F7", |t| t.end.push(1)),
            f("entries-swapped", "rule F7", |t| t.entries.swap(0, 1)),
            f("digest-lies", "rule F9", |t| t.row("settings.json")["sha256"] = json!("0".repeat(64))),
            f("content-differs", "rule F9", |t| {
                t.change_entry("settings.json", |mut e| {
                    e.body[0] ^= 1;
                    e
                });
            }),
            f("padding-not-zero", "rule F7", |t| {
                t.change_entry("settings.json", |mut e| {
                    e.body[511] = 1;
                    e
                });
            }),
            f("size-larger-in-the-index", "rule F7", |t| t.row("settings.json")["size"] = json!(511)),
            f("size-larger-in-the-tar", "rule F7", |t| {
                t.change_entry("settings.json", |e| e.with(|h| h.size[..11].copy_from_slice(b"00000001000")))
            }),
            Attack {
                code: 7,
                ..f("size-absurd", "bytes free", |t| t.row("settings.json")["size"] = json!(1u64 << 50))
            },
            f("sizes-that-overflow", "rule F3", |t| {
                for path in ["settings.json", "big.bin", "random.bin"] {
                    t.row(path)["size"] = json!(u64::MAX);
                }
            }),
            f("time-lies", "rule F7", |t| t.row("settings.json")["meta"]["mtime"] = json!("1.000000001")),
            f("owner-lies", "rule F7", |t| t.row("settings.json")["meta"]["uid"] = json!(12345)),
            f("mode-lies", "rule F7", |t| t.row("settings.json")["meta"]["mode"] = json!("0777")),
            f("link-target-lies", "rule F7", |t| t.row("link")["target"] = json!("/etc/passwd")),
            f("pax-record-added", "rule F7", |t| {
                t.change_entry("settings.json", |mut e| {
                    e.pax = [e.pax.clone(), e.pax.clone()].concat();
                    e
                });
            }),
            f("shard-number-zero", "rule F4", |t| t.row("settings.json")["shard"] = json!(0)),
            f("shard-number-of-none", "rule F4", |t| t.row("settings.json")["shard"] = json!(99)),
            f("sparse-where-it-is-not", "rule F7", |t| t.row("settings.json")["stored"] = json!(512)),
            f("sparse-stored-size-absurd", "rule F3", |t| {
                t.row("settings.json")["stored"] = json!(1u64 << 50)
            }),
            f("row-unknown-key", "rule F2", |t| t.row("settings.json")["run"] = json!("touch pwned")),
            f("row-missing-key", "rule F2", |t| {
                drop(t.row("settings.json").as_object_mut().unwrap().remove("shard"))
            }),
            f("row-null", "rule F", |t| t.row("settings.json")["sha256"] = Value::Null),
            f("row-of-two-types", "rule F3", |t| t.row("settings.json")["target"] = json!("x")),
            f("row-without-digest", "rule F3", |t| {
                drop(t.row("settings.json").as_object_mut().unwrap().remove("sha256"))
            }),
            f("row-of-text", "rule F2", |t| t.rows.push(json!("\u{1b}[2J"))),
            text("row-repeated-key", "rule F2", |i| i.replacen("{", "{\"shard\":1,", 1).into()),
            text("row-deep", "rule F2", |i| {
                i.replacen("{", &format!("{{\"x\":{}{},", "[".repeat(9000), "]".repeat(9000)), 1).into()
            }),
            text("row-of-2-mib", "rule F2", |i| format!("{}{i}", " ".repeat(2 << 20)).into()),
            text("rows-on-one-line", "rule F2", |i| i.replacen('\n', "", 1).into()),
            text("row-without-end", "rule F2", |i| i.trim_end().into()),
            text("row-empty", "rule F2", |i| format!("\n{i}").into()),
            text("row-of-escapes", "rule F2", |_| b"\x1b[2J\x07\n".to_vec()),
            text("row-not-utf8", "rule F2", |_| b"{\"path\": \"\xff\"}\n".to_vec()),
        ],
    );
}

#[test]
fn maps_of_sparse_files() {
    let kit = Kit::new();
    let entry = "sparse.bin";
    let tree = Tree::of(&kit.inside);
    let body = &tree.entries[tree.entry(entry)].body;
    let map = String::from_utf8(body[..512].to_vec()).unwrap();
    let map = map.trim_end_matches('\0');
    assert!(map.starts_with("1\n"), "{map}");
    let (start, len) = map[2..].split_once('\n').unwrap();
    let with = |name: &str, map: String| {
        forged(&kit, name, "rule F8", |tree| {
            tree.change_entry(entry, |mut e| {
                e.body[..512].fill(0);
                e.body[..map.len()].copy_from_slice(map.as_bytes());
                e
            });
        })
    };
    run(
        &kit,
        vec![
            with("map-empty", String::new()),
            with("map-without-end", "1".repeat(512)),
            with("map-of-too-many-pieces", "999999999\n".into()),
            with("map-of-countless-pieces", "18446744073709551616\n".into()),
            with("map-of-fewer-pieces", format!("0\n{start}\n{len}")),
            with("map-beyond-the-end", format!("1\n18446744073709551615\n{len}")),
            with("map-elsewhere", format!("1\n0\n{len}")),
            with("map-negative", format!("1\n-1\n{len}")),
            with("map-with-zeros-before", format!("01\n{start}\n{len}")),
            with("map-with-text-behind", format!("{map}x")),
            with("map-of-escapes", "\u{1b}[2J\n".into()),
        ],
    );
}

#[test]
fn facts() {
    let kit = Kit::new();
    let f = |name: &str, words: &str, change: &dyn Fn(&mut Value)| {
        let mut inside = kit.inside.clone();
        change(inside.facts("app"));
        attack(name, inside.sealed(&kit.source), 6, words, Seen::ByImport)
    };
    let root = |name: &str, root: &str| f(name, "rule F1", &|facts| facts["root"] = json!(root));
    run(
        &kit,
        vec![
            root("root-relative", "app"),
            root("root-climbs", "~/../x"),
            root("root-climbs-absolutely", "/srv/../tmp/kbpack-attack"),
            root("root-of-another-user", "~root/x"),
            root("root-empty", ""),
            root("root-with-nul", "~/a\0b"),
            f("facts-unknown-key", "rule F1", &|facts| facts["run"] = json!("touch pwned")),
            f("facts-missing", "rule F1", &|facts| *facts = json!({})),
            f("facts-null", "rule F1", &|facts| *facts = Value::Null),
            f("facts-of-text", "rule F1", &|facts| *facts = json!("\u{1b}[2J")),
            f("facts-of-a-backup", "they are those of a backup (rule F1)", &|facts| {
                facts["touched"] = json!(true)
            }),
            f("facts-all", "rule F1", &|facts| facts["all"] = json!(true)),
            f("facts-above", "rule F1", &|facts| facts["above"] = json!(1)),
            f("facts-mode-unknown", "rule F1", &|facts| facts["options"]["mode"] = json!("erase")),
            f("facts-runs-broken", "rule F1", &|facts| facts["options"]["runs"] = json!(["a["])),
            f("facts-runs-long", "rule F1", &|facts| facts["options"]["runs"] = json!(["x".repeat(1025)])),
            f("facts-runs-of-two-lines", "rule F1", &|facts| {
                facts["options"]["runs"] = json!(["a\u{1b}\nb"])
            }),
            f("facts-entries-lie", "rule F1", &|facts| facts["entries"] = json!(1_000_000_000)),
            f("facts-state-lies", "rule F1", &|facts| facts["state"] = json!("file")),
            f("facts-root-setuid", "rule F1", &|facts| facts["top"]["mode"] = json!("4755")),
        ],
    );
}

/// A root above kbpack's own folders, or in them, does not make them part of what is written.
#[test]
fn keys_and_trust_are_out_of_reach() {
    let kit = Kit::new();
    let own = ".config/kbpack/trusted_signers";
    let trusted = kit.world.target.read(own);
    let mut complaints = Vec::new();
    for root in ["~/.config/kbpack", "~/.config", "~", "~/.local/state", "~/.local/state/kbpack/signers"] {
        let mut tree = Tree::of(&kit.inside);
        let path = match root {
            "~" => ".config/kbpack/trusted_signers",
            "~/.config" => "kbpack/trusted_signers",
            _ => "trusted_signers",
        };
        path.match_indices('/').for_each(|(at, _)| tree.add_dir(&path[..at]));
        tree.add_file(path, path.as_bytes());
        let mut inside = tree.inside();
        inside.facts("app")["root"] = json!(root);
        let file = kit.world.path("own.kbp");
        std::fs::write(&file, inside.sealed(&kit.source)).unwrap();
        let trial = Trial::of(&kit, &file, &["import", "--yes"], |_| {});
        if kit.world.target.read(own) != trusted
            || kit.world.target.join(".local/state/kbpack/signers/trusted_signers").exists()
        {
            complaints.push(format!("{root}: it was written: {}", trial.run.stderr));
        }
        if trial.run.code != 0 {
            complaints.extend(trial.unchanged().err());
        }
        complaints.extend(trial.manners().err().map(|e| format!("{root}: {e}")));
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// Any byte may be in a file's name. None of them reaches the terminal.
#[test]
fn names_that_would_move_the_cursor() {
    let kit = Kit::new();
    let mut tree = Tree::of(&kit.inside);
    let names: [(&str, &[u8]); 5] = [
        ("s%1B[2J%1B]0;owned%07.txt", b"s\x1b[2J\x1b]0;owned\x07.txt"),
        ("s%0Aerror: all is well%0D.txt", b"s\nerror: all is well\r.txt"),
        ("s%C2%9B31m.txt", "s\u{9b}31m.txt".as_bytes()),
        ("s\u{202e}txt.exe", "s\u{202e}txt.exe".as_bytes()),
        ("s%FF%FE", b"s\xff\xfe"),
    ];
    for (text, bytes) in names {
        tree.add_file(text, bytes);
    }
    let file = kit.world.path("names.kbp");
    std::fs::write(&file, tree.sealed(&kit.source)).unwrap();
    for command in [
        &["inspect", "--files"][..],
        &["inspect", "--files", "--json"],
        &["import", "--dry-run", "-v"],
        &["import", "--dry-run", "--json"],
        &["import", "--yes", "-v"],
    ] {
        let trial = Trial::of(&kit, &file, command, |_| {});
        assert_eq!(trial.run.code, 0, "{command:?}: {}", trial.run.stderr);
        trial.manners().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        if command.contains(&"--yes") {
            for (_, bytes) in names {
                use std::os::unix::ffi::OsStrExt;
                let path = kit.world.target.join("app").join(std::ffi::OsStr::from_bytes(bytes));
                assert_eq!(std::fs::read(&path).unwrap(), b"{\"a\": 1}\n", "{path:?}");
            }
        }
    }
}

/// What a bundle says of the source's home, and which files are to be rewritten: nothing but paths in files of its own is ever
/// moved by it.
#[test]
fn homes_that_are_none_and_files_that_cannot_be_rewritten() {
    let kit = Kit::new();
    let with = |tree: &Tree, patterns: &Value, homes: Value| {
        let mut inside = tree.inside();
        let facts = inside.facts("app");
        facts["options"]["rewrite-home"] = patterns.clone();
        facts["homes"] = homes;
        inside.sealed(&kit.source)
    };
    let of = |name: &str, words: &str, patterns: Value, homes: Value| {
        let seen = if words.is_empty() { Seen::ByNone } else { Seen::ByImport };
        attack(
            name,
            with(&Tree::of(&kit.inside), &patterns, homes),
            if words.is_empty() { 0 } else { 6 },
            words,
            seen,
        )
    };
    let home = |name: &str, home: &str| of(name, "rule F1", json!(["settings.json"]), json!([home]));
    let mut lying = Tree::of(&kit.inside);
    lying.change_entry("settings.json", |mut entry| {
        entry.body[0] ^= 1;
        entry
    });
    let mut short = Tree::of(&kit.inside);
    short.end.truncate(512);
    run(
        &kit,
        vec![
            of("control-home", "", json!(["settings.json", "*.sh"]), json!(["/home/ada"])),
            of("control-home-of-the-system", "", json!(["settings.json"]), json!(["/etc"])),
            home("home-is-everything", "/"),
            home("home-is-nothing", ""),
            home("home-relative", "home/ada"),
            home("home-climbs", "/home/../etc"),
            home("home-with-a-quote", "/home/\""),
            home("home-with-a-command", "/home/$(id)"),
            home("home-with-escapes", "/home/\u{1b}[2J"),
            home("home-too-long", &format!("/{}", "a".repeat(2000))),
            of("homes-too-many", "rule F1", json!(["a"]), json!(["/a", "/b", "/c", "/d", "/e"])),
            of("homes-without-files", "rule F1", json!([]), json!(["/home/ada"])),
            of("files-without-homes", "rule F1", json!(["settings.json"]), json!([])),
            of("pattern-not-well-formed", "rule F1", json!(["["]), json!(["/home/ada"])),
            of("file-of-another-syntax", "rule F11", json!(["big.bin"]), json!(["/home/ada"])),
            of("all-files", "rule F11", json!(["*"]), json!(["/home/ada"])),
            attack(
                "rewritten-content-differs",
                with(&lying, &json!(["settings.json"]), json!(["/home/ada"])),
                6,
                "rule F9",
                Seen::ByImport,
            ),
            attack(
                "rewritten-shard-without-its-end",
                with(&short, &json!(["settings.json"]), json!(["/home/ada"])),
                6,
                "rule F7",
                Seen::ByImport,
            ),
        ],
    );
}
