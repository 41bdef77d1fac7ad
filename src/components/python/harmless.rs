//! That nothing of a distribution runs while it is installed, nor when the environment's Python is asked which it is. Rule V7.

use super::interpreter::Interpreter;
use super::pip;
use super::site::walk;
use crate::base::path::shown;
use crate::component::{Error, Host, Result};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Names each wheel of a folder that asks for something at a URL or path: pip would go there whatever it was told, and run
/// what it finds if that is no wheel. All that pip could take for metadata is looked at.
const SCRIPT: &str = r#"
import email, os, sys, zipfile
for name in sorted(os.listdir(sys.argv[1])):
    with zipfile.ZipFile(os.path.join(sys.argv[1], name)) as wheel:
        for info in wheel.infolist():
            if ".dist-info/" in info.filename:
                text = email.message_from_string(wheel.read(info).decode("utf-8", "replace"))
                if any("@" in str(need) for need in text.get_all("Requires-Dist", [])):
                    print(name)
                    break
"#;
/// Bytes of what it says.
const MAX_SAID: usize = 4 << 20;

/// The first wheel in the folder `wheels` that asks for something at a URL or path.
pub fn asks_elsewhere(
    python: &Interpreter,
    wheels: &Path,
    host: &Host,
    temp: &Path,
) -> Result<Option<String>> {
    let command = pip::python(&python.program, host, temp, pip::OTHER).args(["-S", "-c", SCRIPT]);
    let output = pip::run(command.args([wheels]), MAX_SAID)?;
    if !output.status.success() {
        let why = pip::reason(&output.stderr);
        return Err(Error::rule("V7", format_args!("its wheels cannot be read: {why}")));
    }
    let said = String::from_utf8_lossy(output.stdout.expose()).into_owned();
    Ok(said.lines().next().map(str::to_owned))
}

/// What makes the Python of an environment the machine's: the links to it, and the file that says where its library is.
#[derive(PartialEq, Eq)]
pub struct Own(Vec<(PathBuf, Vec<u8>)>);

impl Own {
    /// Looks at the environment `new`, into which nothing is installed yet.
    pub fn of(new: &Path) -> Result<Own> {
        let config = new.join("pyvenv.cfg");
        let text = fs::read(&config).map_err(Error::at(&config))?;
        let mut own = vec![(config, text)];
        walk(&new.join("bin"), &mut |path| {
            if path.is_symlink() {
                let target = fs::read_link(path).map_err(Error::at(path))?;
                own.push((path.to_owned(), target.as_os_str().as_bytes().to_vec()));
            }
            Ok(())
        })?;
        Ok(Own(own))
    }

    /// Refuses if what was installed into `new` changed that.
    pub fn require(&self, new: &Path) -> Result<()> {
        match Own::of(new)? == *self {
            true => Ok(()),
            false => {
                let what = "a distribution puts another Python, or another pyvenv.cfg, into the environment";
                Err(Error::rule("V7", format_args!("{}: {what}", shown(new))))
            }
        }
    }
}
