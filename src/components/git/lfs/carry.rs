//! The streams: a list, `<oid> <size>` a line, and a tar archive of the objects in the list's order, each as
//! `lfs/objects/aa/bb/<oid>`. Stock tar unpacks it into a repository's folder.

use super::gather::Needed;
use super::{Pointer, Store, LIST, OBJECTS};
use crate::base::digest::{Digest, Hasher};
use crate::base::interrupt;
use crate::base::path::shown;
use crate::component::{stream_name, Error, Holds, Result, Scope, StreamSink, StreamSource};
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

/// The most objects of one repository.
const MAX_OBJECTS: usize = 20_000_000;
/// The longest line: an id and a size.
const MAX_LINE: u64 = 128;
const BLOCK: usize = 512;
/// From here on a size does not fit into the eleven octal digits of a tar header.
const OCTAL_END: u64 = 8 << 30;

/// Writes both streams.
pub fn write(needed: &Needed, scope: &Scope<'_>, sink: &dyn StreamSink) -> Result<()> {
    let mut list = sink.create(&stream_name(LIST)?, Holds::Data)?;
    list.label("list of LFS objects");
    for (oid, object) in &needed.objects {
        let line = format!("{oid} {}\n", object.size);
        list.write_all(line.as_bytes()).map_err(|e| Error::io(format_args!("stream {LIST}"), e))?;
    }
    list.finish()?;
    let mut objects = sink.create(&stream_name(OBJECTS)?, Holds::Data)?;
    scope.progress.expect(needed.bytes());
    for (oid, object) in &needed.objects {
        objects.label(&object.name);
        let one = Pointer { oid: *oid, size: object.size };
        copy_in(&object.file, one, &mut *objects, &mut |n| scope.progress.advance(n))?;
    }
    objects.write_all(&[0; 2 * BLOCK]).map_err(|e| Error::io(format_args!("stream {OBJECTS}"), e))?;
    objects.finish()
}

/// One object. That its file still has the content that its name promises shows at its end.
fn copy_in(
    file: &Path,
    one: Pointer,
    to: &mut (impl Write + ?Sized),
    each: &mut dyn FnMut(u64),
) -> Result<()> {
    let at = Error::at(file);
    let out = |e: io::Error| Error::io(format_args!("stream {OBJECTS}"), e);
    let spoilt = || {
        Error::not_ready(format_args!("{}: not the content that its pointer names", shown(file)))
            .todo("see what `git lfs fsck` says, get it again with `git lfs fetch --all`, and export again")
    };
    to.write_all(&header(&one)).map_err(out)?;
    let mut from = File::open(file).map_err(at)?.take(one.size);
    let (mut hasher, mut buffer) = (Hasher::new(), vec![0; 128 * 1024]);
    loop {
        interrupt::check().map_err(Error::of)?;
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => {
                hasher.update(&buffer[..n]);
                to.write_all(&buffer[..n]).map_err(out)?;
                each(n as u64);
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(at(e)),
        }
    }
    if hasher.len() != one.size || hasher.finish() != one.oid {
        return Err(spoilt());
    }
    to.write_all(&[0; BLOCK][..padding(one.size)]).map_err(out)
}

fn padding(size: u64) -> usize {
    (BLOCK - (size % BLOCK as u64) as usize) % BLOCK
}

/// The header of an object: ustar, with nothing in it but name and size. A size that does not fit stands there as GNU tar
/// writes it.
fn header(one: &Pointer) -> [u8; BLOCK] {
    let mut header = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    let oid = one.oid.to_string();
    put(0, format!("lfs/objects/{}/{}/{oid}", &oid[..2], &oid[2..4]).as_bytes());
    put(100, b"0000644\x000000000\x000000000\x00");
    match one.size < OCTAL_END {
        true => put(124, format!("{:011o}\0", one.size).as_bytes()),
        false => put(124, &[&[0x80, 0, 0, 0], &one.size.to_be_bytes()[..]].concat()),
    }
    put(136, b"00000000000\0        0");
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

/// Reads the list, held to rule G10.
pub fn read_list(streams: &dyn StreamSource) -> Result<Vec<Pointer>> {
    let broken = |what: &str| Error::rule("G10", format_args!("stream {LIST}: {what}"));
    let mut stream = BufReader::new(streams.open(&stream_name(LIST)?)?);
    let mut list: Vec<Pointer> = Vec::new();
    loop {
        let mut line = String::new();
        let read = (&mut stream).take(MAX_LINE).read_line(&mut line);
        match read {
            Ok(0) => return Ok(list),
            Err(e) if e.kind() == io::ErrorKind::InvalidData => return Err(broken("it is not text")),
            read => read.map_err(|e| Error::io(format_args!("stream {LIST}"), e))?,
        };
        let row = line.strip_suffix('\n').and_then(|line| line.split_once(' '));
        let one = row.and_then(|(oid, size)| {
            let number: u64 = size.parse().ok().filter(|n: &u64| n.to_string() == size)?;
            Some(Pointer { oid: Digest::parse(oid)?, size: number })
        });
        let one = one.filter(|one| one.size <= i64::MAX as u64);
        let one = one.ok_or_else(|| broken("a line is not an id and a size"))?;
        if list.last().is_some_and(|last| last.oid >= one.oid) {
            return Err(broken("the ids are not in their order, or one stands there twice"));
        }
        if list.len() >= MAX_OBJECTS {
            return Err(broken("too many objects"));
        }
        list.push(one);
    }
}

/// Reads the archive, which has the objects of `all`, and writes those of `new` into `store`. Rule G11.
pub fn unpack(
    streams: &dyn StreamSource,
    all: &[Pointer],
    new: &[Pointer],
    store: &Store,
    each: &mut dyn FnMut(u64),
) -> Result<()> {
    let broken = |what: &str| Error::rule("G11", format_args!("stream {OBJECTS}: {what}"));
    let mut stream = Stream(streams.open(&stream_name(OBJECTS)?)?);
    let wanted: HashSet<Digest> = new.iter().map(|one| one.oid).collect();
    for one in all {
        let mut block = [0; BLOCK];
        stream.fill(&mut block)?;
        if block != header(one) {
            return Err(broken(&format!("it has not {} where the list has it", one.oid)));
        }
        let path = store.path(one.oid);
        let at = Error::at(&path);
        let mut file = match wanted.contains(&one.oid) {
            true => Some(File::create_new(store.make_room(one.oid)?).map_err(at)?),
            false => None,
        };
        let (mut hasher, mut buffer) = (Hasher::new(), vec![0; 128 * 1024]);
        while hasher.len() < one.size {
            interrupt::check().map_err(Error::of)?;
            let left = usize::try_from(one.size - hasher.len()).unwrap_or(usize::MAX).min(buffer.len());
            stream.fill(&mut buffer[..left])?;
            hasher.update(&buffer[..left]);
            if let Some(file) = &mut file {
                file.write_all(&buffer[..left]).map_err(at)?;
            }
            each(left as u64);
        }
        if hasher.finish() != one.oid {
            return Err(broken(&format!("the content of {} is another", one.oid)));
        }
        stream.zeros(padding(one.size))?;
    }
    stream.zeros(2 * BLOCK)?;
    stream.end()
}

/// The archive as it is read.
struct Stream(Box<dyn Read + Send>);

impl Stream {
    fn broken(what: &str) -> Error {
        Error::rule("G11", format_args!("stream {OBJECTS}: {what}"))
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<()> {
        self.0.read_exact(buffer).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => Stream::broken("it is cut off"),
            _ => Error::io(format_args!("stream {OBJECTS}"), e),
        })
    }

    fn zeros(&mut self, count: usize) -> Result<()> {
        let mut buffer = [0; 2 * BLOCK];
        self.fill(&mut buffer[..count])?;
        match buffer.iter().all(|&byte| byte == 0) {
            true => Ok(()),
            false => Err(Stream::broken("something stands where zeros should be")),
        }
    }

    /// Also that it is what the manifest says shows only here.
    fn end(mut self) -> Result<()> {
        match io::copy(&mut self.0, &mut io::sink()) {
            Ok(0) => Ok(()),
            Ok(_) => Err(Stream::broken("something follows it")),
            Err(e) => Err(Error::io(format_args!("stream {OBJECTS}"), e)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn stock_tar_reads_headers_of_every_size() {
        for size in [0, 1, OCTAL_END - 1, OCTAL_END, 5 << 40] {
            let one = Pointer { oid: Digest::of(b"x"), size };
            let mut tar = Command::new("tar")
                .args(["-tvf", "-", "--numeric-owner"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            // The content is not there, which tar says after it has shown the header.
            tar.stdin.take().unwrap().write_all(&header(&one)).unwrap();
            let text = String::from_utf8(tar.wait_with_output().unwrap().stdout).unwrap();
            let path = Store::within(Path::new("")).path(one.oid);
            assert!(text.starts_with("-rw-r--r-- 0/0") && text.contains(&format!(" {size} ")), "{text}");
            assert!(text.trim_end().ends_with(path.to_str().unwrap()), "{text}");
        }
    }
}
