//! The suite that every kind passes.

use super::{environment, index, python, run, with_pip_unpacked};
use crate::component::{Host, Kind};
use crate::components::conformance::{suite, tree, untimed, State, Streams, Subject, EDIT};
use crate::components::python::PythonKind;
use serde_json::{json, Value};
use std::fs;
use std::io::Write;
use std::path::PathBuf;

/// An environment in a folder that may not be there.
struct Environment {
    /// What makes it on a target: see [`with_pip_unpacked`].
    interpreter: PathBuf,
}

fn path(host: &Host) -> PathBuf {
    host.home.join("app/venv")
}

/// The module of the distribution `kbdemo`.
fn module(host: &Host) -> PathBuf {
    path(host).join(format!("lib/python3.{}/site-packages/kbdemo.py", python(host).minor))
}

impl Subject for Environment {
    fn kind(&self) -> &'static dyn Kind {
        &PythonKind
    }

    fn options(&self, host: &Host) -> Value {
        // An index that a capture can ask, on whichever machine.
        index(
            host,
            &[&["kbdemo", "1.0", "py3-none-any", "kbother>=2"], &["kbother", "2.1"], &["kbother", "2.2"]],
        );
        json!({ "path": "~/app/venv", "wheels": true, "interpreter": self.interpreter })
    }

    /// So that not every Python of the machine is asked, each time.
    fn overrides(&self, _: &Host) -> Option<Value> {
        Some(json!({ "interpreter": self.interpreter }))
    }

    fn furnish(&self, host: &Host, state: State) {
        match state {
            State::Absent => {}
            State::Source => {
                let folder =
                    index(host, &[&["kbdemo", "1.0", "py3-none-any", "kbother>=2"], &["kbother", "2.1"]]);
                environment(host, &path(host), &folder, &["kbdemo"]);
            }
            State::Other => {
                let at = path(host);
                fs::create_dir_all(at.parent().unwrap()).unwrap();
                run(&python(host).program, &["-m", "venv", "--without-pip", at.to_str().unwrap()]);
                fs::write(module(host), "VERSION = '0.9'\n").unwrap();
                let info = module(host).with_file_name("kbdemo-0.9.dist-info");
                fs::create_dir(&info).unwrap();
                fs::write(info.join("METADATA"), "Metadata-Version: 2.1\nName: kbdemo\nVersion: 0.9\n")
                    .unwrap();
                std::os::unix::fs::symlink("kbdemo.py", module(host).with_file_name("kblink.py")).unwrap();
            }
        }
    }

    fn edit(&self, host: &Host) {
        let module = module(host);
        fs::create_dir_all(module.parent().unwrap()).unwrap();
        let mut file = fs::File::options().create(true).append(true).open(module).unwrap();
        file.write_all(EDIT.as_bytes()).unwrap();
    }

    /// Without what Python compiles by itself, and the index of the tests.
    fn world(&self, host: &Host) -> Vec<String> {
        let ours = |row: &String| !row.contains("__pycache__") && !row.contains("\".config");
        untimed(&tree(&host.home)).into_iter().filter(ours).collect()
    }

    /// Not the size of the environment, nor the wheels' own lists of what is in them.
    fn content(&self, facts: &Value, streams: &Streams) -> Vec<(String, Vec<u8>)> {
        let mut facts = facts.clone();
        facts["environment"]["size"] = 0.into();
        let mut content = streams.content();
        content.push(("the facts".to_owned(), facts.to_string().into_bytes()));
        content
    }
}

#[test]
fn an_environment_passes() {
    let folder = tempfile::tempdir().unwrap();
    suite(&Environment { interpreter: with_pip_unpacked(folder.path()) });
}
