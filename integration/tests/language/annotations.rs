//! `metadata.annotations` of a rule: a name for its counter, and notes for who reads the listing.

use palisade_integration::{Daemon, Setup, ThreeHosts, examples};

use crate::resources::policy;

#[test]
fn a_named_rule_keeps_its_counter_through_edits_and_shows_its_notes() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let rules = |port: u16| {
        policy(
            "case",
            &format!(
                "selector: app == 'backend', types: [Ingress], ingress: [{{action: Allow, protocol: TCP, \
                 destination: {{ports: [{port}]}}, metadata: {{annotations: {{palisade.dev/rule-name: letters, \
                 owner: mail-team, ticket: 'OPS-17'}}}}}}]"
            ),
        )
    };
    let setup = Setup::new("backend")
        .resource("hosts.yaml", examples::HOSTS)
        .resource("10-case.yaml", rules(8080));
    let backend = Daemon::start(hosts.host("backend"), &setup)?;
    for (port, packets_total) in [(8080, 2), (9090, 4)] {
        backend.apply("10-case.yaml", &rules(port))?;
        let matrix = hosts.between("frontend", "backend")?;
        for version in [4, 6] {
            for tried in [8080, 9090] {
                let question = ThreeHosts::question("frontend", "backend", &format!("tcp {tried}"), version);
                assert_eq!(matrix[&question].is_answered(), tried == port, "{question}");
            }
        }
        let counters = backend.counters()?;
        let counter = counters.rule("enforced", "ingress", "case", 0)?;
        assert_eq!(
            (counter.counter.as_str(), counter.packets_total),
            ("gnp/case/in/letters", packets_total),
            "after {port}"
        );
    }
    let listing = backend.listing()?;
    let line = listing
        .lines()
        .find(|line| line.contains("gnp/case/in/letters\" accept"));
    let line = line.unwrap_or_else(|| panic!("no such rule:\n{listing}"));
    assert!(
        line.contains("case ingress rule 0 (letters); owner=mail-team; ticket=OPS-17"),
        "{line}"
    );
    Ok(())
}
