//! The NetworkPolicy of Kubernetes.

use super::common::{LABEL_KEY, LABEL_VALUE, optional, required};
use super::policy::STAGED_ACTION;
use super::{Field, List, Object, Presence, Shape};

const POD_SELECTOR: Field = optional(
    "podSelector",
    Shape::Object(&LABEL_SELECTOR),
    "the workloads of the namespace it applies to; empty: all of them",
);

const INGRESS_RULES: Shape = Shape::List(List {
    of: &Shape::Object(&KUBERNETES_INGRESS_RULE),
    most: 1024,
    filled: false,
    unique: false,
});

const EGRESS_RULES: Shape = Shape::List(List {
    of: &Shape::Object(&KUBERNETES_EGRESS_RULE),
    most: 1024,
    filled: false,
    unique: false,
});

const INGRESS: Field = optional(
    "ingress",
    INGRESS_RULES,
    "what may reach them; what no rule allows is denied",
);

const EGRESS: Field = optional(
    "egress",
    EGRESS_RULES,
    "what they may reach; what no rule allows is denied",
);

const POLICY_TYPES: Field = optional(
    "policyTypes",
    Shape::List(List {
        of: &Shape::Choice(&["Ingress", "Egress"]),
        most: 2,
        filled: false,
        unique: true,
    }),
    "the directions it governs; not given: Ingress, and Egress if it has egress rules",
);

/// The spec of a NetworkPolicy of Kubernetes.
pub static KUBERNETES_NETWORK_POLICY_SPEC: Object = Object {
    what: "the spec of a NetworkPolicy of Kubernetes",
    presence: Presence::Free,
    fields: &[POD_SELECTOR, POLICY_TYPES, INGRESS, EGRESS],
};

/// The spec of a StagedKubernetesNetworkPolicy.
pub static STAGED_KUBERNETES_NETWORK_POLICY_SPEC: Object = Object {
    what: "the spec of a StagedKubernetesNetworkPolicy",
    presence: Presence::Free,
    fields: &[STAGED_ACTION, POD_SELECTOR, POLICY_TYPES, INGRESS, EGRESS],
};

const PORTS_SHAPE: Shape = Shape::List(List {
    of: &Shape::Object(&KUBERNETES_PORT),
    most: 1024,
    filled: false,
    unique: false,
});

const PORTS: Field = optional(
    "ports",
    PORTS_SHAPE,
    "to one of these ports; empty or not given: to any port of any protocol",
);

const PEERS: Shape = Shape::List(List {
    of: &Shape::Object(&KUBERNETES_PEER),
    most: 1024,
    filled: false,
    unique: false,
});

/// An ingress rule of a NetworkPolicy of Kubernetes.
pub static KUBERNETES_INGRESS_RULE: Object = Object {
    what: "a Kubernetes ingress rule",
    presence: Presence::Free,
    fields: &[
        optional(
            "from",
            PEERS,
            "from one of these; empty or not given: from anywhere",
        ),
        PORTS,
    ],
};

/// An egress rule of a NetworkPolicy of Kubernetes.
pub static KUBERNETES_EGRESS_RULE: Object = Object {
    what: "a Kubernetes egress rule",
    presence: Presence::Free,
    fields: &[
        optional("to", PEERS, "to one of these; empty or not given: to anywhere"),
        PORTS,
    ],
};

/// A peer in a rule of Kubernetes.
pub static KUBERNETES_PEER: Object = Object {
    what: "a Kubernetes peer",
    presence: Presence::AnyOf(&["podSelector", "namespaceSelector", "ipBlock"]),
    fields: &[
        optional(
            "podSelector",
            Shape::Object(&LABEL_SELECTOR),
            "workloads with such labels, in the policy's own namespace unless `namespaceSelector` stands beside it",
        ),
        optional(
            "namespaceSelector",
            Shape::Object(&LABEL_SELECTOR),
            "workloads in namespaces with such labels; empty: in any",
        ),
        optional(
            "ipBlock",
            Shape::Object(&IP_BLOCK),
            "addresses; stands alone in its peer",
        ),
    ],
};

/// An `ipBlock`.
pub static IP_BLOCK: Object = Object {
    what: "an `ipBlock`",
    presence: Presence::Free,
    fields: &[
        required("cidr", Shape::LoosePrefix, "these addresses"),
        optional(
            "except",
            Shape::List(List {
                of: &Shape::LoosePrefix,
                most: 256,
                filled: false,
                unique: true,
            }),
            "without these, which must be among them",
        ),
    ],
};

/// A port in a rule of Kubernetes.
pub static KUBERNETES_PORT: Object = Object {
    what: "a Kubernetes port",
    presence: Presence::Free,
    fields: &[
        optional(
            "protocol",
            Shape::Choice(&["TCP", "UDP", "SCTP"]),
            "its protocol; not given: TCP",
        ),
        optional(
            "port",
            Shape::SinglePort,
            "its number, or the name that endpoints have it under; not given: every port of the protocol",
        ),
        optional(
            "endPort",
            Shape::Integer(1, 65535),
            "all ports from `port`, which must be a number, up to this",
        ),
    ],
};

/// A selector by labels, in Kubernetes' form.
pub static LABEL_SELECTOR: Object = Object {
    what: "a Kubernetes selector",
    presence: Presence::Free,
    fields: &[
        optional("matchLabels", Shape::Labels, "it has all of these labels"),
        optional(
            "matchExpressions",
            Shape::List(List {
                of: &Shape::Object(&MATCH_EXPRESSION),
                most: 1024,
                filled: false,
                unique: false,
            }),
            "and all of these hold",
        ),
    ],
};

/// One expression of a selector in Kubernetes' form.
pub static MATCH_EXPRESSION: Object = Object {
    what: "a Kubernetes match expression",
    presence: Presence::Free,
    fields: &[
        required("key", Shape::Pattern(&LABEL_KEY), "the key of the label"),
        required(
            "operator",
            Shape::Choice(&["In", "NotIn", "Exists", "DoesNotExist"]),
            "how it is compared; `NotIn` and `DoesNotExist` hold where there is no such label",
        ),
        optional(
            "values",
            Shape::List(List {
                of: &Shape::Pattern(&LABEL_VALUE),
                most: 1024,
                filled: false,
                unique: false,
            }),
            "what it is compared with: at least one for `In` and `NotIn`, none for the others",
        ),
    ],
};
