//! The table of the examples.

use palisade_rules::analysis::Matrix;
use serde_json::{Value, json};

use super::*;

const BACKEND: &str = "backend-eth0";
const DATABASE_HOST: &str = "database-eth0";
const FRONTEND: &str = "frontend-eth0";

/// Whether a listed set has a TCP port.
fn has(allowed: &Value, port: u64) -> bool {
    allowed.as_array().is_some_and(|allowed| {
        allowed.iter().any(|entry| {
            entry["protocol"] == "any"
                || (entry["protocol"] == "tcp"
                    && entry["ports"].as_array().unwrap().iter().any(|range| {
                        (range[0].as_u64().unwrap()..=range[1].as_u64().unwrap()).contains(&port)
                    }))
        })
    })
}

#[test]
fn the_table_of_the_readme() {
    let matrix = json(&worlds(&[NET, DATABASE, LOCKDOWN, HOSTS]));
    for (from, to, port, expected) in [
        (BACKEND, DATABASE_HOST, 8080, [true, true, true, true]),
        (FRONTEND, DATABASE_HOST, 8080, [true, true, false, false]),
        (FRONTEND, BACKEND, 9090, [true, true, true, false]),
        (BACKEND, FRONTEND, 9090, [true, true, true, true]),
        (FRONTEND, BACKEND, 22, [true; 4]),
        (FRONTEND, DATABASE_HOST, 22, [true; 4]),
        ("0.0.0.0/0", BACKEND, 9090, [true, true, true, false]),
        ("::/0", DATABASE_HOST, 8080, [true, true, false, false]),
        (BACKEND, "0.0.0.0/0", 9090, [true; 4]),
    ] {
        let columns = [
            ("enforced", false),
            ("pending", false),
            ("enforced", true),
            ("pending", true),
        ];
        let said = columns.map(|(world, bare)| has(&listed(&matrix, from, to, world, bare), port));
        assert_eq!(said, expected, "{from} to {to}:{port}");
    }
}

#[test]
fn the_shape_of_json() {
    let matrix = json(&worlds(&[NET, DATABASE, LOCKDOWN, HOSTS]));
    assert_eq!(matrix["endpoints"], json!([BACKEND, DATABASE_HOST, FRONTEND]));
    assert_eq!(
        matrix["blocks"],
        json!([{"name": "0.0.0.0/0", "nets": ["0.0.0.0/0"]}, {"name": "::/0", "nets": ["::/0"]}])
    );
    assert_eq!(
        matrix["protocols"],
        json!(["tcp", "udp", "sctp", "icmp", "icmpv6"])
    );
    assert_eq!(matrix["notes"], json!([]));
    let any = json!([{"protocol": "any"}]);
    assert_eq!(listed(&matrix, FRONTEND, BACKEND, "enforced", false), any);
    assert_eq!(
        listed(&matrix, BACKEND, DATABASE_HOST, "pending", true),
        json!([
            {"protocol": "tcp", "ports": [[22, 22], [8080, 8080]]},
            {"protocol": "udp", "ports": [[68, 68], [546, 546]]},
        ])
    );
    // A host reaches itself, and blocks have nobody between them.
    assert_eq!(listed(&matrix, BACKEND, BACKEND, "pending", true), any);
    assert_eq!(
        listed(&matrix, "0.0.0.0/0", "0.0.0.0/0", "enforced", false),
        Value::Null
    );
}

#[test]
fn without_a_safety_net_taking_it_away_changes_nothing() {
    let worlds = worlds(&[DATABASE, LOCKDOWN, HOSTS]);
    assert!(!Matrix::new(&worlds).has_safety_net());
    let matrix = json(&worlds);
    for world in ["enforced", "pending"] {
        for [from, to] in [[FRONTEND, BACKEND], [FRONTEND, DATABASE_HOST], ["::/0", BACKEND]] {
            let [with, without] = [false, true].map(|bare| listed(&matrix, from, to, world, bare));
            assert_eq!(with, without, "{world}: {from} to {to}");
        }
    }
    // All are listed that allow something, and no other.
    let mut connections = matrix["connections"].as_array().unwrap().iter();
    assert!(connections.all(|connection| connection["allowed"] != json!([])));
    assert!(!has(&listed(&matrix, FRONTEND, BACKEND, "pending", false), 9090));
}
