//! What others have at the same hooks is read whoever made it. Needs root.
#![allow(clippy::unwrap_used)] // in a test, a panic is a failure

mod common;

use std::net::IpAddr;

use common::{in_namespace, load, nft, open};
use palisade_nft::{Forwarding, SurveyedChain, TableFamily};
use palisade_rules::net::{PortRange, Protocol};

const OTHERS: &str = "
table inet firewalld {
	chain filter_INPUT {
		type filter hook input priority filter + 10; policy accept;
		jump filter_INPUT_ZONES
		ct state invalid drop
		reject with icmpx admin-prohibited
	}

	chain filter_INPUT_ZONES {
		accept
	}
}
table ip docker-bridges {
	chain nat-prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		iifname != \"docker0\" tcp dport 8080 counter dnat to 172.17.0.2:80
		ip daddr 192.0.2.1 udp dport 5000-5010 dnat to 172.17.0.3
		meta nftrace set 1
	}

	chain filter {
		type filter hook forward priority filter; policy drop;
	}
}
table ip6 nat {
	chain pre {
		type nat hook prerouting priority -110; policy accept;
		tcp dport 443 dnat to [2001:db8::1]:8443
	}
}
table arp ignored {
	chain input {
		type filter hook input priority filter; policy accept;
	}
}
";

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn chains_of_others_are_read_with_what_they_drop_and_forward() {
    in_namespace(|| {
        let mut kernel = open();
        assert_eq!(kernel.survey().unwrap(), []);
        load(OTHERS);
        nft(&["add", "table", "inet", "palisade"], "").unwrap();
        nft(&["add", "chain", "inet", "palisade", "ours"], "").unwrap();
        let chains = kernel.survey().unwrap();
        let named =
            |name: &str| -> &SurveyedChain { chains.iter().find(|chain| chain.name == name).unwrap() };
        assert_eq!(chains.len(), 5, "{chains:#?}");

        let input = named("filter_INPUT");
        assert_eq!(
            (input.family, input.table.as_str()),
            (TableFamily::Inet, "firewalld")
        );
        assert!(input.drops);
        assert_eq!(input.leads_to, ["filter_INPUT_ZONES"]);
        let base = input.base.as_ref().unwrap();
        assert_eq!((base.hook, base.priority, base.accepts), (1, 10, true));
        assert!(!named("filter_INPUT_ZONES").drops);
        assert!(!named("filter").base.as_ref().unwrap().accepts);

        let tcp = Forwarding {
            protocol: Some(Protocol::TCP),
            ports: Some(PortRange::one(8080)),
            to: Some(address("172.17.0.2")),
            to_port: Some(80),
            address: None,
        };
        let udp = Forwarding {
            protocol: Some(Protocol::UDP),
            ports: Some(PortRange {
                first: 5000,
                last: 5010,
            }),
            to: Some(address("172.17.0.3")),
            to_port: None,
            address: Some(address("192.0.2.1")),
        };
        assert_eq!(named("nat-prerouting").forwards, [tcp, udp]);
        let v6 = &named("pre").forwards[0];
        assert_eq!((v6.to, v6.to_port), (Some(address("2001:db8::1")), Some(8443)));
    });
}
