//! The matrix as JSON, written piece by piece: it can be larger than memory.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::{self, Write};

use serde::Serialize;

use super::{Cell, Matrix, Node, NodeKind};

impl Matrix<'_> {
    /// Writes the whole matrix as `matrix -o json` prints it, on one line.
    ///
    /// A pair is listed in each view in which it allows something. `allowed` is what it allows whichever addresses of the
    /// two are used; `allowed_for_some` is there only where that makes a difference, and is what it allows with some of
    /// them. A world without a safety net has no entries without one.
    ///
    /// # Errors
    ///
    /// Only those of `out`.
    pub fn write_json(&mut self, out: &mut impl Write) -> fmt::Result {
        let endpoints = self.nodes().iter();
        let endpoints = endpoints.filter(|node| matches!(node.kind, NodeKind::Endpoint(_)));
        let endpoints: Vec<&str> = endpoints.map(|node| node.name.as_str()).collect();
        let protocols = self.protocols().told_apart();
        let protocols: Vec<String> = protocols.map(|protocol| protocol.to_string()).collect();
        let blocks: Vec<_> = self.nodes().iter().filter_map(block).collect();
        write!(out, "{{\"endpoints\":{}", json(&endpoints)?)?;
        write!(out, ",\"blocks\":{}", json(&blocks)?)?;
        write!(out, ",\"protocols\":{}", json(&protocols)?)?;
        write!(out, ",\"notes\":{}", json(&self.notes())?)?;
        out.write_str(",\"connections\":[")?;
        let names: Vec<String> = self
            .nodes()
            .iter()
            .map(|node| json(&node.name))
            .collect::<Result<_, _>>()?;
        let mut tails: BTreeMap<Cell, Vec<String>> = BTreeMap::new();
        let mut before = "";
        for (from, from_name) in names.iter().enumerate() {
            for (cell, to_name) in self.row(from).into_iter().zip(&names) {
                if cell == Cell::NOTHING {
                    continue;
                }
                let tails = match tails.entry(cell) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(vacant) => vacant.insert(self.tails(cell)?),
                };
                for tail in tails {
                    out.write_str(before)?;
                    before = ",";
                    out.write_str("{\"from\":")?;
                    out.write_str(from_name)?;
                    out.write_str(",\"to\":")?;
                    out.write_str(to_name)?;
                    out.write_str(tail)?;
                }
            }
        }
        out.write_str("]}")
    }

    /// What stands behind the names for each view in which a cell allows something.
    fn tails(&self, cell: Cell) -> Result<Vec<String>, fmt::Error> {
        let mut tails = Vec::new();
        for (index, view) in self.views().iter().enumerate() {
            let reach = self.reach(cell, index);
            if reach.some.is_empty() {
                continue;
            }
            let mut tail = format!(
                ",\"world\":\"{}\",\"without_safety_net\":{},\"allowed\":{}",
                view.world.as_str(),
                view.without_safety_net,
                json(&self.protocols().allowed(reach.all))?
            );
            if reach.some != reach.all {
                let some = json(&self.protocols().allowed(reach.some))?;
                write!(tail, ",\"allowed_for_some\":{some}")?;
            }
            tail.push('}');
            tails.push(tail);
        }
        Ok(tails)
    }
}

fn block(node: &Node) -> Option<serde_json::Value> {
    match &node.kind {
        NodeKind::Endpoint(_) => None,
        NodeKind::Block { nets, .. } => {
            let nets: Vec<String> = nets.iter().map(ToString::to_string).collect();
            Some(serde_json::json!({"name": node.name, "nets": nets}))
        }
    }
}

/// Strings and numbers cannot fail to be written.
fn json(value: &impl Serialize) -> Result<String, fmt::Error> {
    serde_json::to_string(value).map_err(|_| fmt::Error)
}
