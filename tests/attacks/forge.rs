//! Takes a bundle apart down to its plaintexts, lets a test alter any layer, and puts it together again from
//! valid parts.
//!
//! ```text
//! Inside    plaintexts, the manifest as JSON, the key files' text      what only someone with the key can forge
//! Members   names and contents, as they lie in the archive             what a signer can forge without the key
//! bytes     headers, contents, padding: see `spans`                    what anybody on the way can forge
//! ```
//!
//! The archive is written by hand here, for the library refuses to write what these tests need.

use age::x25519::{Identity, Recipient};
use kbpack::base::digest::Digest;
use kbpack::base::limits::PART_SIZE;
use serde_json::{json, Value};
use ssh_key::{HashAlg, LineEnding, PrivateKey};
use std::io::Write;
use std::ops::Range;
use zstd::stream::raw::CParameter;

/// What is inside a bundle.
#[derive(Clone)]
pub struct Inside {
    pub id: String,
    pub readme: Vec<u8>,
    pub id_file: Vec<u8>,
    pub key_files: Vec<Vec<u8>>,
    /// The plaintext of the key files.
    pub key_text: String,
    /// The bundle's identity.
    pub key: Identity,
    /// The streams but the manifest, from number 1.
    pub streams: Vec<Stream>,
    pub manifest: Value,
}

/// One stream: what it says and what is stored.
#[derive(Clone)]
pub struct Stream {
    pub component: String,
    pub name: String,
    pub plain: Vec<u8>,
    pub stored: Vec<u8>,
}

impl Inside {
    /// Takes `bundle` apart with the identity that its key files are for.
    pub fn open(bundle: &[u8], identity: &Identity) -> Self {
        let members = Members::read(bundle);
        let key_files = members.list.iter().filter(|(name, _)| name.starts_with("keys/"));
        let key_files: Vec<Vec<u8>> = key_files.map(|(_, content)| content.clone()).collect();
        let key_text = String::from_utf8(age::decrypt(identity, &key_files[0]).unwrap()).unwrap();
        let key: Identity = key_text.lines().nth(1).unwrap().parse().unwrap();
        let stored: Vec<Vec<u8>> = (1..).map(|n| members.stored(n)).take_while(|s| !s.is_empty()).collect();
        let plain = |stored: &[u8]| unframe(&age::decrypt(&key, stored).unwrap());
        let (manifest, stored) = stored.split_last().unwrap();
        let manifest: Value = serde_json::from_slice(&plain(manifest)).unwrap();
        let mut streams: Vec<Stream> = stored
            .iter()
            .map(|stored| Stream {
                component: String::new(),
                name: String::new(),
                plain: plain(stored),
                stored: stored.clone(),
            })
            .collect();
        for component in manifest["components"].as_array().unwrap() {
            for entry in component["streams"].as_array().unwrap() {
                let stream = &mut streams[entry["number"].as_u64().unwrap() as usize - 1];
                stream.component = component["name"].as_str().unwrap().to_owned();
                stream.name = entry["name"].as_str().unwrap().to_owned();
            }
        }
        Inside {
            id: manifest["id"].as_str().unwrap().to_owned(),
            readme: members.get("README.txt").to_vec(),
            id_file: members.get("KBPACK").to_vec(),
            key_files,
            key_text,
            key,
            streams,
            manifest,
        }
    }

    /// The number of a stream, from 1.
    pub fn number(&self, component: &str, name: &str) -> usize {
        let found = self.streams.iter().position(|s| s.component == component && s.name == name);
        found.unwrap_or_else(|| panic!("no stream {name} in {component}")) + 1
    }

    /// The stream `name` of `component`.
    pub fn stream(&self, component: &str, name: &str) -> &Stream {
        &self.streams[self.number(component, name) - 1]
    }

    /// The manifest's row of a stream.
    pub fn entry(&mut self, component: &str, name: &str) -> &mut Value {
        let components = self.manifest["components"].as_array_mut().unwrap();
        let found = components.iter_mut().find(|c| c["name"] == component).unwrap();
        found["streams"].as_array_mut().unwrap().iter_mut().find(|s| s["name"] == name).unwrap()
    }

    /// The manifest's facts of a component.
    pub fn facts(&mut self, component: &str) -> &mut Value {
        let components = self.manifest["components"].as_array_mut().unwrap();
        &mut components.iter_mut().find(|c| c["name"] == component).unwrap()["facts"]
    }

    /// Another plaintext, rightly packed and named in the manifest.
    pub fn with_plain(mut self, component: &str, name: &str, plain: Vec<u8>) -> Self {
        let entry = self.entry(component, name);
        entry["size"] = json!(plain.len());
        entry["sha256"] = json!(Digest::of(&plain).to_string());
        let framed = frame(&plain);
        let n = self.number(component, name);
        self.streams[n - 1].plain = plain;
        self.with_frame(component, name, framed)
    }

    /// Other bytes under the encryption: in the manifest only the stored size and digest follow.
    pub fn with_frame(self, component: &str, name: &str, frame: Vec<u8>) -> Self {
        let stored = encrypt(&self.key.to_public(), &frame);
        self.with_stored(component, name, stored)
    }

    /// Other stored bytes: in the manifest only their size and digest follow.
    pub fn with_stored(mut self, component: &str, name: &str, stored: Vec<u8>) -> Self {
        let entry = self.entry(component, name);
        entry["stored_size"] = json!(stored.len());
        entry["stored_sha256"] = json!(Digest::of(&stored).to_string());
        let n = self.number(component, name);
        self.streams[n - 1].stored = stored;
        self
    }

    /// Another manifest.
    pub fn with_manifest(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.manifest);
        self
    }

    /// One more component: that of `of`, from another version of this bundle, under the name `twin`.
    pub fn with_twin(mut self, of: &str, twin: &str, from: &Inside) -> Self {
        let components = from.manifest["components"].as_array().unwrap();
        let mut component = components.iter().find(|c| c["name"] == of).unwrap().clone();
        component["name"] = json!(twin);
        for entry in component["streams"].as_array_mut().unwrap() {
            let stream = from.stream(of, entry["name"].as_str().unwrap());
            self.streams.push(Stream { component: twin.to_owned(), ..stream.clone() });
            entry["number"] = json!(self.streams.len());
        }
        self.manifest["components"].as_array_mut().unwrap().push(component);
        self
    }

    /// Other text in the one key file, encrypted to `recipient`.
    pub fn with_key_text(mut self, recipient: &Recipient, text: &str) -> Self {
        self.key_text = text.to_owned();
        self.key_files = vec![encrypt(recipient, text.as_bytes())];
        self
    }

    /// The manifest's text, as kbpack writes it.
    pub fn manifest_text(&self) -> String {
        serde_json::to_string_pretty(&self.manifest).unwrap() + "\n"
    }

    /// As it will lie in the archive.
    pub fn members(&self) -> Members {
        self.members_saying(self.manifest_text().as_bytes())
    }

    /// The same, with this text for a manifest.
    pub fn members_saying(&self, manifest: &[u8]) -> Members {
        self.members_storing(&encrypt(&self.key.to_public(), &frame(manifest)))
    }

    /// The same, with these stored bytes for a manifest.
    pub fn members_storing(&self, manifest: &[u8]) -> Members {
        let mut list =
            vec![("README.txt".to_owned(), self.readme.clone()), ("KBPACK".to_owned(), self.id_file.clone())];
        list.extend(
            self.key_files.iter().enumerate().map(|(n, file)| (format!("keys/{n}.age"), file.clone())),
        );
        let stored = self.streams.iter().map(|s| &s.stored[..]).chain([manifest]);
        for (stream, stored) in stored.enumerate() {
            let parts = stored.chunks(PART_SIZE).enumerate();
            list.extend(
                parts.map(|(part, content)| {
                    (format!("s/{:06}/{:06}", stream + 1, part + 1), content.to_vec())
                }),
            );
        }
        Members { folder: format!("kbpack-{}", &self.id[..16]), list }
    }

    /// The bundle, sealed by `key`.
    pub fn sealed(&self, key: &PrivateKey) -> Vec<u8> {
        self.members().sealed(key)
    }
}

/// The members above `SHA256SUMS`, in archive order, by their names inside the folder.
#[derive(Clone)]
pub struct Members {
    pub folder: String,
    pub list: Vec<(String, Vec<u8>)>,
}

impl Members {
    /// Reads them from a good bundle.
    pub fn read(bundle: &[u8]) -> Self {
        let spans = spans(bundle);
        let folder = spans[0].path.split_once('/').unwrap().0.to_owned();
        let member = |span: &Span| (span.name().to_owned(), bundle[span.content.clone()].to_vec());
        let list = spans.iter().map(member).filter(|(name, _)| !name.starts_with("SHA256SUMS")).collect();
        Members { folder, list }
    }

    /// Where a member stands.
    pub fn position(&self, name: &str) -> usize {
        self.list.iter().position(|(n, _)| n == name).unwrap_or_else(|| panic!("no member {name}"))
    }

    /// A member's content.
    pub fn get(&self, name: &str) -> &[u8] {
        &self.list[self.position(name)].1
    }

    /// The stored bytes of a stream: empty if there is none of this number.
    fn stored(&self, stream: usize) -> Vec<u8> {
        let folder = format!("s/{stream:06}/");
        let parts = self.list.iter().filter(|(name, _)| name.starts_with(&folder));
        parts.flat_map(|(_, content)| content.clone()).collect()
    }

    /// The same members after `change`.
    pub fn with(mut self, change: impl FnOnce(&mut Vec<(String, Vec<u8>)>)) -> Self {
        change(&mut self.list);
        self
    }

    /// The same members with another content of `name`.
    pub fn with_content(mut self, name: &str, content: impl Into<Vec<u8>>) -> Self {
        let at = self.position(name);
        self.list[at].1 = content.into();
        self
    }

    /// `SHA256SUMS` as it should be.
    pub fn sums(&self) -> String {
        self.list.iter().map(|(name, content)| format!("{}  {name}\n", Digest::of(content))).collect()
    }

    /// The archive with a right seal by `key`.
    pub fn sealed(self, key: &PrivateKey) -> Vec<u8> {
        let sums = self.sums();
        self.sealed_over(&sums, key)
    }

    /// The archive with these sums and a right seal over them.
    pub fn sealed_over(self, sums: &str, key: &PrivateKey) -> Vec<u8> {
        let seal = sign(key, "kbpack-bundle", HashAlg::Sha512, sums.as_bytes());
        self.sealed_with(sums, &seal)
    }

    /// The archive with these sums and this seal.
    pub fn sealed_with(self, sums: &str, seal: &str) -> Vec<u8> {
        let last = [("SHA256SUMS", sums), ("SHA256SUMS.sig", seal)];
        let last = last.map(|(name, content)| (name.to_owned(), content.as_bytes().to_vec()));
        self.with(|list| list.extend(last)).archive()
    }

    /// The archive of just these members.
    pub fn archive(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, content) in &self.list {
            bytes.extend(header(&format!("{}/{name}", self.folder), content.len()));
            bytes.extend(content);
            bytes.resize(bytes.len().next_multiple_of(512), 0);
        }
        bytes.extend([0; 1024]);
        bytes
    }
}

/// Where one member of an archive stands.
pub struct Span {
    pub path: String,
    pub header: usize,
    pub content: Range<usize>,
    /// Where the next header begins.
    pub end: usize,
}

impl Span {
    /// The path without the folder.
    pub fn name(&self) -> &str {
        self.path.split_once('/').unwrap().1
    }
}

/// The members of a good archive.
pub fn spans(archive: &[u8]) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut at = 0;
    while archive[at] != 0 {
        let text = |range: Range<usize>| {
            String::from_utf8(archive[at + range.start..at + range.end].to_vec()).unwrap()
        };
        let size = usize::from_str_radix(text(124..136).trim_end_matches('\0'), 8).unwrap();
        let content = at + 512..at + 512 + size;
        let end = content.end.next_multiple_of(512);
        spans.push(Span { path: text(0..100).trim_end_matches('\0').to_owned(), header: at, content, end });
        at = end;
    }
    spans
}

/// The span of one member.
pub fn span(archive: &[u8], name: &str) -> Span {
    spans(archive).into_iter().find(|span| span.name() == name).unwrap_or_else(|| panic!("no member {name}"))
}

/// A header as rule C3 lays it down.
pub fn header(path: &str, size: usize) -> [u8; 512] {
    let mut block = [0; 512];
    let mut put = |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, path);
    put(100, "0000600");
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{size:011o}"));
    put(136, "00000000000");
    put(156, "0");
    put(257, "ustar\x0000");
    put(329, "0000000");
    put(337, "0000000");
    rechecked(block)
}

/// The block with the checksum that it should have.
pub fn rechecked(mut block: [u8; 512]) -> [u8; 512] {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    block
}

/// The archive with the header of `name` changed and its checksum made right again.
pub fn with_header(archive: &[u8], name: &str, change: impl FnOnce(&mut [u8; 512])) -> Vec<u8> {
    let at = span(archive, name).header;
    let mut block: [u8; 512] = archive[at..at + 512].try_into().unwrap();
    change(&mut block);
    let mut archive = archive.to_vec();
    archive[at..at + 512].copy_from_slice(&rechecked(block));
    archive
}

/// An armored SSHSIG.
pub fn sign(key: &PrivateKey, namespace: &str, hash: HashAlg, message: &[u8]) -> String {
    key.sign(namespace, hash, message).unwrap().to_pem(LineEnding::LF).unwrap()
}

/// An age file to one recipient.
pub fn encrypt(recipient: &Recipient, plain: &[u8]) -> Vec<u8> {
    age::encrypt(recipient, plain).unwrap()
}

/// The length of an age file's header.
pub fn age_header(file: &[u8]) -> usize {
    let mac = file.windows(5).position(|w| w == b"\n--- ").unwrap() + 1;
    mac + file[mac..].iter().position(|&c| c == b'\n').unwrap() + 1
}

/// An age file whose header has `stanzas` instead of its own. Its MAC is wrong: nobody should come so far.
pub fn with_stanzas(file: &[u8], stanzas: &str) -> Vec<u8> {
    let mac = file.windows(5).position(|w| w == b"\n--- ").unwrap() + 1;
    [b"age-encryption.org/v1\n", stanzas.as_bytes(), &file[mac..]].concat()
}

/// A zstd frame with what `set` sets, and without padding.
pub fn zstd_frame(plain: &[u8], set: &[CParameter]) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    encoder.set_parameter(CParameter::ChecksumFlag(true)).unwrap();
    for parameter in set {
        encoder.set_parameter(*parameter).unwrap();
    }
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// What a stream holds under its encryption: a frame and its padding (rules T3 and T4).
pub fn frame(plain: &[u8]) -> Vec<u8> {
    let mut bytes = zstd_frame(plain, &[]);
    if bytes.len() < 1024 * 1024 && !bytes.len().is_multiple_of(4096) {
        let end = (bytes.len() + 8).next_multiple_of(4096);
        bytes.extend(skippable(0x50, &vec![0; end - bytes.len() - 8]));
    }
    bytes
}

/// A skippable frame.
pub fn skippable(magic: u8, content: &[u8]) -> Vec<u8> {
    [&[magic, 0x2A, 0x4D, 0x18], &(content.len() as u32).to_le_bytes()[..], content].concat()
}

/// The content of what [`frame`] makes.
fn unframe(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::decode_all(bytes).unwrap()
}
