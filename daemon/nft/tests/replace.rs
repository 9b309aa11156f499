//! Changing the table on the real kernel: what is kept, what is refused, what is left alone.
#![allow(clippy::unwrap_used)] // in a test, a panic is a failure

mod common;

use std::sync::Arc;
use std::time::Instant;

use common::{
    base_chain, chain, in_namespace, jump, listed_chains, listing, load, loopback_up, name, nft, open, rule,
    ruleset_of_chains, send_to_loopback, set,
};
use nix::libc;
use palisade_nft::{
    ApplyError, CounterValue, NflogOptions, NflogSocket, Nft, Operation, Transaction, VerifyError, diff,
};
use palisade_rules::net::{Family, PortRange};
use palisade_rules::ruleset::{Comment, Elements, HookPoint, Match, Op, Rule, Ruleset, Side, Statement};

/// The sentences of the operations that `desired` needs now.
fn plan(desired: &Ruleset) -> Vec<String> {
    let table = open().dump().unwrap();
    let transaction = diff(desired, table.as_ref(), &());
    transaction.operations().iter().map(ToString::to_string).collect()
}

fn counted(chains: &[&str]) -> Ruleset {
    let mut ruleset = ruleset_of_chains(chains);
    Arc::make_mut(&mut ruleset.chains[0])
        .rules
        .insert(0, rule(vec![Statement::Counter(name("hits"))]));
    ruleset
        .counters
        .insert(name("hits"), Comment::new("packets to this host"));
    ruleset
}

#[test]
fn counters_keep_their_values() {
    in_namespace(|| {
        let mut kernel = open();
        kernel.replace(&counted(&["a", "b"]), &mut ()).unwrap();
        loopback_up();
        send_to_loopback(&[b"0123456789", b"0123456789", b"0123456789"]);
        // An IP header, a UDP header and ten bytes each.
        let value = CounterValue {
            packets: 3,
            bytes: 3 * 38,
        };
        assert_eq!(kernel.counters().unwrap()["hits"], value);

        // Other rules, another order of chains, another comment: the counter goes on.
        let mut other = counted(&["c", "b", "a"]);
        other
            .counters
            .insert(name("hits"), Comment::new("another comment"));
        other.counters.insert(name("more"), Comment::default());
        kernel.replace(&other, &mut ()).unwrap();
        let counters = kernel.counters().unwrap();
        assert_eq!(counters["hits"], value);
        assert_eq!(counters["more"], CounterValue::default());
        assert_eq!(kernel.dump().unwrap().unwrap().counters["hits"].value, value);

        // A counter that is no longer wanted goes.
        kernel.replace(&ruleset_of_chains(&["b"]), &mut ()).unwrap();
        assert!(kernel.counters().unwrap().is_empty());
    });
}

#[test]
fn chains_are_listed_in_order_whatever_the_history() {
    in_namespace(|| {
        let mut kernel = open();
        for names in [
            &["a", "b", "d"][..],
            &["a", "b", "c", "d"],
            &["d", "a", "c", "b"],
            &["x"],
            &["b", "x", "a"],
            &[],
            &["z", "a"],
        ] {
            let desired = ruleset_of_chains(names);
            kernel.replace(&desired, &mut ()).unwrap();
            assert_eq!(listed_chains(), [&["input"], names].concat());
            assert!(plan(&desired).is_empty());
        }
    });
}

#[test]
fn a_chain_inserted_touches_only_what_comes_after_it() {
    in_namespace(|| {
        let mut kernel = open();
        kernel.replace(&ruleset_of_chains(&["a", "c"]), &mut ()).unwrap();
        let handle = |listing: &str, chain: &str| {
            let line = listing
                .lines()
                .find(|line| line.contains(&format!("chain {chain} ")));
            line.unwrap().to_owned()
        };
        let handles = || nft(&["-a", "list", "table", "inet", "palisade"], "").unwrap();
        let before = handles();
        kernel
            .replace(&ruleset_of_chains(&["a", "b", "c"]), &mut ())
            .unwrap();
        let after = handles();
        assert_eq!(handle(&before, "input"), handle(&after, "input"));
        assert_eq!(handle(&before, "a"), handle(&after, "a"));
        assert_ne!(handle(&before, "c"), handle(&after, "c"));
    });
}

#[test]
fn chains_that_jump_to_each_other_can_be_reordered() {
    in_namespace(|| {
        let linked = |order: [&str; 3]| {
            let mut ruleset = ruleset_of_chains(&order);
            for chain in &mut ruleset.chains {
                match chain.name.as_str() {
                    "a" => Arc::make_mut(chain).rules.insert(0, jump("b")),
                    "b" => Arc::make_mut(chain).rules.insert(0, jump("c")),
                    _ => {}
                }
            }
            ruleset
        };
        let mut kernel = open();
        for order in [["a", "b", "c"], ["c", "b", "a"], ["b", "a", "c"], ["a", "b", "c"]] {
            kernel.replace(&linked(order), &mut ()).unwrap();
            assert_eq!(listed_chains()[1..], order);
        }
    });
}

#[test]
fn a_base_chain_stays_while_it_is_wanted() {
    in_namespace(|| {
        let mut kernel = open();
        let one = ruleset_of_chains(&["a"]);
        kernel.replace(&one, &mut ()).unwrap();
        let mut two = one.clone();
        Arc::make_mut(&mut two.chains[0]).rules.clear();
        two.chains
            .insert(1, base_chain("output", HookPoint::Output, vec![jump("a")]));
        let plan = plan(&two);
        assert_eq!(
            plan,
            [
                "deleting the rules of chain input",
                "deleting the rules of chain a",
                "deleting chain a",
                "creating base chain output",
                "creating chain a",
                "adding rule 1 of chain output",
                "adding rule 1 of chain a",
            ]
        );
        kernel.replace(&two, &mut ()).unwrap();
        assert_eq!(listed_chains(), ["input", "output", "a"]);

        // Another priority and another comment cannot be had without another chain.
        if let Some(hook) = &mut Arc::make_mut(&mut two.chains[0]).hook {
            hook.priority = 5;
        }
        Arc::make_mut(&mut two.chains[2]).comment = Comment::new("new words");
        kernel.replace(&two, &mut ()).unwrap();
        assert!(listing().contains("priority filter + 5"));
        assert!(listing().contains("comment \"new words\""));
    });
}

fn membership(elements: Elements) -> Ruleset {
    let lookup = Rule {
        matches: vec![
            Match::Family(Family::V4),
            Match::AddressSet(Side::Source, Op::Is, Family::V4, name("members")),
        ],
        statements: vec![Statement::Accept],
        ..Rule::default()
    };
    let mut ruleset = Ruleset {
        chains: vec![base_chain("input", HookPoint::Input, vec![lookup])],
        ..Ruleset::default()
    };
    ruleset.sets.insert(name("members"), set(elements));
    ruleset
}

fn addresses(last: &[u8]) -> Elements {
    Elements::Ipv4Addresses(last.iter().map(|&last| [10, 0, 0, last].into()).collect())
}

fn nets(nets: &[&str]) -> Elements {
    Elements::Ipv4Nets(nets.iter().map(|net| net.parse().unwrap()).collect())
}

#[test]
fn membership_changes_touch_elements_only() {
    in_namespace(|| {
        let mut kernel = open();
        kernel
            .replace(&membership(addresses(&[1, 2, 3])), &mut ())
            .unwrap();
        let desired = membership(addresses(&[2, 3, 4, 5]));
        assert_eq!(
            plan(&desired),
            [
                "deleting 1 elements of set members",
                "adding 2 elements to set members"
            ]
        );
        kernel.replace(&desired, &mut ()).unwrap();
        assert!(listing().contains("10.0.0.4"));
    });
}

#[test]
fn intervals_split_and_merge() {
    in_namespace(|| {
        let mut kernel = open();
        for members in [
            &["10.0.0.0/24"][..],
            &["10.0.0.0/25", "10.0.0.128/26"],
            &["10.0.0.0/26", "10.0.0.128/25", "255.0.0.0/8"],
            &["10.0.0.0/24", "255.255.255.255/32"],
            &["0.0.0.0/1"],
            &["10.0.0.64/26"],
            &[],
            &["0.0.0.0/1", "128.0.0.0/2", "192.0.0.0/2"],
        ] {
            let desired = membership(nets(members));
            kernel.replace(&desired, &mut ()).unwrap();
            assert!(plan(&desired).is_empty());
            for member in members {
                let host = member.strip_suffix("/32").unwrap_or(member);
                assert!(listing().contains(host), "{member} is not in {}", listing());
            }
        }
    });
}

#[test]
fn a_set_of_another_type_is_made_anew_with_its_rules() {
    in_namespace(|| {
        let mut kernel = open();
        kernel.replace(&membership(addresses(&[1])), &mut ()).unwrap();
        let desired = membership(nets(&["10.0.0.0/24"]));
        kernel.replace(&desired, &mut ()).unwrap();
        assert!(listing().contains("10.0.0.0/24"));
        assert!(listing().contains("ip saddr @members accept"));
    });
}

#[test]
fn elements_that_do_not_fit_one_message() {
    in_namespace(|| {
        let mut kernel = open();
        let addresses = Elements::Ipv4Addresses((0..50_000u32).map(|i| (0x0a00_0000 + i).into()).collect());
        kernel.replace(&membership(addresses), &mut ()).unwrap();
        let nets = Elements::Ipv4Nets(
            (0..20_000u32)
                .map(|i| ipnet::Ipv4Net::new_assert((0x0a00_0000 + 512 * i).into(), 24))
                .collect(),
        );
        kernel.replace(&membership(nets), &mut ()).unwrap();
        kernel
            .replace(&membership(Elements::Ipv4Nets(vec![])), &mut ())
            .unwrap();
    });
}

#[test]
fn a_batch_of_twenty_thousand_rules_loads() {
    in_namespace(|| {
        let mut ruleset = Ruleset::default();
        let mut input = base_chain("input", HookPoint::Input, vec![]);
        for chain_number in 0..200 {
            let chain_name = format!("policy-{chain_number:03}");
            Arc::make_mut(&mut input).rules.push(jump(&chain_name));
            let rules = (0..100)
                .map(|rule_number| {
                    let counter = name(&format!("{chain_name}-{rule_number}"));
                    ruleset
                        .counters
                        .insert(counter.clone(), Comment::new("a rule's own"));
                    Rule {
                        matches: vec![
                            Match::Protocol(Op::Is, palisade_rules::net::Protocol::TCP),
                            Match::Port(Side::Destination, Op::Is, PortRange::one(rule_number)),
                        ],
                        statements: vec![Statement::Counter(counter), Statement::Accept],
                        comment: Comment::new("policy a/b rule 3"),
                    }
                })
                .collect();
            ruleset.chains.push(chain(&chain_name, rules));
        }
        ruleset.chains.insert(0, input);
        let mut kernel = open();
        let start = Instant::now();
        kernel.replace(&ruleset, &mut ()).unwrap();
        println!("20,000 rules and counters in {:?}", start.elapsed());
        let table = kernel.dump().unwrap().unwrap();
        assert_eq!(
            table.chains.iter().map(|chain| chain.rules.len()).sum::<usize>(),
            20_200
        );
        assert_eq!(kernel.counters().unwrap().len(), 20_000);
    });
}

#[test]
fn another_writer_is_noticed() {
    in_namespace(|| {
        let mut kernel = open();
        let desired = ruleset_of_chains(&["a"]);
        let generation = kernel.generation_id().unwrap();
        let transaction = diff(&desired, kernel.dump().unwrap().as_ref(), &());
        load("add table ip other");
        let answer = kernel.apply(&transaction, generation);
        assert!(matches!(answer, Err(ApplyError::Conflict)), "{answer:?}");
        assert!(kernel.dump().unwrap().is_none());
        // Computed anew, it goes in.
        kernel.replace(&desired, &mut ()).unwrap();
    });
}

#[test]
fn what_the_kernel_refuses_is_named_and_nothing_is_applied() {
    in_namespace(|| {
        let mut kernel = open();
        let held = ruleset_of_chains(&["a"]);
        kernel.replace(&held, &mut ()).unwrap();

        let mut broken = ruleset_of_chains(&["a", "b"]);
        Arc::make_mut(&mut broken.chains[1]).rules = vec![
            rule(vec![Statement::Accept]),
            Rule {
                statements: vec![Statement::Counter(name("nowhere"))],
                comment: Comment::new("policy p rule 2"),
                ..Rule::default()
            },
            jump("nirvana"),
        ];
        let answer = kernel.replace(&broken, &mut ()).unwrap_err();
        assert_eq!(
            answer.to_string(),
            "the kernel refused the change, nothing was applied: \
             adding rule 2 of chain a (\"policy p rule 2\"): No such file or directory; \
             adding rule 3 of chain a: No such file or directory"
        );
        kernel.verify(&held).unwrap();

        // Two chains that jump to each other.
        let mut circle = ruleset_of_chains(&["a", "b"]);
        Arc::make_mut(&mut circle.chains[1]).rules = vec![jump("b")];
        Arc::make_mut(&mut circle.chains[2]).rules = vec![jump("a")];
        let answer = kernel.replace(&circle, &mut ()).unwrap_err().to_string();
        assert!(answer.contains("Too many links"), "{answer}");
        kernel.verify(&held).unwrap();
    });
}

#[test]
fn what_cannot_be_written_is_named() {
    in_namespace(|| {
        let mut kernel = open();
        let too_long = Transaction::new(vec![Operation::AddTable, Operation::DeleteChain("x".repeat(300))]);
        let answer = kernel.apply(&too_long, 0).unwrap_err().to_string();
        assert!(answer.starts_with("deleting chain xxx"), "{answer}");
        assert!(answer.contains("longer than 255 bytes"), "{answer}");
        assert!(kernel.dump().unwrap().is_none());
    });
}

#[test]
fn other_tables_are_left_alone() {
    in_namespace(|| {
        load(
            "add table inet other
             add counter inet other c { packets 5 bytes 7; }
             add set inet other s { type ipv4_addr; }
             add element inet other s { 1.2.3.4 }
             add chain inet other input { type filter hook input priority 0; }
             add rule inet other input counter name c accept
             add table ip palisade
             add chain ip palisade input { type filter hook input priority 0; }
             add rule ip palisade input accept",
        );
        let others = || {
            let list = |family, table| nft(&["list", "table", family, table], "").unwrap();
            (list("inet", "other"), list("ip", "palisade"))
        };
        let before = others();
        let mut kernel = open();
        assert!(kernel.dump().unwrap().is_none());
        kernel.replace(&counted(&["a", "b"]), &mut ()).unwrap();
        let table = kernel.dump().unwrap().unwrap();
        assert_eq!(
            (table.chains.len(), table.counters.len(), table.sets.len()),
            (3, 1, 0)
        );
        kernel.replace(&ruleset_of_chains(&["c"]), &mut ()).unwrap();
        assert_eq!(before, others());
        kernel.delete_table(&mut ()).unwrap();
        kernel.delete_table(&mut ()).unwrap();
        assert!(kernel.dump().unwrap().is_none());
        assert_eq!(before, others());
    });
}

#[test]
fn what_others_did_to_our_table_is_described_and_undone() {
    in_namespace(|| {
        let mut kernel = open();
        let mut desired = membership(addresses(&[1, 2]));
        desired.chains.push(chain("a", vec![]));
        kernel.replace(&desired, &mut ()).unwrap();
        load(
            "add counter inet palisade extra
             add quota inet palisade q { over 10 mbytes }
             add map inet palisade m { type ipv4_addr : verdict; elements = { 10.0.0.9 : jump a } }
             add chain inet palisade input { policy drop; }
             add chain inet palisade backdoor
             insert rule inet palisade input ip saddr { 10.9.9.9, 10.9.9.8 } counter limit rate 5/second accept
             add rule inet palisade input ip saddr vmap @m
             add rule inet palisade backdoor tcp dport 22 accept
             add rule inet palisade input jump backdoor
             add rule inet palisade a counter name extra quota name q
             delete element inet palisade members { 10.0.0.1 }
             add element inet palisade members { 10.0.0.7 }",
        );
        let Err(VerifyError::Mismatch(mismatch)) = kernel.verify(&desired) else {
            panic!("the difference was not seen");
        };
        assert_eq!(
            mismatch.differences,
            [
                "chain backdoor should not be there",
                "the policy of base chain input is not accept",
                "chain input has 4 rules instead of 1",
                "chain a has 1 rules instead of 0",
                "set members lacks 1 elements and has 1 too many",
                "map m should not be there",
                "counter extra should not be there",
                "object q of nf_tables type 2 should not be there",
            ]
        );
        kernel.replace(&desired, &mut ()).unwrap();
        let repaired = listing();
        assert!(repaired.contains("policy accept"));
        assert!(
            !repaired.contains("extra") && !repaired.contains("backdoor"),
            "{repaired}"
        );

        load("add table inet palisade { flags dormant; }");
        let answer = kernel.verify(&desired).unwrap_err().to_string();
        assert!(answer.contains("switched off"), "{answer}");
        kernel.replace(&desired, &mut ()).unwrap();
        assert!(!listing().contains("dormant"));

        load("delete table inet palisade");
        let answer = kernel.verify(&desired).unwrap_err().to_string();
        assert!(answer.contains("the table is missing"), "{answer}");
        kernel.replace(&desired, &mut ()).unwrap();
    });
}

#[test]
fn a_missing_privilege_is_said_in_words() {
    in_namespace(|| {
        // The system call itself changes this thread; libc's function would change all threads of the test.
        // SAFETY: three numbers, no memory involved.
        let code = unsafe { libc::syscall(libc::SYS_setresuid, 65534, 65534, 65534) };
        assert_eq!(code, 0);
        let message = Nft::open().map(drop).unwrap_err().to_string();
        assert!(message.contains("CAP_NET_ADMIN"), "{message}");
        let message = NflogSocket::bind(7, NflogOptions::default())
            .unwrap_err()
            .to_string();
        assert!(message.contains("CAP_NET_ADMIN"), "{message}");
    });
}
