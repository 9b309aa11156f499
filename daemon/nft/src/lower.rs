//! From a rule of the model to the instructions that the kernel runs.
//!
//! The forms are the very ones that nft 1.0.6 makes of the same rule, so that `nft list` prints it as
//! [`palisade_rules::ruleset::text`] does. There is one deliberate difference: an IPv4 prefix of 17 to 31 bits is a
//! load of four bytes and a mask, where nft loads three bytes for a /24. It lists the same, and the kernel has a fast
//! path for four bytes and none for three.

use std::net::IpAddr;

use ipnet::IpNet;
use palisade_rules::net::Family;
use palisade_rules::ruleset::{CtState, LookupKey, Match, Op, Rule, SHARE_SEED, Side, Statement};

use crate::abi::expr;
use crate::program::{CompareOp, Data, Instruction, MetaKey, PayloadBase, Register, Verdict};

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
        Match::FamilySet(op, ref set) => {
            program.push(Instruction::MetaLoad(MetaKey::Family, Register::FIRST));
            program.push(lookup(op, set.as_str()));
        }
        Match::OutsideShare(family, share) => lower_share(family, share, program),
        Match::Protocol(op, protocol) => {
            compare_meta(MetaKey::Protocol, op, Data::of([protocol.0]), program);
        }
        Match::Address(side, op, net) => lower_address(side, op, net, program),
        Match::AddressSet(side, op, family, ref set) => {
            program.push(load_address(side, family));
            program.push(lookup(op, set.as_str()));
        }
        Match::Port(side, op, range) => {
            program.push(load_port(side, Register::FIRST));
            let (first, last) = (range.first.to_be_bytes(), range.last.to_be_bytes());
            compare_range(op, Data::of(first), Data::of(last), program);
        }
        Match::PortSet(side, op, ref set) => {
            program.push(load_port(side, Register::FIRST));
            program.push(lookup(op, set.as_str()));
        }
        Match::NamedPortSet(side, op, family, ref set) => {
            // The parts of the key, each in four-byte words of its own.
            let after_address = u32::from(family.bits()) / 32;
            program.extend([
                load_address(side, family),
                Instruction::MetaLoad(MetaKey::Protocol, Register::word(after_address)),
                load_port(side, Register::word(after_address + 1)),
                lookup(op, set.as_str()),
            ]);
        }
        Match::IcmpType(_, op, first, last) => {
            program.push(load_icmp(0));
            compare_range(op, Data::of([first]), Data::of([last]), program);
        }
        Match::IcmpCode(_, op, code) => {
            program.extend([load_icmp(1), Instruction::Compare(op.into(), Data::of([code]))]);
        }
        Match::Mark { mask, op, value } => {
            program.push(Instruction::MetaLoad(MetaKey::Mark, Register::FIRST));
            if mask != u32::MAX {
                program.push(Instruction::Bitwise {
                    mask: Data::of(mask.to_ne_bytes()),
                    xor: Data::of([0; 4]),
                });
            }
            program.push(Instruction::Compare(op.into(), Data::of(value.to_ne_bytes())));
        }
        Match::SocketCgroup { level, id, path: _ } => program.extend([
            Instruction::SocketCgroupLoad { level },
            Instruction::Compare(CompareOp::Equal, Data::of(id.to_ne_bytes())),
        ]),
    }
}

fn lower_statement(statement: &Statement, program: &mut Vec<Instruction>) {
    match statement {
        Statement::Counter(name) => program.push(Instruction::Counter(name.to_string())),
        Statement::Limit { per_second, burst } => program.push(Instruction::Limit {
            per_second: *per_second,
            burst: *burst,
        }),
        Statement::Notrack => program.push(Instruction::Notrack),
        Statement::Log(log) => program.push(Instruction::Log(log.clone())),
        Statement::SetMark { mask, value } => program.extend([
            Instruction::MetaLoad(MetaKey::Mark, Register::FIRST),
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
        Statement::Lookup(key, map) => {
            lower_key(*key, program);
            program.push(Instruction::LookupVerdict(map.to_string()));
        }
    }
}

fn lower_key(key: LookupKey, program: &mut Vec<Instruction>) {
    match key {
        LookupKey::Service => program.extend([
            Instruction::MetaLoad(MetaKey::Protocol, Register::FIRST),
            load_port(Side::Destination, Register::word(1)),
        ]),
        LookupKey::Protocol => program.push(Instruction::MetaLoad(MetaKey::Protocol, Register::FIRST)),
        LookupKey::Port => program.push(load_port(Side::Destination, Register::FIRST)),
        LookupKey::Address(side, family) => program.push(load_address(side, family)),
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
        if let Instruction::PayloadLoad {
            base,
            offset,
            register,
            ..
        } = whole
        {
            program.push(Instruction::PayloadLoad {
                base,
                offset,
                length: u32::from(length / 8),
                register,
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

/// The parts of the key stand behind the first register, which the hash goes into: as nft has it.
fn lower_share(family: Family, share: u8, program: &mut Vec<Instruction>) {
    let words = u32::from(family.bits()) / 32;
    let from = Register::word(4);
    program.extend([
        address_into(Side::Source, family, from),
        load_port(Side::Source, Register::word(4 + words)),
        Instruction::Hash {
            from,
            // The port has a word of its own.
            length: 4 * (words + 1),
            modulus: 100,
            seed: SHARE_SEED,
        },
        Instruction::ToNetworkOrder,
        Instruction::Compare(CompareOp::AtLeast, Data::of(u32::from(share).to_be_bytes())),
    ]);
}

fn octets_v6(address: IpAddr) -> Data {
    match address {
        IpAddr::V4(address) => Data::of(address.to_ipv6_mapped().octets()),
        IpAddr::V6(address) => Data::of(address.octets()),
    }
}

fn compare_meta(key: MetaKey, op: Op, data: Data, program: &mut Vec<Instruction>) {
    program.push(Instruction::MetaLoad(key, Register::FIRST));
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
    address_into(side, family, Register::FIRST)
}

fn address_into(side: Side, family: Family, register: Register) -> Instruction {
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
        register,
    }
}

fn load_port(side: Side, register: Register) -> Instruction {
    Instruction::PayloadLoad {
        base: PayloadBase::Transport,
        offset: match side {
            Side::Source => 0,
            Side::Destination => 2,
        },
        length: 2,
        register,
    }
}

/// The type is the first byte of the header, the code the second.
fn load_icmp(offset: u32) -> Instruction {
    Instruction::PayloadLoad {
        base: PayloadBase::Transport,
        offset,
        length: 1,
        register: Register::FIRST,
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
pub(crate) fn nfproto(family: Family) -> u8 {
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
        let load = |length| {
            format!("[PayloadLoad {{ base: Network, offset: 12, length: {length}, register: Register(0) }}, ")
        };
        assert_eq!(of("10.0.0.0/8"), load(1) + "Compare(Equal, 0x0a)]");
        assert_eq!(of("10.1.0.0/16"), load(2) + "Compare(Equal, 0x0a01)]");
        assert_eq!(
            of("10.1.2.0/24"),
            load(4) + "Bitwise { mask: 0xffffff00, xor: 0x00000000 }, Compare(Equal, 0x0a010200)]"
        );
        assert_eq!(of("10.1.2.3/32"), load(4) + "Compare(Equal, 0x0a010203)]");
        assert_eq!(
            of("fd00:1::/32"),
            "[PayloadLoad { base: Network, offset: 8, length: 4, register: Register(0) }, Compare(Equal, 0xfd000001)]"
        );
    }

    #[test]
    fn ranges() {
        let of = |op, first, last| lowered(Match::Port(Side::Destination, op, PortRange { first, last }));
        let load = "[PayloadLoad { base: Transport, offset: 2, length: 2, register: Register(0) }, ";
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
