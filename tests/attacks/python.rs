//! Environments that would be made from something else than they say (chapter V), sealed by a trusted signer.

use crate::forge::Inside;
use crate::kit::{attack, run, Attack, Kit, Seen};
use kbpack::base::digest::Digest;
use serde_json::{json, Value};
use std::fs;
use std::path::Path;
use std::process::Command;

const NAME: &str = "venv";

/// A kit whose good bundle has an environment in it, and its wheels.
fn kit() -> Kit {
    let mut kit = Kit::new();
    let source = &kit.world.source;
    let command = |program: &Path, args: &[&str]| {
        let mut command = Command::new(program);
        command.args(args).current_dir(&source.path).env_clear().env("HOME", &source.path);
        assert!(
            command.env("PATH", std::env::var_os("PATH").unwrap()).status().unwrap().success(),
            "{args:?}"
        );
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/python/wheels.py");
    for version in ["1.0", "1.1"] {
        command(Path::new("python3"), &[script.to_str().unwrap(), "wheels", "kbdemo", version]);
    }
    let links = format!("[global]\nno-index = true\nfind-links = {}\n", source.join("wheels").display());
    source.write(".config/pip/pip.conf", links);
    command(Path::new("python3"), &["-m", "venv", "venv"]);
    command(&source.join("venv/bin/pip"), &["install", "-q", "kbdemo==1.0"]);
    let profile = format!(
        "{}\n[component.{NAME}]\nkind = \"python\"\npath = \"~/venv\"\nwheels = true\n",
        crate::support::PROFILE
    );
    kit.world.source.profile(&profile);
    kit.bundle = fs::read(kit.world.export("with-environment.kbp")).unwrap();
    kit.inside = Inside::open(&kit.bundle, &kit.identity);
    kit
}

#[test]
fn facts() {
    let kit = kit();
    let f = |name, code, words, change: &dyn Fn(&mut Value)| {
        let mut inside = kit.inside.clone();
        change(inside.facts(NAME));
        attack(name, inside.sealed(&kit.source), code, words, Seen::ByImport)
    };
    let set = |name, code, words, key: &'static str, value: Value| {
        f(name, code, words, &|facts| facts["environment"][key] = value.clone())
    };
    let good = |name, key: &str, value: Value| {
        let mut inside = kit.inside.clone();
        inside.facts(NAME)["environment"][key] = value;
        attack(name, inside.sealed(&kit.source), 0, "", Seen::ByNone)
    };
    run(
        &kit,
        vec![
            f("path-climbs", 6, "rule V1", &|f| f["path"] = json!("~/../x")),
            f("path-relative", 6, "rule V1", &|f| f["path"] = json!("x")),
            f("path-is-the-root", 6, "rule V1", &|f| f["path"] = json!("/")),
            f("facts-unknown-key", 6, "rule V1", &|f| f["run"] = json!("touch pwned")),
            f("facts-absent", 6, "rule V1", &|f| {
                *f = json!({"path": "~/app", "state": "absent", "left": "nothing"})
            }),
            set("wheels-without-streams", 6, "rule V3", "wheels", json!(u64::MAX)),
            set("wheels-null", 6, "rule V1", "wheels", Value::Null),
            f("wheels-hidden", 6, "rule V3", &|f| {
                drop(f["environment"].as_object_mut().unwrap().remove("wheels"))
            }),
            set("import-with-code", 6, "rule V2", "imports", json!(["os;os.system('touch pwned')"])),
            set(
                "script-elsewhere",
                6,
                "rule V2",
                "scripts",
                json!([["../../../bin/sh", "-c", "touch pwned"]]),
            ),
            set("script-absolute", 6, "rule V2", "scripts", json!([["/bin/sh", "-c", "touch pwned"]])),
            // Code that would run, from a signer who may not have any run: it does not, and the rest is good.
            good("import-not-allowed", "imports", json!(["kbdemo"])),
            good("script-not-allowed", "scripts", json!([["kbdemo"]])),
            set("distributions-one-more", 6, "rule V4", "distributions", json!(2)),
        ],
    );
}

#[test]
fn streams() {
    let kit = kit();
    let with = |name: &str, stream: &str, code: i32, words: &str, bytes: Vec<u8>| {
        let inside = kit.inside.clone().with_plain(NAME, stream, bytes);
        attack(name, inside.sealed(&kit.source), code, words, Seen::ByImport)
    };
    let asks = |name: &str, text: &str| with(name, "requirements", 6, "rule V3", text.as_bytes().to_vec());
    let wheel = kit.inside.stream(NAME, "wheel/000001").plain.clone();
    let row = |file: &str| {
        let row = json!({"file": file, "size": wheel.len(), "sha256": Digest::of(&wheel)});
        format!("{row}\n").into_bytes()
    };
    let mut other = wheel.clone();
    other[40] ^= 1;
    let longer = [&wheel[..], b"x"].concat();
    let attacks: Vec<Attack> = vec![
        asks("requirements-index", "--index-url https://example.org/simple\nkbdemo\n"),
        asks("requirements-index-on-a-line", "kbdemo --index-url=https://example.org/simple\n"),
        asks("requirements-editable", "-e /tmp/evil\n"),
        asks("requirements-find-links", "--find-links /\nkbdemo\n"),
        asks("requirements-url", "kbdemo @ https://example.org/kbdemo.zip\n"),
        asks("requirements-path", "./kbdemo\n"),
        asks("requirements-nested", "-r /etc/passwd\n"),
        asks("requirements-constraint", "-c /etc/passwd\n"),
        asks("requirements-variable", "${HOME}\n"),
        asks("requirements-continued", "kbdemo \\\n--index-url=https://example.org/simple\n"),
        asks("requirements-carriage-return", "kbdemo\r--index-url=https://example.org/simple\n"),
        asks("requirements-comment", "# kbdemo\nkbdemo\n"),
        asks("requirements-marker-with-option", "kbdemo ; os_name == 'posix' --pre\n"),
        with("requirements-no-text", "requirements", 6, "rule V3", vec![0xff, 0xfe, 0x0a]),
        with(
            "installed-with-option",
            "installed",
            6,
            "rule V4",
            b"{\"name\":\"kbdemo\",\"version\":\"1 -e /tmp\"}\n".to_vec(),
        ),
        with(
            "installed-without-end",
            "installed",
            6,
            "rule V4",
            b"{\"name\":\"kbdemo\",\"version\":\"1.0\"}".to_vec(),
        ),
        with("wheel-name-climbs", "wheels", 6, "rule V5", row("../kbdemo-1.0-py3-none-any.whl")),
        with("wheel-name-absolute", "wheels", 6, "rule V5", row("/tmp/kbdemo-1.0-py3-none-any.whl")),
        with("wheel-name-none", "wheels", 6, "rule V5", row("..")),
        with(
            "wheel-for-windows",
            "wheels",
            8,
            "wheels that are not for Python",
            row("kbdemo-1.0-cp39-cp39-win_amd64.whl"),
        ),
        with("wheel-other-bytes", "wheel/000001", 6, "rule V5", other),
        with("wheel-longer", "wheel/000001", 6, "rule V5", longer),
    ];
    run(&kit, attacks);
}

/// Wheels that are what the list names, and would have something run while they are installed: pip goes wherever a wheel's
/// metadata says, and lets a wheel replace the Python of the environment.
#[test]
fn wheels_that_run_something() {
    let kit = kit();
    let source = &kit.world.source;
    let pwned = kit.world.target.join("pwned");
    source.write(
        "evil/setup.py",
        format!("import setuptools\nopen({pwned:?}, 'w')\nsetuptools.setup(name='evil')\n"),
    );
    source.write("python/kbdemo-1.0.data/scripts/python", format!("#!/bin/sh\ntouch {}\n", pwned.display()));
    source.write("config/kbdemo-1.0.data/data/pyvenv.cfg", format!("home = {}\n", source.path.display()));
    let demand =
        format!("Metadata-Version: 2.1\nRequires-Dist: evil @ {}\n\n", source.join("evil").display());
    source.write("hidden/kbdemo-1.0.dist-info/PKG-INFO", demand);
    let with = |name: &str, words: &str, extra: &str, requires: &[&str]| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/python/wheels.py");
        let mut command = Command::new("python3");
        command.arg(script).args([&source.join(name), Path::new("kbdemo"), Path::new("1.0")]);
        command.arg("py3-none-any").args(requires);
        if !extra.is_empty() {
            command.env("EXTRA", source.join(extra));
        }
        assert!(command.status().unwrap().success());
        let file = "kbdemo-1.0-py3-none-any.whl";
        let wheel = fs::read(source.join(name).join(file)).unwrap();
        let row = json!({"file": file, "size": wheel.len(), "sha256": Digest::of(&wheel)});
        let inside = kit.inside.clone().with_plain(NAME, "wheels", format!("{row}\n").into_bytes());
        let inside = inside.with_plain(NAME, "wheel/000001", wheel);
        attack(name, inside.sealed(&kit.source), 6, words, Seen::ByImport)
    };
    let elsewhere = "asks for something at a URL or path (rule V7)";
    let folder = format!("evil @ file://{}", source.join("evil").display());
    run(
        &kit,
        vec![
            with("wheel-asks-for-a-folder", elsewhere, "", &[&folder]),
            with(
                "wheel-asks-for-a-url",
                elsewhere,
                "",
                &["evil[x]@https://127.0.0.1:9/evil-1.tar.gz ; python_version > '3'"],
            ),
            with("wheel-asks-in-other-metadata", elsewhere, "hidden", &[]),
            with("wheel-is-another-python", "another Python, or another pyvenv.cfg", "python", &[]),
            with("wheel-has-another-library", "another Python, or another pyvenv.cfg", "config", &[]),
        ],
    );
    assert!(!pwned.exists());
}
