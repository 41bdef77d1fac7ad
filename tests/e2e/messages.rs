//! Every help text, what each command says when it works, and what is said when it does not.

use crate::snapshot::Snapshots;
use crate::support::{furnish, Home, World, PROFILE};
use std::fs;
use std::path::Path;
use std::process::Command;

/// The names under `Commands:` in a help text.
fn commands_in(help: &str) -> Vec<String> {
    let listed =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = listed.filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

fn take_help(snapshots: &mut Snapshots, home: &Home, path: &[String]) {
    let args: Vec<&str> = path.iter().map(String::as_str).chain(["--help"]).collect();
    let name = ["help"].into_iter().chain(path.iter().map(String::as_str)).collect::<Vec<_>>().join("-");
    snapshots.take(&name, &mut home.command_alone(&args));
    for command in commands_in(&home.kbpack(&args).ok().text()) {
        take_help(snapshots, home, &[path, &[command]].concat());
    }
}

#[test]
fn help_texts() {
    let world = World::strangers();
    let mut snapshots = Snapshots::new("help", world.dir.path());
    take_help(&mut snapshots, &world.source, &[]);
    snapshots.finish();
}

/// A world in which things go wrong, and what is said then.
struct Scene {
    world: World,
    /// Someone who has nothing yet.
    third: Home,
    snapshots: Snapshots,
}

impl Scene {
    fn new(prefix: &'static str) -> Self {
        let world = World::new();
        furnish(&world.source);
        world.source.chmod(".bashrc", 0o600);
        // Whatever the umask is.
        for (path, mode) in [
            ("", 0o755),
            ("/hooks", 0o755),
            ("/empty", 0o755),
            ("/settings.json", 0o644),
            ("/big.bin", 0o644),
        ] {
            world.source.chmod(&format!("app{path}"), mode);
        }
        let third = Home { path: world.path("third") };
        fs::create_dir(&third.path).unwrap();
        let mut snapshots = Snapshots::new(prefix, world.dir.path());
        let user_at_host = world.signer.split(' ').next().unwrap();
        snapshots.hide(&regex::escape(user_at_host), "USER@HOST");
        Scene { world, third, snapshots }
    }

    fn source(&mut self, name: &str, args: &[&str]) {
        self.snapshots.take(name, &mut self.world.source.command_alone(args));
    }

    fn target(&mut self, name: &str, args: &[&str]) {
        self.snapshots.take(name, &mut self.world.target.command_alone(args));
    }

    fn third(&mut self, name: &str, args: &[&str]) {
        self.snapshots.take(name, &mut self.third.command_alone(args));
    }

    /// `kbpack export` for the target with another profile, to a file that must not appear.
    fn profile(&mut self, name: &str, text: &str) {
        self.world.source.profile(text);
        let recipient = self.world.recipient.clone();
        let out = self.path("refused.kbp");
        self.source(name, &["export", "-r", &recipient, "-o", &out]);
        assert!(!Path::new(&out).exists(), "{name}");
        self.world.source.profile(PROFILE);
    }

    fn path(&self, name: &str) -> String {
        self.world.path(name).to_str().unwrap().to_owned()
    }

    fn export(&self, name: &str) -> String {
        self.world.export(name).to_str().unwrap().to_owned()
    }
}

#[test]
fn what_is_said_when_it_works() {
    let mut scene = Scene::new("ok");
    scene.third("ok-keygen", &["keygen"]);
    scene.third("ok-keygen-show", &["keygen", "--show"]);
    scene.third("ok-keygen-json", &["keygen", "--show", "--json"]);
    let (recipient, signer) = (scene.world.recipient.clone(), scene.world.signer.clone());
    scene.third("ok-trust-add", &["trust", "add", "source", &signer]);
    scene.third("ok-trust-list", &["trust", "list"]);
    scene.third("ok-trust-remove", &["trust", "remove", "source"]);
    let bundle = scene.path("b.kbp");
    scene.source("ok-export-dry-run", &["export", "--dry-run"]);
    scene.source("ok-export", &["export", "-r", &recipient, "-o", &bundle]);
    scene.target("ok-inspect", &["inspect", &bundle]);
    scene.target("ok-inspect-files", &["inspect", &bundle, "--files"]);
    scene.target("ok-verify", &["verify", &bundle]);
    scene.target("ok-verify-deep", &["verify", "--deep", &bundle]);
    scene.target("ok-import-dry-run", &["import", &bundle, "--dry-run"]);
    scene.target("ok-import", &["import", &bundle, "--yes"]);
    scene.target("ok-import-again", &["import", &bundle, "--yes"]);
    scene.target("ok-import-quiet", &["import", &bundle, "--yes", "--quiet"]);
    let (out, again) = (scene.path("out"), scene.path("again.kbp"));
    scene.target("ok-extract", &["extract", &bundle, "app", "-C", &out]);
    scene.target("ok-rekey", &["rekey", &bundle, "-r", &recipient, "-o", &again]);
    let receipt = scene.path("carried.receipt");
    scene.target("ok-import-receipt", &["import", &bundle, "--yes", "--only", "keys", "--receipt", &receipt]);
    scene.source("ok-history-no-receipt", &["history"]);
    let target = scene.world.target.kbpack(&["keygen", "--show", "--json"]).ok().json();
    scene.source(
        "ok-trust-add-for-receipts",
        &["trust", "add", "beta", target["signer"].as_str().unwrap(), "--for", "receipts"],
    );
    scene.source("ok-receipt", &["receipt", &receipt]);
    scene.source("ok-history", &["history"]);
    let ticket = scene.path("beta.ticket");
    scene.target("ok-ticket", &["ticket", "-o", &ticket]);
    let signer = target["signer"].as_str().unwrap();
    scene.source("ok-trust-add-for-tickets", &["trust", "add", "beta", signer, "--for", "tickets"]);
    scene.source("ok-export-for", &["export", "--for", &ticket, "-o", &scene.path("for.kbp")]);
    let folder = scene.path("bundles");
    fs::create_dir(&folder).unwrap();
    for name in ["1.kbp", "2.kbp"] {
        fs::rename(scene.world.export(name), Path::new(&folder).join(name)).unwrap();
    }
    let identity = scene.world.target.join(".config/kbpack/identity.txt");
    let prune = ["prune", &folder, "--keep-last", "1", "-i", identity.to_str().unwrap()];
    scene.source("ok-prune-dry-run", &[&prune[..], &["--dry-run"]].concat());
    scene.source("ok-prune", &[&prune[..], &["--yes"]].concat());
    scene.source("ok-prune-nothing", &[&prune[..], &["--yes"]].concat());
    let home = scene.world.source.path.to_str().unwrap().to_owned();
    scene
        .world
        .source
        .write("app/settings.json", format!("{{\"hook\": \"bash {home}/app/hooks/run.sh\"}}\n"));
    let rewrite =
        "rewrite-home = [\"settings.json\"]\nmodes = [{ match = \"*.py\", mode = \"644\" }]\nexclude =";
    scene.world.source.profile(&PROFILE.replace("exclude =", rewrite));
    scene.source("ok-export-rewrites", &["export", "--dry-run"]);
    let bundle = scene.export("rewrites.kbp");
    scene.target("ok-import-rewrites", &["import", &bundle, "--yes"]);
    scene.snapshots.finish();
}

#[test]
fn what_checks_say() {
    let mut scene = Scene::new("check");
    scene.target("check-none", &["check"]);
    scene.target("check-map-alone", &["check", "--map", "/a=/b"]);
    let recipient = scene.world.recipient.clone();
    let mut profile = |name: &str, checks: &str| {
        scene.world.source.profile(&format!("{PROFILE}\n{checks}"));
        let out = scene.path("refused.kbp");
        scene.source(name, &["export", "-r", &recipient, "-o", &out]);
        assert!(!Path::new(&out).exists(), "{name}");
    };
    let check = |kind: &str| format!("[[check]]\nname = \"x\"\n{kind}\n");
    profile("check-no-kind", &check(""));
    profile("check-unknown-key", &check("tcp = { adress = \"a:1\" }"));
    profile(
        "check-open-secret",
        &check("http = { url = \"http://a/\", header = { Authorization = \"b\" } }"),
    );
    profile("check-holds-secret", &check("command = { run = [\"curl\", \"-Hk: sk-demo-0123456789\"] }"));
    profile("check-bad-address", &check("tcp = { address = \"localhost\" }"));
    profile("check-bad-pattern", &check("command = { run = [\"a\"], stdout-matches = \"(\" }"));
    profile("check-not-recorded", &check("version = { run = [\"false\"], equal-to-source = true }"));
    let checks = [
        "[[check]]\nname = \"settings\"\nfile = { path = \"~/app/settings.json\", type = \"file\" }",
        "[[check]]\nname = \"a tool\"\nversion = { run = [\"echo\", \"1.2\"], equal-to-source = true }",
        "[[check]]\nname = \"nothing here\"\nseverity = \"warn\"\nfile = { path = \"~/app/big.bin\", exists = false }",
    ];
    scene.world.source.profile(&format!("{PROFILE}\n{}", checks.join("\n")));
    let bundle = scene.export("b.kbp");
    scene.target("check-inspect", &["inspect", &bundle]);
    scene.target("check-dry-run", &["import", &bundle, "--dry-run"]);
    scene.target("check-import", &["import", &bundle, "--yes"]);
    scene.target("check-again", &["check"]);
    scene.target("check-again-verbose", &["check", "-v"]);
    scene.target("check-bundle", &["check", &bundle]);
    fs::remove_file(scene.world.target.join("app/settings.json")).unwrap();
    scene.target("check-failed", &["check"]);
    scene.target(
        "check-import-undone",
        &["import", &bundle, "--yes", "--profile", &{
            let own = check("file = { path = \"~/none\" }");
            scene.world.target.write("own.toml", own).to_str().unwrap().to_owned()
        }],
    );
    scene.snapshots.finish();
}

#[test]
fn what_differences_say() {
    let mut scene = Scene::new("diff");
    scene.snapshots.hide(r"\b[0-9]+ s ago", "AGE ago");
    scene.target("diff-status-of-nothing", &["status"]);
    let one = scene.export("one.kbp");
    scene.source("diff-status-of-source", &["status"]);
    scene.target("diff-not-there", &["diff", &one]);
    scene.target("diff-two-from-stdin", &["diff", "-", "-"]);
    scene.world.import(Path::new(&one), &[]).ok();
    scene.target("diff-same", &["diff", &one]);
    scene.target("diff-status-of-target", &["status"]);
    for home in [&scene.world.source, &scene.world.target] {
        home.write("app/settings.json", "{\"a\": 2, \"b\": 3}\n");
        home.write("app/new.txt", "new\n");
        home.chmod("app/new.txt", 0o644);
        home.chmod("app/hooks/run.sh", 0o700);
        fs::remove_file(home.join("app/big.bin")).unwrap();
        home.write("app/credentials.json", "{\"token\": \"tok-abcdef-999999\"}\n");
    }
    scene.target("diff-machine", &["diff", &one]);
    scene.target("diff-exit-code", &["diff", &one, "--only", "keys", "--exit-code"]);
    scene.target("diff-status-changed", &["status", "--exit-code"]);
    scene.source("diff-status-quick", &["status", "--quick"]);
    let two = scene.export("two.kbp");
    scene.target("diff-bundles", &["diff", &one, &two]);
    scene.target("diff-json", &["diff", &one, &two, "--only", "keys", "--json"]);
    scene.snapshots.finish();
}

#[test]
fn what_hooks_say() {
    let mut scene = Scene::new("hook");
    let hook = |stage: &str, run: &str, more: &str| {
        format!("[[hook]]\nstage = \"{stage}\"\nrun = [{run}]\n{more}\n")
    };
    scene.profile("hook-unknown-stage", &format!("{PROFILE}{}", hook("before", "\"a\"", "")));
    scene.profile(
        "hook-of-two-words-for-a-shell",
        &format!("{PROFILE}{}", hook("resume", "\"a\", \"b\"", "shell = true")),
    );
    scene.profile("hook-elsewhere", &format!("{PROFILE}{}", hook("rollback", "\"a\"", "where = \"source\"")));
    scene.profile(
        "hook-holds-secret",
        &format!("{PROFILE}{}", hook("resume", "\"a\", \"sk-demo-0123456789\"", "where = \"target\"")),
    );
    let fails = hook("quiesce", "\"sh\", \"-c\", \"echo it is busy >&2; exit 3\"", "");
    scene.profile("hook-export-stopped", &format!("{PROFILE}{fails}"));

    let hooks = [
        hook("quiesce", "\"true\", \"stop\"", ""),
        hook("after-commit", "\"cd app && true\"", "shell = true\nseverity = \"warn\"\ntimeout = 5"),
        hook("resume", "\"true\", \"start\"", "directory = \"~/app\""),
    ];
    scene.world.source.profile(&format!("{PROFILE}{}", hooks.concat()));
    scene.source("hook-export-dry-run", &["export", "--dry-run"]);
    let bundle = scene.export("b.kbp");
    scene.target("hook-inspect", &["inspect", &bundle]);
    scene.target("hook-refused", &["import", &bundle, "--yes"]);
    scene.target("hook-left-out", &["import", &bundle, "--yes", "--no-hooks"]);
    let mut own = |name: &str, more: &[&str], hooks: &str| {
        scene.world.target.write("app/settings.json", "{}\n");
        let own = scene.world.target.write("own.toml", hooks).to_str().unwrap().to_owned();
        let args = ["import", &bundle, "--yes", "--no-hooks", "--profile", &own];
        scene.target(name, &[&args[..], more].concat());
    };
    own("hook-stopped", &["-q"], &fails);
    own("hook-undone", &["-q"], &hook("after-commit", "\"false\"", ""));
    own("hook-not-resumed", &[], &hook("resume", "\"false\"", ""));
    scene.snapshots.finish();
}

#[test]
fn what_is_said_of_the_command_line() {
    let mut scene = Scene::new("usage");
    scene.source("usage-no-command", &[]);
    scene.source("usage-unknown-command", &["frobnicate"]);
    scene.source("usage-unknown-option", &["export", "--frob"]);
    scene.source("usage-missing-argument", &["import"]);
    scene.source("usage-quiet-and-verbose", &["export", "-q", "-v"]);
    scene.source("usage-bad-map", &["import", "x", "--map", "a=b"]);
    scene.source("usage-map-without-equals", &["import", "x", "--map", "/a"]);
    scene.source("usage-bad-only", &["import", "x", "--only", "../x"]);
    scene.source("usage-bad-only-path", &["import", "x", "--only", "app:../x"]);
    scene.source("usage-bad-time", &["verify", "x", "--verify-time", "tomorrow"]);
    scene.source("usage-bad-duration", &["export", "--expires", "1y"]);
    let recipient = scene.world.recipient.clone();
    scene.source("usage-folder-as-output", &["export", "-r", &recipient, "-o", "."]);
    scene.source("usage-json-to-stdout", &["export", "--json", "-o", "-"]);
    scene.source("usage-error-in-json", &["export", "--json", "--profile", "none.toml"]);
    scene.source("usage-trust-no-key", &["trust", "add", "x", "no-such-file"]);
    scene.source("usage-trust-not-a-key", &["trust", "add", "x", ".bashrc"]);
    scene.source("usage-trust-nobody", &["trust", "remove", "x"]);
    scene.source("usage-revoke-nobody", &["trust", "revoke", "x"]);
    let key = scene.world.public_key();
    scene.source("usage-hooks-for-receipts", &["trust", "add", "x", &key, "--for", "receipts", "--hooks"]);
    scene.source("usage-prune-no-rule", &["prune", "."]);
    scene.source("usage-prune-no-folder", &["prune", "--keep-last", "1"]);
    scene.source("usage-prune-keep-none", &["prune", ".", "--keep-last", "0"]);
    scene.snapshots.finish();
}

#[test]
fn what_is_said_of_a_profile() {
    let mut scene = Scene::new("profile");
    scene.third("profile-none", &["export"]);
    scene.third("profile-missing", &["export", "--profile", "none.toml"]);
    scene.profile("profile-not-toml", "[component.x]\nkind = files\n");
    scene.profile("profile-unknown-table", "[bundel]\nname = \"x\"\n");
    scene.profile("profile-no-component", "[bundle]\nname = \"x\"\n");
    scene.profile("profile-bad-name", "[component.X]\nkind = \"files\"\n");
    scene.profile("profile-no-kind", "[component.x]\npath = \"~/app\"\n");
    scene.profile("profile-unknown-kind", "[component.x]\nkind = \"floppy\"\n");
    scene.world.source.write("app/bad.json", "{\n  // a comment\n}\n");
    let component = |kind: &str, options: &str| format!("[component.x]\nkind = \"{kind}\"\n{options}\n");
    for (name, options) in [
        ("profile-files-no-path", ""),
        ("profile-files-unknown-option", "path = \"~/app\"\nfoo = 1"),
        ("profile-files-relative", "path = \"app\""),
        ("profile-files-own-directory", "path = \"~/.config/kbpack\""),
        ("profile-files-setuid", "path = \"~/app\"\nmodes = [{ match = \"hooks/*.sh\", mode = \"4755\" }]"),
        ("profile-files-rewrite-unknown", "path = \"~/app\"\nrewrite-home = [\"big.bin\"]"),
        ("profile-files-rewrite-not-json", "path = \"~/app\"\nrewrite-home = [\"bad.json\"]"),
    ] {
        scene.profile(name, &component("files", options));
    }
    for (name, options) in [
        ("profile-secrets-none", ""),
        ("profile-secrets-unknown-option", "envs = []"),
        ("profile-secrets-bad-variable", "env = { file = \"~/.bashrc\", names = [\"A B\"] }"),
        ("profile-secrets-missing-variable", "env = { file = \"~/.bashrc\", names = [\"NONE\"] }"),
        ("profile-secrets-not-static", "env = { file = \"~/dynamic.sh\", names = [\"WHEN\"] }"),
        ("profile-secrets-missing-file", "files = [{ path = \"~/none\" }]"),
        ("profile-secrets-command", "files = [{ path = \"~/app/x\", policy = \"command\" }]"),
        ("profile-secrets-how", "files = [{ path = \"~/app/x\", how = \"log in\" }]"),
        ("profile-secrets-unknown-policy", "files = [{ path = \"~/app/x\", policy = \"steal\" }]"),
    ] {
        scene.world.source.write("dynamic.sh", "export WHEN=$(date)\n");
        scene.world.source.chmod("dynamic.sh", 0o600);
        scene.profile(name, &component("secrets", options));
    }
    let files = |name: &str| format!("[component.{name}]\nkind = \"files\"\npath = \"~/app\"\n");
    scene.profile("profile-same-claim", &(files("one") + &files("two")));
    scene.snapshots.finish();
}

#[test]
fn what_is_said_when_an_export_fails() {
    let mut scene = Scene::new("export");
    let recipient = scene.world.recipient.clone();
    let out = scene.path("b.kbp");
    let secret = scene.world.source.read(".config/kbpack/identity.txt");
    let secret = String::from_utf8(secret).unwrap().lines().last().unwrap().to_owned();
    scene.source("export-no-recipient", &["export", "-o", &out]);
    scene.source("export-rsa", &["export", "-r", "ssh-rsa AAAAB3 me@here", "-o", &out]);
    scene.source("export-not-whole", &["export", "-r", "age1qqqq", "-o", &out]);
    scene.world.source.write("recipients", format!("# ours\n{recipient}\n{secret}\n"));
    scene.source("export-bad-line", &["export", "-R", "recipients", "-o", &out]);
    scene.source("export-no-recipients-file", &["export", "-R", "none", "-o", &out]);
    scene.source("export-no-terminal", &["export", "-p", "-o", &out]);
    scene.source("export-plugin-missing", &["export", "-r", "age1fake1f3suk7", "-o", &out]);
    let export = ["export", "-r", &recipient, "-o", &out];
    scene.source("export-unknown-component", &[&export[..], &["--only", "none"]].concat());
    scene.source("export-nothing-left", &[&export[..], &["--only", "app", "--skip", "app"]].concat());
    scene.source("export-no-such-folder", &["export", "-r", &recipient, "-o", &scene.path("no/b.kbp")]);
    scene.source("export-not-a-folder", &["export", "-r", &recipient, "-o", "/dev/null/b.kbp"]);
    scene.world.source.write("app/copy.txt", "sk-demo-0123456789\n");
    scene.source("export-strict-secrets", &[&export[..], &["--strict-secrets"]].concat());
    scene.source("export-misplaced-secret", &["export", "-r", &recipient, "-o", &scene.path("warned.kbp")]);
    fs::remove_file(scene.world.source.join("app/copy.txt")).unwrap();
    scene.export("b.kbp");
    scene.source("export-exists", &export);
    scene.third.profile(PROFILE);
    scene.third.chmod(".config/kbpack", 0o700);
    scene.third("export-no-key", &export);
    scene.world.source.chmod(".config/kbpack/signing_key", 0o644);
    scene.source("export-loose-key", &export);
    scene.world.source.chmod(".config/kbpack/signing_key", 0o600);
    scene.world.source.chmod(".config/kbpack", 0o777);
    scene.source("export-loose-directory", &export);
    scene.snapshots.finish();
}

#[test]
fn what_is_said_of_a_bundle_that_is_not_whole() {
    let mut scene = Scene::new("damaged");
    let bundle = fs::read(scene.export("b.kbp")).unwrap();
    scene.target("damaged-missing", &["import", "none.kbp"]);
    scene.target("damaged-directory", &["import", "."]);
    for (name, bytes) in [
        ("damaged-empty", Vec::new()),
        ("damaged-not-a-bundle", b"hello\n".repeat(1000)),
        ("damaged-cut-off", bundle[..bundle.len() - 700].to_vec()),
        ("damaged-followed", [&bundle[..], b"x"].concat()),
        ("damaged-changed", {
            let mut bytes = bundle.clone();
            let header = bytes.windows(17).position(|name| name == b"/s/000001/000001\0").unwrap();
            bytes[header + 1024] ^= 1;
            bytes
        }),
        ("damaged-signature", {
            let mut bytes = bundle.clone();
            let armor = bytes.windows(13).rposition(|text| text == b"SSH SIGNATURE").unwrap();
            bytes[armor] ^= 1;
            bytes
        }),
    ] {
        let path = scene.path("broken.kbp");
        fs::write(&path, bytes).unwrap();
        scene.target(name, &["import", &path, "--yes"]);
    }
    scene.snapshots.finish();
}

#[test]
fn what_is_said_of_a_bundle_that_is_not_trusted() {
    let mut scene = Scene::new("trust");
    let bundle = scene.export("b.kbp");
    let public = scene.world.public_key();
    let fingerprint = scene.world.fingerprint.clone();
    scene.third("trust-unknown-signer", &["import", &bundle, "--yes"]);
    scene.third("trust-other-pin", &["import", &bundle, "--yes", "--trust", "SHA256:AAAA"]);
    let until = ["trust", "add", "source", &public, "--from", "20200101Z", "--until", "20300101Z"];
    scene.third.kbpack(&until).ok();
    scene.third("trust-no-longer", &["verify", &bundle, "--verify-time", "20310101Z"]);
    scene.third("trust-not-yet", &["verify", &bundle, "--verify-time", "20190101Z"]);
    scene.third.kbpack(&["trust", "revoke", &fingerprint]).ok();
    scene.third("trust-revoked", &["verify", &bundle]);
    scene.third("trust-add-revoked", &["trust", "add", "again", &public]);

    let brief = scene.path("brief.kbp");
    let recipient = scene.world.recipient.clone();
    scene.world.source.kbpack(&["export", "-r", &recipient, "--expires", "1h", "-o", &brief]).ok();
    scene.target("trust-expired", &["import", &brief, "--yes", "--verify-time", "20990101Z"]);
    scene.world.target.kbpack(&["import", &brief, "--yes"]).ok();
    scene.target("trust-older", &["import", &bundle, "--yes"]);
    fs::remove_dir_all(scene.world.target.join(".local/state/kbpack/signers")).unwrap();
    scene.target("trust-lost-mark", &["import", &bundle, "--yes"]);

    let signers = ".config/kbpack/trusted_signers";
    scene.world.target.chmod(signers, 0o666);
    scene.target("trust-loose-file", &["verify", &bundle]);
    scene.world.target.chmod(signers, 0o600);
    scene.world.target.write(signers, "source ssh-rsa AAAA\n");
    scene.target("trust-bad-line", &["verify", &bundle]);
    scene.snapshots.finish();
}

#[test]
fn what_is_said_of_a_receipt() {
    let mut scene = Scene::new("receipt");
    let (bundle, receipt) = (scene.export("b.kbp"), scene.path("carried.receipt"));
    scene.world.target.kbpack(&["import", &bundle, "--yes", "--receipt", &receipt]).ok();
    scene.target("receipt-exists", &["import", &bundle, "--yes", "--receipt", &receipt]);
    scene.source("receipt-not-one", &["receipt", &bundle]);
    scene.source("receipt-missing", &["receipt", "none.receipt"]);
    scene.source("receipt-unknown-target", &["receipt", &receipt]);
    let target = scene.world.target.kbpack(&["keygen", "--show", "--json"]).ok().json();
    let signer = target["signer"].as_str().unwrap();
    scene.world.source.kbpack(&["trust", "add", "beta", signer]).ok();
    scene.source("receipt-trusted-for-bundles", &["receipt", &receipt]);
    let changed = fs::read_to_string(&receipt).unwrap().replace("\"small\"", "\"large\"");
    scene.world.source.write("changed.receipt", changed);
    scene.source("receipt-changed", &["receipt", "changed.receipt"]);
    fs::remove_dir_all(scene.world.source.join(".local/state/kbpack/exports")).unwrap();
    let pin = target["fingerprint"].as_str().unwrap();
    scene.source("receipt-never-exported", &["receipt", &receipt, "--trust", pin]);
    fs::remove_file(scene.world.target.join(".config/kbpack/signing_key")).unwrap();
    scene.target("receipt-no-key", &["import", &bundle, "--yes", "--receipt", &scene.path("2.receipt")]);
    scene.snapshots.finish();
}

#[test]
fn what_is_said_of_a_ticket() {
    let mut scene = Scene::new("ticket");
    let (ticket, out) = (scene.path("beta.ticket"), scene.path("b.kbp"));
    scene.third("ticket-no-key", &["ticket"]);
    scene.target("ticket-json-to-stdout", &["ticket", "--json"]);
    scene.world.target.kbpack(&["ticket", "-o", &ticket]).ok();
    scene.target("ticket-exists", &["ticket", "-o", &ticket]);
    scene.source("ticket-missing", &["export", "--for", "none.ticket"]);
    scene.source("ticket-not-one", &["export", "--for", ".bashrc"]);
    scene.source("ticket-unknown-target", &["export", "--for", &ticket]);
    let target = scene.world.target.kbpack(&["keygen", "--show", "--json"]).ok().json();
    let signer = target["signer"].as_str().unwrap();
    scene.world.source.kbpack(&["trust", "add", "beta", signer]).ok();
    scene.source("ticket-trusted-for-bundles", &["export", "--for", &ticket]);
    let pin = target["fingerprint"].as_str().unwrap();
    scene.source("ticket-other-pin", &["export", "--for", &ticket, "--trust", "SHA256:AAAA"]);
    let export = ["export", "--for", &ticket, "--trust", pin, "-o", &out];
    scene.world.source.kbpack(&export).ok();
    let other = scene.path("other.kbp");
    scene.world.source.kbpack(&[&export[..6], &[&other]].concat()).ok();
    scene.target("ticket-late", &["import", &out, "--yes", "--verify-time", "20990101Z"]);
    scene.world.target.kbpack(&["import", &out, "--yes"]).ok();
    scene.target("ticket-used-up", &["import", &other, "--yes"]);
    fs::remove_dir_all(scene.world.target.join(".local/state/kbpack/tickets")).unwrap();
    scene.target("ticket-forgotten", &["import", &out, "--yes"]);
    scene.world.source.kbpack(&["trust", "add", "me", &scene.world.public_key()]).ok();
    let recipient =
        scene.world.source.kbpack(&["keygen", "--show", "--json"]).ok().json()["recipient"].clone();
    let opened = scene.path("opened.kbp");
    let export = [&export[..6], &[&opened, "-r", recipient.as_str().unwrap()]].concat();
    scene.world.source.kbpack(&export).ok();
    scene.source("ticket-other-machine", &["import", &opened, "--yes"]);
    scene.snapshots.finish();
}

#[test]
fn what_is_said_when_it_does_not_open() {
    let mut scene = Scene::new("open");
    let bundle = scene.export("b.kbp");
    let pin = ["--trust", &scene.world.fingerprint.clone()].map(str::to_owned);
    let inspect = |bundle: &str, more: &[&str]| -> Vec<String> {
        ["inspect", bundle].iter().chain(more).map(|arg| (*arg).to_owned()).chain(pin.clone()).collect()
    };
    let take = |scene: &mut Scene, name: &str, args: Vec<String>, adjust: &dyn Fn(&mut Command)| {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut command = scene.third.command_alone(&args);
        adjust(&mut command);
        scene.snapshots.take(name, &mut command);
    };
    let plainly = |_: &mut Command| {};
    take(&mut scene, "open-no-key", inspect(&bundle, &[]), &plainly);
    scene.third.kbpack(&["keygen"]).ok();
    take(&mut scene, "open-other-key", inspect(&bundle, &[]), &plainly);
    take(&mut scene, "open-no-such-identity", inspect(&bundle, &["-i", "none"]), &plainly);
    take(&mut scene, "open-folder", inspect(&bundle, &["-i", "."]), &plainly);
    scene.third.write("public", format!("{}\n", scene.world.recipient));
    take(&mut scene, "open-public-key", inspect(&bundle, &["-i", "public"]), &plainly);
    scene.third.write("words", "hunter2\n");
    take(&mut scene, "open-not-an-identity", inspect(&bundle, &["-i", "words"]), &plainly);
    scene.third.chmod(".config/kbpack/identity.txt", 0o644);
    take(&mut scene, "open-loose-identity", inspect(&bundle, &[]), &plainly);
    scene.third.chmod(".config/kbpack/identity.txt", 0o600);

    let words = scene.world.source.write("passphrase", "open sesame\n");
    let sealed = scene.path("p.kbp");
    let descriptor = |file: &Path| {
        // A shell in front of it opens the descriptor.
        format!("exec 3<{}; export KBPACK_PASSPHRASE_FD=3; exec \"$0\" \"$@\"", file.display())
    };
    let with_words = |home: &Home, file: &Path, args: &[String]| {
        let mut command = Command::new("setsid");
        command.args(["--wait", "sh", "-c", &descriptor(file), crate::support::KBPACK]).args(args);
        command.current_dir(&home.path).env_clear().env("HOME", &home.path);
        command.env("PATH", std::env::var_os("PATH").unwrap());
        command
    };
    let export = ["export", "-p", "-o", &sealed].map(str::to_owned);
    crate::support::Run::of(&mut with_words(&scene.world.source, &words, &export)).ok();
    take(&mut scene, "open-passphrase-nobody-to-ask", inspect(&sealed, &[]), &plainly);
    let wrong = scene.third.write("wrong", "open sesam\n");
    let mut command = with_words(&scene.third, &wrong, &inspect(&sealed, &[]));
    scene.snapshots.take("open-wrong-passphrase", &mut command);
    take(&mut scene, "open-bad-descriptor", inspect(&sealed, &[]), &|command| {
        command.env("KBPACK_PASSPHRASE_FD", "99");
    });
    scene.snapshots.finish();
}

#[test]
fn what_is_said_when_an_import_stops() {
    let mut scene = Scene::new("import");
    let bundle = scene.export("b.kbp");
    scene.target("import-nobody-to-ask", &["import", &bundle]);
    scene.world.target.chmod(".local/state/kbpack", 0o770);
    scene.target("import-loose-state", &["import", &bundle, "--yes"]);
    scene.world.target.chmod(".local/state/kbpack", 0o700);
    scene.target("import-unknown-component", &["import", &bundle, "--yes", "--only", "none"]);
    scene.target("import-bad-profile", &["import", &bundle, "--yes", "--profile", "none.toml"]);
    let kind = "[component.app]\nkind = \"secrets\"\nfiles = [{ path = \"~/x\" }]\n";
    scene.world.target.write("kind.toml", kind);
    scene.target("import-other-kind", &["import", &bundle, "--yes", "--profile", "kind.toml"]);
    scene.world.target.write("app/settings.json", "mine\n");
    fs::create_dir_all(scene.world.target.join("app/big.bin/inside")).unwrap();
    scene.target("import-refused", &["import", &bundle, "--yes"]);
    fs::remove_dir_all(scene.world.target.join("app")).unwrap();
    scene.world.target.kbpack(&["import", &bundle, "--yes"]).ok();
    scene.target("import-new-destination", &["import", &bundle, "--yes", "--map", "~/app=~/elsewhere"]);
    scene.target("import-idle-map", &["import", &bundle, "--yes", "--map", "/home/ada/app=/srv/app"]);
    scene.target("import-no-such-component-to-extract", &["extract", &bundle, "none"]);
    let out = scene.path("out");
    scene.world.target.kbpack(&["extract", &bundle, "app", "-C", &out]).ok();
    scene.target("import-extract-exists", &["extract", &bundle, "app", "-C", &out]);
    scene.target("import-rekey-no-recipient", &["rekey", &bundle, "-o", &scene.path("again.kbp")]);
    scene.target("import-keys-are-there", &["keygen"]);
    fs::remove_file(scene.world.target.join(".config/kbpack/signing_key")).unwrap();
    scene.target("import-only-the-public-half", &["keygen"]);
    scene.third("import-keygen-show-nothing", &["keygen", "--show"]);
    scene.snapshots.finish();
}
