//! Endpoints that no policy can tell apart are worked out together.

use palisade_rules::analysis::{Cell, Matrix};

use super::*;

fn many(count: usize) -> String {
    (0..count)
        .map(|index| {
            object(
                "HostEndpoint",
                &format!("name: h{index:03}, labels: {{app: x{}}}", index % 5),
                &format!(
                    "node: n{index}, interfaceName: eth0, expectedIPs: [10.1.0.{}]",
                    index + 1
                ),
            )
        })
        .collect()
}

#[test]
fn groups_are_as_many_as_policies_tell_apart() {
    let rules = "ingress: [{action: Allow, source: {selector: app == 'x1'}}]";
    for (policies, groups) in [
        (String::new(), 1),
        (policy("p", &format!("selector: app == 'x0', {rules}")), 3),
        // A set that only rules of nobody ask for tells nobody apart.
        (policy("p", &format!("selector: app == 'nobody', {rules}")), 1),
        (
            policy("p", "ingress: [{action: Allow, source: {nets: [10.1.0.7/32]}}]"),
            2,
        ),
    ] {
        let worlds = worlds(&[&many(100), &policies]);
        let matrix = Matrix::new(&worlds);
        let of_endpoints = (0..100).map(|node| matrix.nodes()[node].group);
        let found: std::collections::BTreeSet<usize> = of_endpoints.collect();
        assert_eq!(found.len(), groups, "{policies}");
    }
}

#[test]
fn rows_of_nodes_and_groups_are_the_cells() {
    let worlds = worlds(&[
        &many(20),
        &policy(
            "p",
            "selector: \"app in {'x0', 'x1'}\", ingress: [{action: Allow, source: {selector: app == 'x1'}}]",
        ),
    ]);
    let mut matrix = Matrix::new(&worlds);
    let nodes = matrix.nodes().to_vec();
    for (from, from_node) in nodes.iter().enumerate() {
        let by_group = matrix.group_cells(from_node.group);
        for (to, cell) in matrix.row(from).into_iter().enumerate() {
            assert_eq!(matrix.cell(from, to), cell);
            if from != to {
                assert_eq!(by_group[nodes[to].group], cell, "{from} {to}");
            } else if to < 20 {
                assert_ne!(cell, Cell::NOTHING, "a host reaches itself");
            }
        }
        assert!(matrix.members(from_node.group).contains(&from));
    }
}
