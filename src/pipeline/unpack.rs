//! Reads a bundle. Each type says what is proven; only [`Opened`] yields plaintext.
//!
//! ```text
//! Unverified --check_seal--> Sealed --trust--> Trusted --open--> Opened
//! ```

pub use crate::pipeline::refusal::UnpackError;

use crate::base::digest::{digest_reader, Digest, Hasher};
use crate::base::fault::into_io;
use crate::base::limits::MAX_MANIFEST;
use crate::base::name::StreamName;
use crate::component::{self, Progress, StreamInfo, StreamSource};
use crate::crypto::bundle_key::{parse_key_file, BundleKey};
use crate::crypto::envelope;
use crate::crypto::identity::Identities;
use crate::crypto::sign::{verify, Namespace, SealError, Signer};
use crate::crypto::trust::Trusted as Trust;
use crate::format::{BundleId, ComponentEntry, Container, Manifest, Member, MemberName, StreamEntry, Sums};
use crate::pipeline::parts::PartSource;
use crate::pipeline::stream::{Expected, StreamDecoder};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

/// What this module returns.
pub type Result<T> = std::result::Result<T, UnpackError>;

/// A file whose container is well-formed. Nothing more is known.
pub struct Unverified {
    file: Arc<File>,
    container: Container,
}

impl Unverified {
    /// Walks the container's headers (chapter C). Reads no content but `KBPACK`.
    pub fn scan(file: File) -> Result<Self> {
        let container = Container::scan(&file)?;
        Ok(Unverified { file: Arc::new(file), container })
    }

    /// Checks the signature over `SHA256SUMS`, and that it lists exactly the members (chapter S). It must have been
    /// made for one of `purposes`. What the members hold is compared when they are read, or by [`Sealed::check_digests`].
    pub fn check_seal(self, purposes: &[Namespace]) -> Result<Sealed> {
        let sums = self.container.read(&self.file, self.container.sums())?;
        let seal = self.container.read(&self.file, self.container.seal())?;
        let mut checked = purposes.iter().map(|purpose| (*purpose, verify(*purpose, &seal, &sums)));
        let first = checked.next().ok_or(SealError::Empty)?;
        let (purpose, signer) = match first {
            (_, Err(SealError::WrongNamespace { .. })) => {
                checked.find(|(_, signer)| signer.is_ok()).unwrap_or(first)
            }
            _ => first,
        };
        let signer = signer?;
        let digest = Digest::of(&sums);
        let sums = Sums::parse(&sums, &self.container)?;
        let Unverified { file, container } = self;
        Ok(Sealed(Arc::new(Contents { file, container, sums, digest, purpose, signer })))
    }
}

/// The parts of a bundle whose seal is right.
struct Contents {
    file: Arc<File>,
    container: Container,
    sums: Sums,
    /// Of `SHA256SUMS`.
    digest: Digest,
    /// What the seal was made for.
    purpose: Namespace,
    signer: Signer,
}

impl Contents {
    /// A member's content, compared with its digest.
    fn read(&self, member: &Member) -> Result<Vec<u8>> {
        let content = self.container.read(&self.file, member)?;
        match self.sums.digest_of(&member.name) == Digest::of(&content) {
            true => Ok(content),
            false => Err(UnpackError::Digest(member.name.to_string())),
        }
    }

    fn check_digest(&self, member: &Member, progress: &dyn Progress) -> Result<()> {
        let content = Slice { file: &self.file, at: member.offset, end: member.offset + member.size };
        let (digest, len) = digest_reader(content)?;
        progress.advance(len);
        match self.sums.digest_of(&member.name) == digest {
            true => Ok(()),
            false => Err(UnpackError::Digest(member.name.to_string())),
        }
    }
}

/// A range of a file, read without moving its position.
struct Slice<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl Read for Slice<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(buf.len());
        let n = self.file.read_at(&mut buf[..room], self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

/// A bundle whose seal is a valid signature by [`signer`](Sealed::signer), whoever that is.
pub struct Sealed(Arc<Contents>);

impl Sealed {
    /// Who made the seal.
    pub fn signer(&self) -> &Signer {
        &self.0.signer
    }

    /// The bundle's id.
    pub fn id(&self) -> BundleId {
        self.0.container.id()
    }

    /// What the seal was made for.
    pub fn purpose(&self) -> Namespace {
        self.0.purpose
    }

    /// The digest of `SHA256SUMS`: it stands for every byte under the seal.
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// How many members stand under the seal, and how many bytes they have.
    pub fn extent(&self) -> (usize, u64) {
        let signed = self.signed();
        (signed.len(), signed.iter().map(|m| m.size).sum())
    }

    /// All members above `SHA256SUMS`.
    fn signed(&self) -> &[Member] {
        let members = self.0.container.members();
        &members[..members.len() - 2]
    }

    /// S3: compares every member with its digest, on `threads` threads.
    pub fn check_digests(&self, threads: usize, progress: &dyn Progress) -> Result<()> {
        let members = self.signed();
        progress.expect(members.iter().map(|m| m.size).sum());
        let next = AtomicUsize::new(0);
        let work = || -> Result<()> {
            while let Some(member) = members.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Err(error) = self.0.check_digest(member, progress) {
                    next.store(members.len(), Ordering::Relaxed);
                    return Err(error);
                }
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads.max(1)).map(|_| scope.spawn(work)).collect();
            let mut outcome = work();
            for other in others {
                let theirs = other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                outcome = outcome.and(theirs);
            }
            outcome
        })
    }

    /// The same bundle, with what is known of its signer.
    pub fn trust(self, trust: Trust) -> Trusted {
        Trusted { contents: self.0, trust }
    }

    /// The members of streams, in archive order, with their content: for `rekey`, which copies them as they are.
    pub fn parts(&self) -> impl Iterator<Item = Result<(&Member, Vec<u8>)>> {
        let parts = self.signed().iter().filter(|m| matches!(m.name, MemberName::Part { .. }));
        parts.map(|m| Ok((m, self.0.read(m)?)))
    }
}

/// A bundle whose signer is trusted.
pub struct Trusted {
    contents: Arc<Contents>,
    trust: Trust,
}

impl Trusted {
    /// The bundle one proof earlier, for what needs no key.
    pub fn sealed(&self) -> Sealed {
        Sealed(self.contents.clone())
    }

    /// Opens the key files and the manifest, and holds one against the other (chapter B).
    pub fn open(self, identities: &Identities) -> Result<Opened> {
        let Trusted { contents, trust } = self;
        let container = &contents.container;
        // K: any of the key files will do; all hold the same.
        let envelopes: Vec<Vec<u8>> =
            container.keys().map(|member| contents.read(member)).collect::<Result<_>>()?;
        let key_file = parse_key_file(&envelope::open(&envelopes, identities)?)?;
        // B3, B4: the key was made for this bundle, by whoever sealed it.
        if key_file.id_hex != container.id().to_string() {
            return Err(UnpackError::KeyOfAnotherBundle { inner: key_file.id_hex, outer: container.id() });
        }
        let outer = contents.signer.fingerprint();
        if key_file.signer_fpr != outer {
            return Err(UnpackError::ResealedBy { inner: key_file.signer_fpr, outer });
        }
        let manifest = read_manifest(&contents, &key_file.key)?;
        Ok(Opened { contents, trust, manifest: Arc::new(manifest), key: Arc::new(key_file.key) })
    }
}

/// M, B2, B5: the last stream, and whether it tells the same as the container.
fn read_manifest(contents: &Arc<Contents>, key: &BundleKey) -> Result<Manifest> {
    let container = &contents.container;
    let number = container.stream_count();
    let expected = Expected { number, size: MAX_MANIFEST, sha256: None };
    let parts = StreamParts::new(contents.clone(), number, None);
    let mut bytes = Vec::new();
    StreamDecoder::new(key, parts, expected)?.read_to_end(&mut bytes)?;
    let manifest = Manifest::parse(&bytes)?;
    manifest.check_container(container)?;
    Ok(manifest)
}

/// A bundle that is open: trusted, decrypted, its manifest held against everything else.
pub struct Opened {
    contents: Arc<Contents>,
    trust: Trust,
    manifest: Arc<Manifest>,
    key: Arc<BundleKey>,
}

impl Opened {
    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Who made the seal.
    pub fn signer(&self) -> &Signer {
        &self.contents.signer
    }

    /// What is known of the signer.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// The key that opens the streams, for `rekey`.
    pub fn key(&self) -> &BundleKey {
        &self.key
    }

    /// The bundle one proof earlier, for what needs no plaintext.
    pub fn sealed(&self) -> Sealed {
        Sealed(self.contents.clone())
    }

    /// The streams of one component.
    pub fn streams(&self, component: &ComponentEntry) -> ComponentSource {
        ComponentSource {
            contents: self.contents.clone(),
            key: self.key.clone(),
            entries: component.streams.clone(),
            infos: component
                .streams
                .iter()
                .map(|s| StreamInfo { name: s.name.clone(), size: s.size })
                .collect(),
        }
    }
}

/// The [`StreamSource`] of one component.
pub struct ComponentSource {
    contents: Arc<Contents>,
    key: Arc<BundleKey>,
    entries: Vec<StreamEntry>,
    infos: Vec<StreamInfo>,
}

impl StreamSource for ComponentSource {
    fn list(&self) -> &[StreamInfo] {
        &self.infos
    }

    fn open(&self, name: &StreamName) -> component::Result<Box<dyn Read + Send>> {
        let Some(entry) = self.entries.iter().find(|e| e.name == *name) else {
            return Err(component::Error::rule("M6", format_args!("the bundle has no stream '{name}'")));
        };
        let expected = Expected { number: entry.number, size: entry.size, sha256: Some(entry.sha256) };
        let parts = StreamParts::new(self.contents.clone(), entry.number, Some(entry.stored_sha256));
        let decoder = StreamDecoder::new(&self.key, parts, expected)
            .map_err(|e| component::Error::io(format_args!("stream '{name}'"), e))?;
        Ok(Box::new(decoder))
    }
}

/// The parts of one stream: each compared with the seal's digest when it is read for use, all together
/// with the manifest's.
struct StreamParts {
    contents: Arc<Contents>,
    number: u32,
    next: usize,
    whole: Option<(Hasher, Digest)>,
}

impl StreamParts {
    fn new(contents: Arc<Contents>, number: u32, stored: Option<Digest>) -> Self {
        StreamParts { contents, number, next: 0, whole: stored.map(|d| (Hasher::new(), d)) }
    }
}

impl PartSource for StreamParts {
    fn next_part(&mut self) -> io::Result<Option<Vec<u8>>> {
        let parts = self.contents.container.parts(self.number);
        let Some(member) = parts.get(self.next) else {
            let differs = self.whole.take().is_some_and(|(hasher, stored)| hasher.finish() != stored);
            return match differs {
                true => Err(into_io(UnpackError::Stream(self.number, "its stored digest differs"))),
                false => Ok(None),
            };
        };
        let content = self.contents.read(member).map_err(into_io)?;
        self.next += 1;
        if parts.len() == 1 {
            // The only part was just compared with its digest: no need to take it twice.
            if self
                .whole
                .take()
                .is_some_and(|(_, stored)| stored != self.contents.sums.digest_of(&member.name))
            {
                return Err(into_io(UnpackError::Stream(self.number, "its stored digest differs")));
            }
        } else if let Some((hasher, _)) = &mut self.whole {
            hasher.update(&content);
        }
        Ok(Some(content))
    }
}
