use super::*;
use crate::yaml::add;

/// The files, rewritten: those that change, by name.
fn promoted(texts: &[&str], names: &[&str]) -> Result<Vec<(String, String)>, RewriteError> {
    let (files, ids, snapshot) = read(texts);
    let is_promoted = |policy: &Policy| names.is_empty() || names.contains(&policy.id.name.as_str());
    let rewritten = promote(&files, &ids, &snapshot, is_promoted)?;
    let named = |new: Rewritten| (files.name(new.file).to_string(), new.text);
    Ok(rewritten.into_iter().map(named).collect())
}

fn read(texts: &[&str]) -> (Files, Vec<FileId>, Snapshot) {
    let mut files = Files::default();
    let ids: Vec<FileId> = (0..)
        .zip(texts)
        .map(|(index, text)| add(&mut files, format!("{index}.yaml"), text.as_bytes()).unwrap())
        .collect();
    let (snapshot, diagnostics) = decode(&files, &ids);
    let snapshot = snapshot.unwrap_or_else(|| panic!("{}", diagnostics.render(&files, false)));
    (files, ids, snapshot)
}

/// One file whose only change is this.
fn becomes(before: &str, after: &str) {
    let rewritten = promoted(&[before], &[]).unwrap_or_else(|error| panic!("{error}\n{before}"));
    let texts: Vec<&str> = rewritten.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(texts, [after]);
}

const HEAD: &str = "apiVersion: projectcalico.org/v3\n";

#[test]
fn a_word_changes_and_nothing_else() {
    let before = format!(
        "# What is in front of the site.\n\n{HEAD}kind:   StagedGlobalNetworkPolicy   # soon\nmetadata: {{name: web}}\nspec:\n  \
         # all of it\n  selector: 'app == \"web\"'\n  types: [ Ingress ]\n\n\n"
    );
    becomes(&before, &before.replace("Staged", ""));
    becomes(
        &before.replace('\n', "\r\n"),
        &before.replace('\n', "\r\n").replace("Staged", ""),
    );
    let quoted = before.replace("StagedGlobalNetworkPolicy", "\"StagedGlobalNetworkPolicy\"");
    becomes(&quoted, &quoted.replace("Staged", ""));
    let single = before.replace("StagedGlobalNetworkPolicy", "'StagedGlobalNetworkPolicy'");
    becomes(&single, &single.replace("Staged", ""));
}

#[test]
fn the_staged_action_goes_with_its_line() {
    let spec = "spec:\n  selector: all() # everyone\n  stagedAction: Set # for now\n  order: 7\n";
    let before = format!("{HEAD}kind: StagedGlobalNetworkPolicy\nmetadata: {{name: web}}\n{spec}");
    let after = before
        .replace("Staged", "")
        .replace("  stagedAction: Set # for now\n", "");
    becomes(&before, &after);
    let last = "spec:\n  selector: all()\n  stagedAction: Learn";
    let before = format!("{HEAD}kind: StagedGlobalNetworkPolicy\nmetadata: {{name: web}}\n{last}");
    let after = before.replace("Staged", "").replace("  stagedAction: Learn", "");
    becomes(&before, &after);
    let only = "spec:\n  stagedAction: Set # alone\n";
    let before = format!("{HEAD}kind: StagedGlobalNetworkPolicy\nmetadata: {{name: web}}\n{only}");
    let after = before.replace("Staged", "").replace("stagedAction: Set", "{}");
    becomes(&before, &after);
    for (flow, without) in [
        ("{stagedAction: Set, order: 7}", "{order: 7}"),
        ("{order: 7, stagedAction: Set}", "{order: 7}"),
        ("{order: 7, 'stagedAction': \"Set\"  }", "{order: 7  }"),
        (
            "{order: 7, stagedAction: Set, selector: all()}",
            "{order: 7, selector: all()}",
        ),
        ("{ stagedAction: Set }", "{  }"),
    ] {
        let before =
            format!("{HEAD}kind: StagedGlobalNetworkPolicy\nmetadata: {{name: web}}\nspec: {flow}\n");
        becomes(&before, &before.replace("Staged", "").replace(flow, without));
    }
}

#[test]
fn the_others_of_a_file_stay() {
    let object = |name: &str| {
        format!(
            "{HEAD}kind: StagedGlobalNetworkPolicy # {name}\nmetadata: {{name: {name}}}\nspec: {{order: 1}}\n"
        )
    };
    let before = format!("{}---\n{}---\n{}", object("a"), object("b"), object("c"));
    let rewritten = promoted(&[&before], &["b"]).unwrap();
    let after = format!(
        "{}---\n{}---\n{}",
        object("a"),
        object("b").replace("Staged", ""),
        object("c")
    );
    assert_eq!(rewritten, [("0.yaml".to_owned(), after)]);
}

#[test]
fn lists_of_every_shape() {
    let item = "- apiVersion: projectcalico.org/v3\n  kind: StagedGlobalNetworkPolicy\n  metadata: {name: web}\n  spec: {order: 1}\n";
    let plain = format!("apiVersion: v1\nkind: List\nitems:\n{item}");
    becomes(&plain, &plain.replace("Staged", ""));
    becomes(item, &item.replace("Staged", ""));
    let typed = "apiVersion: projectcalico.org/v3\nkind: StagedGlobalNetworkPolicyList\nitems:\n- metadata:\n    name: a\n  spec:\n    \
                 order: 1\n- metadata: {name: b}\n  spec: {order: 2}\n";
    let rewritten = promoted(&[typed], &["a"]).unwrap();
    let after = typed.replace(
        "- metadata:\n    name: a",
        "- kind: GlobalNetworkPolicy\n  metadata:\n    name: a",
    );
    assert_eq!(rewritten[0].1, after);
    let json = "{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [\n  {\"apiVersion\": \"projectcalico.org/v3\",\n   \"kind\": \
                \"StagedGlobalNetworkPolicy\", \"metadata\": {\"name\": \"web\"}, \"spec\": {\"stagedAction\": \"Set\", \"order\": 1}}\n]}\n";
    becomes(
        json,
        &json
            .replace("Staged", "")
            .replace("\"stagedAction\": \"Set\", ", ""),
    );
    let json = "{\"kind\": \"StagedGlobalNetworkPolicyList\", \"apiVersion\": \"projectcalico.org/v3\", \"items\": [{\"metadata\": {\"name\": \
                \"web\"}, \"spec\": {\"order\": 1}}]}";
    becomes(json, &json.replace("[{", "[{\"kind\": \"GlobalNetworkPolicy\", "));
}

#[test]
fn a_policy_of_kubernetes_changes_its_group() {
    let before = "apiVersion: projectcalico.org/v3\nkind: StagedKubernetesNetworkPolicy\nmetadata: {name: web, namespace: shop}\n\
                  spec:\n  podSelector: {}\n  stagedAction: Set\n  ingress: []\n";
    let after = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: web, namespace: shop}\n\
                 spec:\n  podSelector: {}\n  ingress: []\n";
    becomes(before, after);
    let list = "apiVersion: projectcalico.org/v3\nkind: StagedKubernetesNetworkPolicyList\nitems:\n  - metadata: {name: web, namespace: shop}\n    \
                spec: {podSelector: {}}\n";
    let item = "  - apiVersion: networking.k8s.io/v1\n    kind: NetworkPolicy\n    metadata";
    let rewritten = promoted(&[list], &[]).unwrap();
    let other = "  - kind: NetworkPolicy\n    apiVersion: networking.k8s.io/v1\n    metadata";
    assert!(
        [item, other]
            .map(|new| list.replace("  - metadata", new))
            .contains(&rewritten[0].1),
        "{}",
        rewritten[0].1
    );
}

#[test]
fn what_is_replaced_or_deleted_is_taken_away() {
    let object = |kind: &str, name: &str, spec: &str| {
        format!("{HEAD}kind: {kind}\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n")
    };
    let old = object("GlobalNetworkPolicy", "web", "order: 1");
    let other = object("GlobalNetworkPolicy", "other", "order: 3");
    let new = object("StagedGlobalNetworkPolicy", "web", "order: 2");
    let delete = object("StagedGlobalNetworkPolicy", "web", "stagedAction: Delete");
    let enforced = new.replace("Staged", "");

    // In one file, first, in between and last; in two.
    let file = |parts: &[&str]| parts.join("---\n");
    becomes(
        &file(&[&old, &new, &other]),
        &format!("---\n{}", file(&[&enforced, &other])),
    );
    becomes(&file(&[&new, &old, &other]), &file(&[&enforced, &other]));
    becomes(&file(&[&new, &other, &old]), &file(&[&enforced, &other]));
    becomes(&file(&[&old, &delete, &other]), &format!("---\n{other}"));
    becomes(&file(&[&other, &old, &delete]), &other);
    let head = format!("# All of ours.\n\n# The one in front.\n{}", file(&[&old, &new]));
    becomes(&head, &format!("# All of ours.\n\n---\n{enforced}"));
    let two = promoted(&[&old, &file(&[&other, &delete])], &[]).unwrap();
    let expected = [("0.yaml", ""), ("1.yaml", other.as_str())];
    assert_eq!(
        two,
        expected.map(|(name, text)| (name.to_owned(), text.to_owned()))
    );
}

#[test]
fn items_of_lists_are_taken_away() {
    let item = |kind: &str, name: &str, spec: &str| {
        format!(
            "  - apiVersion: projectcalico.org/v3\n    kind: {kind}\n    metadata:\n      name: {name}\n    spec: {{{spec}}} # {name}\n"
        )
    };
    let list = |items: &[String]| format!("apiVersion: v1\nkind: List\nitems:\n{}", items.concat());
    let old = item("GlobalNetworkPolicy", "web", "order: 1");
    let new = item("StagedGlobalNetworkPolicy", "web", "order: 2");
    let other = item("GlobalNetworkPolicy", "other", "order: 3");
    let delete = item("StagedGlobalNetworkPolicy", "web", "stagedAction: Delete");
    let enforced = new.replace("Staged", "");
    becomes(
        &list(&[old.clone(), new.clone(), other.clone()]),
        &list(&[enforced.clone(), other.clone()]),
    );
    becomes(
        &list(&[other.clone(), new, old.clone()]),
        &list(&[other.clone(), enforced]),
    );
    becomes(
        &list(&[delete.clone(), other.clone(), old.clone()]),
        &list(&[other]),
    );
    becomes(
        &list(&[old, delete]),
        "apiVersion: v1\nkind: List\nitems:\n   []\n",
    );

    let item = |kind: &str, name: &str, spec: &str| {
        format!(
            "{{\"apiVersion\": \"projectcalico.org/v3\", \"kind\": \"{kind}\", \"metadata\": {{\"name\": \"{name}\"}}, \"spec\": {{{spec}}}}}"
        )
    };
    let list = |items: &[&str]| format!("[{}]\n", items.join(", "));
    let old = item("GlobalNetworkPolicy", "web", "\"order\": 1");
    let other = item("GlobalNetworkPolicy", "other", "\"order\": 3");
    let delete = item("StagedGlobalNetworkPolicy", "web", "\"stagedAction\": \"Delete\"");
    becomes(&list(&[&old, &delete, &other]), &list(&[&other]));
    becomes(&list(&[&old, &other, &delete]), &list(&[&other]));
    becomes(&list(&[&other, &old, &delete]), &list(&[&other]));
    becomes(&list(&[&old, &delete]), "[]\n");
}

#[test]
fn parked_policies_stay_parked() {
    let parked = format!(
        "{HEAD}kind: StagedGlobalNetworkPolicy\nmetadata: {{name: web}}\nspec: {{stagedAction: Ignore}}\n"
    );
    assert_eq!(promoted(&[&parked], &[]).unwrap(), []);
}

#[test]
fn what_something_else_repeats_is_refused() {
    let anchored = format!(
        "{HEAD}kind: &kind StagedGlobalNetworkPolicy\nmetadata: {{name: a, labels: {{kind: *kind}}}}\nspec: {{order: 1}}\n"
    );
    // The label changes with the kind, and is of no consequence to a policy.
    assert_eq!(promoted(&[&anchored], &[]).err(), None);
    let list = "- &one\n  apiVersion: projectcalico.org/v3\n  kind: &kind StagedGlobalNetworkPolicy\n  metadata: {name: a}\n  spec: {order: 1}\n\
                - apiVersion: projectcalico.org/v3\n  kind: *kind\n  metadata: {name: b}\n  spec: {order: 2}\n";
    let error = promoted(&[list], &["a"]).unwrap_err();
    assert!(matches!(error, RewriteError::Different { .. }), "{error}");
    assert!(promoted(&[list], &["b"]).is_ok());
}

#[test]
fn a_policy_can_be_removed() {
    let text = format!(
        "{HEAD}kind: GlobalNetworkPolicy\nmetadata: {{name: web}}\nspec: {{order: 1}}\n---\n{HEAD}kind: StagedGlobalNetworkPolicy\nmetadata: {{name: \
         web}}\nspec: {{order: 2}}\n"
    );
    let (files, ids, snapshot) = read(&[&text]);
    let rewritten = remove(&files, &ids, &snapshot, |policy| policy.staged.is_none()).unwrap();
    assert_eq!(rewritten[0].text, text[text.find("---").unwrap()..]);
}
