//! What is to change in the kernel, as an ordered list of operations.
//!
//! A transaction goes to the kernel in one batch: all of it comes into force at one instant, or nothing does.

use std::collections::BTreeSet;
use std::fmt;

use palisade_rules::ruleset::{Elements, Hook, TABLE};

use crate::abi;
use crate::dump::CounterValue;
use crate::program::Instruction;

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

/// What a set can hold, fixed when it is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetKind {
    /// `type ipv4_addr`.
    Ipv4Addresses,
    /// `type ipv6_addr`.
    Ipv6Addresses,
    /// `type ipv4_addr; flags interval`.
    Ipv4Nets,
    /// `type ipv6_addr; flags interval`.
    Ipv6Nets,
    /// `type inet_service; flags interval`.
    Ports,
    /// `type ipv4_addr . inet_proto . inet_service`.
    Ipv4NamedPorts,
    /// `type ipv6_addr . inet_proto . inet_service`.
    Ipv6NamedPorts,
    /// `type nf_proto; flags timeout`.
    Families,
}

impl SetKind {
    /// All of them.
    pub(crate) const ALL: [SetKind; 8] = [
        SetKind::Ipv4Addresses,
        SetKind::Ipv6Addresses,
        SetKind::Ipv4Nets,
        SetKind::Ipv6Nets,
        SetKind::Ports,
        SetKind::Ipv4NamedPorts,
        SetKind::Ipv6NamedPorts,
        SetKind::Families,
    ];

    /// The kind of set that holds these.
    pub fn of(elements: &Elements) -> Self {
        match elements {
            Elements::Ipv4Addresses(_) => SetKind::Ipv4Addresses,
            Elements::Ipv6Addresses(_) => SetKind::Ipv6Addresses,
            Elements::Ipv4Nets(_) => SetKind::Ipv4Nets,
            Elements::Ipv6Nets(_) => SetKind::Ipv6Nets,
            Elements::Ports(_) => SetKind::Ports,
            Elements::Ipv4NamedPorts(_) => SetKind::Ipv4NamedPorts,
            Elements::Ipv6NamedPorts(_) => SetKind::Ipv6NamedPorts,
            Elements::Families(..) => SetKind::Families,
        }
    }

    /// nft's number of the type of a key.
    pub(crate) fn key_type(self) -> u32 {
        match self {
            SetKind::Ipv4Addresses | SetKind::Ipv4Nets => abi::set::TYPE_IPV4_ADDR,
            SetKind::Ipv6Addresses | SetKind::Ipv6Nets => abi::set::TYPE_IPV6_ADDR,
            SetKind::Ports => abi::set::TYPE_INET_SERVICE,
            SetKind::Ipv4NamedPorts => named_port_type(abi::set::TYPE_IPV4_ADDR),
            SetKind::Ipv6NamedPorts => named_port_type(abi::set::TYPE_IPV6_ADDR),
            SetKind::Families => abi::set::TYPE_NF_PROTO,
        }
    }

    /// Bytes of a key.
    pub(crate) fn key_length(self) -> u32 {
        match self {
            SetKind::Ipv4Addresses | SetKind::Ipv4Nets => 4,
            SetKind::Ipv6Addresses | SetKind::Ipv6Nets => 16,
            SetKind::Ports => 2,
            // Each part of a concatenation is padded to four bytes.
            SetKind::Ipv4NamedPorts => 4 + 4 + 4,
            SetKind::Ipv6NamedPorts => 16 + 4 + 4,
            SetKind::Families => 1,
        }
    }

    /// `NFT_SET_*`.
    pub(crate) fn flags(self) -> u32 {
        match self {
            SetKind::Ipv4Addresses
            | SetKind::Ipv6Addresses
            | SetKind::Ipv4NamedPorts
            | SetKind::Ipv6NamedPorts => 0,
            SetKind::Ipv4Nets | SetKind::Ipv6Nets | SetKind::Ports => abi::set::F_INTERVAL,
            SetKind::Families => abi::set::F_TIMEOUT,
        }
    }
}

fn named_port_type(address: u32) -> u32 {
    [abi::set::TYPE_INET_PROTO, abi::set::TYPE_INET_SERVICE]
        .into_iter()
        .fold(address, |number, part| number << abi::set::TYPE_BITS | part)
}
