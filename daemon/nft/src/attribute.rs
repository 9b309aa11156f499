//! Netlink messages and attributes in a received buffer, walked in place.
//!
//! The kernel is trusted to be well-formed, but not relied upon: whatever the bytes, a walk ends, stays inside
//! the buffer and never panics. What is cut short is not there.

/// Bytes of a netlink message header.
pub(crate) const HEADER: usize = 16;

/// Bytes of the nfgenmsg header that follows it in every nfnetlink message.
pub(crate) const NFGEN_HEADER: usize = 4;

/// Netlink aligns messages and attributes to this.
pub(crate) const ALIGN: usize = 4;

/// The two flag bits of an attribute's type (nested, network byte order).
const TYPE_MASK: u16 = 0x3fff;

/// One netlink message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    /// The type, subsystem in the high byte.
    pub(crate) kind: u16,
    /// `NLM_F_*`.
    pub(crate) flags: u16,
    /// The sequence number of the request that this answers.
    pub(crate) seq: u32,
    /// The port of the socket that this answers, or tells of.
    pub(crate) port: u32,
    /// What follows the header.
    pub(crate) body: &'a [u8],
}

impl<'a> Message<'a> {
    /// Whether an nfnetlink message holds attributes to its end, and nothing that is cut short.
    pub(crate) fn is_whole(&self) -> bool {
        self.body.len() >= NFGEN_HEADER && self.attributes().is_whole()
    }

    /// The attributes of an nfnetlink message.
    pub(crate) fn attributes(&self) -> Attributes<'a> {
        Attributes::new(self.body.get(NFGEN_HEADER..).unwrap_or_default())
    }
}

/// The messages of a datagram.
#[derive(Clone, Debug)]
pub(crate) struct Messages<'a>(&'a [u8]);

impl<'a> Messages<'a> {
    /// The messages in `datagram`.
    pub(crate) fn new(datagram: &'a [u8]) -> Self {
        Messages(datagram)
    }

    /// Whether these are messages to the end, at least one, and none of them is cut short.
    pub(crate) fn is_whole(&self) -> bool {
        let mut messages = self.clone();
        messages.by_ref().count() > 0 && messages.0.is_empty()
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let (header, _) = self.0.split_at_checked(HEADER)?;
        let length = usize::try_from(u32_ne(header)?).ok()?;
        let message = self.0.get(..length)?;
        let body = message.get(HEADER..)?;
        self.0 = self.0.get(align(length)..).unwrap_or_default();
        Some(Message {
            kind: u16::from_ne_bytes([header[4], header[5]]),
            flags: u16::from_ne_bytes([header[6], header[7]]),
            seq: u32::from_ne_bytes([header[8], header[9], header[10], header[11]]),
            port: u32::from_ne_bytes([header[12], header[13], header[14], header[15]]),
            body,
        })
    }
}

/// One attribute.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attribute<'a> {
    /// The type without its flag bits.
    pub(crate) kind: u16,
    /// The payload without padding.
    pub(crate) payload: &'a [u8],
}

impl<'a> Attribute<'a> {
    /// The attributes nested in this one.
    pub(crate) fn nested(&self) -> Attributes<'a> {
        Attributes::new(self.payload)
    }

    /// The payload as text, up to its NUL; empty if it is not UTF-8.
    pub(crate) fn text(&self) -> &'a str {
        let bytes = self.payload.split(|&byte| byte == 0).next().unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    /// The payload as a number in network byte order; 0 if it is too short.
    pub(crate) fn u16(&self) -> u16 {
        self.payload
            .first_chunk()
            .map_or(0, |bytes| u16::from_be_bytes(*bytes))
    }

    /// See [`Attribute::u16`].
    pub(crate) fn u32(&self) -> u32 {
        self.payload
            .first_chunk()
            .map_or(0, |bytes| u32::from_be_bytes(*bytes))
    }

    /// See [`Attribute::u16`].
    pub(crate) fn i32(&self) -> i32 {
        self.payload
            .first_chunk()
            .map_or(0, |bytes| i32::from_be_bytes(*bytes))
    }

    /// See [`Attribute::u16`].
    pub(crate) fn u64(&self) -> u64 {
        self.payload
            .first_chunk()
            .map_or(0, |bytes| u64::from_be_bytes(*bytes))
    }
}

/// The attributes in a stretch of bytes.
#[derive(Clone, Debug)]
pub(crate) struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    /// The attributes in `bytes`.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Attributes(bytes)
    }

    /// Whether these are attributes to the end, and none of them is cut short.
    pub(crate) fn is_whole(&self) -> bool {
        let mut attributes = self.clone();
        attributes.by_ref().count();
        attributes.0.is_empty()
    }

    /// The first attribute of a type.
    pub(crate) fn get(&self, kind: u16) -> Option<Attribute<'a>> {
        self.clone().find(|attribute| attribute.kind == kind)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let header = self.0.first_chunk::<4>()?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let payload = self.0.get(4..length)?;
        let kind = u16::from_ne_bytes([header[2], header[3]]) & TYPE_MASK;
        self.0 = self.0.get(align(length)..).unwrap_or_default();
        Some(Attribute { kind, payload })
    }
}

/// The first four bytes in the host's order.
pub(crate) fn u32_ne(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

/// `length` rounded up to netlink's alignment.
pub(crate) fn align(length: usize) -> usize {
    length.saturating_add(ALIGN - 1) & !(ALIGN - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Visits everything that can be reached, nested to a depth.
    fn walk(attributes: Attributes<'_>, depth: usize) -> usize {
        attributes
            .map(|attribute| {
                let _ = (
                    attribute.text(),
                    attribute.u16(),
                    attribute.u32(),
                    attribute.u64(),
                );
                1 + if depth > 0 {
                    walk(attribute.nested(), depth - 1)
                } else {
                    0
                }
            })
            .sum()
    }

    proptest! {
        #[test]
        fn any_bytes_are_walked(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let messages: Vec<usize> =
                Messages::new(&bytes).map(|message| walk(message.attributes(), 3)).collect();
            prop_assert!(messages.len() <= bytes.len() / HEADER);
            prop_assert!(walk(Attributes::new(&bytes), 0) <= bytes.len() / 4);
        }

        #[test]
        fn what_is_put_is_found(payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..10)) {
            let mut bytes = Vec::new();
            for (kind, payload) in (1u16..).zip(&payloads) {
                crate::message::put(&mut bytes, kind, payload);
            }
            let found: Vec<Vec<u8>> = Attributes::new(&bytes).map(|attribute| attribute.payload.to_vec()).collect();
            prop_assert_eq!(found, payloads);
        }
    }

    #[test]
    fn lengths_that_lie_end_the_walk() {
        // A length of zero must not loop, one beyond the end must not be read.
        assert_eq!(Attributes::new(&[0, 0, 1, 0, 9, 9, 9, 9]).count(), 0);
        assert_eq!(Attributes::new(&[200, 0, 1, 0, 9, 9, 9, 9]).count(), 0);
        assert_eq!(Messages::new(&[0; 64]).count(), 0);
        assert_eq!(Messages::new(&[255; 64]).count(), 0);
    }

    #[test]
    fn text_ends_at_its_nul() {
        let text = |payload| Attribute { kind: 1, payload }.text();
        assert_eq!(text(b"chain\0\0\0"), "chain");
        assert_eq!(text(b"chain"), "chain");
        assert_eq!(text(b"\xff"), "");
    }
}
