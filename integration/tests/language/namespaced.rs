//! NetworkPolicy, StagedNetworkPolicy and NetworkSet: what belongs to a namespace.

use std::collections::BTreeSet;

use palisade_integration::{Ask, Counter, Daemon, Setup, Site};

use crate::resources::{resource, site};

const STRANGER: Ask<'_> = ("stranger", "web", "tcp 8080");
const FRIEND: Ask<'_> = ("friend", "web", "tcp 8080");
const API: Ask<'_> = ("api", "web", "tcp 8080");
const ROUTER: Ask<'_> = ("router", "web", "tcp 8080");
/// In another namespace, and never spoken of.
const TO_API: Ask<'_> = ("stranger", "api", "tcp 8080");

const ALL: [Ask<'_>; 5] = [STRANGER, FRIEND, API, ROUTER, TO_API];

/// The source of the only rule of a policy in the namespace `shop`, and whom it lets in to the web.
const CASES: [(&str, &[Ask<'_>]); 8] = [
    ("nets: [10.42.0.30/32]", &[STRANGER]),
    ("nets: ['fd00:42::30/128']", &[STRANGER]),
    // Objects of the namespace only: the set of that name in the other one is not meant, nor are hosts.
    ("selector: role == 'vendor'", &[STRANGER]),
    ("selector: all()", &[STRANGER]),
    // So an address of nobody's, or of somebody elsewhere, is not what is left when others are taken away.
    ("notSelector: role == 'nobody'", &[STRANGER]),
    (
        "namespaceSelector: all(), selector: role == 'vendor'",
        &[STRANGER, FRIEND],
    ),
    (
        "namespaceSelector: stage == 'test', selector: app == 'api'",
        &[API],
    ),
    ("namespaceSelector: global()", &[STRANGER, FRIEND]),
];

fn setup() -> Setup {
    let set = |namespace: &str, nets: &str| {
        resource(
            "NetworkSet",
            &format!("namespace: {namespace}, name: vendors, labels: {{role: vendor}}"),
            nets,
        )
    };
    let sets = [
        set("shop", "nets: [10.42.0.30, 'fd00:42::30']"),
        set("blog", "nets: [10.42.0.16/29, 'fd00:42::20/124']"),
    ];
    Setup::new("router").resource("site.yaml", [site(), sets.concat()].concat())
}

fn shop_policy(kind: &str, spec: &str) -> String {
    resource(kind, "namespace: shop, name: case", spec)
}

#[test]
fn a_policy_of_a_namespace_is_about_its_own() -> anyhow::Result<()> {
    let place = Site::new()?;
    let router = Daemon::start(place.router(), &setup())?;
    for (source, allowed) in CASES {
        let spec = format!("types: [Ingress], ingress: [{{action: Allow, source: {{{source}}}}}]");
        router.apply("10-case.yaml", &shop_policy("NetworkPolicy", &spec))?;
        // Nets are of one IP version.
        let is_meant = |(ask, version): &(Ask<'_>, u8)| {
            *ask == TO_API || !source.starts_with("nets") || source.contains("fd00") == (*version == 6)
        };
        let expected = allowed
            .iter()
            .chain([&TO_API])
            .flat_map(|ask| [(*ask, 4), (*ask, 6)]);
        let expected: BTreeSet<_> = expected.filter(is_meant).collect();
        assert_eq!(place.answered_over(&ALL)?, expected, "{source}");
        let counters = router.counters()?;
        let counter = counters.rule("enforced", "ingress", "case", 0)?;
        assert_eq!(counter.packets_total, expected.len() as u64 - 2, "{source}");
        assert_eq!(counter.kind, "NetworkPolicy");
    }
    Ok(())
}

#[test]
fn staged_it_is_counted_only_and_may_take_another_away() -> anyhow::Result<()> {
    let place = Site::new()?;
    let enforced = "types: [Ingress], ingress: [{action: Allow, source: {selector: role == 'vendor'}}]";
    let staged = "types: [Ingress], ingress: [{action: Allow, source: {namespaceSelector: stage == 'test', selector: has(app)}}]";
    let setup = setup()
        .resource("10-enforced.yaml", shop_policy("NetworkPolicy", enforced))
        .resource("20-staged.yaml", shop_policy("StagedNetworkPolicy", staged));
    let router = Daemon::start(place.router(), &setup)?;
    let open = [STRANGER, TO_API];
    let pending_end = || {
        let is_it = |row: &Counter| row.kind == "EndOfTier" && row.world == "pending";
        anyhow::Ok(router.counters()?.only(is_it)?.packets_total)
    };

    // In its place: the stranger, the friend and the router would be denied, the api would not.
    assert_eq!(place.answered(&ALL)?, open.into());
    assert_eq!(
        router
            .counters()?
            .rule("pending", "ingress", "case", 0)?
            .packets_total,
        2
    );
    assert_eq!(pending_end()?, 6);

    // Learn is the same.
    let learn = format!("stagedAction: Learn, {staged}");
    router.apply("20-staged.yaml", &shop_policy("StagedNetworkPolicy", &learn))?;
    assert_eq!(place.answered(&ALL)?, open.into());
    assert_eq!(pending_end()?, 12);

    // Without the policy the profile lets all in.
    router.apply(
        "20-staged.yaml",
        &shop_policy("StagedNetworkPolicy", "stagedAction: Delete"),
    )?;
    assert_eq!(place.answered(&ALL)?, open.into());
    let counters = router.counters()?;
    let would_allow = counters
        .only(|row| row.world == "pending" && row.name == "kns.shop" && row.direction == "ingress")?;
    assert_eq!(would_allow.packets_total, 8);

    // Parked, it is nowhere.
    let ignored = format!("stagedAction: Ignore, {staged}");
    router.apply("20-staged.yaml", &shop_policy("StagedNetworkPolicy", &ignored))?;
    assert_eq!(place.answered(&ALL)?, open.into());
    assert!(
        router
            .counters()?
            .rows()
            .iter()
            .all(|row| row.world == "enforced")
    );
    Ok(())
}
