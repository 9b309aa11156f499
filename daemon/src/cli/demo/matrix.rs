//! Who reaches whom: probed with real connections, and printed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;

use super::screen::{Screen, Tone};
use super::stage::Stage;
use crate::cli::Failure;
use crate::lab::{Outcome, Probe, probe_all};

/// The ports that every host serves.
pub(super) const PORTS: [u16; 3] = [22, 8080, 9090];

/// How many connections a cell is: one for each IP version.
const VERSIONS: [&str; 2] = ["IPv4", "IPv6"];

/// One host's way to a port of another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cell {
    /// The client.
    pub(super) from: String,
    /// The server.
    pub(super) to: String,
    /// The server's port.
    pub(super) port: u16,
}

/// What came of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// The right server answered.
    Allowed,
    /// Nothing came back.
    Denied,
    /// Anything else: no firewall does that.
    Other(String),
}

/// What came of every connection between the hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Matrix {
    cells: BTreeMap<Cell, [Seen; VERSIONS.len()]>,
}

/// A connection by which a cell was probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Connection<'a> {
    cell: &'a Cell,
    version: &'static str,
}

impl Cell {
    /// A cell by the names of its hosts.
    pub(super) fn new(from: &str, to: &str, port: u16) -> Self {
        Cell {
            from: from.to_owned(),
            to: to.to_owned(),
            port,
        }
    }
}

impl Matrix {
    /// Connects from every host to every port of every other, all at once: one first packet for each connection.
    pub(super) fn probe(stage: &Stage) -> Result<Self, Failure> {
        stage.check()?;
        let mut cells = Vec::new();
        let mut probes = Vec::new();
        for from in stage.hosts() {
            for to in stage.hosts().iter().filter(|to| to.name() != from.name()) {
                for port in PORTS {
                    cells.push(Cell::new(from.name(), to.name(), port));
                    let connect = |ip| Probe::tcp(from.namespace(), SocketAddr::new(ip, port));
                    probes.extend(to.ips().map(connect));
                }
            }
        }
        let outcomes = probe_all(&probes)?;
        let (outcomes, _) = outcomes.as_chunks();
        let cells = cells.into_iter().zip(outcomes).map(|(cell, outcomes)| {
            let seen = outcomes.each_ref().map(|outcome| Seen::of(outcome, &cell));
            (cell, seen)
        });
        Ok(Matrix {
            cells: cells.collect(),
        })
    }

    /// A matrix of what was seen elsewhere.
    #[cfg(test)]
    pub(super) fn of(cells: impl IntoIterator<Item = (Cell, [Seen; VERSIONS.len()])>) -> Self {
        Matrix {
            cells: cells.into_iter().collect(),
        }
    }

    /// The connections of some cells, and what came of each.
    pub(super) fn connections(
        &self,
        which: impl Fn(&Cell) -> bool,
    ) -> impl Iterator<Item = (Connection<'_>, &Seen)> {
        let cells = self.cells.iter().filter(move |(cell, _)| which(cell));
        cells.flat_map(|(cell, seen)| {
            let versions = VERSIONS.into_iter().zip(seen);
            versions.map(move |(version, seen)| (Connection { cell, version }, seen))
        })
    }

    /// How many first packets the connections of some cells were.
    pub(super) fn first_packets(&self, which: impl Fn(&Cell) -> bool) -> u64 {
        self.connections(which).map(|_| 1).sum()
    }

    /// Some of its cells.
    pub(super) fn cells(&self, which: impl Fn(&Cell) -> bool) -> BTreeSet<Cell> {
        self.cells.keys().filter(|cell| which(cell)).cloned().collect()
    }

    /// The cells in which something else was seen than before.
    pub(super) fn changed_since(&self, before: &Matrix) -> BTreeSet<Cell> {
        self.cells(|cell| self.cells.get(cell) != before.cells.get(cell))
    }

    /// For reading: rows from, columns to. Cells that have changed stand out.
    pub(super) fn render(&self, before: Option<&Matrix>, screen: &Screen) -> String {
        const LABEL: usize = 12;
        let changed = before
            .map(|before| self.changed_since(before))
            .unwrap_or_default();
        let text = |cell: &Cell| {
            let mark = if changed.contains(cell) { "*" } else { "" };
            format!("{mark}{}", self.cells.get(cell).map_or("·".to_owned(), word))
        };
        let longest = self.cells.keys().map(|cell| text(cell).chars().count()).max();
        let width = longest.unwrap_or_default().max(5) + 1;
        let hosts: BTreeSet<&str> = self.cells.keys().map(|cell| cell.from.as_str()).collect();

        let mut names = format!("   {:LABEL$}", "");
        let mut ports = format!("   {:LABEL$}", "from \\ to");
        for host in &hosts {
            names += &format!(" {:<1$}", host, PORTS.len() * width + 1);
            ports += "  ";
            for port in PORTS {
                ports += &format!("{:<width$}", format!(":{port}"));
            }
        }
        let faint = |line: &str| screen.paint(Tone::Faint, line.trim_end());
        let mut table = format!("{}\n{}\n", faint(&names), faint(&ports));
        for from in &hosts {
            let mut line = format!("   {from:LABEL$}");
            for to in &hosts {
                line += "  ";
                for port in PORTS {
                    let cell = Cell::new(from, to, port);
                    let text = text(&cell);
                    let gap = " ".repeat(width - text.chars().count());
                    line += &match self.tone(&cell, changed.contains(&cell)) {
                        Some(tone) => screen.paint(tone, &text),
                        None => text,
                    };
                    line += &gap;
                }
            }
            table += line.trim_end();
            table += "\n";
        }
        if !changed.is_empty() {
            table += &format!("   {}\n", faint("* changed since the matrix before"));
        }
        table
    }

    fn tone(&self, cell: &Cell, changed: bool) -> Option<Tone> {
        let seen = self.cells.get(cell)?;
        let allowed = seen.iter().all(|seen| *seen == Seen::Allowed);
        match (allowed, changed) {
            (true, false) => None,
            (true, true) => Some(Tone::Opened),
            (false, false) => Some(Tone::Bad),
            (false, true) => Some(Tone::Closed),
        }
    }
}

/// One word where both IP versions agree, else one for each, IPv4 first.
fn word(seen: &[Seen; VERSIONS.len()]) -> String {
    match seen {
        [v4, v6] if v4 == v6 => v4.to_string(),
        [v4, v6] => format!("{v4}/{v6}"),
    }
}

impl Seen {
    fn of(outcome: &Outcome, cell: &Cell) -> Self {
        match outcome {
            Outcome::Answered(greeting) if *greeting == format!("{}:{}", cell.to, cell.port) => Seen::Allowed,
            Outcome::TimedOut => Seen::Denied,
            other => Seen::Other(other.to_string()),
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Seen::Allowed => "allow",
            Seen::Denied => "DENY",
            Seen::Other(what) => what,
        })
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}:{}", self.from, self.to, self.port)
    }
}

impl fmt::Display for Connection<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} over {}", self.cell, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_shows_both_ip_versions_and_what_has_changed() {
        let matrix = |to_b: [Seen; 2]| {
            let cells = PORTS.map(|port| (Cell::new("a", "b", port), [Seen::Allowed, Seen::Allowed]));
            let back = PORTS.map(|port| (Cell::new("b", "a", port), [Seen::Denied, Seen::Denied]));
            let mut matrix = Matrix::of(cells.into_iter().chain(back));
            matrix.cells.insert(Cell::new("a", "b", 8080), to_b);
            matrix
        };
        let before = matrix([Seen::Allowed, Seen::Allowed]);
        let after = matrix([Seen::Allowed, Seen::Denied]);
        assert_eq!(after.changed_since(&before), [Cell::new("a", "b", 8080)].into());
        assert_eq!(
            after.render(Some(&before), &Screen::muted()),
            "                a                                     b\n\
            \x20  from \\ to     :22         :8080       :9090         :22         :8080       :9090\n\
            \x20  a             ·           ·           ·             allow       *allow/DENY allow\n\
            \x20  b             DENY        DENY        DENY          ·           ·           ·\n\
            \x20  * changed since the matrix before\n"
        );
    }

    #[test]
    fn only_the_right_server_counts_as_an_answer() {
        let cell = Cell::new("a", "b", 80);
        let answered = |line: &str| Seen::of(&Outcome::Answered(line.to_owned()), &cell);
        assert_eq!(answered("b:80"), Seen::Allowed);
        assert_eq!(answered("c:80"), Seen::Other("answered \"c:80\"".to_owned()));
        assert_eq!(Seen::of(&Outcome::TimedOut, &cell), Seen::Denied);
        assert_eq!(
            Seen::of(&Outcome::Refused, &cell),
            Seen::Other("refused".to_owned())
        );
    }
}
