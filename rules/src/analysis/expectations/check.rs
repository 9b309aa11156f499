//! Expectations against the worlds.

use std::collections::BTreeSet;

use super::ports::{boundaries, parts};
use super::report::{Case, Checked, Report};
use super::{Expectation, Party};
use crate::analysis::route::Party as Found;
use crate::analysis::{Answer, Query, QueryError, explain};
use crate::net::{Family, PortRange};
use crate::world::{EndpointId, EndpointKind, WorldKind, Worlds};

/// Checks every expectation.
///
/// An end that selects nothing is an error, and so is what `explain` cannot tell: an expectation that holds because
/// nobody is asked is worth nothing. An endpoint that is selected is not asked whether it reaches itself.
pub fn check(worlds: &Worlds, expectations: &[Expectation]) -> Report {
    let checker = Checker {
        worlds,
        boundaries: boundaries(worlds),
    };
    Report::new(
        expectations
            .iter()
            .map(|expectation| checker.check(expectation))
            .collect(),
    )
}

struct Checker<'w> {
    worlds: &'w Worlds,
    boundaries: BTreeSet<u16>,
}

/// One end, as `explain` is asked for it.
struct End {
    name: String,
    /// The endpoint that it is, if it is one.
    endpoint: Option<EndpointId>,
    /// Whether a selector selected it.
    selected: bool,
}

impl Checker<'_> {
    fn check(&self, expectation: &Expectation) -> Checked {
        let ends = self
            .ends(&expectation.from)
            .and_then(|from| Ok((from, self.ends(&expectation.to)?)));
        let (from, to) = match ends {
            Ok(ends) => ends,
            Err(error) => return Checked::new(expectation, Vec::new(), Some(error)),
        };
        let mut cases = Vec::new();
        for from in &from {
            for to in to.iter().filter(|to| !is_itself(from, to)) {
                cases.extend(self.pair(expectation, from, to));
            }
        }
        let nobody =
            "only one endpoint is selected, and it is not asked whether it reaches itself".to_owned();
        let error = cases.is_empty().then_some(nobody);
        Checked::new(expectation, cases, error)
    }

    /// The ends that are meant, or why there are none.
    fn ends(&self, parties: &[Party]) -> Result<Vec<End>, String> {
        let mut ends: Vec<End> = Vec::new();
        for party in parties {
            match party {
                Party::Named(name) => ends.push(End {
                    name: name.clone(),
                    endpoint: Found::find(self.worlds, name)
                        .ok()
                        .and_then(|found| found.endpoint),
                    selected: false,
                }),
                Party::Selected(selector) => {
                    let before = ends.len();
                    let endpoints = self.worlds.endpoints.iter().enumerate();
                    let selected = endpoints.filter(|(_, endpoint)| selector.matches(&endpoint.labels));
                    ends.extend(selected.map(|(index, endpoint)| End {
                        name: format!("{}:{endpoint}", endpoint.kind),
                        endpoint: Some(EndpointId(index)),
                        selected: true,
                    }));
                    if ends.len() == before {
                        return Err(format!("the selector {selector} selects no endpoint"));
                    }
                }
            }
        }
        Ok(ends)
    }

    /// What holds between two ends. Neighbouring ports about which the same step says the same are one case.
    fn pair(&self, expectation: &Expectation, from: &End, to: &End) -> Vec<Case> {
        let mut cases: Vec<Case> = Vec::new();
        for ports in self.ports(expectation) {
            for asked in self.ask(expectation, from, to, ports) {
                let mut known = cases.iter_mut().rev();
                match known.find(|case| case.continues(&asked)) {
                    Some(case) => case.extend(&asked),
                    None => cases.push(asked),
                }
            }
        }
        cases
    }

    /// Ports of which the first stands for all; `None` where the protocol has none.
    fn ports(&self, expectation: &Expectation) -> Vec<Option<PortRange>> {
        if !expectation.protocol.has_ports() {
            return vec![None];
        }
        let ranges = expectation.ports.iter();
        ranges
            .flat_map(|&range| parts(range, &self.boundaries))
            .map(Some)
            .collect()
    }

    /// What holds for one part of the ports, in each world. Where the addresses of an end are not decided alike, each of
    /// them is asked: if all are as expected, it does not matter by which step.
    fn ask(&self, expectation: &Expectation, from: &End, to: &End, ports: Option<PortRange>) -> Vec<Case> {
        let (depends, cases) = self.ask_by(expectation, [&from.name, &to.name], ports);
        if !depends {
            return cases;
        }
        let [sources, destinations] = [from, to].map(|end| self.addresses(end));
        let mut each = Vec::new();
        for source in &sources {
            for destination in destinations
                .iter()
                .filter(|other| Family::of(**other) == Family::of(*source))
            {
                let names = [source.to_string(), destination.to_string()];
                each.extend(self.ask_by(expectation, [&names[0], &names[1]], ports).1);
            }
        }
        if each.is_empty() { cases } else { each }
    }

    /// What `explain` says, and whether that depends on the addresses.
    fn ask_by(
        &self,
        expectation: &Expectation,
        ends: [&String; 2],
        ports: Option<PortRange>,
    ) -> (bool, Vec<Case>) {
        let [from, to] = ends;
        let query = Query {
            from: from.clone(),
            to: to.clone(),
            protocol: expectation.protocol,
            port: ports.map(|ports| ports.first),
            source_port: expectation.source_port,
            icmp_type: expectation.icmp.map(|(icmp_type, _)| icmp_type),
            icmp_code: expectation.icmp.map(|(_, code)| code),
        };
        let answer = explain(self.worlds, &query);
        let worlds = expectation.worlds.iter();
        let cases = worlds.map(|&world| case(expectation, &query, ports, world, &answer));
        (matches!(answer, Err(QueryError::Depends { .. })), cases.collect())
    }

    /// The addresses by which an end can be asked for instead; a service has none of its own.
    fn addresses(&self, end: &End) -> Vec<std::net::IpAddr> {
        let is_service = |id| self.worlds.endpoint(id).kind == EndpointKind::Service;
        match Found::find(self.worlds, &end.name) {
            Ok(found) if !found.endpoint.is_some_and(is_service) => found.addresses.into_vec(),
            _ => Vec::new(),
        }
    }
}

fn is_itself(from: &End, to: &End) -> bool {
    (from.selected || to.selected) && from.endpoint.is_some() && from.endpoint == to.endpoint
}

fn case(
    expectation: &Expectation,
    query: &Query,
    ports: Option<PortRange>,
    world: WorldKind,
    answer: &Result<Answer, QueryError>,
) -> Case {
    let mut case = Case {
        from: query.from.clone(),
        to: query.to.clone(),
        ports,
        world,
        verdict: None,
        ok: false,
        step: None,
        error: None,
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            case.error = Some(error.to_string());
            return case;
        }
    };
    let in_world = match world {
        WorldKind::Enforced => &answer.enforced,
        WorldKind::Pending => &answer.pending,
    };
    let bare = in_world
        .without_safety_net
        .as_ref()
        .filter(|_| expectation.without_safety_net);
    let (verdict, steps) = match bare {
        Some(bare) => (&bare.verdict, &bare.steps),
        None => (&in_world.verdict, &in_world.steps),
    };
    case.ok = *verdict == expectation.expect.as_str();
    case.verdict = Some(verdict.clone());
    case.step = steps.last().cloned();
    case
}
