//! A packet and the way it takes.

use palisade_rules::evaluate::Packet;
use palisade_rules::ruleset::CtState;

/// One packet and its way.
#[derive(Clone, Debug)]
pub struct Journey {
    /// The packet.
    pub packet: Packet,
    /// Its way.
    pub way: Way,
    /// What conntrack calls it, unless a rule says that it is not to be tracked.
    pub state: CtState,
    /// The mark that it comes with.
    pub mark: u32,
    /// The ids of the cgroups that its socket on this host is in, from level 1 down; none without a socket.
    pub cgroups: Vec<u64>,
}

/// Which hooks it meets, and by which interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// To this host.
    In {
        /// The interface it comes in by.
        from: &'static str,
    },
    /// From this host.
    Out {
        /// The interface it goes out by.
        to: &'static str,
    },
    /// Through this host.
    Through {
        /// The interface it comes in by.
        from: &'static str,
        /// The interface it goes out by.
        to: &'static str,
    },
}
