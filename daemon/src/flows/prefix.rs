//! What the prefix of a copy says.

use palisade_rules::compile::SAMPLED;
use palisade_rules::net::Direction;

use crate::apply::Way;

/// The prefix of a copy.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Prefix<'p> {
    /// The first packet of a connection.
    First(First<'p>),
    /// What a Log rule logs: `palisade/log/web/0`, or with the policy's namespace `palisade/log/shop/web/0`.
    Log { policy: &'p str, rule: &'p str },
}

/// `palisade/in/12/eth0`: way and direction, generation, place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct First<'p> {
    pub(super) way: Way,
    pub(super) direction: Direction,
    /// Whether it stands for others that were not copied.
    pub(super) sampled: bool,
    pub(super) generation: u64,
    pub(super) place: &'p str,
}

impl<'p> Prefix<'p> {
    /// `None` for what somebody else logs to our group.
    pub(super) fn parse(prefix: &'p str) -> Option<Self> {
        let (word, rest) = prefix.strip_prefix("palisade/")?.split_once('/')?;
        let (word, sampled) = match word.strip_prefix(SAMPLED) {
            Some(word) => (word, true),
            None => (word, false),
        };
        let (way, direction) = match word {
            "in" => (Way::Interface, Direction::Ingress),
            "out" => (Way::Interface, Direction::Egress),
            "forward-in" => (Way::Forward, Direction::Ingress),
            "forward-out" => (Way::Forward, Direction::Egress),
            "service-in" => (Way::Service, Direction::Ingress),
            "service-out" => (Way::Service, Direction::Egress),
            "log" => {
                let (policy, rule) = rest.rsplit_once('/')?;
                return Some(Prefix::Log { policy, rule });
            }
            _ => return None,
        };
        let (generation, place) = rest.split_once('/')?;
        Some(Prefix::First(First {
            way,
            direction,
            sampled,
            generation: generation.parse().ok()?,
            place,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_says_where_a_first_packet_was_seen() {
        let first = |way, direction, generation, place| {
            Some(Prefix::First(First {
                way,
                direction,
                sampled: false,
                generation,
                place,
            }))
        };
        let (ingress, egress) = (Direction::Ingress, Direction::Egress);
        for (prefix, says) in [
            ("palisade/in/12/eth0", first(Way::Interface, ingress, 12, "eth0")),
            ("palisade/out/7/*", first(Way::Interface, egress, 7, "*")),
            ("palisade/forward-in/7/*", first(Way::Forward, ingress, 7, "*")),
            (
                "palisade/forward-out/7/eth1",
                first(Way::Forward, egress, 7, "eth1"),
            ),
            (
                "palisade/service-in/3/web",
                first(Way::Service, ingress, 3, "web"),
            ),
            (
                "palisade/service-out/3/web",
                first(Way::Service, egress, 3, "web"),
            ),
            ("palisade/in/many/eth0", None),
            ("palisade/sideways/7/eth0", None),
            ("somebody else", None),
        ] {
            assert_eq!(Prefix::parse(prefix), says, "{prefix}");
        }
    }

    #[test]
    fn a_sample_says_that_it_is_one() {
        let sampled = First {
            way: Way::Forward,
            direction: Direction::Ingress,
            sampled: true,
            generation: 7,
            place: "*",
        };
        assert_eq!(
            Prefix::parse("palisade/sampled-forward-in/7/*"),
            Some(Prefix::First(sampled))
        );
    }

    #[test]
    fn a_prefix_names_the_log_rule() {
        for (prefix, policy) in [
            ("palisade/log/web/0", "web"),
            ("palisade/log/shop/web/0", "shop/web"),
        ] {
            assert_eq!(Prefix::parse(prefix), Some(Prefix::Log { policy, rule: "0" }));
        }
        assert_eq!(Prefix::parse("palisade/log/web"), None);
    }
}
