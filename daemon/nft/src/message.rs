//! Netlink messages written by hand: requests, bulk elements and what libnftnl has no function for.

use crate::abi::NFPROTO_INET;
use crate::attribute::{HEADER, align};

/// `NLA_F_NESTED`.
const NESTED: u16 = 0x8000;

/// A netlink message being written at the end of a buffer; [`MessageBuilder::finish`] sets its length.
pub(crate) struct MessageBuilder<'b> {
    buffer: &'b mut Vec<u8>,
    start: usize,
}

impl<'b> MessageBuilder<'b> {
    /// Starts an nfnetlink message of type `kind` (subsystem in the high byte) for family inet.
    pub(crate) fn new(buffer: &'b mut Vec<u8>, kind: u16, flags: u16, seq: u32) -> Self {
        MessageBuilder::with_resource(buffer, kind, flags, seq, NFPROTO_INET, 0)
    }

    /// Starts an nfnetlink message with a family and a resource id (subsystem of a batch, group of NFLOG).
    pub(crate) fn with_resource(
        buffer: &'b mut Vec<u8>,
        kind: u16,
        flags: u16,
        seq: u32,
        family: u8,
        resource: u16,
    ) -> Self {
        let start = buffer.len();
        buffer.extend_from_slice(&0u32.to_ne_bytes());
        buffer.extend_from_slice(&kind.to_ne_bytes());
        buffer.extend_from_slice(&flags.to_ne_bytes());
        buffer.extend_from_slice(&seq.to_ne_bytes());
        buffer.extend_from_slice(&0u32.to_ne_bytes());
        debug_assert_eq!(buffer.len() - start, HEADER);
        let [high, low] = resource.to_be_bytes();
        buffer.extend_from_slice(&[family, 0, high, low]);
        MessageBuilder { buffer, start }
    }

    /// Adds an attribute.
    pub(crate) fn put(self, kind: u16, payload: &[u8]) -> Self {
        put(self.buffer, kind, payload);
        self
    }

    /// Adds a text with its NUL.
    pub(crate) fn put_text(self, kind: u16, text: &str) -> Self {
        let length = attribute_length(text.len() + 1);
        self.buffer.extend_from_slice(&length.to_ne_bytes());
        self.buffer.extend_from_slice(&kind.to_ne_bytes());
        self.buffer.extend_from_slice(text.as_bytes());
        self.buffer.push(0);
        pad(self.buffer);
        self
    }

    /// Adds a nested attribute whose content `write` appends.
    pub(crate) fn nest(self, kind: u16, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        nest(self.buffer, kind, write);
        self
    }

    /// Ends the message.
    pub(crate) fn finish(self) {
        let length = u32::try_from(self.buffer.len() - self.start).unwrap_or(u32::MAX);
        self.buffer[self.start..self.start + 4].copy_from_slice(&length.to_ne_bytes());
    }
}

/// Appends an attribute.
pub(crate) fn put(buffer: &mut Vec<u8>, kind: u16, payload: &[u8]) {
    buffer.extend_from_slice(&attribute_length(payload.len()).to_ne_bytes());
    buffer.extend_from_slice(&kind.to_ne_bytes());
    buffer.extend_from_slice(payload);
    pad(buffer);
}

/// Appends a nested attribute whose content `write` appends.
pub(crate) fn nest(buffer: &mut Vec<u8>, kind: u16, write: impl FnOnce(&mut Vec<u8>)) {
    let start = buffer.len();
    buffer.extend_from_slice(&[0, 0]);
    buffer.extend_from_slice(&(kind | NESTED).to_ne_bytes());
    write(buffer);
    let length = attribute_length(buffer.len() - start - 4);
    buffer[start..start + 2].copy_from_slice(&length.to_ne_bytes());
}

/// The length field for a payload. Callers keep payloads far below 64 KiB; a longer one would be refused by the
/// kernel as malformed.
fn attribute_length(payload: usize) -> u16 {
    u16::try_from(payload + 4).unwrap_or(u16::MAX)
}

fn pad(buffer: &mut Vec<u8>) {
    // Messages start aligned, so aligning the buffer aligns the message.
    buffer.resize(align(buffer.len()), 0);
}
