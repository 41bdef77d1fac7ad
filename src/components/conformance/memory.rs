//! A bundle's streams and a run's journal, in memory.

use crate::base::name::StreamName;
use crate::base::secret::Secret;
use crate::component::{
    Act, Ask, Error, Holds, Journal, Progress, Result, StreamInfo, StreamSink, StreamSource, StreamWrite,
};
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex};

/// The streams of one component.
#[derive(Default)]
pub struct Streams {
    inner: Arc<Mutex<Vec<Stream>>>,
    list: Vec<StreamInfo>,
}

struct Stream {
    name: StreamName,
    holds: Holds,
    /// `None` as long as it is being written.
    bytes: Option<Vec<u8>>,
}

impl Streams {
    /// A stream's plaintext.
    pub fn get(&self, name: &str) -> Vec<u8> {
        let inner = self.inner.lock().unwrap();
        inner.iter().find(|stream| stream.name.as_str() == name).unwrap().bytes.clone().unwrap()
    }

    /// Puts `bytes` in the place of a stream, or adds one.
    pub fn set(&mut self, name: &str, bytes: Vec<u8>) {
        let mut inner = self.inner.lock().unwrap();
        match inner.iter_mut().find(|stream| stream.name.as_str() == name) {
            Some(stream) => stream.bytes = Some(bytes),
            None => {
                let name = StreamName::new(name).unwrap();
                inner.push(Stream { name, holds: Holds::Data, bytes: Some(bytes) });
            }
        }
        drop(inner);
        self.seal();
    }

    /// The names, in the order in which the streams were created.
    pub fn names(&self) -> Vec<String> {
        self.list.iter().map(|info| info.name.to_string()).collect()
    }

    /// What each stream was said to hold.
    pub fn held(&self) -> Vec<Holds> {
        self.inner.lock().unwrap().iter().map(|stream| stream.holds).collect()
    }

    /// Every stream with its plaintext, sorted.
    pub fn content(&self) -> Vec<(String, Vec<u8>)> {
        let mut all: Vec<_> = self.names().into_iter().map(|name| (name.clone(), self.get(&name))).collect();
        all.sort();
        all
    }

    /// The capture is over: what was written can be read. Every stream must have been finished.
    pub fn seal(&mut self) {
        let size = |stream: &Stream| stream.bytes.as_ref().expect("a stream that was finished").len() as u64;
        let info = |stream: &Stream| StreamInfo { name: stream.name.clone(), size: size(stream) };
        self.list = self.inner.lock().unwrap().iter().map(info).collect();
    }
}

impl StreamSink for Streams {
    fn create(&self, name: &StreamName, holds: Holds) -> Result<Box<dyn StreamWrite>> {
        let mut inner = self.inner.lock().unwrap();
        assert!(inner.iter().all(|stream| stream.name != *name), "the stream '{name}' was created twice");
        inner.push(Stream { name: name.clone(), holds, bytes: None });
        Ok(Box::new(Writer { number: inner.len() - 1, bytes: Vec::new(), to: self.inner.clone() }))
    }
}

struct Writer {
    number: usize,
    bytes: Vec<u8>,
    to: Arc<Mutex<Vec<Stream>>>,
}

impl Write for Writer {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(buf);
        Ok(buf.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl StreamWrite for Writer {
    fn label(&mut self, label: &str) {
        assert!(!label.is_empty());
    }
    fn finish(self: Box<Self>) -> Result<()> {
        self.to.lock().unwrap()[self.number].bytes = Some(self.bytes);
        Ok(())
    }
}

impl StreamSource for Streams {
    fn list(&self) -> &[StreamInfo] {
        &self.list
    }
    fn open(&self, name: &StreamName) -> Result<Box<dyn Read + Send>> {
        if !self.list.iter().any(|info| info.name == *name) {
            return Err(Error::rule("M7", format_args!("no stream '{name}'")));
        }
        Ok(Box::new(io::Cursor::new(self.get(name.as_str()))))
    }
}

/// A journal that may break down at a given call.
#[derive(Default)]
pub struct Acts {
    /// What was intended.
    pub acts: Vec<Act>,
    /// How often it was called.
    pub calls: usize,
    /// When it breaks down.
    pub breaks: Option<Break>,
}

/// When a journal breaks down; calls are counted from 0.
#[derive(Debug, Clone, Copy)]
pub enum Break {
    /// Before the acts of this call are on disk.
    Before(usize),
    /// After they are, as a kill would have it: they are in the journal, and the commit goes no further.
    After(usize),
}

impl Acts {
    /// One that breaks down.
    pub fn breaking(at: Break) -> Self {
        Acts { breaks: Some(at), ..Acts::default() }
    }
}

impl Journal for Acts {
    fn intend(&mut self, acts: &[Act]) -> Result<()> {
        let call = self.calls;
        self.calls += 1;
        if matches!(self.breaks, Some(Break::Before(at)) if at <= call) {
            return Err(Error::not_ready("the journal is full"));
        }
        // As they come back from a file.
        let text = serde_json::to_string(acts).unwrap();
        self.acts.extend(serde_json::from_str::<Vec<Act>>(&text).unwrap());
        match self.breaks {
            Some(Break::After(at)) if at <= call => Err(Error::not_ready("the journal is full")),
            _ => Ok(()),
        }
    }
}

/// Progress that nobody hears of.
pub struct Silent;

impl Progress for Silent {
    fn expect(&self, _: u64) {}
    fn advance(&self, _: u64) {}
}

/// A person with an answer to every question: `told KEY`.
pub struct Given;

impl Ask for Given {
    fn given(&self, _: &str) -> Option<Secret> {
        None
    }
    fn ask(&self, key: &str, what: &str) -> Result<Secret> {
        assert!(!key.is_empty() && !what.is_empty());
        Ok(Secret::from(format!("told {key}").into_bytes()))
    }
}
