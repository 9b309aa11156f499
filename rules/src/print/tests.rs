mod generate;

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value as Json;

use self::generate::{calico_policy, kubernetes_policy, object, others, pairs};
use super::*;
use crate::decode::decode;
use crate::resource::{Policy, Rule};
use crate::source::{Files, Position};

/// What the generated resources name.
const NAMED: &str = r#"
apiVersion: projectcalico.org/v3
kind: Tier
metadata: {name: app}
spec: {order: 5.5, defaultAction: Pass}
---
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: named}
spec:
  node: n
  interfaceName: "*"
  ports: [{name: http, protocol: TCP, port: 80}, {name: dns, protocol: UDP, port: 53}, {name: x1, protocol: SCTP, port: 1}]
---
apiVersion: projectcalico.org/v3
kind: Profile
metadata: {name: named}
---
apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata: {name: my--node-k8s-my--pod-eth0, namespace: shop}
spec: {node: my-node, orchestrator: k8s, pod: my-pod, endpoint: eth0, interfaceName: c1, ipNetworks: [10.0.0.1], serviceAccountName: sa}
"#;

fn read(text: &str) -> Snapshot {
    let mut files = Files::default();
    let file = files.add("t", text);
    let (snapshot, diagnostics) = decode(&files, &[file]);
    snapshot.unwrap_or_else(|| panic!("{text}\n{}", diagnostics.render(&files, false)))
}

/// The same without places.
fn placeless(mut snapshot: Snapshot) -> Snapshot {
    let nowhere = || Position {
        file: "".into(),
        line: 1,
        column: 1,
    };
    let rules = |rules: &mut Vec<Rule>| rules.iter_mut().for_each(|rule| rule.position = nowhere());
    for Policy {
        ingress,
        egress,
        position,
        ..
    } in snapshot.policies.iter_mut().map(Arc::make_mut)
    {
        rules(ingress);
        rules(egress);
        *position = nowhere();
    }
    // In which order the documents of policies are read does not matter to what they mean; the printer keeps it.
    for profile in snapshot.profiles.values_mut() {
        rules(&mut profile.ingress);
        rules(&mut profile.egress);
        profile.position = profile.position.as_ref().map(|_| nowhere());
    }
    for tier in snapshot.tiers.values_mut() {
        tier.position = tier.position.as_ref().map(|_| nowhere());
    }
    snapshot
        .network_sets
        .values_mut()
        .map(Arc::make_mut)
        .for_each(|it| it.position = nowhere());
    snapshot
        .host_endpoints
        .values_mut()
        .map(Arc::make_mut)
        .for_each(|it| it.position = nowhere());
    snapshot
        .workload_endpoints
        .values_mut()
        .map(Arc::make_mut)
        .for_each(|it| it.position = nowhere());
    snapshot
        .service_endpoints
        .values_mut()
        .for_each(|it| it.position = nowhere());
    snapshot
}

fn comes_back(text: &str) {
    let read_once = read(text);
    let printed = snapshot(&read_once);
    assert_eq!(
        placeless(read(&printed)),
        placeless(read_once),
        "{text}\n{printed}"
    );
}

#[test]
fn examples_come_back() {
    for text in [
        include_str!("../../../examples/00-safety-net.yaml"),
        include_str!("../../../examples/10-database.yaml"),
        include_str!("../../../examples/20-backend-lockdown.yaml"),
        include_str!("../../../examples/hosts.yaml"),
        NAMED,
    ] {
        comes_back(text);
    }
}

#[test]
fn a_policy_looks_as_a_person_writes_it() {
    let text = "\
apiVersion: projectcalico.org/v3
kind: StagedNetworkPolicy
metadata:
  name: default.web
  namespace: shop
  annotations:
    projectcalico.org/metadata: '{\"name\":\"default.web\"}'
spec:
  stagedAction: Set
  order: 10
  selector: (role == \"web\" && projectcalico.org/namespace == \"shop\")
  types:
  - Ingress
  ingress:
  - action: Allow
    metadata:
      annotations:
        palisade.dev/rule-name: http
        number: '5'
    protocol: TCP
    source:
      selector: pcns.env == \"prod\"
      namespaceSelector: env == \"prod\"
    destination:
      ports:
      - 443
      - 8000:8059
      - http
";
    let mut snapshot = read(&format!("{text}---{NAMED}"));
    assert_eq!(policy(&snapshot.policies.remove(0)), text);
}

#[test]
fn a_policy_of_kubernetes_looks_as_a_person_writes_it() {
    let text = "\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: web
  namespace: shop
spec:
  podSelector:
    matchLabels:
      role: web
    matchExpressions:
    - key: env
      operator: NotIn
      values:
      - dev
  policyTypes:
  - Ingress
  ingress:
  - from:
    - namespaceSelector: {}
      podSelector: {}
    - podSelector:
        matchLabels:
          role: proxy
    - ipBlock:
        cidr: 10.0.0.0/8
        except:
        - 10.1.0.0/16
    ports:
    - protocol: TCP
      port: 80
      endPort: 89
    - protocol: UDP
  - {}
";
    let mut snapshot = read(text);
    assert_eq!(policy(&snapshot.policies.remove(0)), text);
}

proptest! {
    #[test]
    fn whatever_is_read_comes_back(
        policies in vec(prop_oneof![2 => calico_policy(), 1 => kubernetes_policy()], 0..3),
        others in vec(others(), 0..3),
        labels in pairs(),
    ) {
        let mut objects: Vec<Json> = Vec::new();
        for (index, (kind, spec)) in policies.iter().chain(&others).enumerate() {
            let name = if index % 2 == 0 { format!("default.p{index}") } else { format!("p{index}") };
            let mut object = object(kind, &name, spec);
            if kind.ends_with("Endpoint") || kind.ends_with("Set") {
                object["metadata"]["labels"] = labels.clone();
            }
            objects.push(object);
        }
        comes_back(&format!("{}\n---{NAMED}", Json::Array(objects)));
    }
}
