//! Named sets.

use super::*;

fn names(resources: &[String]) -> Vec<String> {
    compiled(resources)
        .ruleset
        .sets
        .keys()
        .map(Name::to_string)
        .collect()
}

fn from(selector: &str) -> String {
    policy(
        &format!("p{}", selector.len()),
        &format!("ingress: [{{action: Allow, source: {{selector: \"{selector}\"}}}}]"),
    )
}

/// A network set that `role == 'db'` selects.
fn set(nets: &str) -> String {
    object("GlobalNetworkSet", "s", &format!("nets: [{nets}]"))
        .replace("{name: s}", "{name: s, labels: {role: db}}")
}

#[test]
fn equal_selectors_share_theirs() {
    let one = names(&[from("role == 'db'")]);
    assert_eq!(one.len(), 2, "one for each family: {one:?}");
    assert_eq!(names(&[from("role == 'db'"), from("role=='db'")]), one);
}

#[test]
fn selectors_that_read_alike_do_not() {
    let both = names(&[from("role == 'db'"), from("!(role == 'db')")]);
    assert_eq!(both.len(), 4, "{both:?}");
}

#[test]
fn membership_changes_elements_and_not_names() {
    let with = |nets: &str| compiled(&[set(nets), from("role == 'db'")]);
    let (before, after) = (with("192.0.2.1, 'fd02::2'"), with("192.0.2.9, 'fd02::1'"));
    assert_eq!(before.ruleset.chains, after.ruleset.chains);
    assert_ne!(before.ruleset.sets, after.ruleset.sets);
    assert!(before.ruleset.sets.keys().eq(after.ruleset.sets.keys()));
}

#[test]
fn a_rule_for_ipv6_is_there_as_long_as_its_sets_have_members() {
    let rules = |sets: &[&str]| {
        let sets = sets.iter().map(|nets| set(nets).replace("role: db", "role: new"));
        let objects: Vec<String> = sets.chain([from("role == 'new'")]).collect();
        let compiled = compiled(&objects);
        let families = ["ip saddr @", "ip6 saddr @"];
        let rules = rules(&compiled, "enforced/in/02-default/none-p13/");
        families.map(|family| rules.iter().filter(|rule| rule.starts_with(family)).count())
    };
    assert_eq!(rules(&[]), [1, 0]);
    assert_eq!(rules(&["192.0.2.1"]), [1, 0]);
    assert_eq!(rules(&["192.0.2.1, 'fd02::1'"]), [1, 1]);
    assert_eq!(rules(&["'fd02::/64'"]), [1, 1]);
}
