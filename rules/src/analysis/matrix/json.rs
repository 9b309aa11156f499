//! The matrix as JSON, written piece by piece: it can be larger than memory.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::{self, Write};

use serde::Serialize;

use super::{Cell, Matrix, Node, NodeKind, Shown};

impl Matrix<'_> {
    /// Writes what is shown of the matrix as `matrix -o json` prints it, on one line.
    ///
    /// A pair is listed in each view in which it allows something. `allowed` is what it allows whichever addresses of the
    /// two are used; `allowed_for_some` is there only where that makes a difference, and is what it allows with some of
    /// them.
    ///
    /// # Errors
    ///
    /// Only those of `out`.
    pub fn write_json(&mut self, shown: &Shown, out: &mut impl Write) -> fmt::Result {
        let nodes = || self.nodes().iter().enumerate();
        let nodes = || {
            nodes()
                .filter(|(index, _)| shown.has(*index))
                .map(|(_, node)| node)
        };
        let endpoints = nodes().filter(|node| matches!(node.kind, NodeKind::Endpoint(_)));
        let endpoints: Vec<&str> = endpoints.map(|node| node.name.as_str()).collect();
        let protocols = self.protocols().told_apart();
        let protocols: Vec<String> = protocols.map(|protocol| protocol.to_string()).collect();
        let blocks: Vec<_> = nodes().filter_map(block).collect();
        write!(out, "{{\"endpoints\":{}", json(&endpoints)?)?;
        write!(out, ",\"blocks\":{}", json(&blocks)?)?;
        write!(out, ",\"protocols\":{}", json(&protocols)?)?;
        write!(out, ",\"notes\":{}", json(&self.notes())?)?;
        out.write_str(",\"connections\":[")?;
        let names = self.nodes().iter().map(|node| json(&node.name));
        let names: Vec<String> = names.collect::<Result<_, _>>()?;
        let mut tails: BTreeMap<Cell, Vec<String>> = BTreeMap::new();
        let mut before = "";
        self.each(shown, |matrix, [from, to], cell| {
            if cell == Cell::NOTHING {
                return Ok(());
            }
            let tails = match tails.entry(cell) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(vacant) => vacant.insert(matrix.tails(shown, cell)?),
            };
            for tail in tails {
                out.write_str(before)?;
                before = ",";
                out.write_str("{\"from\":")?;
                out.write_str(&names[from])?;
                out.write_str(",\"to\":")?;
                out.write_str(&names[to])?;
                out.write_str(tail)?;
            }
            Ok(())
        })?;
        out.write_str("]}")
    }

    /// What stands behind the names for each view in which a cell allows something.
    fn tails(&self, shown: &Shown, cell: Cell) -> Result<Vec<String>, fmt::Error> {
        let mut tails = Vec::new();
        for &view in &shown.views {
            let reach = self.reach(cell, view);
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
