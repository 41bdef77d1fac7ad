//! Two steps of the kind `git` by themselves, without the compression, encryption and digests of a bundle around them, for
//! `benches/git.sh` to time against stock git.
//!
//! ```text
//! git_alone capture REPOSITORY STREAMS    writes the component's streams, and its facts, into the folder STREAMS
//! git_alone stage STREAMS TARGET          plans, stages and checks what is in STREAMS, for a repository at TARGET
//! ```

#![allow(clippy::expect_used)]

use kbpack::base::name::{ComponentName, StreamName};
use kbpack::component::{
    Error, Holds, Host, Kind, Nobody, Progress, Result, Scope, StreamInfo, StreamSink, StreamSource,
    StreamWrite,
};
use kbpack::components::git::GitKind;
use serde_json::{json, Value};
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

fn main() -> std::result::Result<(), String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["capture", repository, streams] => capture(Path::new(repository), Path::new(streams)),
        ["stage", streams, target] => stage(Path::new(streams), Path::new(target)),
        // What `cargo bench` passes: it is git.sh that measures.
        _ => Ok(()),
    };
    done.map_err(|error| error.to_string())
}

fn capture(repository: &Path, folder: &Path) -> Result<()> {
    let host = host(Vec::new());
    let code = GitKind.from_options(&name(), &json!({ "path": repository }), &host)?;
    let sink = Folder { path: folder.to_owned(), list: Mutex::default() };
    let captured = code.capture(&scope(&host), &sink)?;
    let list = sink.list.into_inner().expect("no writer panicked");
    let list: Vec<_> = list.iter().map(|name| name.as_str()).collect();
    let index = json!({ "facts": captured.facts, "streams": list, "from": repository });
    fs::write(folder.join("index.json"), index.to_string()).map_err(|e| Error::io(folder.display(), e))
}

fn stage(folder: &Path, target: &Path) -> Result<()> {
    let place = |e| Error::io(folder.display(), e);
    let index: Value = serde_json::from_slice(&fs::read(folder.join("index.json")).map_err(place)?)
        .map_err(|e| Error::io(folder.display(), e.into()))?;
    let text = |value: &Value| value.as_str().expect("what capture wrote").to_owned();
    let host = host(vec![(text(&index["from"]).into(), target.to_owned())]);
    let mut list = Vec::new();
    for (number, stream) in index["streams"].as_array().into_iter().flatten().enumerate() {
        let name = StreamName::new(&text(stream)).expect("what capture wrote");
        let size = fs::metadata(file(folder, number)).map_err(place)?.len();
        list.push(StreamInfo { name, size });
    }
    let streams = Streams { path: folder.to_owned(), list };
    let code = GitKind.from_facts(&name(), &index["facts"], None, &host)?;
    let scope = scope(&host);
    let plan = code.plan(&scope, &streams)?;
    code.stage(&scope, &plan, &streams)?;
    for result in code.check_staged(&scope, &plan)? {
        assert!(result.passed(), "{result:?}");
    }
    Ok(())
}

fn name() -> ComponentName {
    ComponentName::new("code").expect("a name")
}

fn host(maps: Vec<(PathBuf, PathBuf)>) -> Host {
    let home = PathBuf::from(std::env::var_os("HOME").expect("a home"));
    Host { home, uid: rustix::process::geteuid().as_raw(), own: Vec::new(), maps }
}

fn scope(host: &Host) -> Scope<'_> {
    Scope {
        host,
        carved: &[],
        only: &[],
        run: "0123456789abcdef",
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        progress: &Silent,
        ask: &Nobody,
        trusted: true,
        logins: &[],
    }
}

struct Silent;

impl Progress for Silent {
    fn expect(&self, _: u64) {}
    fn advance(&self, _: u64) {}
}

/// Streams as files of a folder, by their numbers.
struct Folder {
    path: PathBuf,
    list: Mutex<Vec<StreamName>>,
}

fn file(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("{number}.stream"))
}

impl StreamSink for Folder {
    fn create(&self, name: &StreamName, _: Holds) -> Result<Box<dyn StreamWrite>> {
        let mut list = self.list.lock().expect("no writer panicked");
        let path = file(&self.path, list.len());
        let opened = File::create(&path).map_err(|e| Error::io(path.display(), e))?;
        list.push(name.clone());
        Ok(Box::new(Writer(BufWriter::new(opened))))
    }
}

struct Writer(BufWriter<File>);

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl StreamWrite for Writer {
    fn label(&mut self, _: &str) {}
    fn finish(mut self: Box<Self>) -> Result<()> {
        self.0.flush().map_err(|e| Error::io("a stream", e))
    }
}

struct Streams {
    path: PathBuf,
    list: Vec<StreamInfo>,
}

impl StreamSource for Streams {
    fn list(&self) -> &[StreamInfo] {
        &self.list
    }
    fn open(&self, name: &StreamName) -> Result<Box<dyn Read + Send>> {
        let number = self.list.iter().position(|info| info.name == *name).expect("a stream that was written");
        let path = file(&self.path, number);
        let opened = File::open(&path).map_err(|e| Error::io(path.display(), e))?;
        Ok(Box::new(BufReader::new(opened)))
    }
}
