//! Every kind and every field that can be written, with its meaning: one table for all that must agree on it.
//!
//! [`crate::decode`] asks for fields by this table and cannot read one that is not in it, nor forget one that is; what
//! it says of a field that nobody knows comes from here. The JSON Schema for editors ([`json`]) is printed from it, and
//! so is the reference in `docs/policy.md` ([`markdown`]).

pub mod json;
pub mod markdown;

mod common;
mod endpoint;
mod kubernetes;
mod policy;

pub use common::{
    ANNOTATION_KEY, LABEL_KEY, LABEL_VALUE, LIST, METADATA, NODE, PORT_NAME, Pattern, RESOURCE, RULE_NAME,
};
pub use endpoint::{
    GLOBAL_NETWORK_SET_SPEC, HOST_ENDPOINT_SPEC, NAMED_PORT, NETWORK_SET_SPEC, PROFILE_SPEC,
    SERVICE_ENDPOINT_SPEC, TIER_SPEC, WORKLOAD_ENDPOINT_SPEC, WORKLOAD_PORT,
};
pub use kubernetes::{
    IP_BLOCK, KUBERNETES_EGRESS_RULE, KUBERNETES_INGRESS_RULE, KUBERNETES_NETWORK_POLICY_SPEC,
    KUBERNETES_PEER, KUBERNETES_PORT, LABEL_SELECTOR, MATCH_EXPRESSION,
    STAGED_KUBERNETES_NETWORK_POLICY_SPEC,
};
pub use policy::{
    DESTINATION, GLOBAL_NETWORK_POLICY_SPEC, ICMP, NETWORK_POLICY_SPEC, NOT_ICMP, RULE, RULE_METADATA,
    SERVICE_ACCOUNTS, SOURCE, STAGED_GLOBAL_NETWORK_POLICY_SPEC, STAGED_NETWORK_POLICY_SPEC,
};

/// The group and version of Calico's kinds.
pub const CALICO: &str = "projectcalico.org/v3";

/// The kind of what `palisade test` checks: a document among the expectations, and no resource.
pub const EXPECTATIONS: &str = "Expectations";

/// The group and version of the NetworkPolicy of Kubernetes.
pub const KUBERNETES: &str = "networking.k8s.io/v1";

/// The group and version of palisade's own kinds.
pub const PALISADE: &str = "palisade.dev/v1";

/// The most characters of a selector.
pub const MAX_SELECTOR: usize = 1024;

/// A kind of resource.
#[derive(Debug)]
pub struct Kind {
    /// The kind as it is written.
    pub name: &'static str,
    /// The kind as traces, records and queries name it: differs for the NetworkPolicy of Kubernetes.
    pub word: &'static str,
    /// Its group and version.
    pub api_version: &'static str,
    /// Shorter names that queries may use, in lower case.
    pub short_names: &'static [&'static str],
    /// Whether its objects are in a namespace.
    pub namespaced: bool,
    /// What it is, in one line.
    pub meaning: &'static str,
    /// What its names may be.
    pub names: Names,
    /// Whether `spec` must be there.
    pub spec_required: bool,
    /// The fields of its `spec`.
    pub spec: &'static Object,
}

/// What the names of a kind may be; all are of lower-case letters, digits and `-`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// One DNS label of at most 63 characters.
    Label,
    /// One or two DNS labels.
    TwoLabels,
    /// One or two DNS labels, or any subdomain behind `knp.default.` or `ossg.default.`.
    NamespacedPolicy,
    /// A DNS subdomain of at most 253 characters.
    Subdomain,
    /// A DNS subdomain made of the fields of a WorkloadEndpoint.
    Workload,
}

/// A mapping with known fields.
#[derive(Debug)]
pub struct Object {
    /// What it is, with an article: `a rule`, `the spec of a Tier`.
    pub what: &'static str,
    /// Its fields, in the order a person would write them.
    pub fields: &'static [Field],
    /// What must be there besides the required fields.
    pub presence: Presence,
}

/// Which of several fields must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// No field more than those that are required.
    Free,
    /// At least one of these.
    AnyOf(&'static [&'static str]),
    /// Exactly one of these.
    OneOf(&'static [&'static str]),
}

/// A field of an [`Object`].
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Whether it must be there.
    pub required: bool,
    /// What its value is.
    pub shape: Shape,
    /// What it means, in one line.
    pub meaning: &'static str,
}

/// What the value of a field is.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// Any text.
    Text,
    /// Text of a certain form.
    Pattern(&'static Pattern),
    /// Any finite number.
    Number,
    /// A whole number between these, both included.
    Integer(i64, i64),
    /// One of these whole numbers.
    Numbers(&'static [i64]),
    /// `true` or `false`.
    Boolean,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A selector.
    Selector,
    /// A protocol by Calico's name or by number.
    Protocol,
    /// A port by number, a range of ports, or a name of a port.
    Port,
    /// A port by number, or a name of a port.
    SinglePort,
    /// A prefix without host bits.
    Prefix,
    /// A prefix; host bits are cleared.
    LoosePrefix,
    /// An address, or a prefix.
    PrefixOrAddress,
    /// An address.
    Address,
    /// An address, or a prefix that holds one address.
    HostPrefix,
    /// Labels: keys and values.
    Labels,
    /// Annotations: keys and values.
    Annotations,
    /// A list.
    List(List),
    /// Known fields.
    Object(&'static Object),
    /// Known and not enforced: only a value that changes nothing may stand there. The sentence says why, and what to
    /// do instead.
    Refused(&'static str),
    /// What another table describes, chosen by the kind.
    Any,
    /// Bookkeeping of another program, without a meaning for policy: anything may stand there.
    Described,
}

/// A list.
#[derive(Clone, Copy, Debug)]
pub struct List {
    /// What is in it.
    pub of: &'static Shape,
    /// The most items.
    pub most: usize,
    /// Whether an empty list is an error, because it would read as "none" where not given means "any".
    pub filled: bool,
    /// Whether each item may be there once only.
    pub unique: bool,
}

/// Every kind that can be written, in the order of the reference.
pub static KINDS: [Kind; 13] = [
    Kind {
        name: "GlobalNetworkPolicy",
        word: "GlobalNetworkPolicy",
        api_version: CALICO,
        short_names: &["gnp", "cgnp"],
        namespaced: false,
        meaning: "an enforced policy for endpoints of any kind",
        names: Names::TwoLabels,
        spec_required: true,
        spec: &GLOBAL_NETWORK_POLICY_SPEC,
    },
    Kind {
        name: "NetworkPolicy",
        word: "NetworkPolicy",
        api_version: CALICO,
        short_names: &["cnp", "np"],
        namespaced: true,
        meaning: "an enforced policy for the workloads of its own namespace",
        names: Names::NamespacedPolicy,
        spec_required: true,
        spec: &NETWORK_POLICY_SPEC,
    },
    Kind {
        name: "StagedGlobalNetworkPolicy",
        word: "StagedGlobalNetworkPolicy",
        api_version: CALICO,
        short_names: &["sgnp"],
        namespaced: false,
        meaning: "a GlobalNetworkPolicy that is only counted and logged, and denies nothing",
        names: Names::TwoLabels,
        spec_required: true,
        spec: &STAGED_GLOBAL_NETWORK_POLICY_SPEC,
    },
    Kind {
        name: "StagedNetworkPolicy",
        word: "StagedNetworkPolicy",
        api_version: CALICO,
        short_names: &["snp", "scnp"],
        namespaced: true,
        meaning: "a NetworkPolicy that is only counted and logged, and denies nothing",
        names: Names::NamespacedPolicy,
        spec_required: true,
        spec: &STAGED_NETWORK_POLICY_SPEC,
    },
    Kind {
        name: "NetworkPolicy",
        word: "KubernetesNetworkPolicy",
        api_version: KUBERNETES,
        short_names: &["knp", "netpol"],
        namespaced: true,
        meaning: "a policy of Kubernetes for the workloads of its namespace (`default` if none is written): in the tier `default`, order 1000",
        names: Names::Subdomain,
        spec_required: true,
        spec: &KUBERNETES_NETWORK_POLICY_SPEC,
    },
    Kind {
        name: "StagedKubernetesNetworkPolicy",
        word: "StagedKubernetesNetworkPolicy",
        api_version: CALICO,
        short_names: &["sknp"],
        namespaced: true,
        meaning: "a NetworkPolicy of Kubernetes that is only counted and logged, and denies nothing",
        names: Names::Subdomain,
        spec_required: true,
        spec: &STAGED_KUBERNETES_NETWORK_POLICY_SPEC,
    },
    Kind {
        name: "Tier",
        word: "Tier",
        api_version: CALICO,
        short_names: &[],
        namespaced: false,
        meaning: "policies that are decided together; `kube-admin` (1000, Pass), `default` (1,000,000, Deny) and `kube-baseline` (10,000,000, Pass) exist unwritten",
        names: Names::Label,
        spec_required: false,
        spec: &TIER_SPEC,
    },
    Kind {
        name: "GlobalNetworkSet",
        word: "GlobalNetworkSet",
        api_version: CALICO,
        short_names: &["gns", "globalnetset"],
        namespaced: false,
        meaning: "addresses with labels, so that selectors find them",
        names: Names::Subdomain,
        spec_required: false,
        spec: &GLOBAL_NETWORK_SET_SPEC,
    },
    Kind {
        name: "NetworkSet",
        word: "NetworkSet",
        api_version: CALICO,
        short_names: &["netset", "netsets"],
        namespaced: true,
        meaning: "a GlobalNetworkSet that belongs to a namespace",
        names: Names::Subdomain,
        spec_required: false,
        spec: &NETWORK_SET_SPEC,
    },
    Kind {
        name: "HostEndpoint",
        word: "HostEndpoint",
        api_version: CALICO,
        short_names: &["hep"],
        namespaced: false,
        meaning: "an interface of a host, or all of them (`*`), with labels, addresses and profiles",
        names: Names::Subdomain,
        spec_required: true,
        spec: &HOST_ENDPOINT_SPEC,
    },
    Kind {
        name: "WorkloadEndpoint",
        word: "WorkloadEndpoint",
        api_version: CALICO,
        short_names: &["wep"],
        namespaced: true,
        meaning: "a container or virtual machine: the host's end of its interface, with labels, addresses and profiles",
        names: Names::Workload,
        spec_required: true,
        spec: &WORKLOAD_ENDPOINT_SPEC,
    },
    Kind {
        name: "Profile",
        word: "Profile",
        api_version: CALICO,
        short_names: &[],
        namespaced: false,
        meaning: "labels for the endpoints that name it, and rules for what no policy decides; `projectcalico-default-allow` exists unwritten",
        names: Names::Subdomain,
        spec_required: false,
        spec: &PROFILE_SPEC,
    },
    Kind {
        name: "ServiceEndpoint",
        word: "ServiceEndpoint",
        api_version: PALISADE,
        short_names: &["sep"],
        namespaced: false,
        meaning: "a systemd unit or slice, or any control group: what its processes send and receive",
        names: Names::Subdomain,
        spec_required: true,
        spec: &SERVICE_ENDPOINT_SPEC,
    },
];

impl Kind {
    /// The kind of this name in this group and version.
    pub fn find(api_version: &str, name: &str) -> Option<&'static Kind> {
        KINDS
            .iter()
            .find(|kind| kind.name == name && kind.api_version == api_version)
    }

    /// The kind of this [`Kind::word`], in no group in particular.
    pub fn by_word(word: &str) -> Option<&'static Kind> {
        KINDS.iter().find(|kind| kind.word == word)
    }

    /// The kind of this [`Kind::word`] or short name, in any case.
    pub fn parse(text: &str) -> Option<&'static Kind> {
        let is = |word: &&str| word.eq_ignore_ascii_case(text);
        KINDS
            .iter()
            .find(|kind| is(&kind.word) || kind.short_names.iter().any(is))
    }

    /// The groups and versions that have a kind of this name.
    pub fn api_versions(name: &str) -> impl Iterator<Item = &'static str> {
        KINDS
            .iter()
            .filter(move |kind| kind.name == name)
            .map(|kind| kind.api_version)
    }

    /// Whether it is a policy of Kubernetes' shape, staged or not.
    pub fn is_kubernetes(&self) -> bool {
        self.word.ends_with("KubernetesNetworkPolicy")
    }

    /// Whether it is a staged policy.
    pub fn is_staged(&self) -> bool {
        self.word.starts_with("Staged")
    }

    /// Whether it is a policy.
    pub fn is_policy(&self) -> bool {
        self.word.ends_with("NetworkPolicy")
    }
}

impl Object {
    /// The field of this name.
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// Every object below the specs of all kinds, those of a kind before those that they hold.
    pub fn all() -> Vec<&'static Object> {
        let mut all: Vec<&'static Object> = Vec::new();
        for kind in &KINDS {
            kind.spec.add_inner(&mut all);
        }
        let mut done = 0;
        while let Some(object) = all.get(done).copied() {
            object.add_inner(&mut all);
            done += 1;
        }
        all
    }

    fn add_inner(&self, all: &mut Vec<&'static Object>) {
        for field in self.fields {
            let mut shape = &field.shape;
            while let Shape::List(list) = shape {
                shape = list.of;
            }
            if let Shape::Object(object) = *shape
                && !all.iter().any(|known| std::ptr::eq(*known, object))
            {
                all.push(object);
            }
        }
    }

    /// What it is, without an article.
    pub fn noun(&self) -> &'static str {
        let articles = ["a ", "an ", "the "];
        let noun = articles
            .iter()
            .find_map(|article| self.what.strip_prefix(article));
        noun.unwrap_or(self.what)
    }
}

impl Shape {
    /// Whether a decoder reads it; what is refused or without meaning is dealt with by the table alone.
    pub fn is_read(&self) -> bool {
        !matches!(self, Shape::Refused(_) | Shape::Described)
    }
}

#[cfg(test)]
mod tests;
