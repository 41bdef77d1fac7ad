//! Environments of this machine's own Python, and tiny wheels that are written here: no index is asked.

use super::interpreter::{find, Interpreter};
use super::profile::Need;
use crate::component::Host;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

mod conformance;

/// Writes wheels: see there.
const WHEELS: &str = include_str!("../../../../fixtures/python/wheels.py");

/// The Python of this machine that an import would take: asked once, for it may be a script that looks for the real one.
fn python(host: &Host) -> &'static Interpreter {
    static FOUND: OnceLock<Interpreter> = OnceLock::new();
    FOUND.get_or_init(|| {
        let found = find(Need { minor: 9, exactly: false }, Some("python3"), host);
        found.expect("Python 3, which tests/run installs").remove(0)
    })
}

/// The same, but what it calls its wheel of pip is unpacked and compiled, in `folder`: out of a wheel, pip compiles itself at
/// each start, which is most of what a small environment takes to build.
fn with_pip_unpacked(folder: &Path) -> PathBuf {
    let home = folder.to_owned();
    let real = python(&Host { home, uid: 0, own: vec![], maps: vec![] });
    let wheel = real.pip().expect("python3-venv, which tests/run installs");
    let bundled = folder.join("bundled");
    let unpacked = bundled.join(wheel.file_name().unwrap());
    run(&real.program, &["-m", "zipfile", "-e", wheel.to_str().unwrap(), unpacked.to_str().unwrap()]);
    run(&real.program, &["-m", "compileall", "-q", unpacked.to_str().unwrap()]);
    let program = folder.join("python3");
    let text = format!(
        "#!/bin/sh\n{:?} \"$@\" | sed 's|\"bundled\": \"[^\"]*\"|\"bundled\": {bundled:?}|'\n",
        real.program
    );
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    program
}

/// Runs it; it must work.
fn run(program: &Path, args: &[&str]) -> String {
    let output = Command::new(program).args(args).env("PIP_CONFIG_FILE", "/dev/null").output().unwrap();
    assert!(output.status.success(), "{program:?} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Makes wheels in `~/.config/wheels` and lets pip look for them there, and nowhere else.
fn index(host: &Host, wheels: &[&[&str]]) -> PathBuf {
    let folder = host.home.join(".config/wheels");
    let folder_text = folder.to_str().unwrap();
    for wheel in wheels {
        run(&python(host).program, &[&["-c", WHEELS, folder_text], *wheel].concat());
    }
    let config = host.home.join(".config/pip");
    fs::create_dir_all(&config).unwrap();
    fs::write(config.join("pip.conf"), format!("[global]\nno-index = true\nfind-links = {folder_text}\n"))
        .unwrap();
    folder
}

/// Makes an environment without pip at `path`, as other tools than venv do, and installs these from `folder`.
fn environment(host: &Host, path: &Path, folder: &Path, names: &[&str]) {
    let python = python(host);
    let path_text = path.to_str().unwrap();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    run(&python.program, &["-m", "venv", "--without-pip", path_text]);
    let pip = python.pip().expect("python3-venv, which tests/run installs").join("pip");
    let args = ["-I", pip.to_str().unwrap(), "install", "-q", "--isolated", "--no-index", "--find-links"];
    run(&path.join("bin/python"), &[&args[..], &[folder.to_str().unwrap()], names].concat());
}
