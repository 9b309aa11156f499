//! Which endpoints a policy applies to, and in which directions: `selector`, `namespaceSelector`,
//! `serviceAccountSelector` and `types`.

use std::collections::BTreeSet;

use palisade_integration::{Ask, Daemon, Setup, Site};

use crate::counted_denials;
use crate::resources::{policy, site};

const TO_WEB: Ask<'_> = ("stranger", "web", "tcp 8080");
const FROM_WEB: Ask<'_> = ("web", "stranger", "tcp 8080");
const TO_API: Ask<'_> = ("stranger", "api", "tcp 8080");
const FROM_API: Ask<'_> = ("api", "stranger", "tcp 8080");
const TO_ROUTER: Ask<'_> = ("stranger", "router", "tcp 8080");
const FROM_ROUTER: Ask<'_> = ("router", "stranger", "tcp 8080");

const ALL: [Ask<'_>; 6] = [TO_WEB, FROM_WEB, TO_API, FROM_API, TO_ROUTER, FROM_ROUTER];

/// What is in the `spec` of a policy that allows nothing, and what it denies.
const CASES: [(&str, &[Ask<'_>]); 12] = [
    ("selector: app == 'web', types: [Ingress]", &[TO_WEB]),
    ("selector: app == 'web', types: [Egress]", &[FROM_WEB]),
    (
        "selector: app == 'web', types: [Ingress, Egress]",
        &[TO_WEB, FROM_WEB],
    ),
    // Without types, those that there are rules for; without rules, Ingress.
    ("selector: app == 'web'", &[TO_WEB]),
    ("selector: app == 'web', egress: [{action: Deny}]", &[FROM_WEB]),
    ("types: [Ingress]", &[TO_WEB, TO_API, TO_ROUTER]),
    (
        "selector: \"!has(app)\", types: [Ingress, Egress]",
        &[TO_ROUTER, FROM_ROUTER],
    ),
    (
        "namespaceSelector: stage == 'live', types: [Ingress, Egress]",
        &[TO_WEB, FROM_WEB],
    ),
    ("namespaceSelector: all(), types: [Ingress]", &[TO_WEB, TO_API]),
    (
        "namespaceSelector: all(), selector: app == 'api', types: [Egress]",
        &[FROM_API],
    ),
    (
        "serviceAccountSelector: rank == 'junior', types: [Egress]",
        &[FROM_WEB],
    ),
    (
        "serviceAccountSelector: all(), namespaceSelector: stage == 'test', types: [Ingress]",
        &[],
    ),
];

#[test]
fn a_policy_is_asked_where_it_applies_and_nowhere_else() -> anyhow::Result<()> {
    let place = Site::new()?;
    let setup = Setup::new("router").resource("site.yaml", site());
    let router = Daemon::start(place.router(), &setup)?;
    for (spec, denied) in CASES {
        router.apply("10-case.yaml", &policy("case", spec))?;
        let before = counted_denials(&router)?;
        let expected: BTreeSet<_> = ALL.into_iter().filter(|ask| !denied.contains(ask)).collect();
        assert_eq!(place.answered(&ALL)?, expected, "{spec}");
        let counted = counted_denials(&router)? - before;
        assert_eq!(counted, 2 * denied.len() as u64, "{spec}");
    }
    Ok(())
}
