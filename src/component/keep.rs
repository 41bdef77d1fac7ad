//! A sink that keeps a copy of a component's lists while it hands everything on: what was packed can be told without
//! opening the bundle.

use super::{Error, Holds, Result, StreamInfo, StreamSink, StreamSource, StreamWrite};
use crate::base::fault::Fault;
use crate::base::name::StreamName;
use std::io::{self, Cursor, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// The longest list that is kept (bytes): of about a million files.
pub const LONGEST_LIST: usize = 256 << 20;

/// The sink. Nothing of a stream that holds secrets is kept, nor its name.
pub struct Keep<'a> {
    inner: &'a dyn StreamSink,
    /// The names of the lists, and how many of the first bytes of each are wanted.
    lists: &'static [(&'static str, usize)],
    kept: Kept,
}

type Kept = Arc<Mutex<Vec<(StreamInfo, Option<Vec<u8>>)>>>;

impl<'a> Keep<'a> {
    /// Around `inner`; `lists` is what a kind says: [`Kind::lists`](super::Kind::lists).
    pub fn new(inner: &'a dyn StreamSink, lists: &'static [(&'static str, usize)]) -> Self {
        Keep { inner, lists, kept: Kept::default() }
    }

    /// What was kept, when all streams are ended.
    pub fn finish(self) -> KeptStreams {
        let kept = std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner));
        let (infos, copies) = kept.into_iter().map(|(info, copy)| (info, copy.map(Arc::from))).unzip();
        KeptStreams { infos, copies }
    }
}

impl StreamSink for Keep<'_> {
    fn create(&self, name: &StreamName, holds: Holds) -> Result<Box<dyn StreamWrite>> {
        let inner = self.inner.create(name, holds)?;
        if holds == Holds::Secrets {
            return Ok(inner);
        }
        let most = self.lists.iter().find(|(list, _)| is_called(name, list)).map(|(_, most)| *most);
        let info = StreamInfo { name: name.clone(), size: 0 };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push((info, None));
        let number = kept.len() - 1;
        let copy = most.map(|most| (Vec::new(), most));
        Ok(Box::new(Writer { inner, kept: self.kept.clone(), number, size: 0, copy }))
    }
}

struct Writer {
    inner: Box<dyn StreamWrite>,
    kept: Kept,
    number: usize,
    size: u64,
    copy: Option<(Vec<u8>, usize)>,
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.size += n as u64;
        if let Some((copy, most)) = &mut self.copy {
            let room = most.saturating_sub(copy.len());
            copy.extend_from_slice(&bytes[..n.min(room)]);
        }
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl StreamWrite for Writer {
    fn label(&mut self, label: &str) {
        self.inner.label(label);
    }
    fn finish(self: Box<Self>) -> Result<()> {
        let Writer { inner, kept, number, size, copy } = *self;
        inner.finish()?;
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept[number].0.size = size;
        kept[number].1 = copy.map(|(copy, _)| copy);
        Ok(())
    }
}

/// Copies of a component's lists, and the names of its other streams.
pub struct KeptStreams {
    infos: Vec<StreamInfo>,
    copies: Vec<Option<Arc<[u8]>>>,
}

impl StreamSource for KeptStreams {
    fn list(&self) -> &[StreamInfo] {
        &self.infos
    }
    fn open(&self, name: &StreamName) -> Result<Box<dyn Read + Send>> {
        let number = self.infos.iter().position(|info| info.name == *name);
        let copy = number.and_then(|number| self.copies[number].clone());
        let none = || Error::new(Fault::Unexpected, format_args!("nothing was kept of stream '{name}'"));
        let copy = copy.ok_or_else(none)?;
        match copy.len() < LONGEST_LIST {
            true => Ok(Box::new(Cursor::new(copy))),
            false => Err(too_long(name)),
        }
    }
}

/// Whether a stream is the list, in a component or in one inside it: its name is this, or ends so.
fn is_called(name: &StreamName, list: &str) -> bool {
    name.as_str().strip_suffix(list).is_some_and(|above| above.is_empty() || above.ends_with('/'))
}

/// A list that is too long to be kept.
fn too_long(name: &StreamName) -> Error {
    Error::new(Fault::Limit, format_args!("the list '{name}' is longer than {} MiB", LONGEST_LIST >> 20))
}

/// Refuses `streams` with a list that is too long to be kept; `lists` as for [`Keep::new`].
pub fn require_short(lists: &[(&str, usize)], streams: &dyn StreamSource) -> Result<()> {
    let whole =
        |name: &StreamName| lists.iter().any(|(list, most)| *most == LONGEST_LIST && is_called(name, list));
    let long = |info: &&StreamInfo| info.size >= LONGEST_LIST as u64 && whole(&info.name);
    streams.list().iter().find(long).map_or(Ok(()), |info| Err(too_long(&info.name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes everything.
    struct Void;

    impl StreamSink for Void {
        fn create(&self, _: &StreamName, _: Holds) -> Result<Box<dyn StreamWrite>> {
            Ok(Box::new(Void))
        }
    }
    impl Write for Void {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Not all at once: what was not taken is not kept.
            Ok(bytes.len().min(3))
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    impl StreamWrite for Void {
        fn label(&mut self, _: &str) {}
        fn finish(self: Box<Self>) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lists_are_kept_and_nothing_else() {
        let keep = Keep::new(&Void, &[("list", LONGEST_LIST), ("head", 4)]);
        let name = |name: &str| StreamName::new(name).unwrap();
        let write = |of: &str, holds| {
            let mut stream = keep.create(&name(of), holds).unwrap();
            stream.write_all(b"0123456789").unwrap();
            stream.finish().unwrap();
        };
        for of in ["data", "list", "head", "a/list", "alist"] {
            write(of, Holds::Data);
        }
        write("values", Holds::Secrets);
        let mut kept = keep.finish();
        let there: Vec<_> = kept.list().iter().map(|info| (info.name.as_str(), info.size)).collect();
        assert_eq!(there, [("data", 10), ("list", 10), ("head", 10), ("a/list", 10), ("alist", 10)]);
        let read = |kept: &KeptStreams, of: &str| {
            let mut text = String::new();
            kept.open(&name(of)).map(|mut stream| stream.read_to_string(&mut text).unwrap()).map(|_| text)
        };
        assert_eq!(read(&kept, "list").unwrap(), "0123456789");
        assert_eq!(
            (read(&kept, "head").unwrap(), read(&kept, "a/list").unwrap()),
            ("0123".into(), "0123456789".into())
        );
        for none in ["data", "alist", "values"] {
            assert!(read(&kept, none).is_err(), "{none}");
        }

        let lists = [("list", LONGEST_LIST), ("head", 4)];
        assert!(require_short(&lists, &kept).is_ok());
        kept.infos[2].size = LONGEST_LIST as u64;
        assert!(require_short(&lists, &kept).is_ok());
        kept.infos[1].size = LONGEST_LIST as u64;
        assert!(require_short(&lists, &kept).unwrap_err().to_string().contains("'list'"));
    }
}
