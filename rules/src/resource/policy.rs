//! Policies: what they select, where they stand, and their rules.

use std::cmp::Ordering;
use std::fmt;

use super::{Action, DEFAULT_TIER, Rule};
use crate::net::Direction;
use crate::selector::Selector;
use crate::source::Position;

/// A policy of any kind, enforced or staged.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Which policy it is once promoted: a staged object and the enforced one it would become share it.
    pub id: PolicyId,
    /// `None` for an enforced policy.
    pub staged: Option<StagedAction>,
    /// The name of its tier.
    pub tier: String,
    /// Lower is earlier; a policy without order comes after every number.
    pub order: Option<Order>,
    /// The endpoints it applies to: `selector`, `namespaceSelector`, `serviceAccountSelector` and its own namespace in
    /// one (reference 2.4).
    pub selector: Selector,
    /// Where on its way it meets a packet.
    pub stage: PolicyStage,
    /// The directions it governs.
    pub types: PolicyTypes,
    /// Rules for packets towards the endpoint.
    pub ingress: Vec<Rule>,
    /// Rules for packets from the endpoint.
    pub egress: Vec<Rule>,
    /// Where it was written.
    pub position: Position,
}

impl Policy {
    /// The allow-all safety net, as `examples/00-safety-net.yaml` writes it.
    pub fn safety_net(name: &str) -> Self {
        let position = Position {
            file: "(built in)".into(),
            line: 1,
            column: 1,
        };
        let allow = Rule::unconditional(Action::Allow, position.clone());
        Policy {
            id: PolicyId {
                kind: PolicyKind::GlobalNetworkPolicy,
                namespace: None,
                name: name.to_owned(),
            },
            staged: None,
            tier: DEFAULT_TIER.to_owned(),
            order: Some(Order::new(100_000.0)),
            selector: Selector::all(),
            stage: PolicyStage::Normal {
                apply_on_forward: false,
            },
            types: PolicyTypes {
                ingress: true,
                egress: true,
            },
            ingress: vec![allow.clone()],
            egress: vec![allow],
            position,
        }
    }

    /// The kind as it is written, with `Staged` where it is staged.
    pub fn written_kind(&self) -> &'static str {
        match (self.id.kind, self.staged.is_some()) {
            (PolicyKind::GlobalNetworkPolicy, false) => "GlobalNetworkPolicy",
            (PolicyKind::GlobalNetworkPolicy, true) => "StagedGlobalNetworkPolicy",
            (PolicyKind::NetworkPolicy, false) => "NetworkPolicy",
            (PolicyKind::NetworkPolicy, true) => "StagedNetworkPolicy",
            (PolicyKind::KubernetesNetworkPolicy, false) => "KubernetesNetworkPolicy",
            (PolicyKind::KubernetesNetworkPolicy, true) => "StagedKubernetesNetworkPolicy",
        }
    }

    /// Whether the policy has a say about packets of this direction.
    pub fn governs(&self, direction: Direction) -> bool {
        match direction {
            Direction::Ingress => self.types.ingress,
            Direction::Egress => self.types.egress,
        }
    }

    /// The rules of one direction, in order.
    pub fn rules(&self, direction: Direction) -> &[Rule] {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }
}

/// Which policy it is, whether or not it is staged.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyId {
    /// The kind after promotion.
    pub kind: PolicyKind,
    /// The namespace; `None` for a global kind.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
}

impl PolicyId {
    /// What decides between policies of one order: the bytes of `name/namespace/kind`.
    pub fn tie_break(&self) -> String {
        format!(
            "{}/{}/{}",
            self.name,
            self.namespace.as_deref().unwrap_or_default(),
            self.kind
        )
    }

    /// Which of two policies of one order comes first: as their [`PolicyId::tie_break`] says, without writing it.
    pub fn cmp_in_order(&self, other: &Self) -> Ordering {
        fn bytes(id: &PolicyId) -> impl Iterator<Item = u8> {
            let namespace = id.namespace.as_deref().unwrap_or_default();
            let parts = [id.name.as_str(), "/", namespace, "/", id.kind.as_str()];
            parts.into_iter().flat_map(str::bytes)
        }
        // Where one name begins with the other, the slash behind the shorter one counts.
        let (ours, theirs) = (self.name.as_bytes(), other.name.as_bytes());
        let shared = ours.len().min(theirs.len());
        ours[..shared]
            .cmp(&theirs[..shared])
            .then_with(|| bytes(self).cmp(bytes(other)))
    }
}

/// `namespace/name`, or the name alone.
impl fmt::Display for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{namespace}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// A kind of policy, after promotion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PolicyKind {
    /// `GlobalNetworkPolicy`.
    GlobalNetworkPolicy,
    /// Calico's `NetworkPolicy`.
    NetworkPolicy,
    /// The `NetworkPolicy` of `networking.k8s.io/v1`.
    KubernetesNetworkPolicy,
}

impl PolicyKind {
    /// The word that traces and records use.
    pub fn as_str(self) -> &'static str {
        match self {
            PolicyKind::GlobalNetworkPolicy => "GlobalNetworkPolicy",
            PolicyKind::NetworkPolicy => "NetworkPolicy",
            PolicyKind::KubernetesNetworkPolicy => "KubernetesNetworkPolicy",
        }
    }
}

impl fmt::Display for PolicyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where on its way a policy meets a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PolicyStage {
    /// At the endpoint itself, after conntrack and NAT.
    Normal {
        /// `applyOnForward`: at a host endpoint, also what goes through the host.
        apply_on_forward: bool,
    },
    /// `preDNAT`: at a host endpoint, what comes in, before its destination is translated.
    PreDnat,
    /// `doNotTrack`: at a host endpoint, before conntrack; what it allows is not tracked.
    Untracked,
}

/// What a staged object stands for in the pending world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StagedAction {
    /// The object exists, in place of the enforced one of that name.
    Set,
    /// The enforced object of that name is gone.
    Delete,
    /// As [`StagedAction::Set`]; what it would do feeds `palisade learn`.
    Learn,
    /// Parked: no effect in either world.
    Ignore,
}

/// The directions a policy governs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyTypes {
    /// `Ingress` is among the types.
    pub ingress: bool,
    /// `Egress` is among the types.
    pub egress: bool,
}

/// An order: any number but NaN, and negative zero is zero.
#[derive(Clone, Copy, Debug)]
pub struct Order(f64);

impl Order {
    /// An order from a number; NaN, which no document can write, counts as the last.
    pub fn new(value: f64) -> Self {
        Order(if value.is_nan() {
            f64::INFINITY
        } else {
            value + 0.0
        })
    }

    /// The number.
    pub fn value(self) -> f64 {
        self.0
    }
}

impl PartialEq for Order {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Order {}

impl PartialOrd for Order {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Order {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
