//! A router with two neighbours on one side and two hosts behind it, and the traffic between them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, ensure};
use palisade::lab::{Host, Namespace, Network, Probe, TcpServer, UdpServer, probe_all};

use crate::{ICMP, TCP_PORTS, UDP_PORT};

/// Who is behind the router: the name, and the number in its addresses.
const INSIDERS: [(&str, u8); 2] = [("web", 1), ("api", 2)];

/// A question: who asks, whom, and what, as `tcp 8080`, `udp 5353` or [`ICMP`].
pub type Ask<'a> = (&'a str, &'a str, &'a str);

/// `friend` and `stranger` on a switch with `eth0` of `router`; behind it `web` and `api`, each on the other end of a
/// cable from the router's interface of that name. Servers on all of them.
///
/// | host | addresses | on the router |
/// |---|---|---|
/// | router | 10.42.0.1, fd00:42::1 | `eth0` |
/// | friend | 10.42.0.20, fd00:42::20 | |
/// | stranger | 10.42.0.30, fd00:42::30 | |
/// | web | 10.44.1.2, fd00:44:1::2 | 10.44.1.1, fd00:44:1::1 on `web` |
/// | api | 10.44.2.2, fd00:44:2::2 | 10.44.2.1, fd00:44:2::1 on `api` |
#[derive(Debug)]
pub struct Site {
    network: Network,
    insiders: BTreeMap<&'static str, Namespace>,
    _servers: Vec<(TcpServer, UdpServer)>,
}

impl Site {
    /// Builds it; when this returns, everybody can reach everybody.
    ///
    /// # Errors
    /// Without root, saying so.
    pub fn new() -> anyhow::Result<Self> {
        let network = Network::builder()
            .host("router", ["10.42.0.1/24", "fd00:42::1/64"])
            .host("friend", ["10.42.0.20/24", "fd00:42::20/64"])
            .host("stranger", ["10.42.0.30/24", "fd00:42::30/64"])
            .build()?;
        let router = network.host("router");
        router.namespace().forward()?;
        let mut insiders = BTreeMap::new();
        for (name, number) in INSIDERS {
            let insider = Namespace::new()?;
            router.namespace().connect(name, &insider, "eth0")?;
            for (version, all, bits) in [(4, "0.0.0.0/0", 24), (6, "::/0", 64)] {
                let gateway = gateway(number, version);
                let own = insider_address(number, version);
                router
                    .namespace()
                    .add_address(name, &format!("{gateway}/{bits}"))?;
                insider.add_address("eth0", &format!("{own}/{bits}"))?;
                insider.add_route(all, gateway)?;
            }
            insiders.insert(name, insider);
        }
        for name in ["friend", "stranger"] {
            let outsider = network.host(name).namespace();
            outsider.add_route("10.44.0.0/16", router.ipv4())?;
            outsider.add_route("fd00:44::/32", router.ipv6())?;
        }
        let outside = network.hosts().iter().map(|host| (host.name(), host.namespace()));
        let inside = insiders.iter().map(|(name, namespace)| (*name, namespace));
        let serve = |(name, namespace): (&str, &Namespace)| -> anyhow::Result<_> {
            let tcp = TcpServer::start(namespace, name, &TCP_PORTS)?;
            let udp = UdpServer::start(namespace, name, &[UDP_PORT])?;
            Ok((tcp, udp))
        };
        let servers = outside.chain(inside).map(serve).collect::<anyhow::Result<_>>()?;
        Ok(Site {
            network,
            insiders,
            _servers: servers,
        })
    }

    /// The router.
    pub fn router(&self) -> &Host {
        self.network.host("router")
    }

    /// Where the programs of a host run.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn namespace(&self, name: &str) -> &Namespace {
        let inside = self.insiders.get(name);
        inside.unwrap_or_else(|| self.network.host(name).namespace())
    }

    /// The address by which one host asks another.
    pub fn address(&self, from: &str, to: &str, version: u8) -> IpAddr {
        let number = |name: &str| {
            INSIDERS
                .iter()
                .find(|(insider, _)| *insider == name)
                .map(|(_, number)| *number)
        };
        if let Some(number) = number(to) {
            return insider_address(number, version);
        }
        match (to, number(from)) {
            // The nearest of its own, so that it answers from the address it was asked at.
            ("router", Some(number)) => gateway(number, version),
            _ if version == 4 => self.network.host(to).ipv4(),
            _ => self.network.host(to).ipv6(),
        }
    }

    /// Asks all of it at once over both IP versions, each question with one packet, and says what was answered.
    ///
    /// # Errors
    /// If the IP versions do not agree.
    pub fn answered<'a>(&self, asks: &[Ask<'a>]) -> anyhow::Result<BTreeSet<Ask<'a>>> {
        let answered = self.answered_over(asks)?;
        let once: BTreeSet<Ask<'a>> = answered.iter().map(|(ask, _)| *ask).collect();
        for ask in &once {
            let both = [4, 6].iter().all(|version| answered.contains(&(*ask, *version)));
            ensure!(both, "{ask:?} is answered over one IP version only: {answered:?}");
        }
        Ok(once)
    }

    /// The same, with the IP versions over which it was answered.
    pub fn answered_over<'a>(&self, asks: &[Ask<'a>]) -> anyhow::Result<BTreeSet<(Ask<'a>, u8)>> {
        let asks: Vec<(Ask<'a>, u8)> = asks.iter().flat_map(|ask| [(*ask, 4), (*ask, 6)]).collect();
        let probes = asks
            .iter()
            .map(|(ask, version)| self.probe(*ask, *version))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let outcomes = asks.into_iter().zip(probe_all(&probes)?);
        let answered = outcomes.filter(|(_, outcome)| outcome.is_answered());
        Ok(answered.map(|(ask, _)| ask).collect())
    }

    /// One question over one IP version.
    pub fn probe(&self, (from, to, what): Ask<'_>, version: u8) -> anyhow::Result<Probe> {
        let address = self.address(from, to, version);
        let from = self.namespace(from);
        let port = || {
            let port = what.split_once(' ').and_then(|(_, port)| port.parse().ok());
            let port = port.with_context(|| format!("{what:?} is no question"))?;
            anyhow::Ok(SocketAddr::new(address, port))
        };
        Ok(match what {
            ICMP => Probe::icmp(from, address),
            _ if what.starts_with("tcp ") => Probe::tcp(from, port()?),
            _ => Probe::udp(from, port()?),
        })
    }
}

fn gateway(number: u8, version: u8) -> IpAddr {
    behind(number, version, 1)
}

fn insider_address(number: u8, version: u8) -> IpAddr {
    behind(number, version, 2)
}

fn behind(number: u8, version: u8, last: u8) -> IpAddr {
    if version == 4 {
        [10, 44, number, last].into()
    } else {
        [0xfd00, 0x44, number.into(), 0, 0, 0, 0, last.into()].into()
    }
}
