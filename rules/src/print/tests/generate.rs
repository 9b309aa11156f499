//! Resources as people might write them, as JSON.

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Map, Value as Json, json};

fn label_key() -> BoxedStrategy<String> {
    select(vec![
        "a",
        "b",
        "x.y/z-1",
        "in",
        "pcns.a",
        "pcns.b",
        "projectcalico.org/namespace",
    ])
    .prop_map(str::to_owned)
    .boxed()
}

fn label_value() -> BoxedStrategy<String> {
    select(vec![
        "", "a", "5", "true", "null", "1.10", "0x1f", "1_0", "on", "shop", "k8s",
    ])
    .prop_map(str::to_owned)
    .boxed()
}

pub(super) fn pairs() -> BoxedStrategy<Json> {
    let key = select(vec!["a", "b", "x.y/z-1", "in"]).prop_map(str::to_owned);
    btree_map(key, label_value(), 0..3)
        .prop_map(|pairs| json!(pairs))
        .boxed()
}

/// Selectors as people write them; canonical texts are tested where selectors are.
fn selector() -> BoxedStrategy<String> {
    let value = select(vec!["''", "\"a'b\"", "'5'", "'a\nb'", "'#'", "'shop'"]);
    let condition = prop_oneof![
        4 => (label_key(), select(vec!["==", "!=", "contains", "starts with"]), value)
            .prop_map(|(key, operator, value)| format!("{key} {operator} {value}")),
        2 => label_key().prop_map(|key| format!("has({key})")),
        1 => (label_key(), select(vec!["in", "not in"])).prop_map(|(key, operator)| format!("{key} {operator} {{'b', 'a'}}")),
        1 => Just("all()".to_owned()),
    ];
    condition
        .prop_recursive(3, 8, 3, |inner| {
            let parts = vec(inner.clone(), 1..4);
            prop_oneof![
                (parts, select(vec![" && ", " || "]))
                    .prop_map(|(parts, joint)| format!("({})", parts.join(joint))),
                inner.prop_map(|inner| format!("!{inner}")),
            ]
        })
        .boxed()
}

/// An object of those fields that have a value.
fn fields(fields: Vec<(&str, Option<Json>)>) -> Json {
    let fields = fields
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Json::Object(fields.collect::<Map<_, _>>())
}

fn maybe<T: Into<Json> + 'static>(value: impl Strategy<Value = T> + 'static) -> BoxedStrategy<Option<Json>> {
    option::of(value.prop_map(Into::into)).boxed()
}

/// A side of a rule of this protocol, with prefixes of one family.
fn entity(protocol: Option<&'static str>, family: &'static str) -> BoxedStrategy<Json> {
    let nets = match family {
        "4" => vec!["10.0.0.0/8", "0.0.0.0/1", "192.0.2.1/32"],
        _ => vec!["fd00::/8", "::/1", "2001:db8::1/128"],
    };
    let ports = match protocol {
        Some("TCP") => vec![json!(80), json!("443"), json!("1:65535"), json!("http")],
        Some("UDP") => vec![json!(53), json!("dns")],
        Some("SCTP") => vec![json!("x1"), json!(9)],
        Some(_) => vec![],
        None => vec![json!("http")],
    };
    let ports = || match ports.len() {
        0 => Just(None).boxed(),
        length => maybe(subsequence(ports.clone(), 1..=length)).boxed(),
    };
    let nets = || maybe(subsequence(nets.clone(), 1..=3));
    let namespaces = prop_oneof![3 => selector(), 1 => Just("global()".to_owned())];
    let accounts = prop_oneof![
        Just(json!({"names": ["b", "a"]})),
        selector().prop_map(|selector| json!({"selector": selector})),
    ];
    let parts = (
        nets(),
        nets(),
        maybe(selector()),
        maybe(selector()),
        maybe(namespaces),
        maybe(accounts),
        ports(),
        ports(),
    );
    parts
        .prop_map(
            |(nets, not_nets, selector, not_selector, namespaces, accounts, ports, not_ports)| {
                fields(vec![
                    ("nets", nets),
                    ("notNets", not_nets),
                    ("selector", selector),
                    ("notSelector", not_selector),
                    ("namespaceSelector", namespaces),
                    ("serviceAccounts", accounts),
                    ("ports", ports),
                    ("notPorts", not_ports),
                ])
            },
        )
        .boxed()
}

fn rule() -> BoxedStrategy<Json> {
    let protocol = option::of(select(vec![
        "TCP", "UDP", "SCTP", "ICMP", "ICMPv6", "1", "58", "6", "47", "UDPLite",
    ]));
    (protocol, select(vec!["4", "6"]))
        .prop_flat_map(|(protocol, family)| {
            // A protocol of ICMP by name belongs to one family.
            let family = match protocol {
                Some("ICMP" | "1") => "4",
                Some("ICMPv6" | "58") => "6",
                _ => family,
            };
            let is_icmp = matches!(protocol, Some("ICMP" | "ICMPv6" | "1" | "58"));
            let icmp = (0..255_u8, option::of(any::<u8>())).prop_map(|(icmp_type, code)| {
                fields(vec![
                    ("type", Some(icmp_type.into())),
                    ("code", code.map(Into::into)),
                ])
            });
            let icmp = maybe(icmp).prop_map(move |icmp| icmp.filter(|_| is_icmp));
            let version: i64 = if family == "4" { 4 } else { 6 };
            let annotations = btree_map(
                select(vec!["x", "Y.z/w"]).prop_map(str::to_owned),
                "[ -~]{0,8}|é\n",
                0..3,
            )
            .prop_map(|annotations| json!({"annotations": annotations}));
            (
                select(vec!["Allow", "Deny", "Pass", "Log"]),
                maybe(Just(version)),
                option::of(select(vec!["TCP", "47", "UDPLite"])),
                icmp,
                maybe(entity(protocol, family)),
                maybe(entity(protocol, family)),
                maybe(annotations),
            )
                .prop_map(
                    move |(action, version, not_protocol, icmp, source, destination, metadata)| {
                        fields(vec![
                            ("action", Some(action.into())),
                            ("ipVersion", version),
                            ("protocol", protocol.map(Into::into)),
                            ("notProtocol", not_protocol.map(Into::into)),
                            ("notICMP", icmp.clone()),
                            ("icmp", icmp),
                            ("source", source),
                            ("destination", destination),
                            ("metadata", metadata),
                        ])
                    },
                )
        })
        .boxed()
}

fn staged_action() -> BoxedStrategy<Option<Json>> {
    maybe(select(vec!["Set", "Learn", "Ignore"])).boxed()
}

pub(super) fn object(kind: &str, id: &str, spec: &Json) -> Json {
    let namespaced = !matches!(
        kind,
        "GlobalNetworkPolicy"
            | "StagedGlobalNetworkPolicy"
            | "GlobalNetworkSet"
            | "HostEndpoint"
            | "Profile"
            | "ServiceEndpoint"
    );
    let (version, kind) = match kind {
        "KubernetesNetworkPolicy" => ("networking.k8s.io/v1", "NetworkPolicy"),
        "ServiceEndpoint" => ("palisade.dev/v1", kind),
        _ => ("projectcalico.org/v3", kind),
    };
    let mut metadata = json!({"name": id});
    if namespaced {
        metadata["namespace"] = "shop".into();
    }
    json!({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec})
}

pub(super) fn calico_policy() -> BoxedStrategy<(&'static str, Json)> {
    let kinds = vec![
        "GlobalNetworkPolicy",
        "StagedGlobalNetworkPolicy",
        "NetworkPolicy",
        "StagedNetworkPolicy",
    ];
    let order = prop_oneof![
        (-5..5_i64).prop_map(Json::from),
        Just(json!(0.5)),
        Just(json!(1e20))
    ];
    let early = vec!["", "applyOnForward", "preDNAT", "doNotTrack"];
    let parts = (
        select(kinds),
        (
            maybe(select(vec!["app", "default"])),
            maybe(order),
            staged_action(),
        ),
        (maybe(selector()), maybe(selector()), maybe(selector())),
        select(early),
        maybe(subsequence(vec!["Ingress", "Egress"], 1..=2)),
        (maybe(vec(rule(), 0..3)), maybe(vec(rule(), 0..3))),
    );
    parts
        .prop_map(
            |(kind, (tier, order, action), selectors, early, types, (ingress, egress))| {
                let global = kind.contains("Global");
                let early = if global { early } else { "" };
                let flag = |name: &str| (early == name).then_some(json!(true));
                let only_ingress = early == "preDNAT";
                let types = if only_ingress { None } else { types };
                let spec = fields(vec![
                    ("tier", tier),
                    ("order", order),
                    ("stagedAction", action.filter(|_| kind.starts_with("Staged"))),
                    ("selector", selectors.0),
                    ("namespaceSelector", selectors.1.filter(|_| global)),
                    ("serviceAccountSelector", selectors.2),
                    ("applyOnForward", (!early.is_empty()).then_some(json!(true))),
                    ("preDNAT", flag("preDNAT")),
                    ("doNotTrack", flag("doNotTrack")),
                    ("types", types),
                    ("ingress", ingress),
                    ("egress", egress.filter(|_| !only_ingress)),
                ]);
                (kind, spec)
            },
        )
        .boxed()
}

fn label_selector() -> BoxedStrategy<Json> {
    let expression =
        (label_key(), select(vec!["In", "NotIn", "Exists", "DoesNotExist"])).prop_map(|(key, operator)| {
            let values = operator.ends_with("In").then_some(json!(["b", "5"]));
            fields(vec![
                ("key", Some(key.into())),
                ("operator", Some(operator.into())),
                ("values", values),
            ])
        });
    (
        maybe(btree_map(label_key(), label_value(), 0..3).prop_map(|it| json!(it))),
        maybe(vec(expression, 0..3)),
    )
        .prop_map(|(labels, expressions)| {
            fields(vec![("matchLabels", labels), ("matchExpressions", expressions)])
        })
        .boxed()
}

pub(super) fn kubernetes_policy() -> BoxedStrategy<(&'static str, Json)> {
    let peer = prop_oneof![
        (label_selector(), maybe(label_selector())).prop_map(|(pods, namespaces)| fields(vec![
            ("podSelector", Some(pods)),
            ("namespaceSelector", namespaces)
        ])),
        label_selector().prop_map(|namespaces| json!({"namespaceSelector": namespaces})),
        Just(json!({"ipBlock": {"cidr": "10.1.2.3/8", "except": ["10.2.0.0/16"]}})),
        Just(json!({"ipBlock": {"cidr": "::/0"}})),
    ];
    let port = select(vec![
        json!({}),
        json!({"port": 80}),
        json!({"port": 80, "endPort": 90}),
        json!({"port": "http", "protocol": "TCP"}),
        json!({"port": "dns", "protocol": "UDP"}),
        json!({"protocol": "SCTP"}),
        json!({"port": 5, "protocol": "SCTP"}),
    ]);
    let rule = (maybe(vec(peer, 0..3)), maybe(vec(port, 0..4))).boxed();
    let rules = |peers: &'static str| {
        let rule = rule
            .clone()
            .prop_map(move |(far, ports)| fields(vec![(peers, far), ("ports", ports)]));
        maybe(vec(rule, 0..3))
    };
    let parts = (
        select(vec!["KubernetesNetworkPolicy", "StagedKubernetesNetworkPolicy"]),
        maybe(label_selector()),
        maybe(subsequence(vec!["Ingress", "Egress"], 1..=2)),
        rules("from"),
        rules("to"),
        staged_action(),
    );
    parts
        .prop_map(|(kind, pods, types, ingress, egress, action)| {
            let spec = fields(vec![
                ("podSelector", pods),
                ("policyTypes", types),
                ("ingress", ingress),
                ("egress", egress),
                ("stagedAction", action.filter(|_| kind.starts_with("Staged"))),
            ]);
            (kind, spec)
        })
        .boxed()
}

pub(super) fn others() -> BoxedStrategy<(&'static str, Json)> {
    let profiles = || maybe(subsequence(vec!["named", "projectcalico-default-allow"], 0..=2));
    let nets = subsequence(
        vec![
            "10.0.0.0/8",
            "10.1.2.3/8",
            "192.0.2.1",
            "192.0.2.1/32",
            "fd00::1",
            "::/0",
        ],
        0..=6,
    );
    let ips = subsequence(vec!["192.0.2.1", "fd00::1"], 1..=2);
    let ports = maybe(Just(
        json!([{"name": "a-b", "protocol": "TCP", "port": 65535}, {"name": "a-b", "protocol": "UDP", "port": 1}]),
    ));
    prop_oneof![
        (select(vec!["GlobalNetworkSet", "NetworkSet"]), maybe(nets))
            .prop_map(|(kind, nets)| (kind, fields(vec![("nets", nets)]))),
        (maybe(pairs()), maybe(vec(rule(), 0..3)), maybe(vec(rule(), 0..3))).prop_map(
            |(labels, ingress, egress)| {
                (
                    "Profile",
                    fields(vec![
                        ("labelsToApply", labels),
                        ("ingress", ingress),
                        ("egress", egress),
                    ]),
                )
            }
        ),
        (
            maybe(select(vec!["eth0", "true", "br-1.2_x"])),
            ips,
            profiles(),
            ports
        )
            .prop_map(|(interface, ips, profiles, ports)| {
                let spec = vec![
                    ("node", Some(json!("Host_1.lan"))),
                    ("interfaceName", interface),
                    ("expectedIPs", Some(json!(ips))),
                    ("profiles", profiles),
                    ("ports", ports),
                ];
                ("HostEndpoint", fields(spec))
            }),
        (
            select(vec![
                ("unit", "web.service"),
                ("cgroup", "system.slice/a b@1.service")
            ]),
            profiles()
        )
            .prop_map(|((field, unit), profiles)| {
                let unit = unit.replace(' ', "-");
                (
                    "ServiceEndpoint",
                    fields(vec![
                        ("node", Some(json!("n"))),
                        (field, Some(json!(unit))),
                        ("profiles", profiles),
                    ]),
                )
            }),
    ]
    .boxed()
}
