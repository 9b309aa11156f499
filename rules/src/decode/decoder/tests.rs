//! Whatever is edited, in whatever order: the answers are those of a decoder that has never seen anything.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::super::decode;
use super::*;

/// What a file may hold. Together: what is there twice, what is named and missing, what is wrong, what is no text.
const CONTENTS: [&[u8]; 21] = [
    b"",
    b"apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {name: a}\nspec: {order: 1, selector: all()}\n",
    b"apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {name: a}\nspec: {order: 2, selector: all()}\n",
    b"apiVersion: projectcalico.org/v3\nkind: StagedGlobalNetworkPolicy\nmetadata: {name: a}\nspec: {tier: app}\n",
    b"apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {name: b}\nspec: {tier: app, ingress: [{action: Allow}]}\n",
    b"apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {name: c}\nspec:\n  ingress:\n  - action: Allow\n    protocol: TCP\n    destination: {ports: [http]}\n",
    b"apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {name: app}\nspec: {order: 5}\n",
    b"apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {name: default}\nspec: {order: 7}\n",
    b"apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {name: app}\nspec: {order: wrong}\n",
    b"apiVersion: projectcalico.org/v3\nkind: HostEndpoint\nmetadata: {name: h}\nspec: {node: n, interfaceName: '*', profiles: [web], ports: [{name: http, protocol: TCP, port: 80}]}\n",
    b"apiVersion: projectcalico.org/v3\nkind: HostEndpoint\nmetadata: {name: i}\nspec: {node: m, interfaceName: '*', ports: [{name: http, protocol: UDP, port: 80}]}\n",
    b"apiVersion: projectcalico.org/v3\nkind: HostEndpoint\nmetadata: {name: h}\nspec: {node: n, interfaceName: '*', ports: [{name: http, protocol: TCP, port: 0}]}\n",
    b"apiVersion: projectcalico.org/v3\nkind: Profile\nmetadata: {name: web}\nspec: {labelsToApply: {a: b}}\n",
    b"apiVersion: projectcalico.org/v3\nkind: Profile\nmetadata: {name: projectcalico-default-allow}\nspec: {ingress: [{action: Deny}]}\n",
    b"apiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\nmetadata: {name: s}\nspec: {nets: [10.0.0.0/8]}\n---\napiVersion: projectcalico.org/v3\nkind: NetworkSet\nmetadata: {name: s, namespace: x}\nspec: {nets: [10.0.0.0/9]}\n",
    b"apiVersion: projectcalico.org/v3\nkind: WorkloadEndpoint\nmetadata: {name: my--node-k8s-my--pod-eth0, namespace: shop}\nspec: {node: my-node, orchestrator: k8s, pod: my-pod, endpoint: eth0, interfaceName: c1, ipNetworks: [10.0.0.1], serviceAccountName: sa}\n",
    b"apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {name: d}\nspec:\n  ingress:\n  - action: Allow\n    source: {serviceAccounts: {names: [sa]}}\n",
    b"apiVersion: palisade.dev/v1\nkind: ServiceEndpoint\nmetadata: {name: v}\nspec: {node: n, unit: web.service}\n",
    b"kind: [not closed\n",
    b"kind: \xff\n",
    b"apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {name: e}\nspec: {types: [Ingress], egress: [{action: Deny}]}\n",
];

#[derive(Clone, Debug)]
enum Edit {
    /// A file is written, with one or two of the contents.
    Write(usize, usize, Option<usize>),
    /// A file is removed.
    Remove(usize),
    /// A file is read again, and holds what it held.
    Touch(usize),
}

fn edit() -> impl Strategy<Value = Edit> {
    let contents = || 0..CONTENTS.len();
    // What is right by itself, if worth a warning, is written more often, so that there are snapshots.
    let right = || select(vec![0_usize, 1, 4, 5, 6, 9, 12, 14, 15, 17, 20]);
    prop_oneof![
        4 => (0..8_usize, right()).prop_map(|(file, one)| Edit::Write(file, one, None)),
        2 => (0..8_usize, contents(), prop::option::of(contents())).prop_map(|(file, one, other)| Edit::Write(file, one, other)),
        2 => (0..8_usize).prop_map(Edit::Remove),
        1 => (0..8_usize).prop_map(Edit::Touch),
    ]
}

/// Files, and the addresses of what they hold.
type Pointers = Vec<(String, usize)>;

/// Every policy, set and endpoint by its address.
fn pointers(snapshot: &Snapshot) -> Pointers {
    let policies = snapshot.policies.iter();
    let policies = policies.map(|it| (it.position.file.to_string(), Arc::as_ptr(it).addr()));
    let sets = snapshot.network_sets.values();
    let sets = sets.map(|it| (it.position.file.to_string(), Arc::as_ptr(it).addr()));
    let hosts = snapshot.host_endpoints.values();
    let hosts = hosts.map(|it| (it.position.file.to_string(), Arc::as_ptr(it).addr()));
    let workloads = snapshot.workload_endpoints.values();
    let workloads = workloads.map(|it| (it.position.file.to_string(), Arc::as_ptr(it).addr()));
    policies.chain(sets).chain(hosts).chain(workloads).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn edits_are_read_as_if_nothing_had_been_read_before(edits in vec(vec(edit(), 1..4), 1..30)) {
        let mut decoder = Decoder::default();
        let mut files: BTreeMap<usize, Arc<File>> = BTreeMap::new();
        let mut before: Option<(Pointers, BTreeMap<usize, Arc<File>>)> = None;
        for edits in edits {
            for edit in edits {
                match edit {
                    Edit::Write(name, one, other) => {
                        let mut bytes = CONTENTS[one].to_vec();
                        bytes.extend(other.iter().flat_map(|&other| [b"---\n", CONTENTS[other]].concat()));
                        files.insert(name, Arc::new(yaml::file(format!("{name}.yaml"), &bytes)));
                    }
                    Edit::Remove(name) => drop(files.remove(&name)),
                    Edit::Touch(name) => {
                        if let Some(file) = files.get_mut(&name) {
                            *file = Arc::new(File::clone(file));
                        }
                    }
                }
            }
            let (snapshot, diagnostics) = decoder.decode(files.values());
            let all = Files::of(files.values().cloned().collect());
            let ids: Vec<FileId> = all.ids().collect();
            let (fresh, expected) = decode(&all, &ids);
            prop_assert_eq!(&snapshot, &fresh);
            prop_assert_eq!(diagnostics.render(&all, false), expected.render(&all, false));
            prop_assert_eq!(diagnostics.records(&all), expected.records(&all));
            let Some(snapshot) = snapshot else {
                before = None;
                continue;
            };
            let now = pointers(&snapshot);
            if let Some((known, earlier)) = before {
                for (name, file) in &files {
                    if earlier.get(name).is_some_and(|earlier| earlier.is_same(file)) {
                        let of_file = |pointers: &[(String, usize)]| {
                            let mut own: Vec<usize> = pointers
                                .iter()
                                .filter(|(of, _)| **of == **file.name())
                                .map(|(_, pointer)| *pointer)
                                .collect();
                            own.sort_unstable();
                            own
                        };
                        prop_assert_eq!(of_file(&now), of_file(&known), "{} is shared", file.name());
                    }
                }
            }
            before = Some((now, files.clone()));
        }
    }
}

#[test]
fn what_is_wrong_with_another_file_keeps_nothing_from_being_shared() {
    let read = |name: &str, content: usize| Arc::new(yaml::file(name, CONTENTS[content]));
    let policy = read("a.yaml", 4);
    let mut decoder = Decoder::default();
    let (first, _) = decoder.decode([&policy, &read("b.yaml", 6)].into_iter());
    let (broken, problems) = decoder.decode([&policy, &read("b.yaml", 8)].into_iter());
    assert!(broken.is_none());
    assert_eq!(
        problems.error_count(),
        1,
        "the tier is there, whatever is wrong with it"
    );
    let (missing, problems) = decoder.decode([&policy].into_iter());
    assert!(missing.is_none());
    assert_eq!(problems.iter().next().unwrap().code, "unknown-tier");
    let (mended, _) = decoder.decode([&policy, &read("c.yaml", 6)].into_iter());
    assert!(Arc::ptr_eq(
        &first.unwrap().policies[0],
        &mended.unwrap().policies[0]
    ));
}
