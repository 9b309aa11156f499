//! A rule as the list of instructions that the nf_tables virtual machine runs.
//!
//! [`lower`] picks the very forms that nft 1.0.6 makes of the same rule, so that `nft list` prints it as
//! [`palisade_rules::ruleset::text`] does. There is one deliberate difference: an IPv4 prefix of 17 to 31 bits is a
//! load of four bytes and a mask, where nft loads three bytes for a /24. It lists the same, and the kernel has a fast
//! path for four bytes and none for three.
//!
//! Everything goes through register 1.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use palisade_rules::net::Family;
use palisade_rules::ruleset::{CtState, Log, Match, Op, Rule, Side, Statement};

use crate::abi::expr;

/// One instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// Packet metadata into the register.
    MetaLoad(MetaKey),
    /// The register into packet metadata.
    MetaSet(MetaKey),
    /// The conntrack state, as a bit, into the register.
    CtStateLoad,
    /// Bytes of the packet into the register.
    PayloadLoad {
        /// What the offset counts from.
        base: PayloadBase,
        /// First byte.
        offset: u32,
        /// How many bytes.
        length: u32,
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
    /// Goes on if the register is outside the inclusive range.
    OutsideRange(Data, Data),
    /// Goes on if the register is in the set, or is not.
    Lookup {
        /// The set.
        set: String,
        /// Goes on if it is not.
        inverted: bool,
    },
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
    /// Copies the packet to user space.
    Log(Log),
    /// Something that palisade does not make, by name: never equal to what it makes.
    Foreign(String),
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
    fn of<const N: usize>(data: [u8; N]) -> Self {
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
    fn truncated(mut self, length: u8) -> Self {
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

/// The instructions of a rule.
pub fn lower(rule: &Rule) -> Vec<Instruction> {
    let mut program = Vec::with_capacity(2 * rule.matches.len() + rule.statements.len());
    for condition in &rule.matches {
        lower_match(condition, &mut program);
    }
    for statement in &rule.statements {
        lower_statement(statement, &mut program);
    }
    program
}

fn lower_match(condition: &Match, program: &mut Vec<Instruction>) {
    match *condition {
        Match::InputInterface(op, ref name) => {
            compare_meta(MetaKey::InputInterface, op, interface(name), program);
        }
        Match::OutputInterface(op, ref name) => {
            compare_meta(MetaKey::OutputInterface, op, interface(name), program);
        }
        Match::CtState(states) => {
            let bits = states.iter().fold(0, |bits, &state| bits | ct_state_bit(state));
            program.extend([
                Instruction::CtStateLoad,
                Instruction::Bitwise {
                    mask: Data::of(bits.to_ne_bytes()),
                    xor: Data::of([0; 4]),
                },
                Instruction::Compare(CompareOp::NotEqual, Data::of([0; 4])),
            ]);
        }
        Match::Family(family) => {
            compare_meta(MetaKey::Family, Op::Is, Data::of([nfproto(family)]), program);
        }
        Match::Protocol(op, protocol) => {
            compare_meta(MetaKey::Protocol, op, Data::of([protocol.0]), program);
        }
        Match::Address(side, op, net) => lower_address(side, op, net, program),
        Match::AddressSet(side, op, family, ref set) => {
            program.push(load_address(side, family));
            program.push(lookup(op, set.as_str()));
        }
        Match::Port(side, op, range) => {
            program.push(load_port(side));
            let (first, last) = (range.first.to_be_bytes(), range.last.to_be_bytes());
            compare_range(op, Data::of(first), Data::of(last), program);
        }
        Match::PortSet(side, op, ref set) => {
            program.push(load_port(side));
            program.push(lookup(op, set.as_str()));
        }
        Match::IcmpType(_, op, first, last) => {
            program.push(Instruction::PayloadLoad {
                base: PayloadBase::Transport,
                offset: 0,
                length: 1,
            });
            compare_range(op, Data::of([first]), Data::of([last]), program);
        }
        Match::IcmpCode(_, op, code) => program.extend([
            Instruction::PayloadLoad {
                base: PayloadBase::Transport,
                offset: 1,
                length: 1,
            },
            Instruction::Compare(op.into(), Data::of([code])),
        ]),
        Match::Mark { mask, op, value } => {
            program.push(Instruction::MetaLoad(MetaKey::Mark));
            if mask != u32::MAX {
                program.push(Instruction::Bitwise {
                    mask: Data::of(mask.to_ne_bytes()),
                    xor: Data::of([0; 4]),
                });
            }
            program.push(Instruction::Compare(op.into(), Data::of(value.to_ne_bytes())));
        }
    }
}

fn lower_statement(statement: &Statement, program: &mut Vec<Instruction>) {
    match statement {
        Statement::Counter(name) => program.push(Instruction::Counter(name.to_string())),
        Statement::Log(log) => program.push(Instruction::Log(log.clone())),
        Statement::SetMark { mask, value } => program.extend([
            Instruction::MetaLoad(MetaKey::Mark),
            Instruction::Bitwise {
                mask: Data::of((!mask).to_ne_bytes()),
                xor: Data::of((mask & value).to_ne_bytes()),
            },
            Instruction::MetaSet(MetaKey::Mark),
        ]),
        Statement::Accept => program.push(Instruction::Verdict(Verdict::Accept)),
        Statement::Drop => program.push(Instruction::Verdict(Verdict::Drop)),
        Statement::Reject => program.push(Instruction::Reject {
            kind: expr::REJECT_ICMPX_UNREACH,
            code: expr::REJECT_ICMPX_ADMIN_PROHIBITED,
        }),
        Statement::RejectWithReset => program.push(Instruction::Reject {
            kind: expr::REJECT_TCP_RESET,
            code: 0,
        }),
        Statement::Return => program.push(Instruction::Verdict(Verdict::Return)),
        Statement::Jump(chain) => program.push(Instruction::Verdict(Verdict::Jump(chain.to_string()))),
        Statement::Goto(chain) => program.push(Instruction::Verdict(Verdict::Goto(chain.to_string()))),
    }
}

fn lower_address(side: Side, op: Op, net: IpNet, program: &mut Vec<Instruction>) {
    let net = net.trunc();
    let (family, length) = (Family::of_net(net), net.prefix_len());
    let (address, mask) = match (net.addr(), net.netmask()) {
        (IpAddr::V4(address), IpAddr::V4(mask)) => (Data::of(address.octets()), Data::of(mask.octets())),
        (address, mask) => (octets_v6(address), octets_v6(mask)),
    };
    let whole = load_address(side, family);
    if length == family.bits() {
        program.push(whole);
        program.push(Instruction::Compare(op.into(), address));
    } else if length > 0 && length.is_multiple_of(8) && !(family == Family::V4 && length == 24) {
        // A prefix of whole bytes needs no mask: only they are loaded.
        if let Instruction::PayloadLoad { base, offset, .. } = whole {
            program.push(Instruction::PayloadLoad {
                base,
                offset,
                length: u32::from(length / 8),
            });
        }
        program.push(Instruction::Compare(op.into(), address.truncated(length / 8)));
    } else {
        let xor = match family {
            Family::V4 => Data::of([0; 4]),
            Family::V6 => Data::of([0; 16]),
        };
        program.push(whole);
        program.push(Instruction::Bitwise { mask, xor });
        program.push(Instruction::Compare(op.into(), address));
    }
}

fn octets_v6(address: IpAddr) -> Data {
    match address {
        IpAddr::V4(address) => Data::of(address.to_ipv6_mapped().octets()),
        IpAddr::V6(address) => Data::of(address.octets()),
    }
}

fn compare_meta(key: MetaKey, op: Op, data: Data, program: &mut Vec<Instruction>) {
    program.push(Instruction::MetaLoad(key));
    program.push(Instruction::Compare(op.into(), data));
}

/// An inclusive range of big-endian values: one value is a comparison, a range two, a negated range an instruction
/// of its own.
fn compare_range(op: Op, first: Data, last: Data, program: &mut Vec<Instruction>) {
    if first == last {
        program.push(Instruction::Compare(op.into(), first));
        return;
    }
    match op {
        Op::Is => program.extend([
            Instruction::Compare(CompareOp::AtLeast, first),
            Instruction::Compare(CompareOp::AtMost, last),
        ]),
        Op::IsNot => program.push(Instruction::OutsideRange(first, last)),
    }
}

fn load_address(side: Side, family: Family) -> Instruction {
    let (offset, length) = match (family, side) {
        (Family::V4, Side::Source) => (12, 4),
        (Family::V4, Side::Destination) => (16, 4),
        (Family::V6, Side::Source) => (8, 16),
        (Family::V6, Side::Destination) => (24, 16),
    };
    Instruction::PayloadLoad {
        base: PayloadBase::Network,
        offset,
        length,
    }
}

fn load_port(side: Side) -> Instruction {
    Instruction::PayloadLoad {
        base: PayloadBase::Transport,
        offset: match side {
            Side::Source => 0,
            Side::Destination => 2,
        },
        length: 2,
    }
}

fn lookup(op: Op, set: &str) -> Instruction {
    Instruction::Lookup {
        set: set.to_owned(),
        inverted: op == Op::IsNot,
    }
}

/// The name padded to 16 bytes, as the kernel loads it. An interface has at most 15: what is longer names none, and
/// its first 16 bytes equal no interface's.
fn interface(name: &str) -> Data {
    let mut bytes = [0; Data::CAPACITY];
    for (byte, letter) in bytes.iter_mut().zip(name.bytes()) {
        *byte = letter;
    }
    Data::of(bytes)
}

/// `NFPROTO_IPV4`, `NFPROTO_IPV6`.
fn nfproto(family: Family) -> u8 {
    match family {
        Family::V4 => 2,
        Family::V6 => 10,
    }
}

/// `NF_CT_STATE_*_BIT`.
fn ct_state_bit(state: CtState) -> u32 {
    match state {
        CtState::Invalid => 1,
        CtState::Established => 2,
        CtState::Related => 4,
        CtState::New => 8,
        CtState::Untracked => 64,
    }
}

#[cfg(test)]
mod tests {
    use palisade_rules::net::PortRange;

    use super::*;

    fn lowered(condition: Match) -> String {
        let rule = Rule {
            matches: vec![condition],
            ..Rule::default()
        };
        format!("{:?}", lower(&rule))
    }

    #[test]
    fn prefixes_load_as_little_as_the_kernel_has_a_fast_path_for() {
        let of = |net: &str| lowered(Match::Address(Side::Source, Op::Is, net.parse().unwrap()));
        let load = |length| format!("[PayloadLoad {{ base: Network, offset: 12, length: {length} }}, ");
        assert_eq!(of("10.0.0.0/8"), load(1) + "Compare(Equal, 0x0a)]");
        assert_eq!(of("10.1.0.0/16"), load(2) + "Compare(Equal, 0x0a01)]");
        assert_eq!(
            of("10.1.2.0/24"),
            load(4) + "Bitwise { mask: 0xffffff00, xor: 0x00000000 }, Compare(Equal, 0x0a010200)]"
        );
        assert_eq!(of("10.1.2.3/32"), load(4) + "Compare(Equal, 0x0a010203)]");
        assert_eq!(
            of("fd00:1::/32"),
            "[PayloadLoad { base: Network, offset: 8, length: 4 }, Compare(Equal, 0xfd000001)]"
        );
    }

    #[test]
    fn ranges() {
        let of = |op, first, last| lowered(Match::Port(Side::Destination, op, PortRange { first, last }));
        let load = "[PayloadLoad { base: Transport, offset: 2, length: 2 }, ";
        assert_eq!(of(Op::Is, 80, 80), format!("{load}Compare(Equal, 0x0050)]"));
        assert_eq!(
            of(Op::Is, 80, 81),
            format!("{load}Compare(AtLeast, 0x0050), Compare(AtMost, 0x0051)]")
        );
        assert_eq!(
            of(Op::IsNot, 80, 81),
            format!("{load}OutsideRange(0x0050, 0x0051)]")
        );
    }

    #[test]
    fn a_name_too_long_equals_no_interface() {
        assert_eq!(interface("lo").as_bytes(), b"lo\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
        assert!(!interface("an-interface-with-a-long-name").as_bytes().contains(&0));
    }
}
