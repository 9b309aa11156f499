//! The comments that nft keeps with tables, chains, rules, sets and objects: a type-length-value list that the kernel
//! stores and never looks at.

/// The list that holds a comment of this type, or nothing for an empty comment. What is longer than a length byte can
/// say is cut; [`palisade_rules::ruleset::Comment`] never is.
pub(crate) fn encode_comment(kind: u8, comment: &str) -> Vec<u8> {
    if comment.is_empty() {
        return Vec::new();
    }
    let text = &comment.as_bytes()[..comment.len().min(253)];
    let length = u8::try_from(text.len() + 1).unwrap_or(u8::MAX);
    let mut userdata = vec![kind, length];
    userdata.extend_from_slice(text);
    userdata.push(0);
    userdata
}

/// The comment in such a list; empty if there is none.
pub(crate) fn decode_comment(kind: u8, mut userdata: &[u8]) -> String {
    while let [found, length, rest @ ..] = userdata {
        let Some((value, tail)) = rest.split_at_checked(usize::from(*length)) else {
            break;
        };
        if *found == kind {
            let text = value.split(|&byte| byte == 0).next().unwrap_or_default();
            return String::from_utf8_lossy(text).into_owned();
        }
        userdata = tail;
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_form_is_nft_s() {
        assert_eq!(encode_comment(0, "foo"), b"\x00\x04foo\x00");
        assert_eq!(encode_comment(0, ""), b"");
    }

    #[test]
    fn other_entries_are_passed_over() {
        assert_eq!(decode_comment(7, b"\x00\x04\x01\x00\x00\x00\x07\x03hi\x00"), "hi");
        assert_eq!(decode_comment(7, b"\x00\x04\x01\x00\x00\x00"), "");
        assert_eq!(decode_comment(0, b"\x00\xffhi\x00"), "");
    }

    proptest! {
        #[test]
        fn comments_come_back(kind: u8, comment in "[^\0]{0,60}") {
            prop_assert_eq!(decode_comment(kind, &encode_comment(kind, &comment)), comment);
        }

        #[test]
        fn any_bytes_decode(kind: u8, bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            decode_comment(kind, &bytes);
        }
    }
}
