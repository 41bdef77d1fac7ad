//! A submodule's streams, among those of the repository around it.

use crate::base::name::StreamName;
use crate::component::{stream_name, Holds, Result, StreamInfo, StreamSink, StreamSource, StreamWrite};
use std::io::Read;

/// Where its streams are.
pub fn prefix(number: usize) -> String {
    format!("modules/{number}/")
}

/// The streams of a submodule, among those of the repository around it.
pub struct Below<S> {
    streams: S,
    prefix: String,
    list: Vec<StreamInfo>,
}

impl<'a> Below<&'a dyn StreamSink> {
    pub fn sink(streams: &'a dyn StreamSink, number: usize) -> Self {
        Below { streams, prefix: prefix(number), list: Vec::new() }
    }
}

impl<'a> Below<&'a dyn StreamSource> {
    pub fn source(streams: &'a dyn StreamSource, number: usize) -> Result<Self> {
        let prefix = prefix(number);
        let mut list = Vec::new();
        for stream in streams.list() {
            if let Some(name) = stream.name.as_str().strip_prefix(&prefix) {
                list.push(StreamInfo { name: stream_name(name)?, size: stream.size });
            }
        }
        Ok(Below { streams, prefix, list })
    }
}

impl StreamSink for Below<&dyn StreamSink> {
    fn create(&self, name: &StreamName, holds: Holds) -> Result<Box<dyn StreamWrite>> {
        self.streams.create(&stream_name(&format!("{}{name}", self.prefix))?, holds)
    }
}

impl StreamSource for Below<&dyn StreamSource> {
    fn list(&self) -> &[StreamInfo] {
        &self.list
    }
    fn open(&self, name: &StreamName) -> Result<Box<dyn Read + Send>> {
        self.streams.open(&stream_name(&format!("{}{name}", self.prefix))?)
    }
}
