//! Which destination ports a policy may match, so that most others are known at a glance to be none of its.

use super::WorldRule;
use crate::net::PortRange;

/// Destination ports, with others that are alike: a bit for each remainder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PortMask(u128);

impl PortMask {
    /// Every port.
    const ALL: PortMask = PortMask(u128::MAX);

    /// The ports that a rule may match; a named port may be any.
    pub(super) fn of_rule(rule: &WorldRule) -> Self {
        match &rule.destination.ports {
            Some(ports) if ports.named.is_none() => {
                let each = ports.ranges.iter().copied().map(PortMask::of_range);
                each.fold(PortMask::default(), PortMask::or)
            }
            _ => PortMask::ALL,
        }
    }

    fn of_range(range: PortRange) -> Self {
        if u32::from(range.last - range.first) >= u128::BITS {
            return PortMask::ALL;
        }
        PortMask::of_ports(range.first..=range.last)
    }

    /// These ports.
    pub(crate) fn of_ports(ports: impl IntoIterator<Item = u16>) -> Self {
        let each = ports.into_iter();
        PortMask(each.fold(0, |mask, port| mask | 1 << (u32::from(port) % u128::BITS)))
    }

    /// The ports of either.
    pub(super) fn or(self, other: PortMask) -> Self {
        PortMask(self.0 | other.0)
    }

    /// Whether they may have a port in common.
    pub(super) fn meets(self, other: PortMask) -> bool {
        self.0 & other.0 != 0
    }
}
