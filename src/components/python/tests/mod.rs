//! Environments of this machine's own Python, and tiny wheels that are written here: no index is asked.

use super::interpreter::{find, Interpreter};
use super::profile::Need;
use crate::component::Host;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

mod conformance;

/// Writes wheels: see there.
const WHEELS: &str = include_str!("../../../../fixtures/python/wheels.py");

/// The Python of this machine that an import would take.
fn python(host: &Host) -> Interpreter {
    let found = find(Need { minor: 9, exactly: false }, Some("python3"), host);
    found.expect("Python 3, which tests/run installs").remove(0)
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
