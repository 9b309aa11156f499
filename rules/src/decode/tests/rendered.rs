//! How problems look to a person.

use super::decode_text;
use crate::decode::decode;
use crate::source::Files;

fn rendered(text: &str) -> String {
    let (_, diagnostics, files) = decode_text(text);
    diagnostics.render(&files, false)
}

#[test]
fn all_at_once_in_order() {
    let text = "\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata:
  name: web
spec:
  teir: app
  selector: app == 'web' && !
  ingress:
    - action: Allow
      protocol: tcp
      source:
        nets: [10.0.0.1/8, \"fd00::/8\"]
      destination:
        ports: [8000-8059]
";
    assert_eq!(
        rendered(text),
        "\
error[unknown-field]: unknown field `teir` in the spec of a GlobalNetworkPolicy
 --> t:6:3
  |
6 |   teir: app
  |   ^^^^ not a field here
  |
  = help: did you mean `tier`? The fields here are applyOnForward, doNotTrack, egress, ingress, \
namespaceSelector, order, performanceHints, preDNAT, selector, serviceAccountSelector, tier, types
  = note: in GlobalNetworkPolicy `web`, at `spec.teir`

error[selector-syntax]: the selector is not valid: expected a condition after `!`, found the end of the selector
 --> t:7:30
  |
7 |   selector: app == 'web' && !
  |                              ^ here
  |
  = help: add a condition here, or remove the operator before it
  = note: in GlobalNetworkPolicy `web`, at `spec.selector`

error[invalid-value]: `tcp` is not a protocol
  --> t:10:17
   |
10 |       protocol: tcp
   |                 ^^^ not a protocol
   |
   = help: did you mean `TCP`? It is one of TCP, UDP, ICMP, ICMPv6, SCTP, UDPLite
   = note: in GlobalNetworkPolicy `web`, at `spec.ingress[0].protocol`

error[invalid-net]: `10.0.0.1/8` has host bits set
  --> t:12:16
   |
12 |         nets: [10.0.0.1/8, \"fd00::/8\"]
   |                ^^^^^^^^^^
   |
   = help: write `10.0.0.0/8` for the whole prefix, or `10.0.0.1/32` for the one address
   = note: in GlobalNetworkPolicy `web`, at `spec.ingress[0].source.nets[0]`

error[invalid-port]: `8000-8059` is not a port
  --> t:14:17
   |
14 |         ports: [8000-8059]
   |                 ^^^^^^^^^
   |
   = help: a range is written with a colon: 8000:8059
   = note: in GlobalNetworkPolicy `web`, at `spec.ingress[0].destination.ports[0]`
"
    );
}

#[test]
fn both_places_of_a_duplicate() {
    let mut files = Files::default();
    let object = "apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata:\n  name: app\n";
    let ids = [files.add("a.yaml", object), files.add("b.yaml", object)];
    let (_, diagnostics) = decode(&files, &ids);
    assert_eq!(
        diagnostics.render(&files, false),
        "\
error[duplicate-object]: Tier `app` is there twice
 --> b.yaml:4:9
  |
4 |   name: app
  |         ^^^ again here
  |
 ::: a.yaml:4:9
  |
4 |   name: app
  |         --- first written here
  |
  = help: remove one of the two, or give it another name
  = note: in Tier `app`, at `metadata.name`
"
    );
}
