//! A stretch of ports that an expectation calls alike is alike: port by port, `explain` says the same.

use palisade_cases::case;
use palisade_rules::analysis::expectations::{Expectation, Party, Report, check};
use palisade_rules::analysis::{Query, explain};
use palisade_rules::evaluate::Verdict;
use palisade_rules::net::{PortRange, Protocol};
use palisade_rules::source::Position;
use palisade_rules::world::{WorldKind, Worlds, resolve};
use proptest::prelude::*;

use crate::differential::JOURNEYS;

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn ports_that_are_called_alike_are_decided_alike(case in case(JOURNEYS), ports in prop::collection::vec(1..=u16::MAX, 8)) {
        let worlds = resolve(&case.snapshot, case.host.clone());
        for journey in case.journeys.iter().take(4) {
            let (from, to) = (journey.packet.source.to_string(), journey.packet.destination.to_string());
            let protocol = journey.packet.protocol;
            if !protocol.has_ports() {
                continue;
            }
            let report = all_ports(&worlds, &from, &to, protocol);
            let telling = [79, 80, 81, 443, 444, 1023, 1024, 8000, 8100, 8101].into_iter().chain(ports.iter().copied());
            for port in telling {
                let said: Vec<_> = report.expectations[0]
                    .cases
                    .iter()
                    .filter(|case| case.ports.is_some_and(|ports| ports.contains(port)))
                    .map(|case| (case.verdict.clone(), case.step.clone()))
                    .collect();
                let query = Query {
                    from: from.clone(),
                    to: to.clone(),
                    protocol,
                    port: Some(port),
                    source_port: None,
                    icmp_type: None,
                    icmp_code: None,
                };
                let answer = explain(&worlds, &query).ok();
                let enforced = answer.map(|answer| answer.enforced);
                let verdict = enforced.as_ref().map(|answer| answer.verdict.clone());
                let step = enforced.and_then(|answer| answer.steps.last().cloned());
                prop_assert_eq!(said, [(verdict, step)], "{} to {} {} {}", from, to, protocol, port);
            }
        }
    }
}

fn all_ports(worlds: &Worlds, from: &str, to: &str, protocol: Protocol) -> Report {
    let expectation = Expectation {
        suite: None,
        name: "random".to_owned(),
        from: vec![Party::Named(from.to_owned())],
        to: vec![Party::Named(to.to_owned())],
        protocol,
        ports: vec![PortRange {
            first: 1,
            last: u16::MAX,
        }],
        source_port: None,
        icmp: None,
        expect: Verdict::Allow,
        worlds: vec![WorldKind::Enforced],
        without_safety_net: false,
        position: Position {
            file: "random".into(),
            line: 1,
            column: 1,
        },
    };
    check(worlds, &[expectation])
}
