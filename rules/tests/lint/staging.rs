//! Staged objects.

use crate::Case;

pub(crate) const CASES: &[Case] = &[Case {
    code: "staged-delete-of-nothing",
    finds: &[
        (
            "policy p selector: role == 'web'
                 staged q stagedAction: Delete",
            &["there is no GlobalNetworkPolicy `q` to delete"],
        ),
        (
            // It would delete the policy of that name that is in no namespace.
            "policy red/p selector: role == 'web'
                 staged p stagedAction: Delete",
            &["there is no GlobalNetworkPolicy `p` to delete"],
        ),
    ],
    accepts: &["policy p selector: role == 'web'
                    staged p stagedAction: Delete"],
}];

#[test]
fn cases() {
    crate::check(CASES);
}
