//! libnftnl's objects, owned.
//!
//! This is where palisade talks to libnftnl. Each constructor here fills an object completely; outside there is no way
//! to set an attribute with the wrong type or to outlive the object.

use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr::NonNull;

use nftnl::nftnl_sys as sys;
use palisade_rules::ruleset::{Hook, HookPoint, TABLE};

use crate::abi::{NFPROTO_INET, obj, set, table, udata, verdict};
use crate::dump::CounterValue;
use crate::expression::Expression;
use crate::kind::Form;
use crate::program::Instruction;
use crate::userdata::encode_comment;

/// The most bytes of a name or log prefix that go into a message. The kernel takes fewer.
const MAX_TEXT: usize = 255;

/// The most instructions of a rule: each is less than 512 bytes, together less than an attribute can hold.
const MAX_INSTRUCTIONS: usize = 100;

/// What cannot be put into a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A text with a NUL.
    #[error("the name {0:?} contains a NUL byte")]
    Nul(String),
    /// A text that is too long.
    #[error("the name {0:?} is longer than {MAX_TEXT} bytes")]
    TooLong(String),
    /// A rule that is too long.
    #[error(
        "the rule has {0} instructions, nf_tables takes {MAX_INSTRUCTIONS} from palisade; split the rule"
    )]
    TooManyInstructions(usize),
    /// An instruction that palisade can only show.
    #[error("the expression \"{0}\" is not one that palisade makes")]
    Foreign(String),
}

/// Memory for one message. libnftnl writes without looking at bounds, so it is larger than any message can be: one
/// 16-bit attribute and some names.
pub(crate) struct Scratch(Vec<u64>);

impl Scratch {
    const BYTES: usize = 128 * 1024;

    pub(crate) fn new() -> Self {
        Scratch(vec![0; Self::BYTES / size_of::<u64>()])
    }
}

/// A text for libnftnl, short enough for [`Scratch`].
pub(crate) fn c_text(text: &str) -> Result<CString, EncodeError> {
    if text.len() > MAX_TEXT {
        return Err(EncodeError::TooLong(text.to_owned()));
    }
    CString::new(text).map_err(|_| EncodeError::Nul(text.to_owned()))
}

/// An allocation by libnftnl. It fails only where the process is out of memory, and that ends the process, as it does
/// in Rust's own collections.
pub(crate) fn allocated<T>(pointer: *mut T) -> NonNull<T> {
    NonNull::new(pointer).unwrap_or_else(|| std::process::abort())
}

/// An owned object of libnftnl and the functions that its kind has in common with the others.
macro_rules! object {
    ($(#[$doc:meta])* $name:ident, $raw:ident, $alloc:ident, $free:ident, $u32:ident, $str:ident, $data:ident, $build:ident) => {
        $(#[$doc])*
        pub(crate) struct $name(NonNull<sys::$raw>);

        impl $name {
            fn alloc() -> Self {
                // SAFETY: the function has no preconditions.
                $name(allocated(unsafe { sys::$alloc() }))
            }

            /// Sets a number.
            ///
            /// # Safety
            /// `attribute` must be one of this kind of object, and hold 32 bits.
            unsafe fn set_u32(&mut self, attribute: u32, value: u32) {
                // SAFETY: the object is alive and ours alone; the attribute is of this type by contract.
                unsafe { sys::$u32(self.0.as_ptr(), attribute_number(attribute), value) };
            }

            /// Sets a text, which is copied.
            ///
            /// # Safety
            /// `attribute` must be one of this kind of object, and hold a text.
            unsafe fn set_text(&mut self, attribute: u32, value: &CStr) {
                // SAFETY: the object is alive and ours alone; the attribute is of this type by contract.
                unsafe { sys::$str(self.0.as_ptr(), attribute_number(attribute), value.as_ptr()) };
            }

            /// Sets bytes, which are copied; none are left unset.
            ///
            /// # Safety
            /// `attribute` must be one of this kind of object, and hold any number of bytes.
            unsafe fn set_bytes(&mut self, attribute: u32, value: &[u8]) {
                if value.is_empty() {
                    return;
                }
                let length = u32::try_from(value.len()).unwrap_or(0);
                // SAFETY: the object is alive and ours alone; pointer and length are of one slice.
                unsafe {
                    sys::$data(self.0.as_ptr(), attribute_number(attribute), value.as_ptr().cast::<c_void>(), length)
                };
            }

            /// Appends the message of type `kind` with this object to `batch`.
            pub(crate) fn write(&self, scratch: &mut Scratch, batch: &mut Vec<u8>, kind: u16, flags: u16, seq: u32) {
                let buffer = scratch.0.as_mut_ptr().cast::<c_char>();
                // SAFETY: the buffer is aligned and larger than any message that the constructors of this module allow
                // (see `Scratch`); the object is alive, and building a message does not keep either.
                let message = unsafe {
                    let header =
                        sys::nftnl_nlmsg_build_hdr(buffer, kind, u16::from(NFPROTO_INET), flags, seq);
                    sys::$build(header, self.0.as_ptr());
                    let length = usize::try_from((*header).nlmsg_len).unwrap_or(0).min(Scratch::BYTES);
                    std::slice::from_raw_parts(buffer.cast::<u8>(), length)
                };
                batch.extend_from_slice(message);
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                // SAFETY: the object was allocated by the matching function, and nothing refers to it any more.
                unsafe { sys::$free(self.0.as_ptr()) };
            }
        }
    };
}

object!(
    /// A table.
    Table, nftnl_table, nftnl_table_alloc, nftnl_table_free,
    nftnl_table_set_u32, nftnl_table_set_str, nftnl_table_set_data, nftnl_table_nlmsg_build_payload
);
object!(
    /// A chain.
    Chain, nftnl_chain, nftnl_chain_alloc, nftnl_chain_free,
    nftnl_chain_set_u32, nftnl_chain_set_str, nftnl_chain_set_data, nftnl_chain_nlmsg_build_payload
);
object!(
    /// A rule.
    Rule, nftnl_rule, nftnl_rule_alloc, nftnl_rule_free,
    nftnl_rule_set_u32, nftnl_rule_set_str, nftnl_rule_set_data, nftnl_rule_nlmsg_build_payload
);
object!(
    /// A set without its elements.
    Set, nftnl_set, nftnl_set_alloc, nftnl_set_free,
    nftnl_set_set_u32, nftnl_set_set_str, nftnl_set_set_data, nftnl_set_nlmsg_build_payload
);
object!(
    /// A named object.
    Object, nftnl_obj, nftnl_obj_alloc, nftnl_obj_free,
    nftnl_obj_set_u32, nftnl_obj_set_str, nftnl_obj_set_data, nftnl_obj_nlmsg_build_payload
);

impl Table {
    /// Our table, by name.
    pub(crate) fn named() -> Result<Self, EncodeError> {
        let name = c_text(TABLE)?;
        let mut table = Table::alloc();
        // SAFETY: a table's name is a text.
        unsafe { table.set_text(sys::NFTNL_TABLE_NAME, &name) };
        Ok(table)
    }

    /// Our table as it is to become: dormant, with the flags that it has otherwise.
    pub(crate) fn dormant(flags: u32) -> Result<Self, EncodeError> {
        let mut dormant = Table::named()?;
        // SAFETY: a table's flags are 32 bits.
        unsafe { dormant.set_u32(sys::NFTNL_TABLE_FLAGS, flags | table::F_DORMANT) };
        Ok(dormant)
    }

    /// Our table as it is created: with flags and a comment.
    pub(crate) fn new(comment: &str, flags: u32) -> Result<Self, EncodeError> {
        let mut table = Table::named()?;
        // SAFETY: a table's flags are 32 bits, its userdata bytes.
        unsafe {
            table.set_u32(sys::NFTNL_TABLE_FLAGS, flags);
            table.set_bytes(
                sys::NFTNL_TABLE_USERDATA,
                &encode_comment(udata::COMMENT, comment),
            );
        }
        Ok(table)
    }
}

impl Chain {
    /// A chain of our table, by name.
    pub(crate) fn named(name: &str) -> Result<Self, EncodeError> {
        let (table, name) = (c_text(TABLE)?, c_text(name)?);
        let mut chain = Chain::alloc();
        // SAFETY: a chain's table and name are texts.
        unsafe {
            chain.set_text(sys::NFTNL_CHAIN_TABLE, &table);
            chain.set_text(sys::NFTNL_CHAIN_NAME, &name);
        }
        Ok(chain)
    }

    /// A chain as it is created; a base chain gets type filter and policy accept.
    pub(crate) fn new(name: &str, hook: Option<Hook>, comment: &str) -> Result<Self, EncodeError> {
        let mut chain = Chain::named(name)?;
        // SAFETY: hook number, priority and policy are 32 bits, the type is a text, userdata is bytes.
        unsafe {
            if let Some(hook) = hook {
                chain.set_u32(sys::NFTNL_CHAIN_HOOKNUM, hook_number(hook.point));
                chain.set_u32(sys::NFTNL_CHAIN_PRIO, hook.priority.cast_unsigned());
                chain.set_text(sys::NFTNL_CHAIN_TYPE, c"filter");
                chain.set_u32(sys::NFTNL_CHAIN_POLICY, verdict::ACCEPT.cast_unsigned());
            }
            chain.set_bytes(
                sys::NFTNL_CHAIN_USERDATA,
                &encode_comment(udata::COMMENT, comment),
            );
        }
        Ok(chain)
    }

    /// A base chain of which only the policy is to become accept.
    pub(crate) fn accepting(name: &str) -> Result<Self, EncodeError> {
        let mut chain = Chain::named(name)?;
        // SAFETY: a chain's policy is 32 bits.
        unsafe { chain.set_u32(sys::NFTNL_CHAIN_POLICY, verdict::ACCEPT.cast_unsigned()) };
        Ok(chain)
    }
}

impl Rule {
    /// All rules of a chain, where the message deletes.
    pub(crate) fn all_of(chain: &str) -> Result<Self, EncodeError> {
        let (table, chain) = (c_text(TABLE)?, c_text(chain)?);
        let mut rule = Rule::alloc();
        // SAFETY: a rule's family is 32 bits, its table and chain are texts.
        unsafe {
            rule.set_u32(sys::NFTNL_RULE_FAMILY, u32::from(NFPROTO_INET));
            rule.set_text(sys::NFTNL_RULE_TABLE, &table);
            rule.set_text(sys::NFTNL_RULE_CHAIN, &chain);
        }
        Ok(rule)
    }

    /// A rule as it is created.
    pub(crate) fn new(chain: &str, program: &[Instruction], comment: &str) -> Result<Self, EncodeError> {
        if program.len() > MAX_INSTRUCTIONS {
            return Err(EncodeError::TooManyInstructions(program.len()));
        }
        let mut rule = Rule::all_of(chain)?;
        for instruction in program {
            let expression = Expression::new(instruction)?;
            // SAFETY: both are alive; the rule owns the expression from here on.
            unsafe { sys::nftnl_rule_add_expr(rule.0.as_ptr(), expression.into_raw()) };
        }
        // SAFETY: a rule's userdata is bytes.
        unsafe { rule.set_bytes(sys::NFTNL_RULE_USERDATA, &encode_comment(udata::COMMENT, comment)) };
        Ok(rule)
    }
}

impl Set {
    /// A set of our table, by name.
    pub(crate) fn named(name: &str) -> Result<Self, EncodeError> {
        let (table, name) = (c_text(TABLE)?, c_text(name)?);
        let mut set = Set::alloc();
        // SAFETY: a set's table and name are texts.
        unsafe {
            set.set_text(sys::NFTNL_SET_TABLE, &table);
            set.set_text(sys::NFTNL_SET_NAME, &name);
        }
        Ok(set)
    }

    /// A set or verdict map as it is created. `id` is unique in the batch.
    pub(crate) fn new(name: &str, form: Form, comment: &str, id: u32) -> Result<Self, EncodeError> {
        let mut created = Set::named(name)?;
        // SAFETY: flags, key type, key length, data type and id are 32 bits, userdata is bytes.
        unsafe {
            created.set_u32(sys::NFTNL_SET_FLAGS, form.flags);
            created.set_u32(sys::NFTNL_SET_KEY_TYPE, form.key_type);
            created.set_u32(sys::NFTNL_SET_KEY_LEN, form.key_length);
            if form.flags & set::F_MAP != 0 {
                created.set_u32(sys::NFTNL_SET_DATA_TYPE, set::DATA_VERDICT);
            }
            created.set_u32(sys::NFTNL_SET_ID, id);
            created.set_bytes(
                sys::NFTNL_SET_USERDATA,
                &encode_comment(udata::SET_COMMENT, comment),
            );
        }
        Ok(created)
    }
}

impl Object {
    /// A counter as it is created, with what it begins at.
    pub(crate) fn counter(name: &str, value: CounterValue, comment: &str) -> Result<Self, EncodeError> {
        let (table, name) = (c_text(TABLE)?, c_text(name)?);
        let mut counter = Object::alloc();
        // SAFETY: an object's table and name are texts, its type is 32 bits (and one that libnftnl knows, which it relies
        // on when it builds the message), its userdata is bytes.
        unsafe {
            counter.set_text(sys::NFTNL_OBJ_TABLE, &table);
            counter.set_text(sys::NFTNL_OBJ_NAME, &name);
            counter.set_u32(sys::NFTNL_OBJ_TYPE, obj::COUNTER);
            counter.set_bytes(sys::NFTNL_OBJ_USERDATA, &encode_comment(udata::COMMENT, comment));
        }
        if value != CounterValue::default() {
            // SAFETY: the type was set above; both attributes are a counter's.
            unsafe {
                counter.set_u64(sys::NFTNL_OBJ_CTR_PKTS, value.packets);
                counter.set_u64(sys::NFTNL_OBJ_CTR_BYTES, value.bytes);
            }
        }
        Ok(counter)
    }
}

impl Object {
    /// Sets a number of a counter.
    ///
    /// # Safety
    /// The object must be a counter by now, and `attribute` one of a counter's, which all hold 64 bits.
    unsafe fn set_u64(&mut self, attribute: u32, value: u64) {
        // SAFETY: the object is alive and ours alone; its type and the attribute are right by contract.
        unsafe { sys::nftnl_obj_set_u64(self.0.as_ptr(), attribute_number(attribute), value) };
    }
}

/// `NF_INET_*`.
pub(crate) fn hook_number(point: HookPoint) -> u32 {
    match point {
        HookPoint::Prerouting => 0,
        HookPoint::Input => 1,
        HookPoint::Forward => 2,
        HookPoint::Output => 3,
    }
}

/// libnftnl declares attributes with 32 bits and takes them with 16; all are below 20.
pub(crate) fn attribute_number(attribute: u32) -> u16 {
    u16::try_from(attribute).unwrap_or(u16::MAX)
}
