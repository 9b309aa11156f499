//! Whose a table is, as far as its name and its chains tell.

use palisade_nft::SurveyedChain;

/// Who makes tables of this name.
const TABLES: [(&str, &str); 14] = [
    ("palisade", "palisade"),
    ("firewalld", "firewalld"),
    ("firewalld_policy_drop", "firewalld"),
    ("docker-bridges", "docker"),
    ("kube-proxy", "kube-proxy"),
    ("calico", "Calico"),
    ("libvirt_network", "libvirt"),
    ("netavark", "podman"),
    ("f2b-table", "fail2ban"),
    ("crowdsec", "CrowdSec"),
    ("crowdsec6", "CrowdSec"),
    ("sshguard", "sshguard"),
    ("lxd", "LXD"),
    ("incus", "Incus"),
];

/// Who makes chains whose names begin so, in tables that many share.
const CHAINS: [(&str, &str); 13] = [
    ("DOCKER", "docker"),
    ("KUBE-", "kube-proxy"),
    ("cali-", "Calico"),
    ("CILIUM_", "Cilium"),
    ("FLANNEL-", "flannel"),
    ("LIBVIRT_", "libvirt"),
    ("NETAVARK", "podman"),
    ("CNI-", "CNI plugins"),
    ("f2b-", "fail2ban"),
    ("ufw-", "ufw"),
    ("ufw6-", "ufw"),
    ("ts-", "Tailscale"),
    ("WEAVE", "Weave"),
];

/// The tables of iptables, which is what iptables-nft calls them too.
const IPTABLES: [&str; 5] = ["filter", "nat", "mangle", "raw", "security"];

/// Whose the table is that this chain stands in; `chains` are all there are. Several share those of iptables.
pub(super) fn of_table(chains: &[SurveyedChain], of: &SurveyedChain) -> String {
    let named = TABLES.iter().find(|(table, _)| *table == of.table);
    if let Some((_, owner)) = named {
        return (*owner).to_owned();
    }
    let mut owners: Vec<&str> = Vec::new();
    let same = chains
        .iter()
        .filter(|chain| chain.family == of.family && chain.table == of.table);
    for chain in same {
        if let Some(owner) = of_chain(&chain.name).filter(|owner| !owners.contains(owner)) {
            owners.push(owner);
        }
    }
    match owners.as_slice() {
        [] if IPTABLES.contains(&of.table.as_str()) => "iptables".to_owned(),
        [] => "unknown".to_owned(),
        owners => owners.join(", "),
    }
}

/// Who makes chains of this name.
pub(super) fn of_chain(name: &str) -> Option<&'static str> {
    let known = CHAINS.iter().find(|(prefix, _)| name.starts_with(prefix));
    known.map(|(_, owner)| *owner)
}
