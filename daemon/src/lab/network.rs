//! Hosts on one Ethernet switch.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::{Namespace, Result, link};

/// The interface by which every host is on the switch.
const INTERFACE: &str = "eth0";
/// The switch, in a namespace that no host shares, so that no host's rules meet another's packets.
const SWITCH: &str = "switch";

/// Hosts on one Ethernet switch.
#[derive(Debug)]
pub struct Network {
    hosts: Vec<Host>,
}

/// A host: a namespace with `eth0` on the switch.
#[derive(Debug)]
pub struct Host {
    name: String,
    namespace: Namespace,
    addresses: Vec<IpNet>,
    switch: Namespace,
    number: usize,
}

/// Collects hosts for [`Network::builder`].
#[derive(Debug, Default)]
pub struct Builder {
    hosts: Vec<(String, Vec<String>)>,
}

impl Network {
    /// Starts the description of a network.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The hosts, in the order they were described.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The host of that name.
    ///
    /// # Panics
    /// If the network was built without it: the name is the caller's own.
    pub fn host(&self, name: &str) -> &Host {
        let found = self.hosts.iter().find(|host| host.name == name);
        found.unwrap_or_else(|| panic!("the network has no host {name:?}"))
    }
}

impl Builder {
    /// Adds a host with addresses and prefix lengths, `10.42.0.10/24` or `fd00:42::10/64`.
    #[must_use]
    pub fn host<A: Into<String>>(mut self, name: &str, addresses: impl IntoIterator<Item = A>) -> Self {
        self.hosts
            .push((name.to_owned(), addresses.into_iter().map(Into::into).collect()));
        self
    }

    /// Builds the network; when this returns, every host can reach every other.
    ///
    /// # Errors
    /// [`super::Error::Address`] for an address that is not one, [`super::Error::Privilege`] without root.
    pub fn build(self) -> Result<Network> {
        let switch = Namespace::new()?;
        link::add_bridge(&switch, SWITCH)?;
        let mut hosts = Vec::with_capacity(self.hosts.len());
        for (number, (name, addresses)) in self.hosts.into_iter().enumerate() {
            let addresses = addresses
                .iter()
                .map(|text| link::parse(text))
                .collect::<Result<Vec<_>>>()?;
            let host = Host {
                name,
                namespace: Namespace::new()?,
                addresses,
                switch: switch.clone(),
                number,
            };
            host.add_interface(INTERFACE)?;
            for address in &host.addresses {
                link::add_address(&host.namespace, INTERFACE, *address)?;
            }
            hosts.push(host);
        }
        Ok(Network { hosts })
    }
}

impl Host {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its programs run.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The addresses it was built with.
    pub fn addresses(&self) -> &[IpNet] {
        &self.addresses
    }

    /// Its IPv4 and IPv6 addresses, without prefix lengths, in the order they were given.
    pub fn ips(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.addresses.iter().map(IpNet::addr)
    }

    /// Its addresses with a port.
    pub fn sockets(&self, port: u16) -> impl Iterator<Item = SocketAddr> + '_ {
        self.ips().map(move |address| SocketAddr::new(address, port))
    }

    /// Its first IPv4 address.
    ///
    /// # Panics
    /// If it was built without one.
    pub fn ipv4(&self) -> IpAddr {
        let found = self.ips().find(IpAddr::is_ipv4);
        found.unwrap_or_else(|| panic!("the host {} has no IPv4 address", self.name))
    }

    /// Its first IPv6 address.
    ///
    /// # Panics
    /// If it was built without one.
    pub fn ipv6(&self) -> IpAddr {
        let found = self.ips().find(IpAddr::is_ipv6);
        found.unwrap_or_else(|| panic!("the host {} has no IPv6 address", self.name))
    }

    /// Gives one of its interfaces another address, usable at once.
    ///
    /// # Errors
    /// [`super::Error::Address`] for an address that is not one; the kernel's own error for one it has already.
    pub fn add_address(&self, interface: &str, address: &str) -> Result<()> {
        link::add_address(&self.namespace, interface, link::parse(address)?)
    }

    /// Takes an address from one of its interfaces.
    ///
    /// # Errors
    /// [`super::Error::Address`] for an address that is not one.
    pub fn remove_address(&self, interface: &str, address: &str) -> Result<()> {
        link::remove_address(&self.namespace, interface, link::parse(address)?)
    }

    /// Adds another interface on the same switch, without addresses.
    pub fn add_interface(&self, interface: &str) -> Result<()> {
        // Unique on the switch: a host's interface names are its own. The kernel takes 15 bytes.
        let port = format!("{}-{interface}", self.number);
        link::add_veth(&self.namespace, interface, &self.switch, &port)?;
        link::plug_in(&self.switch, &port, SWITCH)?;
        link::wait_until_up(&self.switch, &port)?;
        link::wait_until_up(&self.namespace, interface)
    }
}
