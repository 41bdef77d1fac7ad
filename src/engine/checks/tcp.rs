//! `tcp`: something listens at an address.

use super::address::Address;
use super::{Site, Trial, Tried};
use crate::format::TcpProbe;
use std::net::TcpStream;

/// Connects, and says nothing.
pub(super) struct Tcp {
    address: Address,
}

impl Tcp {
    pub(super) fn new(probe: &TcpProbe) -> Result<Self, String> {
        let address = Address::parse(&probe.address);
        Ok(Tcp { address: address.ok_or_else(|| format!("'{}' is not HOST:PORT", probe.address))? })
    }
}

impl Trial for Tcp {
    fn what(&self) -> String {
        format!("connects to {}", self.address)
    }

    fn needs_trust(&self) -> Option<String> {
        (!self.address.is_loopback()).then(|| format!("it connects to {}", self.address))
    }

    fn attempt(&self, site: &Site) -> Tried {
        let addresses = match self.address.resolve(site.trusted) {
            Ok(addresses) => addresses,
            Err(tried) => return tried,
        };
        let mut why = String::new();
        for address in addresses {
            match TcpStream::connect_timeout(&address, site.limit) {
                Ok(_) => return Tried::passed().with([format!("connected to {address}")]),
                Err(error) => why = format!("{address}: {error}"),
            }
        }
        Tried::failed(why)
    }
}
