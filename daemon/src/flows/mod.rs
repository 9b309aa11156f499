//! Flow records: who would be denied, from the first packet of each connection.
//!
//! The kernel copies that packet through NFLOG, whatever becomes of it; here it is counted ([`observe`]), decided again
//! by the evaluator in the worlds of the generation that saw it ([`attribute`]), and written once an interval
//! ([`sink`]). Counters are the truth about how much, these records explain who.

pub mod attribute;
pub mod batch;
pub mod observe;
pub mod packet;
pub mod reader;
pub mod record;
pub mod report;
pub mod sink;
pub mod traced;
