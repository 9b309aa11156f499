mod peers;
mod scope;

use super::*;
use crate::decode::decode;
use crate::net::Protocol;
use crate::resource::Order;
use crate::source::Files;
use crate::testing::{NETWORK, endpoint, host, labelled, object, policy, snapshot, staged};
use crate::world::resolve;

/// The small network with these resources, as node `one` sees it.
struct Bench {
    snapshot: Snapshot,
    worlds: Worlds,
}

impl Bench {
    fn new(resources: &[String]) -> Self {
        let snapshot = snapshot(&[NETWORK, &resources.concat()]);
        let worlds = resolve(&snapshot, host("one"));
        Bench { snapshot, worlds }
    }

    /// `in tcp 10.0.0.2 80`, `out udp 192.0.2.1 53`, `in icmp 10.0.0.2 8/0`: seen at `web`.
    fn saw(&self, text: &str) -> Observed {
        self.saw_at("web", text)
    }

    fn saw_at(&self, name: &str, text: &str) -> Observed {
        let words: Vec<&str> = text.split(' ').collect();
        let far: std::net::IpAddr = words[2].parse().unwrap();
        let near = if far.is_ipv4() { "10.0.0.1" } else { "fd00::1" }
            .parse()
            .unwrap();
        let (direction, source, destination) = match words[0] {
            "in" => (Direction::Ingress, far, near),
            _ => (Direction::Egress, near, far),
        };
        let last = words.get(3).copied().unwrap_or("0");
        let (icmp_type, icmp_code) = last.split_once('/').unwrap_or(("0", "0"));
        Observed {
            endpoint: endpoint(&self.worlds, name),
            direction,
            part: Part::Itself,
            packet: Packet {
                source,
                destination,
                protocol: Protocol::parse(words[1]).unwrap(),
                source_port: 0,
                destination_port: last.parse().unwrap_or(0),
                icmp_type: icmp_type.parse().unwrap(),
                icmp_code: icmp_code.parse().unwrap(),
            },
            connections: 2,
            stands_for_others: false,
            first_seen: "08:00".to_owned(),
            last_seen: "09:00".to_owned(),
            owners: Vec::new(),
        }
    }

    fn learn_from(&self, question: &Question, seen: &[&str]) -> Result<Proposal, LearnError> {
        let observed: Vec<Observed> = seen.iter().map(|text| self.saw(text)).collect();
        learn(&self.snapshot, &self.worlds, question, &observed)
    }

    /// The rules that are learnt, in a few words each.
    fn rules(&self, question: &Question, seen: &[&str]) -> Vec<String> {
        let proposal = self.learn_from(question, seen).unwrap();
        proposal.rules.iter().map(words).collect()
    }

    fn refused(&self, question: &Question, seen: &[&str]) -> String {
        self.learn_from(question, seen).unwrap_err().to_string()
    }
}

fn question() -> Question {
    Question {
        name: "learnt".to_owned(),
        subject: Subject::Endpoint("web".to_owned()),
        directions: Directions::Observed,
        tier: None,
        order: None,
        forward: false,
        include_denied: false,
        exclude: Vec::new(),
        limits: Limits::default(),
        notes: Vec::new(),
    }
}

fn words(learnt: &Learnt) -> String {
    let Rule {
        protocol,
        icmp,
        ip_version,
        source,
        destination,
        ..
    } = &learnt.rule;
    let (to, far) = match learnt.direction {
        Direction::Ingress => ("from", source),
        Direction::Egress => ("to", destination),
    };
    let nets = far
        .nets
        .iter()
        .flatten()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(" ");
    let peer = far.selector.as_ref().map_or(nets, ToString::to_string);
    let family = ip_version
        .map(|family| format!(" over {family}"))
        .unwrap_or_default();
    let ports = destination
        .ports
        .as_ref()
        .map(|ports| format!(" {ports}"))
        .unwrap_or_default();
    let icmp = icmp.map(|icmp| format!(" {icmp}")).unwrap_or_default();
    format!("{}{ports}{icmp} {to} {peer}{family}", protocol.unwrap().protocol)
}

#[test]
fn the_policy_is_for_the_endpoint_alone() {
    let bench = Bench::new(&[]);
    let learnt = |question: &Question| {
        let proposal = bench.learn_from(question, &["in tcp 10.0.0.2 80"]).unwrap();
        (
            proposal.policy.selector.to_string(),
            proposal.policy.types.ingress,
            proposal.policy.types.egress,
        )
    };
    assert_eq!(learnt(&question()), ("role == \"web\"".to_owned(), true, false));
    let both = Question {
        directions: Directions::Both,
        subject: Subject::Selector(Selector::parse("env == 'prod'").unwrap()),
        ..question()
    };
    assert_eq!(learnt(&both), ("env == \"prod\"".to_owned(), true, true));
    let warnings = bench.learn_from(&both, &["in tcp 10.0.0.2 80"]).unwrap().warnings;
    assert!(
        warnings[0].contains("beyond failsafes and what is left out no egress was observed"),
        "{warnings:?}"
    );
    assert!(warnings[1].contains("of other hosts"), "{warnings:?}");
}

#[test]
fn labels_that_are_absent_tell_apart_too() {
    let spec = "node: one, interfaceName: eth7, expectedIPs: [10.0.7.1]";
    let bench = Bench::new(&[
        labelled("HostEndpoint", "plain", "role: web", spec),
        object("HostEndpoint", "bare-of-labels", "node: one, interfaceName: eth8"),
    ]);
    let picker = pick::Picker::of_endpoints(&bench.worlds);
    let subject = |name: &str| picker.subject(endpoint(&bench.worlds, name)).to_string();
    assert_eq!(subject("web"), "(role == \"web\" && env == \"prod\")");
    assert_eq!(subject("plain"), "(role == \"web\" && !has(env))");
    assert_eq!(subject("bare-of-labels"), "!has(role)");
}

#[test]
fn unclear_questions_are_refused_with_what_would_be_clear() {
    let bench = Bench::new(&[
        policy("enforced", "order: 1, selector: role == 'nobody'"),
        staged("parked", "stagedAction: Ignore"),
    ]);
    let seen = ["in tcp 10.0.0.2 80"];
    let ask = |change: &dyn Fn(&mut Question)| {
        let mut question = question();
        change(&mut question);
        bench.refused(&question, &seen)
    };
    let refused = ask(&|it| it.subject = Subject::Usual);
    assert_eq!(
        refused,
        "this host has several host endpoints (bare, web): say for which with --endpoint or --selector"
    );
    let refused = ask(&|it| it.subject = Subject::Endpoint("db".to_owned()));
    assert_eq!(
        refused,
        "\"db\" is no endpoint of this host (there are bare, web)"
    );
    let refused = ask(&|it| it.subject = Subject::Selector(Selector::parse("role == 'db'").unwrap()));
    assert!(refused.contains("selects no endpoint of this host"), "{refused}");
    let refused = ask(&|it| it.tier = Some("nowhere".to_owned()));
    assert_eq!(
        refused,
        "there is no tier \"nowhere\" (there are default, kube-admin, kube-baseline)"
    );
    let refused = ask(&|it| it.name = "enforced".to_owned());
    assert!(
        refused.contains("GlobalNetworkPolicy enforced exists already"),
        "{refused}"
    );
    let refused = ask(&|it| it.name = "parked".to_owned());
    assert!(refused.contains("stagedAction: Learn or Set"), "{refused}");
    let refused = ask(&|it| it.name = "Not A Name".to_owned());
    assert!(refused.contains("Not A Name"), "{refused}");
    let refused = ask(&|it| it.directions = Directions::Only(Direction::Egress));
    assert_eq!(
        refused,
        "nothing was observed at web that a policy could be learnt from: 1 flow (2 connections) of ingress, which the policy does \
         not govern"
    );
}

#[test]
fn the_text_says_what_it_stands_on() {
    let bench = Bench::new(&[]);
    let mut observed = vec![bench.saw("in tcp 10.0.0.2 80"), bench.saw("in tcp fd00::2 80")];
    observed[0].owners = vec![
        "nginx[812] (nginx.service)".to_owned(),
        "evil\nname: [x]".to_owned(),
    ];
    let proposal = learn(&bench.snapshot, &bench.worlds, &question(), &observed).unwrap();
    assert_eq!(
        proposal.text,
        r#"# learnt from 2 flows (4 connections) of web, seen between 08:00 and 09:00
# replayed 2 flows in the pending world, without the safety net: 0 denied
apiVersion: projectcalico.org/v3
kind: StagedGlobalNetworkPolicy
metadata:
  name: learnt
spec:
  stagedAction: Set
  order: 1000
  selector: role == "web"
  types:
  - Ingress
  ingress:
  # 4 connections between 08:00 and 09:00
  # from db (10.0.0.2, fd00::2)
  # taken by evil?name: [x], nginx[812] (nginx.service)
  # 2 addresses seen, the selector stands for 2 addresses
  - action: Allow
    metadata:
      annotations:
        palisade.dev/rule-name: from-db-tcp-80
    protocol: TCP
    source:
      selector: role == "db"
    destination:
      ports:
      - 80
"#
    );
    let mut files = Files::default();
    let id = files.add("learnt.yaml", proposal.text);
    let (read, _) = decode(&files, &[id]);
    assert_eq!(
        read.unwrap().policies[0].ingress[0].name.as_deref(),
        Some("from-db-tcp-80")
    );
}
