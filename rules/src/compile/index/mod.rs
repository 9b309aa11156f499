//! The index: which policies of a tier can say anything about a packet.
//!
//! A tier of many policies is not walked from end to end. A tree of verdict maps takes a packet, by its protocol and port
//! and by its addresses, to the policies that may match it; the others are left out. It is conservative by construction: a
//! policy is there wherever one of its rules might match, the rule itself decides in the policy's own chain, and a packet
//! that no map knows meets everything that is not tied to one.
//!
//! ```text
//! in/eth0/02-default ─┬▶ in/eth0/02-default/index ─┬▶ enforced/in/02-default/000100-web/
//!                     │                            └▶ in/eth0/02-default/tcp-443 ─▶ enforced/in/02-default/000200-api/ ...
//!                     ├▶ enforced/in/02-default/safety-net-100000-zzz-final-allow-everything/
//!                     └─ end of tier
//! ```
//!
//! The tier's own chain jumps to the index, and from there on a map element is a `goto`: what a policy does not decide is
//! back in the tier's chain at once, whose end is there once. So where a single policy may match, the element leads to its
//! chain, and only where there are several to a chain that lists them, in order. Policies with a rule that may match every
//! packet (the safety net, a last deny) are asked wherever the packet belongs, so those at either end of the tier stand in
//! the tier's chain and in no list.
//!
//! Services come first. Addresses are looked up only where lists are still long, for a map element that leads to a chain
//! costs the kernel more, with each change of the table, than a member of a plain set, which the rules look into anyway.
//!
//! What cannot be looked up (negations that leave nearly everything, rules without a condition), or not by what the
//! others are looked up by, counts in every class. Little of it is merged into each list. Much of it is woven in: cut
//! into blocks at places that all classes have in common, each block with lookups of its own, and each class lists its
//! own policies and, between them, the blocks. So order is kept, and a packet meets a few blocks for each policy that is
//! tied to its class. ICMP types are not told apart: all that asks for one is in the class of its protocol.
//!
//! Bounds, for a tier with P policies of R regions (a rule is one, or one for each family), W and E of [`Limits`]:
//!
//! - One lookup has at most E x R elements and list entries. A list that would take more is cut into stretches, one after
//!   the other, that do not: in the worst case, ranges of addresses or ports that all overlap each other, of about 2 x E
//!   regions each.
//! - A tier has at most about E x R such entries, and a chain for at most each of them. What would be beyond is walked.
//! - A woven list has, for each policy of its own, at most 2 x log(P / W) blocks, base 4/3; about 2 x log2(P / W) as a
//!   rule. All blocks of one list together have each region log(P / W) times.
//! - What no dimension shortens by a fifth is walked: P policies without conditions are P jumps, and so are P ranges each
//!   within the other.
//! - A tier adds at most ten levels of chains to those of its endpoint, of the 16 that the kernel allows.

mod chains;
mod memo;
mod region;
mod split;
#[cfg(test)]
mod tests;
mod tier;
mod tree;

pub(super) use memo::Memo;
pub(super) use memo::Memory;
pub use tree::Limits;
