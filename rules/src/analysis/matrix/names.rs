//! How endpoints and blocks are called.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::world::Worlds;

/// How many nets a block's name has at most; the others are in its list of nets.
const NETS_IN_NAME: usize = 4;

/// For each endpoint the shortest text by which `explain` finds it: `name` or `namespace/name`, and with the kind before it
/// where another has the same, or where it reads as an address.
pub(in crate::analysis) fn endpoint_names(worlds: &Worlds) -> Vec<String> {
    let mut bearers: BTreeMap<&str, usize> = BTreeMap::new();
    let shown: Vec<String> = worlds.endpoints.iter().map(ToString::to_string).collect();
    for (endpoint, shown) in worlds.endpoints.iter().zip(&shown) {
        *bearers.entry(shown).or_default() += 1;
        if *shown != endpoint.name {
            *bearers.entry(&endpoint.name).or_default() += 1;
        }
    }
    let name = |(index, shown): (usize, &String)| {
        if bearers[shown.as_str()] == 1 && shown.parse::<IpAddr>().is_err() {
            shown.clone()
        } else {
            format!("{}:{shown}", worlds.endpoints[index].kind)
        }
    };
    shown.iter().enumerate().map(name).collect()
}

/// The nets of a block, or the first few and how many more.
pub(in crate::analysis) fn block_name(nets: &[IpNet]) -> String {
    let shown = if nets.len() > NETS_IN_NAME {
        NETS_IN_NAME - 1
    } else {
        nets.len()
    };
    let mut name: Vec<String> = nets[..shown].iter().map(ToString::to_string).collect();
    if shown < nets.len() {
        name.push(format!("{} more", nets.len() - shown));
    }
    name.join(",")
}
