//! Interfaces and addresses, over rtnetlink.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd};
use std::thread;
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use ipnet::IpNet;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags};
use rtnetlink::packet_route::link::{InfoData, InfoVeth, LinkAttribute, State};
use rtnetlink::{Handle, LinkBridge, LinkUnspec, LinkVeth, RouteMessageBuilder};

use super::{During, Error, Namespace, Result};

/// How long the kernel may take for what it does on its own time: usually a millisecond.
const PATIENCE: Duration = Duration::from_secs(5);

/// Brings an interface up.
pub(super) fn bring_up(namespace: &Namespace, name: &str) -> Result<()> {
    converse(namespace, format!("bring {name} up"), async |handle| {
        let index = index_of(&handle, name).await?;
        handle
            .link()
            .set(LinkUnspec::new_with_index(index).up().build())
            .execute()
            .await
    })
}

/// Adds a bridge that forwards at once: no spanning tree, and multicast floods, so that neighbour discovery
/// does not wait for a querier.
pub(super) fn add_bridge(namespace: &Namespace, name: &str) -> Result<()> {
    converse(namespace, format!("add the bridge {name}"), async |handle| {
        handle
            .link()
            .add(LinkBridge::new(name).mcast_snooping(false).build())
            .execute()
            .await
    })
}

/// Adds a veth pair: `name` in `namespace`, up, and its other end as `peer` in the namespace `other`.
pub(super) fn add_veth(namespace: &Namespace, name: &str, other: &Namespace, peer: &str) -> Result<()> {
    converse(namespace, format!("add the interface {name}"), async |handle| {
        let peer = LinkUnspec::new_with_name(peer)
            .setns_by_fd(other.as_fd().as_raw_fd())
            .build();
        let pair = LinkVeth::new(name, "").set_info_data(InfoData::Veth(InfoVeth::Peer(peer)));
        handle.link().add(pair.up().build()).execute().await
    })
}

/// Makes `port` a port of `bridge` and brings it up.
pub(super) fn plug_in(namespace: &Namespace, port: &str, bridge: &str) -> Result<()> {
    converse(
        namespace,
        format!("make {port} a port of {bridge}"),
        async |handle| {
            let bridge = index_of(&handle, bridge).await?;
            let port = index_of(&handle, port).await?;
            handle
                .link()
                .set(LinkUnspec::new_with_index(port).controller(bridge).up().build())
                .execute()
                .await
        },
    )
}

/// Waits until an interface carries packets.
///
/// An interface that has just got its carrier drops what it is given until the kernel's link watcher, which
/// runs on its own time, has attached the queue.
pub(super) fn wait_until_up(namespace: &Namespace, name: &str) -> Result<()> {
    converse(namespace, format!("see {name} come up"), async |handle| {
        let asked = Instant::now();
        loop {
            let link = handle.link().get().match_name(name).execute().try_next().await?;
            let state =
                link.into_iter()
                    .flat_map(|link| link.attributes)
                    .find_map(|attribute| match attribute {
                        LinkAttribute::OperState(state) => Some(state),
                        _ => None,
                    });
            if state == Some(State::Up) {
                return Ok(());
            }
            if asked.elapsed() > PATIENCE {
                return Err(rtnetlink::Error::RequestFailed);
            }
            thread::sleep(Duration::from_millis(1));
        }
    })
}

/// Gives an interface an address that is usable at once, IPv6 too: duplicates are not looked for.
pub(super) fn add_address(namespace: &Namespace, name: &str, address: IpNet) -> Result<()> {
    converse(
        namespace,
        format!("give {name} the address {address}"),
        async |handle| {
            let index = index_of(&handle, name).await?;
            let mut request = handle.address().add(index, address.addr(), address.prefix_len());
            request
                .message_mut()
                .attributes
                .push(AddressAttribute::Flags(AddressFlags::Nodad));
            request.execute().await
        },
    )?;
    match address.addr() {
        IpAddr::V4(_) => Ok(()),
        IpAddr::V6(ip) => wait_until_local(namespace, name, ip),
    }
}

/// Waits until an IPv6 address is the host's own.
///
/// The kernel joins the group in which neighbours ask for it, and then adds the local route, on its own time.
/// A packet that comes before is lost; a neighbour asks again only a second later.
fn wait_until_local(namespace: &Namespace, name: &str, ip: Ipv6Addr) -> Result<()> {
    const RTF_LOCAL: u32 = 0x8000_0000;
    let action = || format!("see the address {ip} of {name} become usable");
    // Destination, prefix length, source, its prefix length, next hop, metric, users, uses, flags, interface.
    let own = format!("{:032x}", ip.to_bits());
    let is_local = |route: &str| {
        let fields: Vec<_> = route.split_whitespace().collect();
        let flags = fields
            .get(8)
            .and_then(|flags| u32::from_str_radix(flags, 16).ok());
        fields.first() == Some(&own.as_str()) && flags.is_some_and(|flags| flags & RTF_LOCAL != 0)
    };
    let asked = Instant::now();
    namespace.run(|| {
        while asked.elapsed() < PATIENCE {
            let routes = fs::read_to_string("/proc/thread-self/net/ipv6_route").during(action)?;
            if routes.lines().any(is_local) {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(1));
        }
        Err(io::Error::from(ErrorKind::TimedOut)).during(action)
    })?
}

/// Takes an address from an interface.
pub(super) fn remove_address(namespace: &Namespace, name: &str, address: IpNet) -> Result<()> {
    converse(
        namespace,
        format!("take the address {address} from {name}"),
        async |handle| {
            let index = index_of(&handle, name).await?;
            let filter = handle
                .address()
                .get()
                .set_link_index_filter(index)
                .set_address_filter(address.addr());
            // All of the answer first: a change in the middle of a dump upsets it.
            for message in filter.execute().try_collect::<Vec<_>>().await? {
                handle.address().del(message).execute().await?;
            }
            Ok(())
        },
    )
}

/// Sends what is for a network through a neighbour.
pub(super) fn add_route(namespace: &Namespace, to: IpNet, via: IpAddr) -> Result<()> {
    let action = format!("add the route to {to} by {via}");
    let route = RouteMessageBuilder::<IpAddr>::new()
        .destination_prefix(to.network(), to.prefix_len())
        .and_then(|route| route.gateway(via))
        .map_err(|_| io::Error::from(ErrorKind::InvalidInput))
        .during(|| action.clone())?
        .build();
    converse(namespace, action, async |handle| {
        handle.route().add(route).execute().await
    })
}

/// Reads an address with its prefix length.
pub(super) fn parse(text: &str) -> Result<IpNet> {
    text.parse().map_err(|_| Error::Address(text.to_owned()))
}

/// Talks to the kernel over an rtnetlink socket made inside the namespace.
fn converse<T: Send>(
    namespace: &Namespace,
    action: String,
    talk: impl AsyncFnOnce(Handle) -> std::result::Result<T, rtnetlink::Error> + Send,
) -> Result<T> {
    namespace.run(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .during(|| "start an event loop".to_owned())?;
        runtime.block_on(async {
            let (connection, handle, _) =
                rtnetlink::new_connection().during(|| "open an rtnetlink socket".to_owned())?;
            let connection = tokio::spawn(connection);
            let answer = talk(handle).await;
            connection.abort();
            answer.map_err(|source| Error::Netlink { action, source })
        })
    })?
}

async fn index_of(handle: &Handle, name: &str) -> std::result::Result<u32, rtnetlink::Error> {
    let mut links = handle.link().get().match_name(name).execute();
    // Asked by name, the kernel answers with the interface or an error.
    let link = links.try_next().await?.ok_or(rtnetlink::Error::RequestFailed)?;
    Ok(link.header.index)
}
