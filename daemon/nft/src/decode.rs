//! Expressions of the kernel's rules as instructions. What palisade does not make is kept by name.

use palisade_rules::ruleset::Log;

use crate::abi::{expr, obj, rule, verdict};
use crate::attribute::{Attribute, Attributes};
use crate::program::{CompareOp, Data, Instruction, MetaKey, PayloadBase, Register, Verdict};

/// The instructions of a rule from its `NFTA_RULE_EXPRESSIONS`.
pub(crate) fn program(expressions: Attribute<'_>) -> Vec<Instruction> {
    expressions
        .nested()
        .map(|expression| instruction(&expression.nested()))
        .collect()
}

fn instruction(expression: &Attributes<'_>) -> Instruction {
    let name = expression.get(rule::EXPR_NAME).map_or("", |name| name.text());
    let data = expression
        .get(rule::EXPR_DATA)
        .map_or(Attributes::new(&[]), |data| data.nested());
    let decoded = match name {
        "meta" => meta(&data),
        "ct" => ct(&data),
        "payload" => payload(&data),
        "cmp" => compare(&data),
        "bitwise" => bitwise(&data),
        "hash" => hash(&data),
        "byteorder" => byteorder(&data),
        "range" => range(&data),
        "lookup" => lookup(&data),
        "immediate" => immediate(&data),
        "reject" => reject(&data),
        "objref" => objref(&data),
        "socket" => socket(&data),
        "limit" => limit(&data),
        "notrack" => Some(Instruction::Notrack),
        "log" => log(&data),
        _ => None,
    };
    decoded.unwrap_or_else(|| Instruction::Foreign(name.to_owned()))
}

fn meta(data: &Attributes<'_>) -> Option<Instruction> {
    let number = data.get(expr::META_KEY)?.u32();
    let key = MetaKey::ALL.into_iter().find(|&key| key as u32 == number)?;
    if let Some(into) = register(data, expr::META_DREG) {
        Some(Instruction::MetaLoad(key, into))
    } else if is_register_1(data, expr::META_SREG) {
        Some(Instruction::MetaSet(key))
    } else {
        None
    }
}

fn ct(data: &Attributes<'_>) -> Option<Instruction> {
    let is_state = data.get(expr::CT_KEY)?.u32() == expr::CT_STATE;
    let is_plain = data.get(expr::CT_DIRECTION).is_none() && is_register_1(data, expr::CT_DREG);
    (is_state && is_plain).then_some(Instruction::CtStateLoad)
}

fn payload(data: &Attributes<'_>) -> Option<Instruction> {
    let number = data.get(expr::PAYLOAD_BASE)?.u32();
    let base = [PayloadBase::Network, PayloadBase::Transport]
        .into_iter()
        .find(|&base| base as u32 == number)?;
    Some(Instruction::PayloadLoad {
        base,
        offset: data.get(expr::PAYLOAD_OFFSET)?.u32(),
        length: data.get(expr::PAYLOAD_LEN)?.u32(),
        // The expression that writes into the packet has a source register instead.
        register: register(data, expr::PAYLOAD_DREG)?,
    })
}

fn compare(data: &Attributes<'_>) -> Option<Instruction> {
    is_register_1(data, expr::CMP_SREG).then_some(())?;
    let number = data.get(expr::CMP_OP)?.u32();
    let op = CompareOp::ALL.into_iter().find(|&op| op as u32 == number)?;
    Some(Instruction::Compare(op, value(data, expr::CMP_DATA)?))
}

fn bitwise(data: &Attributes<'_>) -> Option<Instruction> {
    let is_mask_and_xor = data.get(expr::BITWISE_OP).is_none_or(|op| op.u32() == 0);
    let is_in_place = is_register_1(data, expr::BITWISE_SREG) && is_register_1(data, expr::BITWISE_DREG);
    (is_mask_and_xor && is_in_place).then_some(())?;
    Some(Instruction::Bitwise {
        mask: value(data, expr::BITWISE_MASK)?,
        xor: value(data, expr::BITWISE_XOR)?,
    })
}

fn hash(data: &Attributes<'_>) -> Option<Instruction> {
    let is_jenkins = data.get(expr::HASH_TYPE)?.u32() == expr::HASH_JENKINS;
    let is_plain = data.get(expr::HASH_OFFSET).is_none_or(|offset| offset.u32() == 0);
    (is_jenkins && is_plain && is_register_1(data, expr::HASH_DREG)).then_some(())?;
    Some(Instruction::Hash {
        from: register(data, expr::HASH_SREG)?,
        length: data.get(expr::HASH_LEN)?.u32(),
        modulus: data.get(expr::HASH_MODULUS)?.u32(),
        // Without one the kernel has made it up.
        seed: data.get(expr::HASH_SEED)?.u32(),
    })
}

fn byteorder(data: &Attributes<'_>) -> Option<Instruction> {
    let is_in_place = is_register_1(data, expr::BYTEORDER_SREG) && is_register_1(data, expr::BYTEORDER_DREG);
    let numbers = [
        (expr::BYTEORDER_OP, expr::BYTEORDER_HTON),
        (expr::BYTEORDER_LEN, expr::WORD),
        (expr::BYTEORDER_SIZE, expr::WORD),
    ];
    let mut numbers = numbers.into_iter();
    let is_of_a_word =
        numbers.all(|(attribute, number)| data.get(attribute).is_some_and(|found| found.u32() == number));
    (is_in_place && is_of_a_word).then_some(Instruction::ToNetworkOrder)
}

fn range(data: &Attributes<'_>) -> Option<Instruction> {
    let is_outside = data.get(expr::RANGE_OP)?.u32() == expr::RANGE_NEQ;
    (is_outside && is_register_1(data, expr::RANGE_SREG)).then_some(())?;
    Some(Instruction::OutsideRange(
        value(data, expr::RANGE_FROM_DATA)?,
        value(data, expr::RANGE_TO_DATA)?,
    ))
}

fn lookup(data: &Attributes<'_>) -> Option<Instruction> {
    is_register_1(data, expr::LOOKUP_SREG).then_some(())?;
    let set = data.get(expr::LOOKUP_SET)?.text().to_owned();
    let flags = data.get(expr::LOOKUP_FLAGS).map_or(0, |flags| flags.u32());
    match (data.get(expr::LOOKUP_DREG).map(|into| into.u32()), flags) {
        (None, 0 | expr::LOOKUP_F_INV) => Some(Instruction::Lookup {
            set,
            inverted: flags == expr::LOOKUP_F_INV,
        }),
        (Some(expr::REG_VERDICT), 0) => Some(Instruction::LookupVerdict(set)),
        _ => None,
    }
}

fn immediate(data: &Attributes<'_>) -> Option<Instruction> {
    let is_verdict = data.get(expr::IMMEDIATE_DREG)?.u32() == expr::REG_VERDICT;
    is_verdict.then_some(())?;
    let verdict = data
        .get(expr::IMMEDIATE_DATA)?
        .nested()
        .get(expr::DATA_VERDICT)?
        .nested();
    let chain = || {
        verdict
            .get(expr::VERDICT_CHAIN)
            .map(|chain| chain.text().to_owned())
    };
    let verdict = match verdict.get(expr::VERDICT_CODE)?.i32() {
        verdict::ACCEPT => Verdict::Accept,
        verdict::DROP => Verdict::Drop,
        verdict::RETURN => Verdict::Return,
        verdict::JUMP => Verdict::Jump(chain()?),
        verdict::GOTO => Verdict::Goto(chain()?),
        _ => return None,
    };
    Some(Instruction::Verdict(verdict))
}

fn reject(data: &Attributes<'_>) -> Option<Instruction> {
    Some(Instruction::Reject {
        kind: data.get(expr::REJECT_TYPE)?.u32(),
        code: data
            .get(expr::REJECT_ICMP_CODE)
            .and_then(|code| code.payload.first().copied())
            .unwrap_or(0),
    })
}

fn objref(data: &Attributes<'_>) -> Option<Instruction> {
    let is_counter = data.get(expr::OBJREF_IMM_TYPE)?.u32() == obj::COUNTER;
    is_counter.then_some(())?;
    Some(Instruction::Counter(
        data.get(expr::OBJREF_IMM_NAME)?.text().to_owned(),
    ))
}

fn socket(data: &Attributes<'_>) -> Option<Instruction> {
    let is_cgroup = data.get(expr::SOCKET_KEY)?.u32() == expr::SOCKET_CGROUPV2;
    (is_cgroup && is_register_1(data, expr::SOCKET_DREG)).then_some(())?;
    Some(Instruction::SocketCgroupLoad {
        level: data.get(expr::SOCKET_LEVEL)?.u32(),
    })
}

fn limit(data: &Attributes<'_>) -> Option<Instruction> {
    let is_packets = data.get(expr::LIMIT_TYPE)?.u32() == expr::LIMIT_TYPE_PACKETS;
    let is_a_second = data.get(expr::LIMIT_UNIT)?.u64() == expr::LIMIT_PER_SECOND;
    let is_plain = data.get(expr::LIMIT_FLAGS).is_none_or(|flags| flags.u32() == 0);
    (is_packets && is_a_second && is_plain).then_some(())?;
    Some(Instruction::Limit {
        per_second: u32::try_from(data.get(expr::LIMIT_RATE)?.u64()).ok()?,
        burst: data.get(expr::LIMIT_BURST)?.u32(),
    })
}

fn log(data: &Attributes<'_>) -> Option<Instruction> {
    // A log without a group goes to the kernel's own log.
    let is_syslog = data.get(expr::LOG_LEVEL).is_some() || data.get(expr::LOG_FLAGS).is_some();
    (!is_syslog).then_some(())?;
    Some(Instruction::Log(Log {
        prefix: data
            .get(expr::LOG_PREFIX)
            .map_or_else(String::new, |prefix| prefix.text().to_owned()),
        group: data.get(expr::LOG_GROUP)?.u16(),
        snaplen: data.get(expr::LOG_SNAPLEN).map_or(0, |snaplen| snaplen.u32()),
        queue_threshold: data
            .get(expr::LOG_QTHRESHOLD)
            .map_or(0, |threshold| threshold.u16()),
    }))
}

fn register(data: &Attributes<'_>, attribute: u16) -> Option<Register> {
    Register::from_number(data.get(attribute)?.u32())
}

fn is_register_1(data: &Attributes<'_>, attribute: u16) -> bool {
    register(data, attribute) == Some(Register::FIRST)
}

fn value(data: &Attributes<'_>, attribute: u16) -> Option<Data> {
    Data::new(data.get(attribute)?.nested().get(expr::DATA_VALUE)?.payload)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::{nest, put};

    #[test]
    fn what_is_not_ours_keeps_its_name() {
        let mut bytes = Vec::new();
        nest(&mut bytes, 1, |bytes| put(bytes, rule::EXPR_NAME, b"quota\0"));
        let expressions = Attribute {
            kind: rule::EXPRESSIONS,
            payload: &bytes,
        };
        assert_eq!(program(expressions), [Instruction::Foreign("quota".to_owned())]);
    }

    proptest! {
        #[test]
        fn any_expression_decodes(
            name in prop::sample::select(vec![
                "meta", "ct", "payload", "cmp", "bitwise", "range", "lookup", "immediate", "reject", "objref", "socket",
                "limit", "notrack", "log", "hash", "byteorder",
            ]),
            data in proptest::collection::vec(any::<u8>(), 0..128),
        ) {
            let mut bytes = Vec::new();
            nest(&mut bytes, 1, |bytes| {
                put(bytes, rule::EXPR_NAME, name.as_bytes());
                put(bytes, rule::EXPR_DATA, &data);
            });
            prop_assert_eq!(program(Attribute { kind: rule::EXPRESSIONS, payload: &bytes }).len(), 1);
        }
    }
}
