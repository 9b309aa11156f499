//! What a host cannot do without: who resolves names for it, and who takes its packets further.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

/// Where the host's resolvers are written.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// `RTF_GATEWAY` of `linux/route.h`.
const RTF_GATEWAY: u32 = 2;

/// The DNS servers that the host's resolver asks; those on the host itself are left out.
pub(super) fn resolvers() -> BTreeSet<IpAddr> {
    let text = fs::read_to_string(RESOLV_CONF).unwrap_or_default();
    in_resolv_conf(&text)
}

/// The default gateways in the network namespace of the calling thread.
pub(super) fn gateways() -> BTreeSet<IpAddr> {
    let [v4, v6] = ["route", "ipv6_route"]
        .map(|file| fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap_or_default());
    gateways_v4(&v4).chain(gateways_v6(&v6)).collect()
}

/// The address that packets to `far` would have as their source; `None` without a route. Nothing is sent.
pub(super) fn source_for(far: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = match far {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((far, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

fn in_resolv_conf(text: &str) -> BTreeSet<IpAddr> {
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let server = words
            .next()
            .filter(|word| *word == "nameserver")
            .and(words.next())?;
        // A link-local server carries its interface: `fe80::1%eth0`.
        server.split('%').next()?.parse().ok()
    });
    servers.filter(|server: &IpAddr| !server.is_loopback()).collect()
}

/// Interface, destination, gateway, flags, three numbers, mask: in hexadecimal, addresses in the host's byte order.
fn gateways_v4(table: &str) -> impl Iterator<Item = IpAddr> {
    table.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, destination, gateway, flags, _, _, _, mask, ..] = fields.as_slice() else {
            return None;
        };
        let number = |text: &str| u32::from_str_radix(text, 16).ok();
        let is_default = number(destination)? == 0 && number(mask)? == 0;
        let leads_on = number(flags)? & RTF_GATEWAY != 0;
        (is_default && leads_on).then_some(())?;
        Some(Ipv4Addr::from(number(gateway)?.to_ne_bytes()).into())
    })
}

/// Destination, its length, source, its length, next hop, metric, two numbers, flags, interface: in hexadecimal.
fn gateways_v6(table: &str) -> impl Iterator<Item = IpAddr> {
    table.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, length, _, _, next_hop, _, _, _, flags, _] = fields.as_slice() else {
            return None;
        };
        let leads_on = u32::from_str_radix(flags, 16).ok()? & RTF_GATEWAY != 0;
        (*length == "00" && leads_on).then_some(())?;
        Some(Ipv6Addr::from(u128::from_str_radix(next_hop, 16).ok()?).into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_are_read_as_the_resolver_does() {
        let text = "# nameserver 192.0.2.9\nsearch example.org\nnameserver 192.0.2.53 \n nameserver fe80::1%eth0\nnameserver \
                    127.0.0.53\nnameserver\n";
        let expected: BTreeSet<IpAddr> = ["192.0.2.53".parse().unwrap(), "fe80::1".parse().unwrap()].into();
        assert_eq!(in_resolv_conf(text), expected);
    }

    #[test]
    fn only_default_routes_by_somebody_lead_to_gateways() {
        let v4 = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                  eth0\t00000000\tFE02A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
                  eth0\t0002A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n\
                  tun0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n";
        let gateway = Ipv4Addr::from(0xFE02_A8C0_u32.to_ne_bytes());
        assert_eq!(gateways_v4(v4).collect::<Vec<_>>(), [IpAddr::from(gateway)]);
        let v6 = "00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth0\n\
                  fe800000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0\n";
        assert_eq!(
            gateways_v6(v6).collect::<Vec<_>>(),
            ["fe80::1".parse::<IpAddr>().unwrap()]
        );
    }
}
