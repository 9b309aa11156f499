//! Addresses and prefixes.

use std::net::IpAddr;

use ipnet::IpNet;

use super::fields::Context;
use crate::diagnostic::quoted;
use crate::yaml::Node;

/// A prefix as a rule has it: with a length, and without host bits.
pub(super) fn prefix(context: &mut Context<'_>, node: &Node) -> Option<IpNet> {
    let text = context.text(node, "a prefix such as 10.0.0.0/8")?;
    if let Ok(address) = text.parse::<IpAddr>() {
        context.invalid(
            "invalid-net",
            node,
            format!("{} is an address, and a rule needs a prefix", quoted(text)),
            format!("write `{}`", IpNet::from(address)),
        );
        return None;
    }
    let net = parse(context, node, text)?;
    if net != net.trunc() {
        context.invalid(
            "invalid-net",
            node,
            format!("{} has host bits set", quoted(text)),
            format!(
                "write `{}` for the whole prefix, or `{}` for the one address",
                net.trunc(),
                IpNet::from(net.addr())
            ),
        );
        return None;
    }
    Some(net)
}

/// A prefix or an address as a set has it; host bits are cleared.
pub(super) fn prefix_or_address(context: &mut Context<'_>, node: &Node) -> Option<IpNet> {
    let text = context.text(node, "an address or a prefix such as 10.0.0.0/8")?;
    if text.parse::<IpAddr>().is_ok() {
        return address(context, node).map(IpNet::from);
    }
    parse(context, node, text).map(|net| net.trunc())
}

/// An address, or a prefix that holds only one.
pub(super) fn host_prefix(context: &mut Context<'_>, node: &Node) -> Option<IpAddr> {
    let text = context.text(node, "an address such as 10.0.0.1/32 or fd00::1/128")?;
    if text.parse::<IpAddr>().is_ok() {
        return address(context, node);
    }
    let net = parse(context, node, text)?;
    if net.prefix_len() != net.max_prefix_len() {
        context.invalid(
            "invalid-net",
            node,
            format!("{} is more than one address", quoted(text)),
            format!(
                "write `{}`: an endpoint has single addresses",
                IpNet::from(net.addr())
            ),
        );
        return None;
    }
    Some(net.addr())
}

/// A single address.
pub(super) fn address(context: &mut Context<'_>, node: &Node) -> Option<IpAddr> {
    let text = context.text(node, "an address such as 10.0.0.1 or fd00::1")?;
    let Ok(address) = text.parse::<IpAddr>() else {
        let help = match text.parse::<IpNet>() {
            Ok(net) => format!("an address has no prefix length: write `{}`", net.addr()),
            Err(_) => "write an IPv4 or IPv6 address such as 10.0.0.1 or fd00::1".to_owned(),
        };
        context.invalid(
            "invalid-address",
            node,
            format!("{} is not an IP address", quoted(text)),
            help,
        );
        return None;
    };
    not_mapped(context, node, address).then_some(address)
}

fn parse(context: &mut Context<'_>, node: &Node, text: &str) -> Option<IpNet> {
    let Ok(net) = text.parse::<IpNet>() else {
        let help = "write an IPv4 or IPv6 prefix such as 10.0.0.0/8 or fd00::/8, without leading zeros";
        context.invalid(
            "invalid-net",
            node,
            format!("{} is not a prefix", quoted(text)),
            help,
        );
        return None;
    };
    not_mapped(context, node, net.addr()).then_some(net)
}

/// An IPv4 address in IPv6 form is in no packet, and a rule on it would never match.
fn not_mapped(context: &mut Context<'_>, node: &Node, address: IpAddr) -> bool {
    let mapped = match address {
        IpAddr::V6(address) => address.to_ipv4_mapped(),
        IpAddr::V4(_) => None,
    };
    if let Some(address) = mapped {
        context.invalid(
            "invalid-net",
            node,
            "an IPv4 address in IPv6 form is in no packet",
            format!("write the IPv4 address: `{address}`"),
        );
    }
    mapped.is_none()
}
