//! The host's interfaces and addresses, and when they change.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use futures::{Stream, StreamExt, TryStreamExt};
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::LinkAttribute;
use rtnetlink::{Handle, MulticastGroup, new_multicast_connection};

use crate::apply::Interfaces;

/// Changes come in bursts (an interface, its addresses, its flags): wait this long for the rest of one.
const SETTLE: Duration = Duration::from_millis(5);

/// What comes first must not wait for the end of a long burst: this is the most that it waits.
const BURST: Duration = Duration::from_millis(25);

/// How long to wait before the kernel is asked again who has stopped telling.
const AGAIN: Duration = Duration::from_secs(1);

/// The kernel lists thousands of interfaces in less; an answer that was lost does not come any more.
const LISTED_WITHIN: Duration = Duration::from_secs(10);

/// Follows the host's interfaces and addresses over rtnetlink.
///
/// Where the kernel drops notifications for want of room, that is a change like any other: everything is read anew.
pub struct Links {
    handle: Handle,
    changes: Box<dyn Stream<Item = ()> + Send + Sync + Unpin>,
    /// Whether the connection is gone, or may owe us an answer.
    broken: bool,
}

/// Why the interfaces cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LinksError {
    /// No socket.
    #[error("cannot open an rtnetlink socket: {0}")]
    Open(#[from] std::io::Error),
    /// The kernel refused.
    #[error("cannot list the host's interfaces and addresses: {0}")]
    List(#[from] rtnetlink::Error),
    /// The kernel did not answer.
    #[error("the kernel did not list the host's interfaces and addresses within {LISTED_WITHIN:?}")]
    Timeout(#[from] tokio::time::error::Elapsed),
}

impl Links {
    /// Subscribes to changes, so that none after this call is missed. Must be called inside a tokio runtime.
    pub fn open() -> Result<Self, LinksError> {
        let groups = [
            MulticastGroup::Link,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
        ];
        let (connection, handle, messages) = new_multicast_connection(&groups)?;
        tokio::spawn(connection);
        Ok(Links {
            handle,
            changes: Box::new(messages.map(|_| ())),
            broken: false,
        })
    }

    /// Every interface and its addresses as they are now. After an error, the next call begins with a connection of its
    /// own.
    pub async fn read(&mut self) -> Result<Interfaces, LinksError> {
        if self.broken {
            *self = Links::open()?;
        }
        self.broken = true;
        let interfaces = tokio::time::timeout(LISTED_WITHIN, self.list()).await??;
        self.broken = false;
        Ok(interfaces)
    }

    async fn list(&self) -> Result<Interfaces, LinksError> {
        let mut names = BTreeMap::new();
        let mut links = self.handle.link().get().execute();
        while let Some(link) = links.try_next().await? {
            let name = link.attributes.into_iter().find_map(|attribute| match attribute {
                LinkAttribute::IfName(name) => Some(name),
                _ => None,
            });
            names.extend(name.map(|name| (link.header.index, name)));
        }
        let mut interfaces: Interfaces = names.values().map(|name| (name.clone(), Vec::new())).collect();
        let mut addresses = self.handle.address().get().execute();
        while let Some(message) = addresses.try_next().await? {
            let Some(name) = names.get(&message.header.index) else {
                continue;
            };
            // On a point-to-point link `Address` is the far end's; `Local`, where it is there, is always ours.
            let find = |local: bool| {
                message.attributes.iter().find_map(|attribute| match attribute {
                    AddressAttribute::Local(address) if local => Some(*address),
                    AddressAttribute::Address(address) if !local => Some(*address),
                    _ => None,
                })
            };
            let address: Option<IpAddr> = find(true).or_else(|| find(false));
            if let Some(list) = interfaces.get_mut(name) {
                list.extend(address);
            }
        }
        for list in interfaces.values_mut() {
            list.sort_unstable();
        }
        Ok(interfaces)
    }

    /// Waits until something may have changed, and the burst it came in is over or has lasted a while.
    pub async fn changed(&mut self) {
        if self.changes.next().await.is_none() {
            // Nobody tells us any more: read with another connection, though not in a hurry.
            self.broken = true;
            tokio::time::sleep(AGAIN).await;
            return;
        }
        let settled =
            async { while let Ok(Some(())) = tokio::time::timeout(SETTLE, self.changes.next()).await {} };
        // Settled or not: what is still to come is another change.
        let _ = tokio::time::timeout(BURST, settled).await;
    }
}
