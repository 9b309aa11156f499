//! What changes, as a person reads it.

use palisade_rules::analysis::{Difference, Side, diff};
use palisade_rules::world::WorldKind;
use serde_json::json;

use super::*;

fn enforced(worlds: &Worlds) -> Side<'_> {
    Side {
        worlds,
        world: WorldKind::Enforced,
    }
}

fn pending(worlds: &Worlds) -> Side<'_> {
    Side {
        worlds,
        world: WorldKind::Pending,
    }
}

/// `from -> to: + added, - removed`, with `bare` before what is without the safety net.
fn lines(difference: &Difference) -> Vec<String> {
    let line = |change: &palisade_rules::analysis::Change| {
        let bare = if change.without_safety_net { "bare " } else { "" };
        let sets = [("+", &change.text.added), ("-", &change.text.removed)];
        let sets: Vec<String> = sets
            .into_iter()
            .filter_map(|(sign, text)| Some(format!("{sign} {}", text.as_ref()?)))
            .collect();
        format!(
            "{bare}{} -> {}: {}",
            change.from.join(" "),
            change.to.join(" "),
            sets.join(", ")
        )
    };
    difference.changes.iter().map(line).collect()
}

#[test]
fn promotion_of_the_example_changes_nothing_until_the_net_is_gone() {
    let worlds = worlds(&[NET, DATABASE, LOCKDOWN, HOSTS]);
    let difference = diff(enforced(&worlds), pending(&worlds));
    assert_eq!(
        lines(&difference),
        [
            "bare database-eth0 frontend-eth0 0.0.0.0/0 ::/0 -> backend-eth0: \
          - everything but tcp 22, udp 68,546"
        ]
    );
    assert_eq!(
        difference.markdown("enforced", "pending"),
        "### Connectivity: enforced \u{2192} pending\n\n\
         **While the safety net stands:** no connection changes.\n\n\
         **Once the safety net is removed:** connections of 4 pairs lost.\n\n\
         | | from | to | connections | for example |\n|---|---|---|---|---|\n\
         | \u{2796} denied | `database-eth0`, `frontend-eth0`, `0.0.0.0/0`, `::/0` | `backend-eth0` \
         | everything but tcp 22, udp 68,546 | `database-eth0 to backend-eth0, tcp 443`: \
         allow by profile projectcalico-default-allow \u{2192} deny by backend-lockdown-staged (end of tier default) |\n"
    );
}

#[test]
fn without_a_net_there_is_one_list() {
    let worlds = worlds(&[DATABASE, LOCKDOWN, HOSTS]);
    let difference = diff(enforced(&worlds), pending(&worlds));
    assert!(!difference.has_safety_net);
    let markdown = difference.markdown("enforced", "pending");
    assert!(
        markdown.contains("\nconnections of 4 pairs lost.\n"),
        "{markdown}"
    );
    assert!(!markdown.contains("safety net"), "{markdown}");
    assert!(diff(enforced(&worlds), enforced(&worlds)).is_empty());
}

#[test]
fn two_directories_are_compared_by_name_and_what_is_added_is_shown_too() {
    let hosts = [host("a", "10.0.0.1"), host("b", "10.0.0.2")].concat();
    let rule = |port: u16| format!("{{action: Allow, protocol: TCP, destination: {{ports: [{port}]}}}}");
    let to_b = |port| policy("p", &format!("selector: role == 'b', ingress: [{}]", rule(port)));
    let old = worlds(&[&hosts, &to_b(80)]);
    let new = worlds(&[&hosts, &to_b(443)]);
    let difference = diff(enforced(&old), enforced(&new));
    assert_eq!(lines(&difference), ["a 0.0.0.0/0 -> b: + tcp 443, - tcp 80"]);
    let [added, removed] = difference.changes[0].witnesses.as_slice() else {
        panic!("{difference:?}")
    };
    assert_eq!((added.text.as_str(), added.is_added), ("a to b, tcp 443", true));
    assert_eq!(
        (removed.text.as_str(), removed.is_added),
        ("a to b, tcp 80", false)
    );
    assert_eq!(
        serde_json::to_value(&difference.changes[0]).unwrap()["witnesses"][0],
        json!({
            "from": "a", "to": "b", "protocol": 6, "port": 443,
            "source_port": null, "icmp_type": null, "icmp_code": null,
            "text": "a to b, tcp 443",
            "verdicts": {"old": "deny by p (end of tier default)", "new": "allow by p (ingress rule 0)"},
            "is_added": true,
        })
    );
    // Renumbered, an endpoint is still the same.
    let renumbered = worlds(&[&host("a", "10.0.0.1"), &host("b", "10.0.0.7"), &to_b(80)]);
    assert_eq!(lines(&diff(enforced(&old), enforced(&renumbered))), [""; 0]);
}

#[test]
fn an_endpoint_of_one_side_is_compared_with_its_bare_address() {
    let deny = policy("p", "selector: role == 'b', ingress: [{action: Deny}]");
    let old = worlds(&[&host("a", "10.0.0.1"), &deny]);
    let new = worlds(&[&host("a", "10.0.0.1"), &host("b", "10.0.0.2"), &deny]);
    let difference = diff(enforced(&old), enforced(&new));
    assert_eq!(
        lines(&difference),
        ["a 0.0.0.0/0 -> b: - everything but tcp 22, udp 68,546"]
    );
    assert_eq!(
        difference.changes[0].witnesses[0].text,
        "10.0.0.1 to 10.0.0.2, tcp 443"
    );
    // Renamed, it is compared with the one at its address.
    let renamed = worlds(&[
        &host("a", "10.0.0.1"),
        &host("b", "10.0.0.2").replace("name: b", "name: beta"),
        &deny,
    ]);
    assert_eq!(lines(&diff(enforced(&new), enforced(&renamed))), [""; 0]);
}

#[test]
fn who_cannot_be_compared_is_noted() {
    let twins = [host("b", "10.0.0.2"), host("c", "10.0.0.2")].concat();
    let old = worlds(&[&host("a", "10.0.0.1"), &twins]);
    let new = worlds(&[&host("a", "10.0.0.1"), &host("d", "10.0.0.2")]);
    let notes = diff(enforced(&old), enforced(&new)).notes;
    assert_eq!(
        notes,
        ["d is not on the old side, where its address 10.0.0.2 belongs to b and c: not compared"]
    );
}
