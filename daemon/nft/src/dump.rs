//! Our table as the kernel holds it.

use std::collections::BTreeMap;

use nix::errno::Errno;
use nix::libc;
use palisade_rules::ruleset::{Elements, TABLE};

use crate::abi::{chain, elem, msg, obj, rule, set, table, udata, verdict};
use crate::attribute::{Attribute, Attributes};
use crate::decode;
use crate::elements;
use crate::kind::{Form, MapKind, SetKind};
use crate::message::MessageBuilder;
use crate::program::Instruction;
use crate::socket::{RequestError, Socket, nft_message, request_flags};
use crate::userdata::decode_comment;
use crate::ways::{self, Way};

/// One table, whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelTable {
    /// Whether somebody switched it off (`flags dormant`).
    pub dormant: bool,
    /// Whether it outlives its owner (`flags persist`), who was somebody at some time.
    pub persists: bool,
    /// The port of the netlink socket that it belongs to; nobody else can change it while that is open.
    pub owner: Option<u32>,
    /// Its chains in the order in which they are listed.
    pub chains: Vec<KernelChain>,
    /// Its named sets.
    pub sets: BTreeMap<String, KernelSet>,
    /// Its named maps.
    pub maps: BTreeMap<String, KernelMap>,
    /// Its named counters.
    pub counters: BTreeMap<String, KernelCounter>,
    /// Its other named objects (quotas, limits and so on): type as `NFT_OBJECT_*` and name. Palisade makes none.
    pub foreign_objects: Vec<(u32, String)>,
}

/// A chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelChain {
    /// Its name.
    pub name: String,
    /// Where it hangs, for a base chain.
    pub base: Option<KernelBase>,
    /// Its comment, empty for none.
    pub comment: String,
    /// Its rules, in order.
    pub rules: Vec<KernelRule>,
}

/// Where a base chain hangs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelBase {
    /// `NF_INET_*`.
    pub hook: u32,
    /// The priority among the base chains of the hook.
    pub priority: i32,
    /// The type, `filter` for ours.
    pub kind: String,
    /// Whether its policy is accept.
    pub accepts: bool,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelRule {
    /// The kernel's number for it.
    pub handle: u64,
    /// What it does.
    pub program: Vec<Instruction>,
    /// Its comment, empty for none.
    pub comment: String,
}

/// A set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelSet {
    /// What it can hold; `None` if palisade makes no such sets.
    pub kind: Option<SetKind>,
    /// Its comment, empty for none.
    pub comment: String,
    /// What it holds, sorted; `None` if it is of no form that palisade makes.
    pub elements: Option<Elements>,
}

/// A map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelMap {
    /// What it is looked up by; `None` if palisade makes no such maps.
    pub kind: Option<MapKind>,
    /// Its comment, empty for none.
    pub comment: String,
    /// What it holds, in order; `None` if it is of no form that palisade makes.
    pub ways: Option<Vec<Way>>,
}

/// A named counter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelCounter {
    /// What it has counted.
    pub value: CounterValue,
    /// Its comment, empty for none.
    pub comment: String,
}

/// What a counter has counted since it was created, and what it began at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CounterValue {
    /// Packets.
    pub packets: u64,
    /// Bytes, from the IP header on.
    pub bytes: u64,
}

/// The number of the kernel's current generation; every commit to any table makes another.
pub(crate) fn generation(socket: &mut Socket) -> Result<u32, RequestError> {
    let mut id = 0;
    socket.request(
        false,
        |buffer, seq| {
            MessageBuilder::new(buffer, nft_message(msg::GET_GEN), request_flags(0), seq).finish();
        },
        |message| {
            id = message
                .attributes()
                .get(crate::abi::generation::ID)
                .map_or(0, |id| id.u32());
        },
    )?;
    Ok(id)
}

/// Our table, or `None` if there is none. It is of one piece only if the generation is the same before and after.
pub(crate) fn table(socket: &mut Socket) -> Result<Option<KernelTable>, RequestError> {
    let Some(head) = head(socket, TABLE)? else {
        return Ok(None);
    };
    let mut chains = chains(socket)?;
    for chain in &mut chains {
        chain.rules = rules(socket, &chain.name)?;
    }
    let (mut sets, mut maps) = sets(socket)?;
    for (name, set) in &mut sets {
        if let Some(kind) = set.kind {
            set.elements = set_elements(socket, name, kind)?;
        }
    }
    for (name, map) in &mut maps {
        if let Some(kind) = map.kind {
            map.ways = map_ways(socket, name, kind)?;
        }
    }
    let mut counters = BTreeMap::new();
    let mut foreign_objects = Vec::new();
    objects(socket, None, |name, kind, attributes| {
        if kind == obj::COUNTER {
            let comment = comment(attributes, obj::USERDATA, udata::COMMENT);
            let value = counter_value(attributes);
            counters.insert(name.to_owned(), KernelCounter { value, comment });
        } else {
            foreign_objects.push((kind, name.to_owned()));
        }
    })?;
    Ok(Some(KernelTable {
        dormant: head.dormant(),
        persists: head.flags & table::F_PERSIST != 0,
        owner: head.owner,
        chains,
        sets,
        maps,
        counters,
        foreign_objects,
    }))
}

/// Gives name and value of each of our counters to `each`; there are none if there is no table.
///
/// The kernel starts at the head of its list for every 32 KiB that it dumps, so this takes 8 ms for 10,000 counters and
/// over a second for 100,000.
pub(crate) fn counters(
    socket: &mut Socket,
    mut each: impl FnMut(&str, CounterValue),
) -> Result<(), RequestError> {
    objects(socket, Some(obj::COUNTER), |name, _, attributes| {
        each(name, counter_value(attributes));
    })
}

/// What the kernel says of a table itself.
pub(crate) struct Head {
    /// Its number: no other table of the namespace has had it.
    pub(crate) handle: u64,
    /// Its flags.
    pub(crate) flags: u32,
    /// The port of the netlink socket that it belongs to.
    pub(crate) owner: Option<u32>,
    /// Its comment, empty for none.
    pub(crate) comment: String,
}

impl Head {
    /// Whether it is switched off.
    fn dormant(&self) -> bool {
        self.flags & table::F_DORMANT != 0
    }
}

/// A table of family inet without what is in it, or `None` if there is none.
pub(crate) fn head(socket: &mut Socket, name: &str) -> Result<Option<Head>, RequestError> {
    let mut head = Head {
        handle: 0,
        flags: 0,
        owner: None,
        comment: String::new(),
    };
    let answer = socket.request(
        false,
        |buffer, seq| {
            MessageBuilder::new(buffer, nft_message(msg::GET_TABLE), request_flags(0), seq)
                .put_text(table::NAME, name)
                .finish();
        },
        |message| {
            let attributes = message.attributes();
            head = Head {
                handle: attributes.get(table::HANDLE).map_or(0, |handle| handle.u64()),
                flags: attributes.get(table::FLAGS).map_or(0, |flags| flags.u32()),
                owner: attributes.get(table::OWNER).map(|owner| owner.u32()),
                comment: comment(&attributes, table::USERDATA, udata::COMMENT),
            };
        },
    );
    match answer {
        Ok(()) => Ok(Some(head)),
        Err(RequestError::Refused(failure)) if failure.errno == Errno::ENOENT => Ok(None),
        Err(error) => Err(error),
    }
}

fn chains(socket: &mut Socket) -> Result<Vec<KernelChain>, RequestError> {
    let mut chains = Vec::new();
    dump(socket, msg::GET_CHAIN, &[(chain::TABLE, TABLE)], |attributes| {
        // Older kernels dump the chains of every table.
        if text(attributes, chain::TABLE) != TABLE {
            return;
        }
        chains.push(KernelChain {
            name: text(attributes, chain::NAME).to_owned(),
            base: base(attributes),
            comment: comment(attributes, chain::USERDATA, udata::COMMENT),
            rules: Vec::new(),
        });
    })?;
    Ok(chains)
}

/// Where a chain hangs; only base chains have a hook.
pub(crate) fn base(attributes: &Attributes<'_>) -> Option<KernelBase> {
    let hook = attributes.get(chain::HOOK)?.nested();
    Some(KernelBase {
        hook: hook.get(chain::HOOK_HOOKNUM).map_or(u32::MAX, |n| n.u32()),
        priority: hook.get(chain::HOOK_PRIORITY).map_or(0, |n| n.i32()),
        kind: text(attributes, chain::TYPE).to_owned(),
        accepts: attributes
            .get(chain::POLICY)
            .is_some_and(|policy| policy.i32() == verdict::ACCEPT),
    })
}

/// The rules of one chain. All at once would take the kernel quadratic time.
pub(crate) fn rules(socket: &mut Socket, chain: &str) -> Result<Vec<KernelRule>, RequestError> {
    let mut rules = Vec::new();
    let filter = [(rule::TABLE, TABLE), (rule::CHAIN, chain)];
    dump(socket, msg::GET_RULE, &filter, |attributes| {
        rules.push(KernelRule {
            handle: attributes.get(rule::HANDLE).map_or(0, |handle| handle.u64()),
            program: attributes
                .get(rule::EXPRESSIONS)
                .map_or_else(Vec::new, decode::program),
            comment: comment(attributes, rule::USERDATA, udata::COMMENT),
        });
    })?;
    Ok(rules)
}

/// Sets and maps by name.
type Sets = (BTreeMap<String, KernelSet>, BTreeMap<String, KernelMap>);

/// The named sets and maps without their elements. An anonymous set lives and dies with the rule that it is part of.
fn sets(socket: &mut Socket) -> Result<Sets, RequestError> {
    let (mut sets, mut maps) = (BTreeMap::new(), BTreeMap::new());
    dump(socket, msg::GET_SET, &[(set::TABLE, TABLE)], |attributes| {
        let number = |attribute| attributes.get(attribute).map_or(0, |a: Attribute<'_>| a.u32());
        let form = Form {
            flags: number(set::FLAGS),
            key_type: number(set::KEY_TYPE),
            key_length: number(set::KEY_LEN),
        };
        if text(attributes, set::TABLE) != TABLE || form.flags & set::F_ANONYMOUS != 0 {
            return;
        }
        let name = text(attributes, set::NAME).to_owned();
        let comment = comment(attributes, set::USERDATA, udata::SET_COMMENT);
        if form.flags & (set::F_MAP | set::F_OBJECT) == 0 {
            let kind = SetKind::ALL.into_iter().find(|kind| kind.form() == form);
            let elements = None;
            sets.insert(
                name,
                KernelSet {
                    kind,
                    comment,
                    elements,
                },
            );
        } else {
            let leads_on = number(set::DATA_TYPE) == set::DATA_VERDICT;
            let mut kinds = MapKind::ALL.into_iter().filter(|_| leads_on);
            let kind = kinds.find(|kind| kind.form() == form);
            let ways = None;
            maps.insert(name, KernelMap { kind, comment, ways });
        }
    })?;
    Ok((sets, maps))
}

/// What a set holds; `None` if that is of no form that palisade makes.
pub(crate) fn set_elements(
    socket: &mut Socket,
    name: &str,
    kind: SetKind,
) -> Result<Option<Elements>, RequestError> {
    let raw = elements_of(socket, name, |element| elements::decode(element, kind))?;
    Ok(raw.and_then(|raw| elements::collect(kind, raw)))
}

/// What a map holds, in order; `None` if that is of no form that palisade makes.
pub(crate) fn map_ways(
    socket: &mut Socket,
    name: &str,
    kind: MapKind,
) -> Result<Option<Vec<Way>>, RequestError> {
    let raw = elements_of(socket, name, |element| ways::decode(element, kind))?;
    Ok(raw.and_then(|raw| ways::collect(kind, raw)))
}

/// The elements of a set or map, or `None` if `decode` does not know all of them.
fn elements_of<T>(
    socket: &mut Socket,
    name: &str,
    decode: impl Fn(Attribute<'_>) -> Option<T>,
) -> Result<Option<Vec<T>>, RequestError> {
    let mut known = Some(Vec::new());
    let filter = [(elem::LIST_TABLE, TABLE), (elem::LIST_SET, name)];
    dump(socket, msg::GET_SET_ELEM, &filter, |attributes| {
        let Some(list) = attributes.get(elem::LIST_ELEMENTS) else {
            return;
        };
        for element in list.nested() {
            known = known.take().and_then(|mut known| {
                known.push(decode(element)?);
                Some(known)
            });
        }
    })?;
    Ok(known)
}

/// Gives name, type and attributes of our named objects to `each`: of all, or of one type.
fn objects(
    socket: &mut Socket,
    kind: Option<u32>,
    mut each: impl FnMut(&str, u32, &Attributes<'_>),
) -> Result<(), RequestError> {
    socket.request(
        true,
        |buffer, seq| {
            let flags = request_flags(libc::NLM_F_DUMP);
            let message = MessageBuilder::new(buffer, nft_message(msg::GET_OBJ), flags, seq)
                .put_text(obj::TABLE, TABLE);
            match kind {
                Some(kind) => message.put(obj::TYPE, &kind.to_be_bytes()).finish(),
                None => message.finish(),
            }
        },
        |message| {
            let attributes = message.attributes();
            if text(&attributes, obj::TABLE) == TABLE {
                let kind = attributes.get(obj::TYPE).map_or(0, |kind| kind.u32());
                each(text(&attributes, obj::NAME), kind, &attributes);
            }
        },
    )
}

fn dump(
    socket: &mut Socket,
    kind: u16,
    filter: &[(u16, &str)],
    mut each: impl FnMut(&Attributes<'_>),
) -> Result<(), RequestError> {
    let answer = socket.request(
        true,
        |buffer, seq| {
            let message =
                MessageBuilder::new(buffer, nft_message(kind), request_flags(libc::NLM_F_DUMP), seq);
            filter
                .iter()
                .fold(message, |message, (attribute, text)| {
                    message.put_text(*attribute, text)
                })
                .finish();
        },
        |message| each(&message.attributes()),
    );
    match answer {
        // What was listed a moment ago is gone.
        Err(RequestError::Refused(failure)) if failure.errno == Errno::ENOENT => {
            Err(RequestError::Interrupted)
        }
        answer => answer,
    }
}

pub(crate) fn text<'a>(attributes: &Attributes<'a>, attribute: u16) -> &'a str {
    attributes.get(attribute).as_ref().map_or("", Attribute::text)
}

fn comment(attributes: &Attributes<'_>, attribute: u16, kind: u8) -> String {
    attributes
        .get(attribute)
        .map_or_else(String::new, |userdata| decode_comment(kind, userdata.payload))
}

pub(crate) fn counter_value(attributes: &Attributes<'_>) -> CounterValue {
    let number = |attribute| {
        let data = attributes.get(obj::DATA)?;
        data.nested().get(attribute).map(|number| number.u64())
    };
    CounterValue {
        packets: number(obj::COUNTER_PACKETS).unwrap_or(0),
        bytes: number(obj::COUNTER_BYTES).unwrap_or(0),
    }
}
