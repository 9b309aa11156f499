//! Flow records: who would be denied, from the first packet of each connection, and how much was said in it, from conntrack.
//!
//! The kernel copies each first packet through NFLOG, whatever becomes of it ([`reader`]). Packets alike are put together
//! ([`arrivals`]) and judged by the evaluator in the worlds of the generation that saw them ([`judge`]); what they have in
//! common is a flow ([`aggregate`]), and what conntrack says of its connections joins it ([`tracks`]). Once an interval,
//! flows become records ([`interval`]), and [`sinks`] write them. What reports ask is kept as it was seen ([`kept`]).
//! Counters are the truth about how much, these records explain who.

pub mod aggregate;
pub mod arrivals;
pub mod attribute;
pub mod batch;
pub mod ends;
pub mod evidence;
mod hashed;
pub mod interval;
pub mod judge;
pub mod kept;
pub mod learn;
pub mod observations;
pub mod observe;
pub mod owners;
pub mod packet;
mod prefix;
pub mod reader;
pub mod record;
pub mod report;
pub mod sinks;
pub mod traced;
pub mod tracks;
