//! Many questions at once are answered as each of them alone.

use palisade_cases::case;
use palisade_rules::analysis::{Query, Questions, explain};
use palisade_rules::evaluate::{
    Part, evaluate, evaluate_arriving, evaluate_beside_workload, evaluate_forwarded,
};
use palisade_rules::net::Direction;
use palisade_rules::world::{EndpointId, EndpointKind, WorldKind, resolve};
use proptest::prelude::*;

use crate::differential::{JOURNEYS, config};

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_index_changes_no_verdict_and_no_step(case in case(JOURNEYS)) {
        let worlds = resolve(&case.snapshot, case.host.clone());
        let mut questions = Questions::new(&worlds);
        for (journey, endpoint) in case.journeys.iter().flat_map(|journey| (0..worlds.endpoints.len()).map(move |index| (journey, EndpointId(index)))) {
            let packet = &journey.packet;
            for kind in WorldKind::BOTH {
                let world = worlds.world(kind);
                for direction in Direction::BOTH {
                    prop_assert_eq!(
                        questions.decide(kind, endpoint, direction, Part::Itself, packet),
                        evaluate(&worlds, world, endpoint, direction, packet)
                    );
                    if worlds.endpoint(endpoint).kind == EndpointKind::Host {
                        prop_assert_eq!(
                            questions.decide(kind, endpoint, direction, Part::Through, packet),
                            evaluate_forwarded(&worlds, world, endpoint, direction, packet)
                        );
                        prop_assert_eq!(
                            questions.decide(kind, endpoint, direction, Part::BesideWorkload, packet),
                            evaluate_beside_workload(&worlds, world, endpoint, direction, packet)
                        );
                    }
                }
                if worlds.endpoint(endpoint).kind == EndpointKind::Host {
                    prop_assert_eq!(
                        questions.decide(kind, endpoint, Direction::Ingress, Part::Arrival, packet),
                        evaluate_arriving(&worlds, world, endpoint, packet)
                    );
                }
            }
        }
    }

    #[test]
    fn a_line_says_what_explain_says(case in case(JOURNEYS)) {
        let worlds = resolve(&case.snapshot, case.host.clone());
        let mut questions = Questions::new(&worlds);
        let names: Vec<String> = worlds.endpoints.iter().map(|endpoint| format!("{}:{endpoint}", endpoint.kind)).collect();
        for (index, journey) in case.journeys.iter().enumerate() {
            let packet = &journey.packet;
            let name = |at: usize, address: std::net::IpAddr| {
                let by_name = index % 3 > at && !names.is_empty();
                if by_name { names[(index * (at + 1)) % names.len()].clone() } else { address.to_string() }
            };
            let query = Query {
                from: name(0, packet.source),
                to: name(1, packet.destination),
                protocol: packet.protocol,
                port: packet.protocol.has_ports().then_some(packet.destination_port),
                source_port: (index % 2 == 0).then_some(packet.source_port),
                icmp_type: Some(packet.icmp_type),
                icmp_code: Some(packet.icmp_code),
            };
            let line = serde_json::to_string(&query).unwrap();
            let mut said = Vec::new();
            let ok = questions.answer_line(line.as_bytes(), &mut said);
            let expected = match explain(&worlds, &query) {
                Ok(answer) => serde_json::to_string(&answer).unwrap(),
                Err(error) => serde_json::json!({"from": query.from, "to": query.to, "error": error.to_string()}).to_string(),
            };
            prop_assert_eq!(ok, explain(&worlds, &query).is_ok());
            prop_assert_eq!(String::from_utf8(said).unwrap(), expected + "\n");
        }
    }
}
