//! Writes a bundle: streams from several threads into one container, then the manifest and the seal.

use crate::base::digest::Digest;
use crate::base::fault::{carried, into_io, Fault, Faulty};
use crate::base::interrupt;
use crate::base::limits::{MAX_OPEN_STREAMS, MAX_STREAMS};
use crate::base::name::{ComponentName, StreamName};
use crate::component::{self, Holds, StreamSink, StreamWrite};
use crate::crypto::bundle_key::BundleKey;
use crate::crypto::envelope;
use crate::crypto::error::CryptoError;
use crate::crypto::recipient::Recipients;
use crate::crypto::sign::{Namespace, SigningKey};
use crate::format::{BundleId, ContainerWriter, FormatError, Manifest, MemberName, StreamEntry};
use crate::pipeline::output::Output;
use crate::pipeline::parts::PartSink;
use crate::pipeline::scan::{Scanner, StreamScan};
use crate::pipeline::stream::StreamEncoder;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Threads that compress a stream beside which no other is open.
const WORKERS_ALONE: u32 = 2;

/// Why a bundle could not be written.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The output does not take any more.
    #[error("cannot write the bundle: {0}")]
    Io(#[from] io::Error),
    /// Wrapping the key for the recipients, or signing, failed.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// The manifest would not be accepted by a reader.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A stream was begun and not ended; the bundle would be cut short.
    #[error("a stream of the bundle was not ended")]
    Unfinished,
}

impl Faulty for PackError {
    fn fault(&self) -> Fault {
        match self {
            PackError::Io(e) => crate::base::fault::io_fault(e),
            PackError::Crypto(e) => e.fault(),
            PackError::Format(e) => e.fault(),
            PackError::Unfinished => Fault::Unexpected,
        }
    }
    fn remedy(&self) -> Option<String> {
        match self {
            PackError::Io(e) if e.kind() == std::io::ErrorKind::BrokenPipe => {
                Some("see why the program that reads it ended".into())
            }
            PackError::Io(e) => crate::base::fault::io_remedy(e).or_else(|| {
                Some("make room where the bundle is written, or choose another place with -o".into())
            }),
            PackError::Crypto(e) => e.remedy(),
            PackError::Format(e) => e.remedy(),
            PackError::Unfinished => None,
        }
    }
}

/// A bundle being written. Cheap to share between threads by reference.
pub struct Packer {
    shared: Arc<Shared>,
}

struct Shared {
    container: Mutex<ContainerWriter<Output>>,
    key: BundleKey,
    next_stream: AtomicU32,
    open: AtomicUsize,
    scanner: Option<Arc<Scanner>>,
}

impl Packer {
    /// Begins a bundle: README.txt, KBPACK and the key files.
    pub fn new(
        output: Output,
        id: BundleId,
        key: BundleKey,
        signer: &SigningKey,
        recipients: &Recipients,
        scanner: Option<Arc<Scanner>>,
    ) -> Result<Self, PackError> {
        let key_file = key.key_file(&id.to_string(), &signer.public().fingerprint());
        let envelopes = envelope::seal(recipients, &key_file)?;
        let mut container = ContainerWriter::new(output, id)?;
        for (n, envelope) in envelopes.iter().enumerate() {
            container.add(&MemberName::Key(n as u32), envelope)?;
        }
        Ok(Packer {
            shared: Arc::new(Shared {
                container: Mutex::new(container),
                key,
                next_stream: AtomicU32::new(1),
                open: AtomicUsize::new(0),
                scanner,
            }),
        })
    }

    /// Where the component `name` puts its streams.
    pub fn component(&self, name: &ComponentName) -> ComponentSink {
        ComponentSink { shared: self.shared.clone(), name: name.clone(), entries: Arc::default() }
    }

    /// Writes the manifest as the last stream, and the seal. The output is complete but not yet visible.
    pub fn finish(
        self,
        manifest: &Manifest,
        namespace: Namespace,
        signer: &SigningKey,
    ) -> Result<Output, PackError> {
        if self.shared.open.load(Ordering::SeqCst) != 0 {
            return Err(PackError::Unfinished);
        }
        let number = self.shared.next_stream.fetch_add(1, Ordering::SeqCst);
        let sink = StreamParts { shared: self.shared.clone(), number };
        let mut stream = StreamEncoder::new(&self.shared.key, sink, 1)?;
        stream.write_all(&manifest.to_bytes()?)?;
        stream.finish()?;
        let shared = Arc::into_inner(self.shared).ok_or(PackError::Unfinished)?;
        let container = shared.container.into_inner().unwrap_or_else(PoisonError::into_inner);
        container.finish(|sums| signer.sign(namespace, sums).map_err(PackError::from))
    }
}

/// The [`StreamSink`] of one component.
pub struct ComponentSink {
    shared: Arc<Shared>,
    name: ComponentName,
    entries: Arc<Mutex<Vec<StreamEntry>>>,
}

impl ComponentSink {
    /// The manifest's rows for the streams written, in the order of their numbers.
    pub fn finish(self) -> Vec<StreamEntry> {
        let mut entries = std::mem::take(&mut *self.entries.lock().unwrap_or_else(PoisonError::into_inner));
        entries.sort_by_key(|entry| entry.number);
        entries
    }
}

impl StreamSink for ComponentSink {
    fn create(&self, name: &StreamName, holds: Holds) -> component::Result<Box<dyn StreamWrite>> {
        let number = self.shared.next_stream.fetch_add(1, Ordering::SeqCst);
        if number >= MAX_STREAMS {
            return Err(component::Error::new(
                Fault::Limit,
                format_args!("more than {MAX_STREAMS} streams in one bundle"),
            ));
        }
        let open = self.shared.open.fetch_add(1, Ordering::SeqCst);
        if open >= MAX_OPEN_STREAMS {
            return Err(component::Error::new(
                Fault::Limit,
                format_args!("more than {MAX_OPEN_STREAMS} streams open at once"),
            ));
        }
        // A stream that is alone (one large file, a list) has the machine to itself.
        let workers = if open == 0 { WORKERS_ALONE } else { 1 };
        let place = format!("stream {} of {}", name, self.name);
        let sink = StreamParts { shared: self.shared.clone(), number };
        let encoder = StreamEncoder::new(&self.shared.key, sink, workers)
            .map_err(|e| component::Error::io(&place, e))?;
        let scan = match holds {
            Holds::Data => self.shared.scanner.as_ref().map(|s| s.stream(self.name.as_str())),
            Holds::Secrets => None,
        };
        Ok(Box::new(OpenStream {
            encoder,
            scan,
            place,
            entry: (number, name.clone()),
            shared: self.shared.clone(),
            entries: self.entries.clone(),
        }))
    }
}

/// Where the parts of stream `number` go: the container that all streams share.
struct StreamParts {
    shared: Arc<Shared>,
    number: u32,
}

impl PartSink for StreamParts {
    fn put(&mut self, part: u32, content: &[u8]) -> io::Result<Digest> {
        let mut container = self.shared.container.lock().unwrap_or_else(PoisonError::into_inner);
        let written = container.add(&MemberName::Part { stream: self.number, part }, content);
        // What fails here is the output, not what is being packed: say so, whoever hears of it.
        written.map_err(|e| if carried(&e).is_some() { e } else { into_io(PackError::Io(e)) })
    }
}

struct OpenStream {
    encoder: StreamEncoder<StreamParts>,
    scan: Option<StreamScan>,
    place: String,
    entry: (u32, StreamName),
    shared: Arc<Shared>,
    entries: Arc<Mutex<Vec<StreamEntry>>>,
}

impl Write for OpenStream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        interrupt::check().map_err(into_io)?;
        if let Some(scan) = &mut self.scan {
            scan.pass(buf);
        }
        self.encoder.write(buf)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl StreamWrite for OpenStream {
    fn label(&mut self, label: &str) {
        if let Some(scan) = &mut self.scan {
            scan.label(label);
        }
    }

    fn finish(self: Box<Self>) -> component::Result<()> {
        let OpenStream { encoder, place, entry: (number, name), shared, entries, .. } = *self;
        let written = encoder.finish().map_err(|e| component::Error::io(place, e))?;
        entries.lock().unwrap_or_else(PoisonError::into_inner).push(StreamEntry {
            number,
            name,
            size: written.size,
            sha256: written.sha256,
            stored_size: written.stored.size,
            stored_sha256: written.stored.sha256,
        });
        shared.open.fetch_sub(1, Ordering::SeqCst);
        Ok(())
    }
}
