//! The names of wheels, and which Python they are for
//! (<https://packaging.python.org/en/latest/specifications/platform-compatibility-tags/>).

use super::interpreter::Interpreter;
use super::names::{is_name, is_version};

/// `NAME-VERSION(-BUILD)?-PYTHON-ABI-PLATFORM.whl`, safe as the name of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WheelName {
    file: String,
    /// Of the distribution, as the file has it.
    pub name: String,
    /// Its version.
    pub version: String,
    python: String,
    abi: String,
    platform: String,
}

impl WheelName {
    /// Takes `file` if it is the name of a wheel.
    pub fn new(file: &str) -> Option<WheelName> {
        let stem = file.strip_suffix(".whl")?;
        let plain = |c: u8| c.is_ascii_alphanumeric() || b"_.+!".contains(&c);
        let parts: Vec<&str> = stem.split('-').collect();
        let (5 | 6) = parts.len() else { return None };
        let ok = file.len() <= 255 && parts.iter().all(|part| !part.is_empty() && part.bytes().all(plain));
        let build = parts.len() == 5 || parts[2].as_bytes()[0].is_ascii_digit();
        if !ok || !build || !is_name(parts[0]) || !is_version(parts[1]) {
            return None;
        }
        let [python, abi, platform] = [3, 2, 1].map(|back| parts[parts.len() - back].to_owned());
        let (name, version) = (parts[0].to_owned(), parts[1].to_owned());
        Some(WheelName { file: file.to_owned(), name, version, python, abi, platform })
    }

    /// The file's name.
    pub fn as_str(&self) -> &str {
        &self.file
    }

    /// Whether it is made for this Python on this machine.
    pub fn fits(&self, on: &Interpreter) -> bool {
        let each = |tags: &str| tags.split('.').map(str::to_owned).collect::<Vec<_>>();
        let platform = each(&self.platform).iter().any(|tag| platform_fits(tag, on));
        let pythons = each(&self.python);
        let abis = each(&self.abi);
        platform && pythons.iter().any(|python| abis.iter().any(|abi| code_fits(python, abi, on)))
    }
}

/// Whether code for this Python and this ABI runs.
fn code_fits(python: &str, abi: &str, on: &Interpreter) -> bool {
    let minor = |prefix: &str| python.strip_prefix(prefix).and_then(|rest| rest.parse::<u32>().ok());
    let own_abi = format!("cp3{}{}", on.minor, if on.free_threaded { "t" } else { "" });
    match abi {
        "none" => {
            python == "py3"
                || minor("py3").is_some_and(|minor| minor <= on.minor)
                || on.is_cpython() && minor("cp3") == Some(on.minor)
        }
        "abi3" => {
            on.is_cpython()
                && !on.free_threaded
                && minor("cp3").is_some_and(|minor| (2..=on.minor).contains(&minor))
        }
        abi => on.is_cpython() && minor("cp3") == Some(on.minor) && abi == own_abi,
    }
}

fn platform_fits(tag: &str, on: &Interpreter) -> bool {
    // `linux-x86_64`
    let own = on.platform.replace(['-', '.'], "_");
    if tag == "any" || tag == own {
        return true;
    }
    let Some(machine) = own.strip_prefix("linux_") else { return false };
    let Some(rest) = tag.strip_suffix(machine).and_then(|rest| rest.strip_suffix('_')) else { return false };
    let versioned = |prefix: &str| {
        let (major, minor) = rest.strip_prefix(prefix)?.split_once('_')?;
        Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    };
    let glibc = match rest {
        "manylinux1" => Some((2, 5)),
        "manylinux2010" => Some((2, 12)),
        "manylinux2014" => Some((2, 17)),
        _ => versioned("manylinux_"),
    };
    match on.glibc {
        Some((major, minor)) => glibc.is_some_and(|(m, n)| m == major && n <= minor),
        // A libc whose version we don't know: pip will say.
        None => versioned("musllinux_").is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn python(minor: u32) -> Interpreter {
        Interpreter {
            program: "/usr/bin/python3".into(),
            minor,
            micro: 2,
            implementation: "cpython".to_owned(),
            free_threaded: false,
            platform: "linux-x86_64".to_owned(),
            glibc: Some((2, 36)),
            venv: true,
            bundled: None,
        }
    }

    #[test]
    fn names_that_are_none_or_dangerous() {
        for bad in [
            "x.whl",
            "../x-1.0-py3-none-any.whl",
            "a/x-1.0-py3-none-any.whl",
            "x-1.0-py3-none-any.zip",
            "x-1.0-py3-none.whl",
            "x-1.0-b1-py3-none-any.whl",
            "-1.0-py3-none-any.whl",
            ".x-1.0-py3-none-any.whl",
            "x-1.0-py3-none-any\n.whl",
            "x-1.0-py3-none-any.whl/",
            "x--py3-none-any.whl",
        ] {
            assert_eq!(WheelName::new(bad), None, "{bad}");
        }
        let name = WheelName::new("ruamel.yaml-0.18-1a-py2.py3-none-any.whl").unwrap();
        assert_eq!((name.name.as_str(), name.version.as_str()), ("ruamel.yaml", "0.18"));
    }

    #[test]
    fn which_wheels_fit() {
        let fits =
            |tags: &str, minor| WheelName::new(&format!("x-1-{tags}.whl")).unwrap().fits(&python(minor));
        for good in [
            "py3-none-any",
            "py2.py3-none-any",
            "py310-none-any",
            "cp311-cp311-linux_x86_64",
            "cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64",
            "cp311-none-manylinux_2_36_x86_64",
            "cp37-abi3-manylinux1_x86_64",
            "py3-none-manylinux_2_5_x86_64",
        ] {
            assert!(fits(good, 11), "{good}");
        }
        for bad in [
            "py2-none-any",
            "py312-none-any",
            "cp310-cp310-linux_x86_64",
            "cp312-abi3-linux_x86_64",
            "cp311-cp311-manylinux_2_37_x86_64",
            "cp311-cp311-manylinux_2_17_aarch64",
            "cp311-cp311-musllinux_1_1_x86_64",
            "cp311-cp311-macosx_11_0_arm64",
            "cp311-cp311t-linux_x86_64",
            "cp311-cp311-win_amd64",
        ] {
            assert!(!fits(bad, 11), "{bad}");
        }
        assert!(fits("cp37-abi3-linux_x86_64", 14) && !fits("cp311-cp311-linux_x86_64", 12));
    }
}
