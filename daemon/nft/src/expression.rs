//! An instruction as libnftnl's expression.

use std::ffi::{CStr, c_void};
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

use nftnl::nftnl_sys as sys;
use palisade_rules::ruleset::Log;

use crate::abi::{expr, obj, verdict};
use crate::handle::{EncodeError, allocated, attribute_number, c_text};
use crate::program::{Data, Instruction, Verdict};

/// An owned expression.
pub(crate) struct Expression(NonNull<sys::nftnl_expr>);

impl Expression {
    /// The expression that an instruction is.
    pub(crate) fn new(instruction: &Instruction) -> Result<Self, EncodeError> {
        match instruction {
            Instruction::MetaLoad(key, register) => {
                let mut expression = Expression::alloc(c"meta");
                expression.set_u32(sys::NFTNL_EXPR_META_KEY, *key as u32);
                expression.set_u32(sys::NFTNL_EXPR_META_DREG, register.number());
                Ok(expression)
            }
            Instruction::MetaSet(key) => {
                let mut expression = Expression::alloc(c"meta");
                expression.set_u32(sys::NFTNL_EXPR_META_KEY, *key as u32);
                expression.set_u32(sys::NFTNL_EXPR_META_SREG, expr::REG_1);
                Ok(expression)
            }
            Instruction::CtStateLoad => {
                let mut expression = Expression::alloc(c"ct");
                expression.set_u32(sys::NFTNL_EXPR_CT_KEY, expr::CT_STATE);
                expression.set_u32(sys::NFTNL_EXPR_CT_DREG, expr::REG_1);
                Ok(expression)
            }
            Instruction::SocketCgroupLoad { level } => {
                let mut expression = Expression::alloc(c"socket");
                expression.set_u32(sys::NFTNL_EXPR_SOCKET_KEY, expr::SOCKET_CGROUPV2);
                expression.set_u32(sys::NFTNL_EXPR_SOCKET_DREG, expr::REG_1);
                expression.set_u32(sys::NFTNL_EXPR_SOCKET_LEVEL, *level);
                Ok(expression)
            }
            Instruction::PayloadLoad {
                base,
                offset,
                length,
                register,
            } => {
                let mut expression = Expression::alloc(c"payload");
                expression.set_u32(sys::NFTNL_EXPR_PAYLOAD_BASE, *base as u32);
                expression.set_u32(sys::NFTNL_EXPR_PAYLOAD_OFFSET, *offset);
                expression.set_u32(sys::NFTNL_EXPR_PAYLOAD_LEN, *length);
                expression.set_u32(sys::NFTNL_EXPR_PAYLOAD_DREG, register.number());
                Ok(expression)
            }
            Instruction::Compare(op, data) => {
                let mut expression = Expression::alloc(c"cmp");
                expression.set_u32(sys::NFTNL_EXPR_CMP_SREG, expr::REG_1);
                expression.set_u32(sys::NFTNL_EXPR_CMP_OP, *op as u32);
                expression.set_data(sys::NFTNL_EXPR_CMP_DATA, data);
                Ok(expression)
            }
            Instruction::Bitwise { mask, xor } => {
                let mut expression = Expression::alloc(c"bitwise");
                expression.set_u32(sys::NFTNL_EXPR_BITWISE_SREG, expr::REG_1);
                expression.set_u32(sys::NFTNL_EXPR_BITWISE_DREG, expr::REG_1);
                expression.set_u32(sys::NFTNL_EXPR_BITWISE_LEN, mask.length());
                expression.set_data(sys::NFTNL_EXPR_BITWISE_MASK, mask);
                expression.set_data(sys::NFTNL_EXPR_BITWISE_XOR, xor);
                Ok(expression)
            }
            Instruction::Hash {
                from,
                length,
                modulus,
                seed,
            } => {
                let mut expression = Expression::alloc(c"hash");
                expression.set_u32(sys::NFTNL_EXPR_HASH_SREG, from.number());
                expression.set_u32(sys::NFTNL_EXPR_HASH_DREG, expr::REG_1);
                expression.set_u32(sys::NFTNL_EXPR_HASH_LEN, *length);
                expression.set_u32(sys::NFTNL_EXPR_HASH_MODULUS, *modulus);
                expression.set_u32(sys::NFTNL_EXPR_HASH_SEED, *seed);
                expression.set_u32(sys::NFTNL_EXPR_HASH_TYPE, expr::HASH_JENKINS);
                Ok(expression)
            }
            Instruction::ToNetworkOrder => {
                let mut expression = Expression::alloc(c"byteorder");
                expression.set_u32(sys::NFTNL_EXPR_BYTEORDER_SREG, expr::REG_1);
                expression.set_u32(sys::NFTNL_EXPR_BYTEORDER_DREG, expr::REG_1);
                expression.set_u32(sys::NFTNL_EXPR_BYTEORDER_OP, expr::BYTEORDER_HTON);
                expression.set_u32(sys::NFTNL_EXPR_BYTEORDER_LEN, expr::WORD);
                expression.set_u32(sys::NFTNL_EXPR_BYTEORDER_SIZE, expr::WORD);
                Ok(expression)
            }
            Instruction::OutsideRange(first, last) => {
                let mut expression = Expression::alloc(c"range");
                expression.set_u32(sys::NFTNL_EXPR_RANGE_SREG, expr::REG_1);
                expression.set_u32(sys::NFTNL_EXPR_RANGE_OP, expr::RANGE_NEQ);
                expression.set_data(sys::NFTNL_EXPR_RANGE_FROM_DATA, first);
                expression.set_data(sys::NFTNL_EXPR_RANGE_TO_DATA, last);
                Ok(expression)
            }
            Instruction::Lookup { set, inverted } => {
                let set = c_text(set)?;
                let mut expression = Expression::alloc(c"lookup");
                expression.set_u32(sys::NFTNL_EXPR_LOOKUP_SREG, expr::REG_1);
                expression.set_text(sys::NFTNL_EXPR_LOOKUP_SET, &set);
                if *inverted {
                    expression.set_u32(sys::NFTNL_EXPR_LOOKUP_FLAGS, expr::LOOKUP_F_INV);
                }
                Ok(expression)
            }
            Instruction::LookupVerdict(map) => {
                let map = c_text(map)?;
                let mut expression = Expression::alloc(c"lookup");
                expression.set_u32(sys::NFTNL_EXPR_LOOKUP_SREG, expr::REG_1);
                expression.set_u32(sys::NFTNL_EXPR_LOOKUP_DREG, expr::REG_VERDICT);
                expression.set_text(sys::NFTNL_EXPR_LOOKUP_SET, &map);
                Ok(expression)
            }
            Instruction::Verdict(verdict) => Expression::verdict(verdict),
            Instruction::Reject { kind, code } => {
                let mut expression = Expression::alloc(c"reject");
                expression.set_u32(sys::NFTNL_EXPR_REJECT_TYPE, *kind);
                expression.set_u8(sys::NFTNL_EXPR_REJECT_CODE, *code);
                Ok(expression)
            }
            Instruction::Counter(name) => {
                let name = c_text(name)?;
                let mut expression = Expression::alloc(c"objref");
                expression.set_u32(sys::NFTNL_EXPR_OBJREF_IMM_TYPE, obj::COUNTER);
                expression.set_text(sys::NFTNL_EXPR_OBJREF_IMM_NAME, &name);
                Ok(expression)
            }
            Instruction::Limit { per_second, burst } => {
                let mut expression = Expression::alloc(c"limit");
                expression.set_u64(sys::NFTNL_EXPR_LIMIT_RATE, u64::from(*per_second));
                expression.set_u64(sys::NFTNL_EXPR_LIMIT_UNIT, expr::LIMIT_PER_SECOND);
                expression.set_u32(sys::NFTNL_EXPR_LIMIT_BURST, *burst);
                expression.set_u32(sys::NFTNL_EXPR_LIMIT_TYPE, expr::LIMIT_TYPE_PACKETS);
                Ok(expression)
            }
            Instruction::Notrack => Ok(Expression::alloc(c"notrack")),
            Instruction::Log(log) => Expression::log(log),
            Instruction::Foreign(name) => Err(EncodeError::Foreign(name.clone())),
        }
    }

    fn verdict(verdict: &Verdict) -> Result<Self, EncodeError> {
        let (code, chain) = match verdict {
            Verdict::Accept => (verdict::ACCEPT, None),
            Verdict::Drop => (verdict::DROP, None),
            Verdict::Return => (verdict::RETURN, None),
            Verdict::Jump(chain) => (verdict::JUMP, Some(c_text(chain)?)),
            Verdict::Goto(chain) => (verdict::GOTO, Some(c_text(chain)?)),
        };
        let mut expression = Expression::alloc(c"immediate");
        expression.set_u32(sys::NFTNL_EXPR_IMM_DREG, expr::REG_VERDICT);
        if let Some(chain) = chain {
            expression.set_text(sys::NFTNL_EXPR_IMM_CHAIN, &chain);
        }
        expression.set_u32(sys::NFTNL_EXPR_IMM_VERDICT, code.cast_unsigned());
        Ok(expression)
    }

    fn log(log: &Log) -> Result<Self, EncodeError> {
        let prefix = c_text(&log.prefix)?;
        let mut expression = Expression::alloc(c"log");
        if !log.prefix.is_empty() {
            expression.set_text(sys::NFTNL_EXPR_LOG_PREFIX, &prefix);
        }
        expression.set_u16(sys::NFTNL_EXPR_LOG_GROUP, log.group);
        // Zero is what the kernel takes for "not given", and it lists it so.
        if log.snaplen > 0 {
            expression.set_u32(sys::NFTNL_EXPR_LOG_SNAPLEN, log.snaplen);
        }
        if log.queue_threshold > 0 {
            expression.set_u16(sys::NFTNL_EXPR_LOG_QTHRESHOLD, log.queue_threshold);
        }
        Ok(expression)
    }

    /// Gives the expression away to what will free it.
    pub(crate) fn into_raw(self) -> *mut sys::nftnl_expr {
        ManuallyDrop::new(self).0.as_ptr()
    }

    fn alloc(kind: &CStr) -> Self {
        // SAFETY: the name is a C string, which is only read.
        Expression(allocated(unsafe { sys::nftnl_expr_alloc(kind.as_ptr()) }))
    }

    // libnftnl finds the attribute by its number in the expression's own kind, copies as many bytes as that attribute
    // has, and ignores a number that the kind lacks. The setters are private, and each use above gives the
    // attribute its own type as libnftnl's `src/expr/*.c` has it.

    fn set_u8(&mut self, attribute: u32, value: u8) {
        // SAFETY: the expression is alive and ours alone; the attribute holds 8 bits (see above).
        unsafe { sys::nftnl_expr_set_u8(self.0.as_ptr(), attribute_number(attribute), value) };
    }

    fn set_u16(&mut self, attribute: u32, value: u16) {
        // SAFETY: the expression is alive and ours alone; the attribute holds 16 bits (see above).
        unsafe { sys::nftnl_expr_set_u16(self.0.as_ptr(), attribute_number(attribute), value) };
    }

    fn set_u32(&mut self, attribute: u32, value: u32) {
        // SAFETY: the expression is alive and ours alone; the attribute holds 32 bits (see above).
        unsafe { sys::nftnl_expr_set_u32(self.0.as_ptr(), attribute_number(attribute), value) };
    }

    fn set_u64(&mut self, attribute: u32, value: u64) {
        // SAFETY: the expression is alive and ours alone; the attribute holds 64 bits (see above).
        unsafe { sys::nftnl_expr_set_u64(self.0.as_ptr(), attribute_number(attribute), value) };
    }

    fn set_text(&mut self, attribute: u32, value: &CStr) {
        // SAFETY: the expression is alive and ours alone; the attribute holds a text, which is copied.
        unsafe { sys::nftnl_expr_set_str(self.0.as_ptr(), attribute_number(attribute), value.as_ptr()) };
    }

    fn set_data(&mut self, attribute: u32, value: &Data) {
        // SAFETY: the expression is alive and ours alone; the attribute holds register data, into which up to 64 bytes
        // are copied, and a `Data` has at most 16.
        unsafe {
            sys::nftnl_expr_set(
                self.0.as_ptr(),
                attribute_number(attribute),
                value.as_bytes().as_ptr().cast::<c_void>(),
                value.length(),
            )
        };
    }
}

impl Drop for Expression {
    fn drop(&mut self) {
        // SAFETY: the expression was allocated by libnftnl, and nothing refers to it any more.
        unsafe { sys::nftnl_expr_free(self.0.as_ptr()) };
    }
}
