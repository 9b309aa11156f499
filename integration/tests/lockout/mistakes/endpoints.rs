//! In who the server is.

use crate::mistake::Edit::{Remove, Replace};
use crate::mistake::Expect::{Harmless, Invalid, Refused};
use crate::mistake::{Mistake, mistake};

pub(crate) fn all() -> Vec<Mistake> {
    let endpoint = |from, to| [Replace("endpoint.yaml", from, to)];
    vec![
        mistake(
            "the role of the server mistyped",
            endpoint("role: server", "role: sever"),
            Refused,
        ),
        mistake(
            "the labels of the server forgotten",
            endpoint(", labels: {role: server, env: prod}", ""),
            Refused,
        ),
        mistake(
            "the server's node mistyped",
            endpoint("node: server", "node: sever"),
            Refused,
        ),
        mistake(
            "the endpoint of the server deleted",
            [Remove("endpoint.yaml")],
            Refused,
        ),
        mistake(
            "another interface, so that nothing is filtered here",
            endpoint("interfaceName: eth0", "interfaceName: eth1"),
            Harmless,
        ),
        mistake(
            "the endpoint for every interface",
            endpoint("interfaceName: eth0", "interfaceName: '*'"),
            Harmless,
        ),
        mistake(
            "addresses that are not the server's",
            endpoint(
                "interfaceName: eth0",
                "interfaceName: eth0, expectedIPs: [10.9.0.99]",
            ),
            Harmless,
        ),
        mistake(
            "a profile that does not exist",
            endpoint("interfaceName: eth0", "interfaceName: eth0, profiles: [nobody]"),
            Invalid,
        ),
    ]
}
