//! Tiers, sets, profiles and endpoints.

use super::common::{
    ANY_INTERFACE, CGROUP, INTERFACE, NODE, PORT_NAME, PROFILE_NAME, SERVICE_ACCOUNT_NAME, UNIT, optional,
    required,
};
use super::policy::RULES;
use super::{Field, List, Object, Presence, Shape};

/// The spec of a Tier.
pub static TIER_SPEC: Object = Object {
    what: "the spec of a Tier",
    presence: Presence::Free,
    fields: &[
        optional(
            "order",
            Shape::Number,
            "lower is earlier; not given: 1,000,000; ties by name",
        ),
        optional(
            "defaultAction",
            Shape::Choice(&["Deny", "Pass"]),
            "what happens to a packet that a policy of the tier governs and none decides: `Deny` (not given: this), or `Pass` to the next tier",
        ),
    ],
};

const NETS: Field = optional(
    "nets",
    Shape::List(List {
        of: &Shape::PrefixOrAddress,
        most: usize::MAX,
        filled: false,
        unique: true,
    }),
    "the addresses and prefixes; host bits are cleared",
);

/// The spec of a GlobalNetworkSet.
pub static GLOBAL_NETWORK_SET_SPEC: Object = Object {
    what: "the spec of a GlobalNetworkSet",
    presence: Presence::Free,
    fields: &[NETS],
};

/// The spec of a NetworkSet.
pub static NETWORK_SET_SPEC: Object = Object {
    what: "the spec of a NetworkSet",
    presence: Presence::Free,
    fields: &[NETS],
};

/// The spec of a Profile.
pub static PROFILE_SPEC: Object = Object {
    what: "the spec of a Profile",
    presence: Presence::Free,
    fields: &[
        optional(
            "labelsToApply",
            Shape::Labels,
            "labels that its endpoints inherit; their own win",
        ),
        optional(
            "ingress",
            RULES,
            "rules for packets towards the endpoint, after all tiers; `Pass` goes to the next profile",
        ),
        optional(
            "egress",
            RULES,
            "rules for packets from the endpoint, after all tiers; `Pass` goes to the next profile",
        ),
    ],
};

const PROFILES_SHAPE: Shape = Shape::List(List {
    of: &Shape::Pattern(&PROFILE_NAME),
    most: usize::MAX,
    filled: false,
    unique: true,
});

const PROFILES: Field = optional(
    "profiles",
    PROFILES_SHAPE,
    "the profiles, in order, that decide what no policy does; not given: none, and then it is denied",
);

/// The spec of a HostEndpoint.
pub static HOST_ENDPOINT_SPEC: Object = Object {
    what: "the spec of a HostEndpoint",
    presence: Presence::AnyOf(&["interfaceName", "expectedIPs"]),
    fields: &[
        required("node", Shape::Pattern(&NODE), "the host it is on"),
        optional(
            "interfaceName",
            Shape::Pattern(&ANY_INTERFACE),
            "its interface, or `*`: every interface that no other endpoint of the host names; not given: the one that has an expected address",
        ),
        optional(
            "expectedIPs",
            Shape::List(List {
                of: &Shape::Address,
                most: usize::MAX,
                filled: false,
                unique: true,
            }),
            "the addresses that selectors find it by; not given, on its own host: those of the interface, as they change",
        ),
        PROFILES,
        optional(
            "ports",
            Shape::List(List {
                of: &Shape::Object(&NAMED_PORT),
                most: usize::MAX,
                filled: false,
                unique: false,
            }),
            "ports with names that rules may use",
        ),
    ],
};

/// A named port of a HostEndpoint.
pub static NAMED_PORT: Object = Object {
    what: "a named port",
    presence: Presence::Free,
    fields: &[PORT_NAME_FIELD, PORT_PROTOCOL, PORT_NUMBER],
};

const PORT_NAME_FIELD: Field = required("name", Shape::Pattern(&PORT_NAME), "its name");

const PORT_PROTOCOL: Field = required(
    "protocol",
    Shape::Choice(&["TCP", "UDP", "SCTP"]),
    "its protocol; a name may stand once for each",
);

const PORT_NUMBER: Field = required("port", Shape::Integer(1, 65535), "its number");

/// The spec of a WorkloadEndpoint.
pub static WORKLOAD_ENDPOINT_SPEC: Object = Object {
    what: "the spec of a WorkloadEndpoint",
    presence: Presence::Free,
    fields: &[
        required("node", Shape::Pattern(&NODE), "the host it is on"),
        required(
            "interfaceName",
            Shape::Pattern(&INTERFACE),
            "the host's end of its interface",
        ),
        required(
            "ipNetworks",
            Shape::List(List {
                of: &Shape::HostPrefix,
                most: usize::MAX,
                filled: true,
                unique: true,
            }),
            "its addresses, each as a /32 or /128",
        ),
        required(
            "orchestrator",
            Shape::Text,
            "what made it: `k8s`, `cni`, `libnetwork`, or any word; part of its name, and its label `projectcalico.org/orchestrator`",
        ),
        optional(
            "workload",
            Shape::Text,
            "part of its name, where the orchestrator is not k8s, cni or libnetwork",
        ),
        optional(
            "pod",
            Shape::Text,
            "part of its name, where the orchestrator is k8s",
        ),
        optional(
            "containerID",
            Shape::Text,
            "part of its name, where the orchestrator is cni",
        ),
        required("endpoint", Shape::Text, "part of its name: `eth0`"),
        optional(
            "serviceAccountName",
            Shape::Pattern(&SERVICE_ACCOUNT_NAME),
            "the service account it runs as; its label `projectcalico.org/serviceaccount`",
        ),
        PROFILES,
        optional(
            "ports",
            Shape::List(List {
                of: &Shape::Object(&WORKLOAD_PORT),
                most: usize::MAX,
                filled: false,
                unique: false,
            }),
            "ports with names that rules may use",
        ),
        optional(
            "mac",
            Shape::Described,
            "the address of the interface; no meaning for policy",
        ),
        optional(
            "ipv4Gateway",
            Shape::Described,
            "the workload's router; no meaning for policy",
        ),
        optional(
            "ipv6Gateway",
            Shape::Described,
            "the workload's router; no meaning for policy",
        ),
        optional(
            "ipNATs",
            Shape::Refused(
                "palisade translates no addresses: write the workload's own in `ipNetworks`, and leave NAT to what does it",
            ),
            "addresses that stand for its own outside",
        ),
        optional(
            "allowSpoofedSourcePrefixes",
            Shape::Refused(
                "palisade does not check whether a workload's source addresses are its own, so there is nothing to allow: remove it",
            ),
            "prefixes it may send from besides its own addresses",
        ),
        optional(
            "qosControls",
            Shape::Refused("palisade limits no bandwidth, packets or connections: remove it"),
            "limits of bandwidth, packets and connections",
        ),
    ],
};

/// A named port of a WorkloadEndpoint.
pub static WORKLOAD_PORT: Object = Object {
    what: "a workload's named port",
    presence: Presence::Free,
    fields: &[
        PORT_NAME_FIELD,
        PORT_PROTOCOL,
        PORT_NUMBER,
        optional(
            "hostPort",
            Shape::Described,
            "a port of the host that leads here; no meaning for policy",
        ),
        optional(
            "hostIP",
            Shape::Described,
            "an address of the host that leads here; no meaning for policy",
        ),
    ],
};

/// The spec of a ServiceEndpoint.
pub static SERVICE_ENDPOINT_SPEC: Object = Object {
    what: "the spec of a ServiceEndpoint",
    presence: Presence::OneOf(&["unit", "cgroup"]),
    fields: &[
        required("node", Shape::Pattern(&NODE), "the host it is on"),
        optional(
            "unit",
            Shape::Pattern(&UNIT),
            "a systemd unit that has processes (`nginx.service`, `web.slice`), whichever slice it runs in",
        ),
        optional(
            "cgroup",
            Shape::Pattern(&CGROUP),
            "a path below the root of the cgroup v2 hierarchy (`system.slice/nginx.service`)",
        ),
        optional(
            "profiles",
            PROFILES_SHAPE,
            "the profiles, in order, that decide what no policy does; not given: `projectcalico-default-allow`",
        ),
    ],
};
