//! A rule as the list of instructions that the nf_tables virtual machine runs.
//!
//! Everything goes through the first register. Only the parts of a concatenated key stand side by side from there on.

use std::fmt;

use palisade_rules::ruleset::{Log, Op};

use crate::abi::expr;

/// One instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// Packet metadata into a register.
    MetaLoad(MetaKey, Register),
    /// The register into packet metadata.
    MetaSet(MetaKey),
    /// The conntrack state, as a bit, into the register.
    CtStateLoad,
    /// The id of the socket's cgroup at this level of the hierarchy into the register.
    SocketCgroupLoad {
        /// The level, from the root of the loader's cgroup namespace.
        level: u32,
    },
    /// Bytes of the packet into a register.
    PayloadLoad {
        /// What the offset counts from.
        base: PayloadBase,
        /// First byte.
        offset: u32,
        /// How many bytes.
        length: u32,
        /// Where they go.
        register: Register,
    },
    /// Goes on if the register compares so with the data.
    Compare(CompareOp, Data),
    /// `register = (register & mask) ^ xor`.
    Bitwise {
        /// The bits that stay.
        mask: Data,
        /// The bits that flip then.
        xor: Data,
    },
    /// Bytes from a register on, hashed with a seed into a number below the modulus, into the first register: Jenkins' hash.
    Hash {
        /// Where they start.
        from: Register,
        /// How many bytes.
        length: u32,
        /// The number of different results.
        modulus: u32,
        /// The seed.
        seed: u32,
    },
    /// The four-byte number in the register from the host's order to that of the network, in which comparisons count.
    ToNetworkOrder,
    /// Goes on if the register is outside the inclusive range.
    OutsideRange(Data, Data),
    /// Goes on if the register is in the set, or is not.
    Lookup {
        /// The set.
        set: String,
        /// Goes on if it is not.
        inverted: bool,
    },
    /// On to the chain that a verdict map has for the register; goes on if it has none.
    LookupVerdict(String),
    /// Ends the rule with a verdict.
    Verdict(Verdict),
    /// Answers and drops.
    Reject {
        /// `NFT_REJECT_*`.
        kind: u32,
        /// The ICMP code, in the abstraction that the kind says.
        code: u8,
    },
    /// Counts in a named counter.
    Counter(String),
    /// Goes on for so many packets.
    Limit {
        /// Packets a second.
        per_second: u32,
        /// Packets more than that at once.
        burst: u32,
    },
    /// Keeps the packet from conntrack.
    Notrack,
    /// Copies the packet to user space.
    Log(Log),
    /// Something that palisade does not make, by name: never equal to what it makes.
    Foreign(String),
}

impl Instruction {
    /// The kernel's module that it is in, where a kernel can do without.
    pub(crate) fn module(&self) -> Option<&'static str> {
        match self {
            Instruction::CtStateLoad | Instruction::Notrack => Some("nft_ct"),
            Instruction::SocketCgroupLoad { .. } => Some("nft_socket, with cgroups (Linux 5.13)"),
            Instruction::Hash { .. } => Some("nft_hash"),
            Instruction::Reject { .. } => Some("nft_reject_inet"),
            Instruction::Limit { .. } => Some("nft_limit"),
            Instruction::Log(_) => Some("nft_log"),
            _ => None,
        }
    }
}

/// A verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The packet passes this hook's chain.
    Accept,
    /// The packet is gone.
    Drop,
    /// Back to the calling chain.
    Return,
    /// Into a chain and back.
    Jump(String),
    /// Into a chain for good.
    Goto(String),
}

/// Packet metadata, with the kernel's number (`NFT_META_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetaKey {
    /// The packet mark.
    Mark = 3,
    /// Name of the input interface.
    InputInterface = 6,
    /// Name of the output interface.
    OutputInterface = 7,
    /// IP version (`NFPROTO_*`).
    Family = 15,
    /// Protocol above IP.
    Protocol = 16,
}

impl MetaKey {
    /// All of them.
    pub(crate) const ALL: [MetaKey; 5] = [
        MetaKey::Mark,
        MetaKey::InputInterface,
        MetaKey::OutputInterface,
        MetaKey::Family,
        MetaKey::Protocol,
    ];
}

/// A register: the four-byte word in which it starts, counted from the first register of 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register(u32);

impl Register {
    /// The first one, which single values go through.
    pub const FIRST: Register = Register(0);

    /// The register this many four-byte words behind the first.
    pub fn word(word: u32) -> Self {
        Register(word)
    }

    /// The register of a number of the kernel's: `NFT_REG_1` to `NFT_REG_4` are 16 bytes each, and the same bytes are
    /// `NFT_REG32_00` to `NFT_REG32_15`, four each.
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        match number {
            expr::REG_1..=expr::REG_4 => Some(Register(4 * (number - expr::REG_1))),
            expr::REG32_00..=expr::REG32_15 => Some(Register(number - expr::REG32_00)),
            _ => None,
        }
    }

    /// The kernel's number.
    pub(crate) fn number(self) -> u32 {
        if self.0.is_multiple_of(4) {
            expr::REG_1 + self.0 / 4
        } else {
            expr::REG32_00 + self.0
        }
    }
}

/// A header, with the kernel's number (`NFT_PAYLOAD_*_HEADER`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadBase {
    /// IP.
    Network = 1,
    /// TCP, UDP, ICMP.
    Transport = 2,
}

/// A comparison, with the kernel's number (`NFT_CMP_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompareOp {
    /// `==`
    Equal = 0,
    /// `!=`
    NotEqual = 1,
    /// `<=`
    AtMost = 3,
    /// `>=`
    AtLeast = 5,
}

impl CompareOp {
    /// All of them.
    pub(crate) const ALL: [CompareOp; 4] = [
        CompareOp::Equal,
        CompareOp::NotEqual,
        CompareOp::AtMost,
        CompareOp::AtLeast,
    ];
}

impl From<Op> for CompareOp {
    fn from(op: Op) -> Self {
        match op {
            Op::Is => CompareOp::Equal,
            Op::IsNot => CompareOp::NotEqual,
        }
    }
}

/// What fits into the register: up to 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Data {
    bytes: [u8; Data::CAPACITY],
    length: u8,
}

impl Data {
    /// The size of a register.
    pub const CAPACITY: usize = 16;

    /// The data, or `None` if it is empty or longer than [`Data::CAPACITY`].
    pub fn new(data: &[u8]) -> Option<Self> {
        let mut bytes = [0; Data::CAPACITY];
        bytes.get_mut(..data.len())?.copy_from_slice(data);
        let length = u8::try_from(data.len()).ok().filter(|&length| length > 0)?;
        Some(Data { bytes, length })
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// How many bytes there are.
    pub(crate) fn length(&self) -> u32 {
        u32::from(self.length)
    }

    /// The bytes of an array that fits, which the compiler checks.
    pub(crate) fn of<const N: usize>(data: [u8; N]) -> Self {
        const { assert!(N > 0 && N <= Data::CAPACITY) };
        let mut bytes = [0; Data::CAPACITY];
        bytes[..N].copy_from_slice(&data);
        #[allow(clippy::cast_possible_truncation)] // N <= 16, asserted above
        Data {
            bytes,
            length: N as u8,
        }
    }

    /// The first bytes only, at least one.
    pub(crate) fn truncated(mut self, length: u8) -> Self {
        self.length = length.clamp(1, self.length);
        for byte in &mut self.bytes[usize::from(self.length)..] {
            *byte = 0;
        }
        self
    }
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x")?;
        self.as_bytes()
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_are_numbered_as_the_kernel_does() {
        for (word, number) in [(0, 1), (1, 9), (2, 10), (4, 2), (5, 13), (12, 4), (15, 23)] {
            assert_eq!(Register::word(word).number(), number);
            assert_eq!(Register::from_number(number), Some(Register::word(word)));
        }
        // The verdict register, the short name of a long register, and none.
        assert_eq!(Register::from_number(0), None);
        assert_eq!(Register::from_number(8), Some(Register::FIRST));
        assert_eq!(Register::from_number(24), None);
    }
}
