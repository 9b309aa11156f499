//! Findings in the files they are about.

use palisade_rules::analysis::lint::{Options, diagnostics, lint};
use palisade_rules::decode::decode;
use palisade_rules::world::{Host, resolve};

use crate::network::files;

const HOSTS: &str = "
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: web, labels: {role: web}}
spec: {node: one, interfaceName: eth0, expectedIPs: [10.0.0.1]}
";

const POLICIES: &str = "
apiVersion: v1
kind: List
items:
- apiVersion: projectcalico.org/v3
  kind: GlobalNetworkPolicy
  metadata:
    name: office # Büro
  spec:
    selector: role == 'web'
    ingress:
    - action: Deny
      protocol: TCP
    - action: Allow
      protocol: TCP
      source:
        selector: role == 'wbe'
    - action: Allow
      protocol: TCP
      destination:
        ports: [80]
";

#[test]
fn with_an_excerpt_and_a_way() {
    let (files, ids) = files(&[HOSTS, POLICIES].map(str::to_owned));
    let (snapshot, problems) = decode(&files, &ids);
    assert!(problems.is_empty(), "{}", problems.render(&files, false));
    let snapshot = snapshot.unwrap();
    let findings = lint(
        &snapshot,
        &resolve(&snapshot, Host::default()),
        &Options::default(),
    );
    let shown = diagnostics(&findings, &files, &ids);
    let lines: Vec<String> = shown.iter().map(|problem| problem.one_line(&files)).collect();
    assert_eq!(
        lines,
        [
            "1.yaml:17:9: warning[peer-selects-nothing]: `role == \"wbe\"` selects nothing: ingress rule 1 of `office` never \
             matches",
            "1.yaml:18:7: warning[shadowed-rule]: ingress rule 2 of `office` is never reached: ingress rule 0 of `office` matches \
             all that it matches, with Deny and not Allow",
        ]
    );
    let paths: Vec<_> = shown
        .iter()
        .map(|problem| problem.path.clone().unwrap())
        .collect();
    assert_eq!(paths, ["spec.ingress[1].source", "spec.ingress[2]"]);
    let shadowed = shown.iter().last().unwrap();
    assert_eq!(
        shadowed.render(&files, false),
        "\
warning[shadowed-rule]: ingress rule 2 of `office` is never reached: ingress rule 0 of `office` matches all that it matches, \
with Deny and not Allow
  --> 1.yaml:18:7
   |
12 |     - action: Deny
   |       ------------ takes packets first: Deny
...
18 |     - action: Allow
   |       ^^^^^^^^^^^^^ never reached
   |
   = help: move it before what covers it, or remove it: as it stands it has no effect there
   = note: in GlobalNetworkPolicy `office`, at `spec.ingress[2]`"
    );
    let records: Vec<_> = findings
        .iter()
        .map(|finding| (finding.record().line, finding.record().name))
        .collect();
    let office = || Some("office".to_owned());
    assert_eq!(records, [(Some(14), office()), (Some(18), office())]);
}
