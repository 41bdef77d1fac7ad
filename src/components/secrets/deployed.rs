//! The variables that imports have put on this machine, read back from the `env.sh` of each component.

use super::buffer::SecretBuf;
use super::shell_words::is_name;
use crate::base::secret::Secret;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Bytes of one `env.sh`.
const MAX_FILE: u64 = 16 * 1024 * 1024;

/// Every variable that imports have put into the home `home`, by component and in the order of their files. A file
/// that is not of the form in which an import writes it gives those that stand before the first odd line.
pub fn deployed(home: &Path) -> io::Result<Vec<(String, Secret)>> {
    let mut variables = Vec::new();
    for path in files(&home.join(".config/kbpack-env"))? {
        match read(&path) {
            Ok(text) => variables.extend(exports(&text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(variables)
}

fn files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files: Vec<PathBuf> =
        entries.map(|entry| Ok(entry?.path().join("env.sh"))).collect::<io::Result<_>>()?;
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(nonblocking).open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Ok(Zeroizing::default());
    }
    // With room for all from the start, the buffer leaves no copy behind.
    let mut text = Zeroizing::new(Vec::with_capacity(meta.len().min(MAX_FILE) as usize + 1));
    file.take(meta.len().min(MAX_FILE)).read_to_end(&mut text)?;
    Ok(text)
}

/// The lines `export NAME='...'` as `quote::shell` makes them.
fn exports(text: &[u8]) -> Vec<(String, Secret)> {
    let mut variables = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        if rest[0] == b'#' {
            let end = rest.iter().position(|&c| c == b'\n').map_or(rest.len(), |at| at + 1);
            rest = &rest[end..];
            continue;
        }
        let Some((variable, after)) = export(rest) else { break };
        variables.push(variable);
        rest = after;
    }
    variables
}

fn export(line: &[u8]) -> Option<((String, Secret), &[u8])> {
    let line = line.strip_prefix(b"export ")?;
    let equals = line.iter().position(|&c| c == b'=')?;
    let name = &line[..equals];
    let mut rest = line[equals + 1..].strip_prefix(b"'")?;
    let mut value = SecretBuf::default();
    loop {
        let quote = rest.iter().position(|&c| c == b'\'')?;
        value.extend(&rest[..quote]);
        rest = &rest[quote + 1..];
        match rest.strip_prefix(b"\\''") {
            Some(more) => {
                value.push(b'\'');
                rest = more;
            }
            None => break,
        }
    }
    let name = String::from_utf8_lossy(name).into_owned();
    is_name(name.as_bytes()).then_some(())?;
    Some(((name, value.into_secret()), rest.strip_prefix(b"\n")?))
}

#[cfg(test)]
mod tests {
    use super::super::quote;
    use super::*;

    #[test]
    fn what_an_import_writes_is_read_back() {
        let values: [(&str, &[u8]); 4] =
            [("A", b"plain"), ("B", b"it's\n'export C='"), ("D", b""), ("E", b"\xff\x01$x`\\''")];
        let home = tempfile::tempdir().unwrap();
        assert!(deployed(home.path()).unwrap().is_empty());
        let mut text = SecretBuf::default();
        text.extend(b"# Written by kbpack\n");
        for (name, value) in values {
            text.extend(format!("export {name}=").as_bytes());
            quote::shell(value, &mut text);
            text.push(b'\n');
        }
        for component in ["a", "b"] {
            let dir = home.path().join(".config/kbpack-env").join(component);
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join("env.sh"), text.bytes()).unwrap();
        }
        fs::create_dir(home.path().join(".config/kbpack-env/c")).unwrap();
        let found = deployed(home.path()).unwrap();
        assert_eq!(found.len(), 8);
        for ((name, value), (expected, bytes)) in found[4..].iter().zip(values) {
            assert_eq!((name.as_str(), value.expose()), (expected, bytes));
        }
    }

    #[test]
    fn an_odd_line_ends_it() {
        for odd in ["A='x'\n", "export A=x\n", "export A='x'; id\n", "export A='x", "export 1='x'\n"] {
            let text = format!("export OK='y'\n{odd}export LATER='z'\n");
            let names: Vec<String> = exports(text.as_bytes()).into_iter().map(|(name, _)| name).collect();
            assert_eq!(names, ["OK"], "{odd}");
        }
    }
}
