//! The tables of others: where their chains hang, whether they drop, and where they send packets by DNAT. Nothing of it
//! is changed.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::libc;
use palisade_rules::net::{PortRange, Protocol};
use palisade_rules::ruleset::TABLE;

use crate::abi::{chain, expr, msg, rule};
use crate::attribute::{Attribute, Attributes};
use crate::decode;
use crate::dump::{KernelBase, base, text};
use crate::error::{ReadError, read_error};
use crate::message::MessageBuilder;
use crate::nft::Nft;
use crate::note::NOTE_TABLE;
use crate::program::{Instruction, Verdict};
use crate::socket::{RequestError, Socket, nft_message, request_flags};
use crate::trace::TRACE_TABLE;

/// How often the survey is tried again when another writer got in between.
const ATTEMPTS: usize = 4;

/// A chain, of whomever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SurveyedChain {
    /// The family of its table.
    pub family: TableFamily,
    /// Its table.
    pub table: String,
    /// Its name.
    pub name: String,
    /// Where it hangs, for a base chain.
    pub base: Option<KernelBase>,
    /// Whether a rule of it drops or rejects; the policy of a base chain is in `base`.
    pub drops: bool,
    /// The chains that its rules lead to.
    pub leads_to: Vec<String>,
    /// Where its rules send packets by DNAT.
    pub forwards: Vec<Forwarding>,
}

impl SurveyedChain {
    /// Whether it is one of palisade's.
    pub fn is_ours(&self) -> bool {
        self.family == TableFamily::Inet && self.table == TABLE
    }
}

/// The family of a table that sees IP packets at the hooks of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TableFamily {
    /// `inet`: both.
    Inet = 1,
    /// `ip`.
    Ipv4 = 2,
    /// `ip6`.
    Ipv6 = 10,
}

impl TableFamily {
    const ALL: [TableFamily; 3] = [TableFamily::Inet, TableFamily::Ipv4, TableFamily::Ipv6];

    /// As nft writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            TableFamily::Inet => "inet",
            TableFamily::Ipv4 => "ip",
            TableFamily::Ipv6 => "ip6",
        }
    }
}

/// A rule that sends packets elsewhere by DNAT. What is `None` is not asked, or asked in a way that is not looked into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forwarding {
    /// The protocol.
    pub protocol: Option<Protocol>,
    /// The ports that it takes.
    pub ports: Option<PortRange>,
    /// The address that packets must be for.
    pub address: Option<IpAddr>,
    /// The address that they are sent to.
    pub to: Option<IpAddr>,
    /// The port that they are sent to; `None` leaves it as it is.
    pub to_port: Option<u16>,
}

impl Nft {
    /// The chains of all tables that see IP packets, by family and in the order in which they are listed. Of our own table
    /// only the base chains are among them, without what their rules do.
    pub fn survey(&mut self) -> Result<Vec<SurveyedChain>, ReadError> {
        for _ in 0..ATTEMPTS {
            match survey(&mut self.socket) {
                Err(RequestError::Interrupted) => {}
                answer => return answer.map_err(read_error),
            }
        }
        Err(ReadError::KeepsChanging)
    }
}

fn survey(socket: &mut Socket) -> Result<Vec<SurveyedChain>, RequestError> {
    let mut chains = Vec::new();
    for family in TableFamily::ALL {
        let first = chains.len();
        list(socket, family, msg::GET_CHAIN, &[], |attributes| {
            let table = text(attributes, chain::TABLE);
            let base = base(attributes);
            if family == TableFamily::Inet
                && ([TRACE_TABLE, NOTE_TABLE].contains(&table) || table == TABLE && base.is_none())
            {
                return;
            }
            chains.push(SurveyedChain {
                family,
                table: table.to_owned(),
                name: text(attributes, chain::NAME).to_owned(),
                base,
                drops: false,
                leads_to: Vec::new(),
                forwards: Vec::new(),
            });
        })?;
        let others = chains[first..].iter_mut().filter(|chain| !chain.is_ours());
        for chain in others {
            let SurveyedChain {
                table,
                name,
                drops,
                leads_to,
                forwards,
                ..
            } = chain;
            let filter = [(rule::TABLE, table.as_str()), (rule::CHAIN, name.as_str())];
            list(socket, family, msg::GET_RULE, &filter, |attributes| {
                let Some(expressions) = attributes.get(rule::EXPRESSIONS) else {
                    return;
                };
                for instruction in decode::program(expressions) {
                    match instruction {
                        Instruction::Verdict(Verdict::Drop) | Instruction::Reject { .. } => *drops = true,
                        Instruction::Verdict(Verdict::Jump(to) | Verdict::Goto(to)) => leads_to.push(to),
                        _ => {}
                    }
                }
                let mut expressions = Expressions::default();
                for expression in attributes
                    .get(rule::EXPRESSIONS)
                    .iter()
                    .flat_map(Attribute::nested)
                {
                    expressions.take(&expression.nested());
                }
                *drops |= expressions.drops;
                forwards.extend(expressions.forwards.then_some(expressions.forwarding));
            })?;
        }
    }
    Ok(chains)
}

fn list(
    socket: &mut Socket,
    family: TableFamily,
    kind: u16,
    filter: &[(u16, &str)],
    mut each: impl FnMut(&Attributes<'_>),
) -> Result<(), RequestError> {
    let flags = request_flags(libc::NLM_F_DUMP);
    socket.request(
        true,
        |buffer, seq| {
            let kind = nft_message(kind);
            // The families are the kernel's numbers, below 256.
            let message = MessageBuilder::with_resource(buffer, kind, flags, seq, family as u8, 0);
            let message = filter.iter().fold(message, |message, (attribute, text)| {
                message.put_text(*attribute, text)
            });
            message.finish();
        },
        |message| each(&message.attributes()),
    )
}

/// What a register was loaded with last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Loaded {
    Protocol,
    Port,
    Destination,
    #[default]
    Other,
}

/// What the expressions of one rule come to, as far as DNAT is concerned. Those of iptables-nft are read too.
#[derive(Default)]
struct Expressions {
    loaded: Loaded,
    at_least: Option<u16>,
    immediate: BTreeMap<u32, Vec<u8>>,
    forwarding: Forwarding,
    forwards: bool,
    drops: bool,
}

impl Expressions {
    fn take(&mut self, expression: &Attributes<'_>) {
        let name = text(expression, rule::EXPR_NAME);
        let data = expression.get(rule::EXPR_DATA);
        let data = data.map_or(Attributes::new(&[]), |data| data.nested());
        let number = |attribute| {
            data.get(attribute)
                .map_or(0, |number: Attribute<'_>| number.u32())
        };
        match name {
            "meta" => {
                let is_protocol = number(expr::META_KEY) == expr::META_L4PROTO;
                self.loaded = if is_protocol {
                    Loaded::Protocol
                } else {
                    Loaded::Other
                };
            }
            "payload" => {
                let place = (
                    number(expr::PAYLOAD_BASE),
                    number(expr::PAYLOAD_OFFSET),
                    number(expr::PAYLOAD_LEN),
                );
                self.loaded = match place {
                    (expr::TRANSPORT_HEADER, 2, 2) => Loaded::Port,
                    (expr::NETWORK_HEADER, 16, 4) | (expr::NETWORK_HEADER, 24, 16) => Loaded::Destination,
                    _ => Loaded::Other,
                };
            }
            "cmp" => {
                if let Some(data) = data
                    .get(expr::CMP_DATA)
                    .and_then(|data| data.nested().get(expr::DATA_VALUE))
                {
                    self.compare(number(expr::CMP_OP), data.payload);
                }
            }
            "immediate" => {
                let value = data
                    .get(expr::IMMEDIATE_DATA)
                    .and_then(|data| data.nested().get(expr::DATA_VALUE));
                if let Some(value) = value {
                    let into = number(expr::IMMEDIATE_DREG);
                    self.immediate.insert(into, value.payload.to_vec());
                }
            }
            "nat" if number(expr::NAT_TYPE) == expr::NAT_DNAT => {
                let value = |attribute| {
                    let register = data.get(attribute)?.u32();
                    self.immediate.get(&register)
                };
                self.forwarding.to = value(expr::NAT_REG_ADDR_MIN).and_then(|bytes| address(bytes));
                self.forwarding.to_port = value(expr::NAT_REG_PROTO_MIN).and_then(|bytes| port(bytes));
                self.forwards = true;
            }
            "target" => self.target(text(&data, expr::TARGET_NAME), data.get(expr::TARGET_INFO)),
            _ => self.loaded = Loaded::Other,
        }
    }

    fn compare(&mut self, op: u32, data: &[u8]) {
        match (self.loaded, op) {
            (Loaded::Protocol, expr::CMP_EQ) => {
                self.forwarding.protocol = data.first().map(|&number| Protocol(number));
            }
            (Loaded::Port, expr::CMP_EQ) => self.forwarding.ports = port(data).map(PortRange::one),
            (Loaded::Port, expr::CMP_GTE) => self.at_least = port(data),
            (Loaded::Port, expr::CMP_LTE) => {
                let last = port(data);
                let ends = self.at_least.zip(last);
                self.forwarding.ports = ends.map(|(first, last)| PortRange { first, last });
            }
            (Loaded::Destination, expr::CMP_EQ) => self.forwarding.address = address(data),
            _ => {}
        }
    }

    /// A target of xtables, as iptables-nft has them.
    fn target(&mut self, name: &str, info: Option<Attribute<'_>>) {
        match name {
            "DROP" | "REJECT" => self.drops = true,
            "DNAT" => {
                // struct nf_nat_range2: flags, the addresses from and to (of 16 bytes each), the ports from and to.
                const FLAG_PORTS: u32 = 2;
                let info = info.map_or(&[][..], |info| info.payload);
                let flags = info.first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes));
                self.forwarding.to = info.get(4..8).and_then(address);
                let to_port = info.get(36..38).and_then(port);
                self.forwarding.to_port = to_port.filter(|_| flags & FLAG_PORTS != 0);
                self.forwards = true;
            }
            _ => {}
        }
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()),
        _ => None,
    }
}

/// A port at the head of a register.
fn port(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}
