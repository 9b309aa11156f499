//! Order, ties and tiers decide in the kernel as they do in Calico. Needs root.

use std::fmt::Write;

use palisade_integration::{Counter, DENIED_PORTS, Daemon, Setup, ThreeHosts, denied, examples};

/// A policy on the backend's ingress: tier, name, order, rules as `Allow 8080`, `Deny`, `Pass`.
type Policy = (&'static str, &'static str, Option<f64>, &'static [&'static str]);

struct Case {
    /// What it shows.
    name: &'static str,
    /// Tiers besides `default`: name, order, whether the end of the tier passes.
    tiers: &'static [(&'static str, f64, bool)],
    policies: &'static [Policy],
    /// Which of TCP 8080 and 9090 the frontend reaches.
    reached: &'static [u16],
    /// Whether UDP and ICMP get through.
    rest: bool,
}

const CASES: &[Case] = &[
    Case {
        name: "a lower order comes first, whatever the names and files say",
        tiers: &[],
        policies: &[
            ("default", "a-allow", Some(20.0), &["Allow"]),
            ("default", "z-deny", Some(10.0), &["Deny 8080"]),
        ],
        reached: &[9090],
        rest: true,
    },
    Case {
        name: "orders are numbers, not text, and may be fractions",
        tiers: &[],
        policies: &[
            ("default", "allow", Some(10.5), &["Allow 8080"]),
            ("default", "deny", Some(9.75), &["Deny 9090"]),
            ("default", "rest", Some(100.0), &["Allow"]),
        ],
        reached: &[8080],
        rest: true,
    },
    Case {
        name: "of equal orders the name decides",
        tiers: &[],
        policies: &[
            ("default", "b-deny", Some(5.0), &["Deny"]),
            ("default", "a-allow", Some(5.0), &["Allow 8080"]),
        ],
        reached: &[8080],
        rest: false,
    },
    Case {
        name: "no order is after every order",
        tiers: &[],
        policies: &[
            ("default", "a-allow", None, &["Allow"]),
            ("default", "z-deny", Some(9e9), &["Deny 9090"]),
        ],
        reached: &[8080],
        rest: true,
    },
    Case {
        name: "the first rule that fits decides",
        tiers: &[],
        policies: &[(
            "default",
            "rules",
            Some(1.0),
            &["Deny 8080", "Allow", "Deny 9090"],
        )],
        reached: &[9090],
        rest: true,
    },
    Case {
        name: "the end of a tier that governs denies",
        tiers: &[("first", 1.0, false)],
        policies: &[
            ("first", "some", Some(1.0), &["Allow 8080"]),
            ("default", "all", Some(1.0), &["Allow"]),
        ],
        reached: &[8080],
        rest: false,
    },
    Case {
        name: "Pass skips the rest of its tier and goes on in the next",
        tiers: &[("first", 1.0, false)],
        policies: &[
            ("first", "pass", Some(1.0), &["Pass 8080"]),
            ("first", "deny", Some(2.0), &["Deny"]),
            ("default", "all", Some(1.0), &["Allow"]),
        ],
        reached: &[8080],
        rest: false,
    },
    Case {
        name: "a tier whose end passes lets the next one decide",
        tiers: &[("first", 1.0, true)],
        policies: &[
            ("first", "deny", Some(1.0), &["Deny 9090"]),
            ("default", "all", Some(1.0), &["Allow"]),
        ],
        reached: &[8080],
        rest: true,
    },
    Case {
        name: "tiers go by their order",
        tiers: &[("late", 200.0, false), ("soon", 100.0, false)],
        policies: &[
            ("late", "allow", Some(1.0), &["Allow"]),
            ("soon", "deny", Some(2.0), &["Deny 8080", "Pass"]),
        ],
        reached: &[9090],
        rest: true,
    },
    Case {
        name: "Pass in the last tier goes to the profile",
        tiers: &[],
        policies: &[("default", "pass", Some(1.0), &["Pass 8080"])],
        reached: &[8080],
        rest: false,
    },
    Case {
        name: "Log decides nothing",
        tiers: &[],
        policies: &[("default", "log", Some(1.0), &["Log", "Allow 9090"])],
        reached: &[9090],
        rest: false,
    },
    Case {
        name: "a tier without a policy for the endpoint is no tier for it",
        tiers: &[("empty", 1.0, false)],
        policies: &[],
        reached: &[8080, 9090],
        rest: true,
    },
];

#[test]
fn order_ties_and_tiers() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let setup = Setup::new("backend").resource("hosts.yaml", examples::HOSTS);
    let backend = Daemon::start(hosts.host("backend"), &setup)?;
    for case in CASES {
        backend.apply("10-case.yaml", &case.resources(""))?;
        let matrix = hosts.between("frontend", "backend")?;
        for (what, version) in questions() {
            let question = ThreeHosts::question("frontend", "backend", what, version);
            let outcome = &matrix[&question];
            assert_eq!(
                outcome.is_answered(),
                case.allows(what),
                "{}: {question}: {outcome}",
                case.name
            );
        }
    }
    Ok(())
}

/// The same cases staged: nothing changes, and the preview's own counters say what the kernel would have done.
#[test]
fn the_preview_follows_order_ties_and_tiers_too() -> anyhow::Result<()> {
    let hosts = ThreeHosts::new()?;
    let setup = Setup::new("backend").resource("hosts.yaml", examples::HOSTS);
    let backend = Daemon::start(hosts.host("backend"), &setup)?;
    for (number, case) in CASES
        .iter()
        .enumerate()
        .filter(|(_, case)| !case.policies.is_empty())
    {
        // Names of their own, so that no case goes on with another's counters.
        backend.apply(
            "10-case.yaml",
            &case
                .resources(&format!("-{number}"))
                .replace("kind: Global", "kind: StagedGlobal"),
        )?;
        let would_deny = || -> anyhow::Result<u64> {
            let counters = backend.counters()?;
            let denies =
                |row: &&Counter| row.world == "pending" && row.direction == "ingress" && row.action == "Deny";
            Ok(counters
                .rows()
                .iter()
                .filter(denies)
                .map(|row| row.packets_total)
                .sum())
        };
        let before = would_deny()?;
        let matrix = hosts.between("frontend", "backend")?;
        assert!(denied(&matrix).is_empty(), "{}: {matrix:#?}", case.name);
        let expected = questions().filter(|(what, _)| !case.allows(what)).count();
        assert_eq!(
            would_deny()? - before,
            expected as u64,
            "{}: {:#?}",
            case.name,
            backend.counters()?
        );
    }
    Ok(())
}

/// The questions that policy decides, over both IP versions.
fn questions() -> impl Iterator<Item = (&'static str, u8)> {
    DENIED_PORTS.into_iter().flat_map(|what| [(what, 4), (what, 6)])
}

impl Case {
    /// The resources, with `suffix` on the names of all that counts.
    fn resources(&self, suffix: &str) -> String {
        let mut yaml = String::new();
        let mut say = |line: std::fmt::Arguments<'_>| {
            yaml.write_fmt(line).expect("a string takes everything");
        };
        for (name, order, passes) in self.tiers {
            let default = if *passes { "Pass" } else { "Deny" };
            say(format_args!(
                "---\napiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {{name: {name}{suffix}}}\nspec: {{order: {order}, \
                 defaultAction: {default}}}\n"
            ));
        }
        for (tier, name, order, rules) in self.policies {
            let tier = if *tier == "default" {
                (*tier).to_owned()
            } else {
                format!("{tier}{suffix}")
            };
            // Calico's names begin with the tier's, but for the default tier.
            let prefix = if tier == "default" {
                String::new()
            } else {
                format!("{tier}.")
            };
            say(format_args!(
                "---\napiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {{name: {prefix}{name}{suffix}}}\n\
                 spec:\n  tier: {tier}\n  selector: app == 'backend'\n  types: [Ingress]\n"
            ));
            if let Some(order) = order {
                say(format_args!("  order: {order}\n"));
            }
            say(format_args!("  ingress:\n"));
            for rule in *rules {
                match rule.split_once(' ') {
                    None => say(format_args!("    - {{action: {rule}}}\n")),
                    Some((action, port)) => say(format_args!(
                        "    - {{action: {action}, protocol: TCP, destination: {{ports: [{port}]}}}}\n"
                    )),
                }
            }
        }
        yaml
    }

    /// Whether it lets a question through, failsafes aside.
    fn allows(&self, what: &str) -> bool {
        match what {
            "tcp 8080" => self.reached.contains(&8080),
            "tcp 9090" => self.reached.contains(&9090),
            _ => self.rest,
        }
    }
}
