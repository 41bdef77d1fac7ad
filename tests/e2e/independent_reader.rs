//! docs/FORMAT.md is enough to write another reader: `tests/reader/reader.py` is one, and opens what the binary writes.

use crate::files::{differences, rich};
use crate::support::{Home, Run, World};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

const PROFILE: &str = r#"
[bundle]
name = "all"

[component.tree]
kind = "files"
path = "~/tree"
rewrite-home = ["settings.json"]

[component.one]
kind = "files"
path = "~/one.txt"

[component.gone]
kind = "files"
path = "~/gone"
absent = "ok"

[component.keys]
kind = "secrets"
env = [
    { file = "~/.bashrc", names = ["API_KEY"] },
    { file = "~/.bashrc", names = ["FETCHED"], policy = { command = ["pass", "show", "an api key"] } },
    { file = "~/.env", names = ["TOKEN"] },
    { file = "~/.env", names = ["ASKED"], policy = "prompt" },
]
pgpass = ["localhost:1:db:user"]
files = [
    { path = "~/login", policy = "reissue", how = "log in" },
    { path = "~/credentials", mode = "600" },
]

[[hook]]
stage = "quiesce"
where = "target"
shell = true
run = ["cd tree && ./stop"]
directory = "~"
env = { A_1 = "b c" }
timeout = 30
severity = "warn"
[[hook]]
stage = "rollback"
run = ["true", ""]
[[hook]]
stage = "after-commit"
optional = true
run = ["true"]

[[todo]]
text = "every key"
run = ["sudo apt-get install +x", ""]
unless = { program = "g++-12" }
[[todo]]
text = "a path"
unless = { path = "~/none" }
[[todo]]
text = "a port"
unless = { port = 65535 }

[[check]]
name = "every key: http"
severity = "warn"
timeout = 5
retry-for = 30
http = { url = "http://localhost:1/x?y#z", method = "POST", header = { X-API-Key = "$API_KEY" }, body = "$$5 $TOKEN", status = 201, expect-header = { A = "b" }, json = { "a.b" = 1, c = true, d = "e" } }
[[check]]
name = "few keys: http"
http = { url = "http://localhost" }
[[check]]
name = "every key: command"
command = { run = ["true", ""], directory = "~/tree", exit = 0, stdout-matches = "^$" }
[[check]]
name = "every key: version"
version = { run = ["echo", "1.2"], equal-to-source = true }
[[check]]
name = "every key: file"
file = { path = "/etc/hostname", exists = true, type = "file", mode = "0644", owner = "root", min-size = 1, sha256 = "0000000000000000000000000000000000000000000000000000000000000000" }
[[check]]
name = "sql"
sql = { url = "postgresql://ada@localhost/db", query = "SELECT\n1", equals = "1" }
[[check]]
name = "tcp"
tcp = { address = "[::1]:1" }
[[check]]
name = "env"
env = { name = "API_KEY", equals = "" }
"#;

/// Bytes that do not compress.
fn noise(len: usize, mut seed: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        bytes.extend(seed.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// What is hard to read back: several shards and parts, headers at the edge of what ustar holds, names in all text forms.
fn furnish(home: &Home) {
    rich(home);
    home.write("tree/big", noise(20_000_000, 1));
    (2..18).for_each(|n| drop(home.write(&format!("tree/many/{n}"), noise(1_000_000, n))));
    fs::hard_link(home.join("tree/big"), home.join("tree/0-big")).unwrap();
    for len in 98..102 {
        home.write(&format!("tree/{}", "n".repeat(len)), "");
        fs::create_dir(home.join(&format!("tree/{}", "m".repeat(len)))).unwrap();
        std::os::unix::fs::symlink("t".repeat(len), home.join(&format!("tree/link-{len}"))).unwrap();
    }
    let odd: [&[u8]; 7] =
        [b"%ff", b"\xff", b"\xed\xa0\x80", b"a\nb\x01", "\u{85}\u{7f}".as_bytes(), b"sort.x", b"sort-y"];
    for name in odd {
        fs::write(home.join("tree").join(std::ffi::OsStr::from_bytes(name)), "odd").unwrap();
    }
    home.write("tree/sort/z", "between its neighbours");
    for (name, time) in
        [("old", "1969-12-31 23:59:55.5 UTC"), ("future", "2255-01-01 00:00:00.000000005 UTC")]
    {
        home.write(&format!("tree/{name}"), "o");
        Run::of(Command::new("touch").args(["-d", time]).arg(home.join(&format!("tree/{name}")))).ok();
    }
    let holes = fs::File::create(home.join("tree/only-a-hole")).unwrap();
    holes.set_len(1 << 20).unwrap();
    home.chmod("tree/dir", 0o2750);

    home.write("one.txt", "one");
    home.write(".bashrc", "export API_KEY='sk-\"quoted\" $\\'\n");
    home.write(".env", "TOKEN=\"two words\"\n");
    home.write(".pgpass", "localhost:1:db:user:pa\\:ss\n");
    home.write("credentials", b"tok\xff\0\n");
    [".bashrc", ".env", ".pgpass", "credentials"].iter().for_each(|path| home.chmod(path, 0o600));
    home.profile(PROFILE);
}

struct Reader {
    identity: std::path::PathBuf,
    signers: std::path::PathBuf,
}

impl Reader {
    fn read(&self, bundle: &Path, out: &Path) -> Run {
        let mut python = Command::new("python3");
        python.args(["-B", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reader/reader.py")]);
        Run::of(python.arg(bundle).arg(&self.identity).arg(&self.signers).arg(out))
    }

    #[track_caller]
    fn refuses(&self, bundle: &Path, code: i32, out: &Path) {
        let run = self.read(bundle, out);
        assert_eq!(run.code, 1, "{}", run.stderr);
        assert!(run.stderr.starts_with(&format!("refused: ({code}) ")), "{}", run.stderr);
        assert!(!out.exists());
    }
}

#[test]
fn it_restores_what_the_binary_packed_and_refuses_what_was_changed() {
    let world = World::new();
    furnish(&world.source);
    let bundle = world.export("b.kbp");
    let signers = world.path("signers");
    fs::write(&signers, format!("source namespaces=\"kbpack-bundle\" {}\n", world.public_key())).unwrap();
    let identity = world.target.join(".config/kbpack/identity.txt");
    let reader = Reader { identity, signers };
    let out = world.path("out");
    reader.read(&bundle, &out).ok();
    assert_eq!(differences(&world.source.join("tree"), &out.join("tree")), "");
    assert_eq!(fs::read(out.join("one/one.txt")).unwrap(), b"one");
    assert_eq!(fs::read_dir(out.join("gone")).unwrap().count(), 0);
    let values: [(&str, &[u8]); 4] = [
        ("env/0", b"sk-\"quoted\" $\\"),
        ("env/1", b"two words"),
        ("pgpass/0", b"pa:ss"),
        ("files/0", b"tok\xff\0\n"),
    ];
    for (path, value) in values {
        assert_eq!(fs::read(out.join("keys").join(path)).unwrap(), value, "{path}");
    }

    // Whatever else it is handed is refused, and nothing is written.
    let nowhere = world.path("nowhere");
    let whole = fs::read(&bundle).unwrap();
    let broken = world.path("broken.kbp");
    let tampered = |bytes: &[u8]| fs::write(&broken, bytes).unwrap();
    for at in (0..8).map(|n| n * (whole.len() / 8) + 600) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        tampered(&bytes);
        reader.refuses(&broken, 3, &nowhere);
    }
    tampered(&whole[..whole.len() - 512]);
    reader.refuses(&broken, 3, &nowhere);
    tampered(&[&whole[..], &[0; 512]].concat());
    reader.refuses(&broken, 3, &nowhere);
    let stranger = world.path("strangers");
    let own = fs::read_to_string(world.target.join(".config/kbpack/signing_key.pub")).unwrap();
    fs::write(&stranger, format!("target namespaces=\"kbpack-bundle\" {own}")).unwrap();
    let signers = reader.signers.clone();
    Reader { signers: stranger, ..reader }.refuses(&bundle, 4, &nowhere);
    let identity = world.source.join(".config/kbpack/identity.txt");
    Reader { identity, signers }.refuses(&bundle, 5, &nowhere);
}
