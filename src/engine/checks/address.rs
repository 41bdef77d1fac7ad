//! Addresses: a host and a port, whether that is this machine itself, and where it really leads.

use super::Tried;
use std::fmt;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

/// A host, by name or by number, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// Without brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

impl Address {
    /// Reads `host:port`; an IPv6 address stands in brackets.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        if host.contains(':') && !host.starts_with('[') {
            return None;
        }
        Address::new(host, port.parse().ok()?)
    }

    /// `host` may stand in brackets.
    pub(super) fn new(host: &str, port: u16) -> Option<Self> {
        let host = match host.strip_prefix('[') {
            Some(number) => number.strip_suffix(']').filter(|number| number.parse::<IpAddr>().is_ok())?,
            None => host,
        };
        let plain = |c: u8| c.is_ascii_alphanumeric() || b"-._:".contains(&c);
        let name = !host.is_empty() && host.len() <= 253 && host.bytes().all(plain);
        let number = !host.contains(':') || host.parse::<IpAddr>().is_ok();
        (name && number && port != 0).then(|| Address { host: host.to_owned(), port })
    }

    /// Whether it is this machine, by what it says: the name `localhost`, or a loopback number.
    pub(super) fn is_loopback(&self) -> bool {
        self.host.eq_ignore_ascii_case("localhost")
            || self.host.parse::<IpAddr>().is_ok_and(|number| number.is_loopback())
    }

    /// The addresses to connect to. One that says it is this machine must lead to nowhere else, unless who asks is `trusted`.
    pub(super) fn resolve(&self, trusted: bool) -> Result<Vec<SocketAddr>, Tried> {
        let found = (self.host.as_str(), self.port).to_socket_addrs();
        let found: Vec<SocketAddr> =
            found.map_err(|error| Tried::failed(format!("{}: {error}", self.host)))?.collect();
        if found.is_empty() {
            return Err(Tried::failed(format!("{} has no address", self.host)));
        }
        if !trusted && !found.iter().all(|address| address.ip().is_loopback()) {
            return Err(Tried::skipped(format!("{} does not lead to this machine", self.host)));
        }
        Ok(found)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for good in ["localhost:80", "127.0.0.1:1", "[::1]:65535", "a-b.example.org:5432"] {
            assert_eq!(Address::parse(good).unwrap().to_string(), good);
        }
        for bad in
            ["", "localhost", ":80", "a:0", "a:65536", "::1:80", "[::1]", "[a]:80", "a b:1", "a/b:1", "u@h:1"]
        {
            assert_eq!(Address::parse(bad), None, "{bad}");
        }
        let address = Address::parse("localhost:80").unwrap();
        assert!(address.resolve(false).unwrap().iter().all(|a| a.ip().is_loopback()));
    }
}
