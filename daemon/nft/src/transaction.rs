//! What is to change in the kernel, as an ordered list of operations.
//!
//! A transaction goes to the kernel in one batch: all of it comes into force at one instant, or nothing does.

use std::collections::BTreeSet;
use std::fmt;

use palisade_rules::ruleset::{Elements, Hook, TABLE};

use crate::abi;
use crate::dump::CounterValue;
use crate::kind::{MapKind, SetKind};
use crate::program::Instruction;
use crate::ways::Way;

/// Operations that come into force together. Made by [`crate::diff()`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    operations: Vec<Operation>,
}

impl Transaction {
    /// A transaction of these operations, in this order.
    pub fn new(operations: Vec<Operation>) -> Self {
        Transaction { operations }
    }

    /// Takes the deletion of counters out, for a transaction of its own once no packet can count in them any more; gives
    /// their names. One that is made anew in the same transaction goes in it.
    pub(crate) fn take_retired_counters(&mut self) -> Vec<String> {
        let made: BTreeSet<String> = self
            .operations
            .iter()
            .filter_map(Operation::made_counter)
            .collect();
        let mut retired = Vec::new();
        self.operations.retain(|operation| match operation {
            Operation::DeleteObject { name, kind } if *kind == abi::obj::COUNTER && !made.contains(name) => {
                retired.push(name.clone());
                false
            }
            _ => true,
        });
        retired
    }

    /// Has the table belong to the connection that sends this, too.
    pub(crate) fn own(&mut self) {
        let mut operations = self.operations.iter_mut();
        match operations.find(|operation| matches!(operation, Operation::AddTable)) {
            Some(operation) => *operation = Operation::OwnTable,
            None => self.operations.insert(0, Operation::OwnTable),
        }
    }

    /// Has the table that is there go first.
    pub(crate) fn anew(&mut self) {
        self.operations.insert(0, Operation::DeleteTable);
    }

    /// The operations in the order in which the kernel gets them.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// How many operations there are.
    pub fn len(&self) -> usize {
        self.operations.len()
    }
}

/// One change in our table. Its `Display` is a sentence in the form "adding rule 3 of chain input".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Creates the table, or wakes it if it is dormant.
    AddTable,
    /// As [`Operation::AddTable`], and from then on the table belongs to the connection that sends this, and outlives it.
    OwnTable,
    /// Makes the table dormant: its chains meet no packet any more.
    SwitchOff {
        /// The flags that it has otherwise.
        flags: u32,
    },
    /// Deletes the table with all that is in it.
    DeleteTable,
    /// Creates a chain.
    AddChain {
        /// Its name.
        name: String,
        /// Where it hangs, for a base chain.
        hook: Option<Hook>,
        /// Its comment, empty for none.
        comment: String,
    },
    /// Sets the policy of a base chain to accept.
    AcceptByPolicy(String),
    /// Deletes all rules of a chain.
    FlushChain(String),
    /// Deletes an empty chain that nothing refers to.
    DeleteChain(String),
    /// Adds a rule at the end of a chain.
    AddRule {
        /// The chain.
        chain: String,
        /// Its place in the chain as it is to be, from 1: for messages only.
        number: usize,
        /// What it does.
        program: Vec<Instruction>,
        /// Its comment, empty for none.
        comment: String,
    },
    /// Creates an empty set.
    AddSet {
        /// Its name.
        name: String,
        /// What it can hold.
        kind: SetKind,
        /// Its comment, empty for none.
        comment: String,
    },
    /// Deletes a set that no rule refers to.
    DeleteSet(String),
    /// Deletes all elements of a set.
    FlushSet(String),
    /// Adds elements to a set.
    AddElements {
        /// The set.
        set: String,
        /// What it gets.
        elements: Elements,
    },
    /// Deletes elements of a set.
    DeleteElements {
        /// The set.
        set: String,
        /// What it loses.
        elements: Elements,
    },
    /// Creates an empty verdict map.
    AddMap {
        /// Its name.
        name: String,
        /// What it is looked up by.
        kind: MapKind,
        /// Its comment, empty for none.
        comment: String,
    },
    /// Deletes a map that no rule refers to.
    DeleteMap(String),
    /// Deletes all elements of a map.
    FlushMap(String),
    /// Adds elements to a verdict map.
    AddWays {
        /// The map.
        map: String,
        /// What it is looked up by.
        kind: MapKind,
        /// What it gets.
        ways: Vec<Way>,
    },
    /// Deletes elements of a verdict map.
    DeleteWays {
        /// The map.
        map: String,
        /// What it is looked up by.
        kind: MapKind,
        /// What it loses.
        ways: Vec<Way>,
    },
    /// Creates a named counter.
    AddCounter {
        /// Its name.
        name: String,
        /// What it begins at.
        value: CounterValue,
        /// Its comment, empty for none.
        comment: String,
    },
    /// Deletes a named object that no rule refers to.
    DeleteObject {
        /// Its name.
        name: String,
        /// `NFT_OBJECT_*`: 1 is a counter.
        kind: u32,
    },
}

impl Operation {
    fn made_counter(&self) -> Option<String> {
        match self {
            Operation::AddCounter { name, .. } => Some(name.clone()),
            _ => None,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operation::AddTable => write!(f, "creating table inet {TABLE}"),
            Operation::OwnTable => write!(f, "taking possession of table inet {TABLE}"),
            Operation::SwitchOff { .. } => write!(f, "switching table inet {TABLE} off"),
            Operation::DeleteTable => write!(f, "deleting table inet {TABLE}"),
            Operation::AddChain { name, hook: None, .. } => write!(f, "creating chain {name}"),
            Operation::AddChain {
                name, hook: Some(_), ..
            } => write!(f, "creating base chain {name}"),
            Operation::AcceptByPolicy(name) => write!(f, "setting the policy of base chain {name} to accept"),
            Operation::FlushChain(name) => write!(f, "deleting the rules of chain {name}"),
            Operation::DeleteChain(name) => write!(f, "deleting chain {name}"),
            Operation::AddRule {
                chain,
                number,
                comment,
                ..
            } => {
                write!(f, "adding rule {number} of chain {chain}")?;
                if comment.is_empty() {
                    Ok(())
                } else {
                    write!(f, " (\"{comment}\")")
                }
            }
            Operation::AddSet { name, .. } => write!(f, "creating set {name}"),
            Operation::DeleteSet(name) => write!(f, "deleting set {name}"),
            Operation::FlushSet(name) => write!(f, "deleting all elements of set {name}"),
            Operation::AddElements { set, elements } => {
                write!(f, "adding {} elements to set {set}", elements.len())
            }
            Operation::DeleteElements { set, elements } => {
                write!(f, "deleting {} elements of set {set}", elements.len())
            }
            Operation::AddMap { name, .. } => write!(f, "creating map {name}"),
            Operation::DeleteMap(name) => write!(f, "deleting map {name}"),
            Operation::FlushMap(name) => write!(f, "deleting all elements of map {name}"),
            Operation::AddWays { map, ways, .. } => {
                write!(f, "adding {} elements to map {map}", ways.len())
            }
            Operation::DeleteWays { map, ways, .. } => {
                write!(f, "deleting {} elements of map {map}", ways.len())
            }
            Operation::AddCounter { name, .. } => write!(f, "creating counter {name}"),
            Operation::DeleteObject { name, kind } if *kind == abi::obj::COUNTER => {
                write!(f, "deleting counter {name}")
            }
            Operation::DeleteObject { name, kind } => {
                write!(f, "deleting object {name} of nf_tables type {kind}")
            }
        }
    }
}
