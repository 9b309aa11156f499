//! The kernel's numbers: `linux/netfilter/{nfnetlink,nf_tables,nfnetlink_log}.h` and libnftnl's `udata.h`.
//!
//! The `libc` crate has the message types but none of the attributes. Names are the headers' own, with their
//! prefix turned into a module.

#![allow(missing_docs)] // a list of numbers; the headers document them

/// Family of our table.
pub(crate) const NFPROTO_INET: u8 = 1;

/// nfnetlink subsystems, the high byte of a message type.
pub(crate) const NFNL_SUBSYS_ULOG: u16 = 4;
pub(crate) const NFNL_SUBSYS_NFTABLES: u16 = 10;

/// Attribute of a batch's BEGIN message.
pub(crate) const NFNL_BATCH_GENID: u16 = 1;

/// Messages of nf_tables, the low byte of a message type.
pub(crate) mod msg {
    pub(crate) const NEW_TABLE: u16 = 0;
    pub(crate) const GET_TABLE: u16 = 1;
    pub(crate) const DEL_TABLE: u16 = 2;
    pub(crate) const NEW_CHAIN: u16 = 3;
    pub(crate) const GET_CHAIN: u16 = 4;
    pub(crate) const DEL_CHAIN: u16 = 5;
    pub(crate) const NEW_RULE: u16 = 6;
    pub(crate) const GET_RULE: u16 = 7;
    pub(crate) const DEL_RULE: u16 = 8;
    pub(crate) const NEW_SET: u16 = 9;
    pub(crate) const GET_SET: u16 = 10;
    pub(crate) const DEL_SET: u16 = 11;
    pub(crate) const NEW_SET_ELEM: u16 = 12;
    pub(crate) const GET_SET_ELEM: u16 = 13;
    pub(crate) const DEL_SET_ELEM: u16 = 14;
    pub(crate) const NEW_GEN: u16 = 15;
    pub(crate) const GET_GEN: u16 = 16;
    pub(crate) const TRACE: u16 = 17;
    pub(crate) const NEW_OBJ: u16 = 18;
    pub(crate) const GET_OBJ: u16 = 19;
    pub(crate) const DEL_OBJ: u16 = 20;
}

pub(crate) mod table {
    pub(crate) const NAME: u16 = 1;
    pub(crate) const FLAGS: u16 = 2;
    pub(crate) const HANDLE: u16 = 4;
    pub(crate) const USERDATA: u16 = 6;
    pub(crate) const OWNER: u16 = 7;
    pub(crate) const F_DORMANT: u32 = 1;
    pub(crate) const F_OWNER: u32 = 2;
    pub(crate) const F_PERSIST: u32 = 4;
}

pub(crate) mod chain {
    pub(crate) const TABLE: u16 = 1;
    pub(crate) const NAME: u16 = 3;
    pub(crate) const HOOK: u16 = 4;
    pub(crate) const POLICY: u16 = 5;
    pub(crate) const TYPE: u16 = 7;
    pub(crate) const USERDATA: u16 = 12;
    pub(crate) const HOOK_HOOKNUM: u16 = 1;
    pub(crate) const HOOK_PRIORITY: u16 = 2;
}

pub(crate) mod rule {
    pub(crate) const TABLE: u16 = 1;
    pub(crate) const CHAIN: u16 = 2;
    pub(crate) const HANDLE: u16 = 3;
    pub(crate) const EXPRESSIONS: u16 = 4;
    pub(crate) const USERDATA: u16 = 7;
    /// Attributes of one expression in the list.
    pub(crate) const EXPR_NAME: u16 = 1;
    pub(crate) const EXPR_DATA: u16 = 2;
}

pub(crate) mod set {
    pub(crate) const TABLE: u16 = 1;
    pub(crate) const NAME: u16 = 2;
    pub(crate) const FLAGS: u16 = 3;
    pub(crate) const KEY_TYPE: u16 = 4;
    pub(crate) const KEY_LEN: u16 = 5;
    pub(crate) const DATA_TYPE: u16 = 6;
    pub(crate) const USERDATA: u16 = 13;
    pub(crate) const F_ANONYMOUS: u32 = 1;
    pub(crate) const F_INTERVAL: u32 = 4;
    pub(crate) const F_MAP: u32 = 8;
    pub(crate) const F_TIMEOUT: u32 = 16;
    pub(crate) const F_OBJECT: u32 = 64;
    /// The type of the data of a verdict map.
    pub(crate) const DATA_VERDICT: u32 = 0xffff_ff00;
    /// nft's numbers of data types, which the kernel only stores.
    pub(crate) const TYPE_NF_PROTO: u32 = 2;
    pub(crate) const TYPE_IPV4_ADDR: u32 = 7;
    pub(crate) const TYPE_IPV6_ADDR: u32 = 8;
    pub(crate) const TYPE_INET_PROTO: u32 = 12;
    pub(crate) const TYPE_INET_SERVICE: u32 = 13;
    /// The bits of each part in the number of a concatenation, whose last part stands lowest.
    pub(crate) const TYPE_BITS: u32 = 6;
}

pub(crate) mod elem {
    pub(crate) const LIST_TABLE: u16 = 1;
    pub(crate) const LIST_SET: u16 = 2;
    pub(crate) const LIST_ELEMENTS: u16 = 3;
    pub(crate) const LIST_ELEM: u16 = 1;
    pub(crate) const KEY: u16 = 1;
    pub(crate) const DATA: u16 = 2;
    pub(crate) const FLAGS: u16 = 3;
    pub(crate) const TIMEOUT: u16 = 4;
    pub(crate) const EXPIRATION: u16 = 5;
    pub(crate) const USERDATA: u16 = 6;
    pub(crate) const PAD: u16 = 8;
    pub(crate) const F_INTERVAL_END: u32 = 1;
}

pub(crate) mod obj {
    pub(crate) const TABLE: u16 = 1;
    pub(crate) const NAME: u16 = 2;
    pub(crate) const TYPE: u16 = 3;
    pub(crate) const DATA: u16 = 4;
    pub(crate) const USERDATA: u16 = 8;
    pub(crate) const COUNTER: u32 = 1;
    pub(crate) const COUNTER_BYTES: u16 = 1;
    pub(crate) const COUNTER_PACKETS: u16 = 2;
}

pub(crate) mod generation {
    pub(crate) const ID: u16 = 1;
    pub(crate) const PROCESS: u16 = 2;
    pub(crate) const PROCESS_NAME: u16 = 3;
}

/// Expressions of a rule.
pub(crate) mod expr {
    pub(crate) const REG_VERDICT: u32 = 0;
    pub(crate) const REG_1: u32 = 1;
    pub(crate) const REG_4: u32 = 4;
    pub(crate) const REG32_00: u32 = 8;
    pub(crate) const REG32_15: u32 = 23;

    pub(crate) const LIST_ELEM: u16 = 1;
    pub(crate) const DATA_VALUE: u16 = 1;
    pub(crate) const DATA_VERDICT: u16 = 2;
    pub(crate) const VERDICT_CODE: u16 = 1;
    pub(crate) const VERDICT_CHAIN: u16 = 2;

    pub(crate) const META_DREG: u16 = 1;
    pub(crate) const META_KEY: u16 = 2;
    pub(crate) const META_SREG: u16 = 3;
    pub(crate) const META_NFTRACE: u32 = 12;
    pub(crate) const META_NFPROTO: u32 = 15;
    pub(crate) const META_L4PROTO: u32 = 16;

    pub(crate) const CT_DREG: u16 = 1;
    pub(crate) const CT_KEY: u16 = 2;
    pub(crate) const CT_DIRECTION: u16 = 3;
    pub(crate) const CT_STATE: u32 = 0;

    pub(crate) const SOCKET_KEY: u16 = 1;
    pub(crate) const SOCKET_DREG: u16 = 2;
    pub(crate) const SOCKET_LEVEL: u16 = 3;
    pub(crate) const SOCKET_CGROUPV2: u32 = 3;

    pub(crate) const PAYLOAD_DREG: u16 = 1;
    pub(crate) const PAYLOAD_BASE: u16 = 2;
    pub(crate) const PAYLOAD_OFFSET: u16 = 3;
    pub(crate) const PAYLOAD_LEN: u16 = 4;
    pub(crate) const NETWORK_HEADER: u32 = 1;
    pub(crate) const TRANSPORT_HEADER: u32 = 2;

    pub(crate) const CMP_SREG: u16 = 1;
    pub(crate) const CMP_OP: u16 = 2;
    pub(crate) const CMP_DATA: u16 = 3;
    pub(crate) const CMP_EQ: u32 = 0;
    pub(crate) const CMP_NEQ: u32 = 1;
    pub(crate) const CMP_LTE: u32 = 3;
    pub(crate) const CMP_GTE: u32 = 5;

    pub(crate) const BITWISE_SREG: u16 = 1;
    pub(crate) const BITWISE_DREG: u16 = 2;
    pub(crate) const BITWISE_LEN: u16 = 3;
    pub(crate) const BITWISE_MASK: u16 = 4;
    pub(crate) const BITWISE_XOR: u16 = 5;
    pub(crate) const BITWISE_OP: u16 = 6;

    pub(crate) const HASH_SREG: u16 = 1;
    pub(crate) const HASH_DREG: u16 = 2;
    pub(crate) const HASH_LEN: u16 = 3;
    pub(crate) const HASH_MODULUS: u16 = 4;
    pub(crate) const HASH_SEED: u16 = 5;
    pub(crate) const HASH_OFFSET: u16 = 6;
    pub(crate) const HASH_TYPE: u16 = 7;
    pub(crate) const HASH_JENKINS: u32 = 0;

    pub(crate) const BYTEORDER_SREG: u16 = 1;
    pub(crate) const BYTEORDER_DREG: u16 = 2;
    pub(crate) const BYTEORDER_OP: u16 = 3;
    pub(crate) const BYTEORDER_LEN: u16 = 4;
    pub(crate) const BYTEORDER_SIZE: u16 = 5;
    pub(crate) const BYTEORDER_HTON: u32 = 1;
    /// Bytes of a number.
    pub(crate) const WORD: u32 = 4;

    pub(crate) const RANGE_SREG: u16 = 1;
    pub(crate) const RANGE_OP: u16 = 2;
    pub(crate) const RANGE_FROM_DATA: u16 = 3;
    pub(crate) const RANGE_TO_DATA: u16 = 4;
    pub(crate) const RANGE_NEQ: u32 = 1;

    pub(crate) const LOOKUP_SET: u16 = 1;
    pub(crate) const LOOKUP_SREG: u16 = 2;
    pub(crate) const LOOKUP_DREG: u16 = 3;
    pub(crate) const LOOKUP_FLAGS: u16 = 5;
    pub(crate) const LOOKUP_F_INV: u32 = 1;

    pub(crate) const IMMEDIATE_DREG: u16 = 1;
    pub(crate) const IMMEDIATE_DATA: u16 = 2;

    pub(crate) const REJECT_TYPE: u16 = 1;
    pub(crate) const REJECT_ICMP_CODE: u16 = 2;
    pub(crate) const REJECT_TCP_RESET: u32 = 1;
    pub(crate) const REJECT_ICMPX_UNREACH: u32 = 2;
    pub(crate) const REJECT_ICMPX_ADMIN_PROHIBITED: u8 = 3;

    pub(crate) const OBJREF_IMM_TYPE: u16 = 1;
    pub(crate) const OBJREF_IMM_NAME: u16 = 2;

    pub(crate) const LIMIT_RATE: u16 = 1;
    pub(crate) const LIMIT_UNIT: u16 = 2;
    pub(crate) const LIMIT_BURST: u16 = 3;
    pub(crate) const LIMIT_TYPE: u16 = 4;
    pub(crate) const LIMIT_FLAGS: u16 = 5;
    pub(crate) const LIMIT_TYPE_PACKETS: u32 = 0;
    /// The unit is a number of seconds.
    pub(crate) const LIMIT_PER_SECOND: u64 = 1;

    pub(crate) const NAT_TYPE: u16 = 1;
    pub(crate) const NAT_REG_ADDR_MIN: u16 = 3;
    pub(crate) const NAT_REG_PROTO_MIN: u16 = 5;
    pub(crate) const NAT_DNAT: u32 = 1;

    pub(crate) const TARGET_NAME: u16 = 1;
    pub(crate) const TARGET_INFO: u16 = 3;

    pub(crate) const LOG_GROUP: u16 = 1;
    pub(crate) const LOG_PREFIX: u16 = 2;
    pub(crate) const LOG_SNAPLEN: u16 = 3;
    pub(crate) const LOG_QTHRESHOLD: u16 = 4;
    pub(crate) const LOG_LEVEL: u16 = 5;
    pub(crate) const LOG_FLAGS: u16 = 6;
}

/// Verdicts, as `NFTA_VERDICT_CODE` carries them.
pub(crate) mod verdict {
    pub(crate) const DROP: i32 = 0;
    pub(crate) const ACCEPT: i32 = 1;
    pub(crate) const JUMP: i32 = -3;
    pub(crate) const GOTO: i32 = -4;
    pub(crate) const RETURN: i32 = -5;
}

/// What happens to traced packets.
pub(crate) mod trace {
    /// The multicast group `NFNLGRP_NFTRACE`.
    pub(crate) const GROUP: u32 = 9;
    pub(crate) const TABLE: u16 = 1;
    pub(crate) const CHAIN: u16 = 2;
    pub(crate) const RULE_HANDLE: u16 = 3;
    pub(crate) const VERDICT: u16 = 5;
    pub(crate) const ID: u16 = 6;
    pub(crate) const NETWORK_HEADER: u16 = 8;
    pub(crate) const TRANSPORT_HEADER: u16 = 9;
    pub(crate) const POLICY: u16 = 16;
}

/// TLVs that nft keeps in userdata: the types of a comment.
pub(crate) mod udata {
    /// Of a table, chain, rule, object and element.
    pub(crate) const COMMENT: u8 = 0;
    /// Of a set.
    pub(crate) const SET_COMMENT: u8 = 7;
}

/// nfnetlink_log.
pub(crate) mod nflog {
    pub(crate) const MSG_PACKET: u16 = 0;
    pub(crate) const MSG_CONFIG: u16 = 1;

    pub(crate) const CFG_CMD: u16 = 1;
    pub(crate) const CFG_MODE: u16 = 2;
    pub(crate) const CFG_NLBUFSIZ: u16 = 3;
    pub(crate) const CFG_TIMEOUT: u16 = 4;
    pub(crate) const CFG_QTHRESH: u16 = 5;
    pub(crate) const CFG_FLAGS: u16 = 6;
    pub(crate) const CMD_BIND: u8 = 1;
    pub(crate) const COPY_PACKET: u8 = 2;
    pub(crate) const F_SEQ: u16 = 1;

    pub(crate) const PACKET_HDR: u16 = 1;
    pub(crate) const MARK: u16 = 2;
    pub(crate) const IFINDEX_INDEV: u16 = 4;
    pub(crate) const IFINDEX_OUTDEV: u16 = 5;
    pub(crate) const PAYLOAD: u16 = 9;
    pub(crate) const PREFIX: u16 = 10;
    pub(crate) const UID: u16 = 11;
    pub(crate) const SEQ: u16 = 12;
}
