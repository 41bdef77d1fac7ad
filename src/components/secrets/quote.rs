//! Writing values so that every reader of the form gets the same bytes back.

use super::buffer::SecretBuf;

/// For any POSIX shell: single quotes, within which nothing is special but the quote itself.
pub(super) fn shell(value: &[u8], out: &mut SecretBuf) {
    out.push(b'\'');
    for &c in value {
        match c {
            b'\'' => out.extend(b"'\\''"),
            c => out.push(c),
        }
    }
    out.push(b'\'');
}

/// For systemd's `EnvironmentFile=` (systemd.exec(5)): double quotes, `"`, `\`, `` ` `` and `$` escaped; an end of line
/// stands for itself. Values that systemd would refuse are the caller's to leave out: see [`systemd_refuses`].
pub(super) fn systemd(value: &[u8], out: &mut SecretBuf) {
    out.push(b'"');
    for &c in value {
        if matches!(c, b'"' | b'\\' | b'`' | b'$') {
            out.push(b'\\');
        }
        out.push(c);
    }
    out.push(b'"');
}

/// Why systemd would not take the value: it wants UTF-8, or drops the whole file; some versions drop variables with
/// control characters other than tab and end of line.
pub(super) fn systemd_refuses(value: &[u8]) -> Option<&'static str> {
    match std::str::from_utf8(value) {
        Err(_) => Some("it is not UTF-8"),
        Ok(text) if text.chars().any(|c| c.is_ascii_control() && c != '\t' && c != '\n') => {
            Some("it has control characters")
        }
        Ok(_) => None,
    }
}

/// For a `.env` file: the plainest of bare, single and double quotes that holds the value.
pub(super) fn dotenv(value: &[u8], out: &mut SecretBuf) {
    let bare = |c: &u8| c.is_ascii_alphanumeric() || b"_./:@%+,=-".contains(c);
    if !value.is_empty() && value.iter().all(bare) {
        out.extend(value);
    } else if !value.contains(&b'\'') {
        out.push(b'\'');
        out.extend(value);
        out.push(b'\'');
    } else {
        systemd(value, out);
    }
}
