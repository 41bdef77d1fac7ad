//! The child's side of `plugin`: the only place where age runs a plugin.

use crate::base::secret::Secret;
use crate::crypto::error::CryptoError;
use crate::crypto::wire::{read_frame, write_frame, Frame};
use age::plugin::{IdentityPluginV1, RecipientPluginV1};
use age::{Callbacks, DecryptError, Decryptor, EncryptError, Encryptor};
use rustix::process::{getpgrp, getpid, kill_current_process_group, Signal};
use secrecy::SecretString;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{channel, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use zeroize::Zeroizing;

/// Answers `kbpack __age-plugin MODE`: reads a task from stdin, runs the plugin, writes the outcome to stdout.
///
/// `mode` is `wrap` or `unwrap`. If kbpack goes away meanwhile, the process group ends with it.
pub fn helper_main(mode: &str) -> Result<(), CryptoError> {
    let broken = |error: io::Error| CryptoError::Read(error);
    let finished = Arc::new(AtomicBool::new(false));
    let from_parent = listen(Arc::clone(&finished));
    let (name, keys, data) = read_task(&from_parent).map_err(broken)?;
    let wire = Wire(Arc::new(Mutex::new(from_parent)));
    let outcome = match mode {
        "wrap" => wrap(&name, &keys, &data, &wire),
        "unwrap" => unwrap(&name, &keys, &data, &wire),
        _ => return Err(broken(io::ErrorKind::InvalidInput.into())),
    };
    finished.store(true, Ordering::SeqCst);
    let said = write_frame(&mut io::stdout().lock(), &outcome).map_err(broken);
    end_group();
    said
}

/// Ends whatever the plugin left running in our process group, and us with it: our last word is said.
fn end_group() {
    if getpgrp() == getpid() {
        let _ = kill_current_process_group(Signal::KILL);
    }
}

/// Reads frames on a thread of its own, which so notices when kbpack is gone: a plugin that waits for a
/// touch must not outlive it.
fn listen(finished: Arc<AtomicBool>) -> Receiver<Frame> {
    let (send, receive) = channel();
    thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        while let Ok(frame) = read_frame(&mut stdin) {
            if send.send(frame).is_err() {
                return;
            }
        }
        if !finished.load(Ordering::SeqCst) {
            end_group();
        }
    });
    receive
}

fn read_task(from: &Receiver<Frame>) -> io::Result<(String, Vec<String>, Secret)> {
    let mut name = String::new();
    let mut keys = Vec::new();
    loop {
        match from.recv() {
            Ok(Frame::Name(text)) => name = text,
            Ok(Frame::Key(key)) => keys.push(String::from_utf8_lossy(key.expose()).into_owned()),
            Ok(Frame::Data(data)) => return Ok((name, keys, data)),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

fn wrap(name: &str, keys: &[String], plaintext: &Secret, wire: &Wire) -> Frame {
    let recipients: Vec<_> = keys.iter().filter_map(|key| key.parse().ok()).collect();
    let Ok(plugin) = RecipientPluginV1::new(name, &recipients, &[], wire.clone()) else {
        return Frame::Missing;
    };
    let encryptor = match Encryptor::with_recipients(std::iter::once(&plugin as &dyn age::Recipient)) {
        Ok(encryptor) => encryptor,
        Err(EncryptError::Plugin(errors)) => return words_of(&errors),
        Err(_) => return Frame::Failed("it broke off".into()),
    };
    let written = encryptor.wrap_output(Vec::new()).and_then(|mut writer| {
        writer.write_all(plaintext.expose())?;
        writer.finish()
    });
    match written {
        Ok(file) => Frame::Result(Secret::from(file)),
        Err(_) => Frame::Failed("its key file could not be written".into()),
    }
}

fn unwrap(name: &str, keys: &[String], file: &Secret, wire: &Wire) -> Frame {
    let identities: Vec<_> = keys.iter().filter_map(|key| key.parse().ok()).collect();
    let Ok(plugin) = IdentityPluginV1::new(name, &identities, wire.clone()) else {
        return Frame::Missing;
    };
    let Ok(decryptor) = Decryptor::new_buffered(file.expose()) else { return Frame::Damaged };
    let reader = match decryptor.decrypt(std::iter::once(&plugin as &dyn age::Identity)) {
        Ok(reader) => reader,
        Err(DecryptError::NoMatchingKeys) => return Frame::NoMatch,
        Err(DecryptError::Plugin(errors)) => return words_of(&errors),
        Err(DecryptError::Io(_)) => return Frame::Failed("it broke off".into()),
        Err(_) => return Frame::Damaged,
    };
    let mut plaintext = Zeroizing::new(Vec::with_capacity(file.len()));
    match reader.take(file.len() as u64).read_to_end(&mut plaintext) {
        Ok(_) => Frame::Result(Secret::from(std::mem::take(&mut *plaintext))),
        Err(_) => Frame::Damaged,
    }
}

/// The plugin's own words. age keeps the type of its plugin errors to itself, so its few words around
/// them come along; the parent escapes them all.
fn words_of(errors: &[impl ToString]) -> Frame {
    let mut words: Vec<String> = errors.iter().map(ToString::to_string).collect();
    words.dedup();
    Frame::Failed(words.join("; "))
}

/// age's questions, sent up to kbpack.
#[derive(Clone)]
struct Wire(Arc<Mutex<Receiver<Frame>>>);

impl Wire {
    fn ask(&self, question: &Frame) -> Option<Secret> {
        let answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        write_frame(&mut io::stdout().lock(), question).ok()?;
        match answers.recv() {
            Ok(Frame::Answer(answer)) => Some(answer),
            _ => None,
        }
    }
}

impl Callbacks for Wire {
    fn display_message(&self, message: &str) {
        let _ = write_frame(&mut io::stdout().lock(), &Frame::Message(message.to_owned()));
    }

    fn confirm(&self, message: &str, yes: &str, no: Option<&str>) -> Option<bool> {
        let (text, yes, no) = (message.to_owned(), yes.to_owned(), no.map(str::to_owned));
        self.ask(&Frame::AskConfirm { text, yes, no }).map(|answer| answer.expose() == b"yes")
    }

    fn request_public_string(&self, description: &str) -> Option<String> {
        let answer = self.ask(&Frame::AskLine(description.to_owned()))?;
        String::from_utf8(answer.expose().to_vec()).ok()
    }

    fn request_passphrase(&self, description: &str) -> Option<SecretString> {
        let answer = self.ask(&Frame::AskSecret(description.to_owned()))?;
        std::str::from_utf8(answer.expose()).ok().map(SecretString::from)
    }
}
