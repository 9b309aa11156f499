//! Which part of a matrix is asked for.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Cell, Matrix, NodeKind, View};
use crate::analysis::QueryError;
use crate::analysis::route::Party;
use crate::world::WorldKind;

/// Rows, columns and views of a matrix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The nodes that connections come from, sorted.
    pub from: Vec<usize>,
    /// The nodes that they go to, sorted.
    pub to: Vec<usize>,
    /// In which views.
    pub views: Vec<View>,
}

/// Single cells are faster than whole rows, up to so many in a row.
const FEW: usize = 16;

impl Shown {
    /// Whether a node is among the rows or the columns.
    pub(super) fn has(&self, node: usize) -> bool {
        [&self.from, &self.to]
            .iter()
            .any(|nodes| nodes.binary_search(&node).is_ok())
    }
}

impl Matrix<'_> {
    /// What lies between these ends in one world or both; where no end is named, all are meant.
    ///
    /// An end is named as in the matrix itself, or as `explain` is asked for it. An address that no endpoint has means its
    /// block.
    ///
    /// # Errors
    ///
    /// [`QueryError`] where a name means nothing or more than one endpoint.
    pub fn shown(
        &self,
        from: &[String],
        to: &[String],
        world: Option<WorldKind>,
    ) -> Result<Shown, QueryError> {
        let nodes = |names: &[String]| {
            if names.is_empty() {
                return Ok((0..self.nodes.len()).collect());
            }
            let found: Result<Vec<usize>, QueryError> = names.iter().map(|name| self.find(name)).collect();
            let mut found = found?;
            found.sort_unstable();
            found.dedup();
            Ok(found)
        };
        let views = View::ALL.into_iter();
        Ok(Shown {
            from: nodes(from)?,
            to: nodes(to)?,
            views: views
                .filter(|view| world.is_none_or(|world| view.world == world))
                .collect(),
        })
    }

    /// Every cell that is shown, row by row, up to the first error of the visitor.
    ///
    /// # Errors
    ///
    /// Only those of `visit`.
    pub fn each<E>(
        &mut self,
        shown: &Shown,
        mut visit: impl FnMut(&Self, [usize; 2], Cell) -> Result<(), E>,
    ) -> Result<(), E> {
        for &from in &shown.from {
            if shown.to.len() <= FEW {
                for &to in &shown.to {
                    let cell = self.cell(from, to);
                    visit(self, [from, to], cell)?;
                }
            } else {
                let row = self.row(from);
                for &to in &shown.to {
                    visit(self, [from, to], row[to])?;
                }
            }
        }
        Ok(())
    }

    /// These nodes, those together that are alike to all others. Nodes of one group on a host that they share with others
    /// are alike only to one another: they lie differently to the others of that host.
    pub fn alike(&self, nodes: &[usize]) -> Vec<Vec<usize>> {
        let mut on_host: BTreeMap<usize, usize> = BTreeMap::new();
        for host in self.hosts.iter().flatten() {
            *on_host.entry(*host).or_default() += 1;
        }
        let mut alike: BTreeMap<(usize, Option<usize>), Vec<usize>> = BTreeMap::new();
        for &node in nodes {
            let shared = self.hosts[node].filter(|host| on_host[host] > 1);
            alike
                .entry((self.nodes[node].group, shared))
                .or_default()
                .push(node);
        }
        let mut alike: Vec<Vec<usize>> = alike.into_values().collect();
        alike.sort_unstable();
        alike
    }

    fn find(&self, text: &str) -> Result<usize, QueryError> {
        if let Some(node) = self.nodes.iter().position(|node| node.name == text) {
            return Ok(node);
        }
        match Party::find(self.worlds, text)?.endpoint {
            Some(endpoint) => Ok(endpoint.0),
            None => self
                .block_of(text)
                .ok_or_else(|| QueryError::NoAddress(text.to_owned())),
        }
    }

    /// The block with the longest prefix around an address.
    fn block_of(&self, address: &str) -> Option<usize> {
        let address: IpAddr = address.parse().ok()?;
        let length = |node: usize| match &self.nodes[node].kind {
            NodeKind::Endpoint(_) => None,
            NodeKind::Block { nets, .. } => nets
                .iter()
                .filter(|net| net.contains(&address))
                .map(ipnet::IpNet::prefix_len)
                .max(),
        };
        let blocks = (0..self.nodes.len()).filter_map(|node| Some((length(node)?, node)));
        blocks.max_by_key(|(length, _)| *length).map(|(_, node)| node)
    }
}
