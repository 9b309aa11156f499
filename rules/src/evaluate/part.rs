//! Which part of a packet's way an endpoint is asked about.

use crate::net::Direction;
use crate::world::Stage;

/// The part of a packet's way that one decision is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// To or from the endpoint itself.
    Itself,
    /// Between a host and a workload of its own, at the host endpoint that stands for every other interface.
    BesideWorkload,
    /// Through the host endpoint's host.
    Through,
    /// Into the host from a workload of its own, at the same host endpoint, before it is known where the packet goes.
    Arrival,
}

impl Part {
    /// The stage at which the packet must be decided about, if it was not before.
    pub fn last(self) -> Stage {
        match self {
            Part::Itself | Part::BesideWorkload => Stage::Normal,
            Part::Through => Stage::Forward,
            Part::Arrival => Stage::PreDnat,
        }
    }

    /// The stages at which policies are asked, in order. A workload's interface is the workload's: the host's untracked
    /// policies are not asked there, for what goes on to others would lose its connection, and with it its NAT.
    pub fn stages(self, direction: Direction) -> impl Iterator<Item = Stage> {
        let last = self.last();
        let stages = last.early(direction).iter().copied().chain([last]);
        stages.filter(move |stage| *stage != Stage::Untracked || !self.is_by_workload())
    }

    /// Whether the packet comes in or goes out by the interface of a workload.
    pub fn is_by_workload(self) -> bool {
        matches!(self, Part::BesideWorkload | Part::Arrival)
    }
}
