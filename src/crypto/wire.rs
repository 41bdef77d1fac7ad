//! What kbpack and the child that runs a plugin say to each other: a byte for the kind, four bytes of length (big endian), the content.

use crate::base::secret::Secret;
use std::io::{self, ErrorKind, Read, Write};
use zeroize::Zeroizing;

/// Bytes of a frame's content: a key file, and some.
const MAX_FRAME: usize = 256 * 1024;

/// One message. Those of the parent are up to `NoAnswer`, those of the child come after it.
#[derive(Debug)]
pub(super) enum Frame {
    /// The plugin's name; opens the task.
    Name(String),
    /// A recipient or an identity.
    Key(Secret),
    /// The plaintext to encrypt or the age file to open; ends the task.
    Data(Secret),
    /// The answer to a question.
    Answer(Secret),
    /// Nobody answers.
    NoAnswer,
    /// To be shown.
    Message(String),
    /// A question for a secret.
    AskSecret(String),
    /// A question for a line.
    AskLine(String),
    /// A question with two answers.
    AskConfirm { text: String, yes: String, no: Option<String> },
    /// The age file, or the plaintext.
    Result(Secret),
    /// No identity is meant.
    NoMatch,
    /// The plugin is not installed.
    Missing,
    /// The age file is damaged.
    Damaged,
    /// The plugin failed, in its own words.
    Failed(String),
}

/// Writes one frame and flushes.
pub(super) fn write_frame(to: &mut impl Write, frame: &Frame) -> io::Result<()> {
    let joined;
    let (kind, content): (u8, &[u8]) = match frame {
        Frame::Name(text) => (b'N', text.as_bytes()),
        Frame::Key(secret) => (b'K', secret.expose()),
        Frame::Data(secret) => (b'D', secret.expose()),
        Frame::Answer(secret) => (b'A', secret.expose()),
        Frame::NoAnswer => (b'-', b""),
        Frame::Message(text) => (b'm', text.as_bytes()),
        Frame::AskSecret(text) => (b's', text.as_bytes()),
        Frame::AskLine(text) => (b'l', text.as_bytes()),
        Frame::AskConfirm { text, yes, no } => {
            // A NUL inside would move the borders; no text for people has one.
            let parts = [text, yes].into_iter().chain(no).map(|part| part.replace('\0', ""));
            joined = parts.collect::<Vec<_>>().join("\0");
            (b'c', joined.as_bytes())
        }
        Frame::Result(secret) => (b'R', secret.expose()),
        Frame::NoMatch => (b'0', b""),
        Frame::Missing => (b'?', b""),
        Frame::Damaged => (b'!', b""),
        Frame::Failed(text) => (b'f', text.as_bytes()),
    };
    if content.len() > MAX_FRAME {
        return Err(ErrorKind::InvalidInput.into());
    }
    to.write_all(&[kind])?;
    to.write_all(&(content.len() as u32).to_be_bytes())?;
    to.write_all(content)?;
    to.flush()
}

/// Reads one frame.
pub(super) fn read_frame(from: &mut impl Read) -> io::Result<Frame> {
    let mut head = [0; 5];
    from.read_exact(&mut head)?;
    let [kind, len @ ..] = head;
    let len = u32::from_be_bytes(len) as usize;
    if len > MAX_FRAME {
        return Err(ErrorKind::InvalidData.into());
    }
    let mut content = Zeroizing::new(vec![0; len]);
    from.read_exact(&mut content)?;
    let text = || String::from_utf8_lossy(&content).into_owned();
    let secret = || Secret::from(content.to_vec());
    Ok(match kind {
        b'N' => Frame::Name(text()),
        b'K' => Frame::Key(secret()),
        b'D' => Frame::Data(secret()),
        b'A' => Frame::Answer(secret()),
        b'-' => Frame::NoAnswer,
        b'm' => Frame::Message(text()),
        b's' => Frame::AskSecret(text()),
        b'l' => Frame::AskLine(text()),
        b'c' => {
            let all = text();
            let mut parts = all.splitn(3, '\0').map(str::to_owned);
            let mut next = || parts.next();
            Frame::AskConfirm {
                text: next().unwrap_or_default(),
                yes: next().unwrap_or_default(),
                no: next(),
            }
        }
        b'R' => Frame::Result(secret()),
        b'0' => Frame::NoMatch,
        b'?' => Frame::Missing,
        b'!' => Frame::Damaged,
        b'f' => Frame::Failed(text()),
        _ => return Err(ErrorKind::InvalidData.into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_pass_and_are_bounded() {
        let mut bytes = Vec::new();
        let ask = Frame::AskConfirm { text: "a\0b".into(), yes: "y".into(), no: None };
        write_frame(&mut bytes, &ask).unwrap();
        write_frame(&mut bytes, &Frame::Key(Secret::from(b"k".to_vec()))).unwrap();
        let mut from = &bytes[..];
        assert!(
            matches!(read_frame(&mut from), Ok(Frame::AskConfirm { text, yes, no: None }) if text == "ab" && yes == "y")
        );
        assert!(matches!(read_frame(&mut from), Ok(Frame::Key(key)) if key.expose() == b"k"));
        assert!(read_frame(&mut from).is_err());
        assert!(read_frame(&mut &b"R\xff\xff\xff\xff"[..]).is_err());
        assert!(read_frame(&mut &b"zzzzz"[..]).is_err());
        assert!(write_frame(&mut bytes, &Frame::Message("x".repeat(MAX_FRAME + 1))).is_err());
    }
}
