//! What a rule says, in one canonical line.

use std::fmt::{self, Write as _};

use ipnet::IpNet;

use crate::net::Family;
use crate::resource::{Entity, Rule};

/// The only family a rule is about, if it says one: by number, or by a protocol's name.
pub(super) fn family(rule: &Rule) -> Option<Family> {
    rule.ip_version
        .or_else(|| rule.protocol.and_then(|protocol| protocol.family))
}

/// A rule in one canonical line, by which it is known across edits elsewhere in its policy.
pub(super) fn rule_text(rule: &Rule) -> String {
    let mut text = rule.action.as_str().to_lowercase();
    if let Some(family) = family(rule) {
        add(&mut text, format_args!("{family}"));
    }
    if let Some(protocol) = rule.protocol {
        add(&mut text, format_args!("{}", protocol.protocol));
    }
    if let Some(protocol) = rule.not_protocol {
        add(&mut text, format_args!("not {}", protocol.protocol));
    }
    if let Some(icmp) = rule.icmp {
        add(&mut text, format_args!("type {icmp}"));
    }
    if let Some(icmp) = rule.not_icmp {
        add(&mut text, format_args!("not icmp type {icmp}"));
    }
    for (side, entity) in [("from", &rule.source), ("to", &rule.destination)] {
        if *entity != Entity::default() {
            add(&mut text, format_args!("{side}"));
            add_entity(&mut text, entity);
        }
    }
    text
}

fn add_entity(text: &mut String, entity: &Entity) {
    add_nets(text, "nets", entity.nets.as_deref());
    add_nets(text, "not nets", entity.not_nets.as_deref());
    if let Some(selector) = &entity.selector {
        add(text, format_args!("selector {selector}"));
    }
    if let Some(selector) = &entity.not_selector {
        add(text, format_args!("not selector {selector}"));
    }
    if let Some(ports) = &entity.ports {
        add(text, format_args!("ports {ports}"));
    }
    if let Some(ports) = &entity.not_ports {
        add(text, format_args!("not ports {ports}"));
    }
}

fn add_nets(text: &mut String, word: &str, nets: Option<&[IpNet]>) {
    for (index, net) in nets.into_iter().flatten().enumerate() {
        if index == 0 {
            add(text, format_args!("{word} {net}"));
        } else {
            text.push(',');
            text.push_str(&net.to_string());
        }
    }
}

fn add(text: &mut String, words: fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = write!(text, " {words}");
}
