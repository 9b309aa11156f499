//! A server whose connections are watched, and a client that makes them.

use palisade::lab::{Host, Network};

use crate::{Daemon, Setup};

/// Everything but TCP 7 would be denied; nothing is in force.
const LOCKDOWN: &str = "
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: server-eth0, labels: {app: server}}
spec: {node: server, interfaceName: eth0, profiles: [projectcalico-default-allow]}
---
apiVersion: projectcalico.org/v3
kind: StagedGlobalNetworkPolicy
metadata: {name: lockdown}
spec:
  selector: app == 'server'
  types: [Ingress]
  ingress:
    - {action: Allow, protocol: TCP, destination: {ports: [7]}}
";

/// Two hosts, `server` and `client`.
#[derive(Debug)]
pub struct Pair(Network);

impl Pair {
    /// Builds them.
    ///
    /// # Errors
    /// Without root, saying so.
    pub fn new() -> anyhow::Result<Self> {
        let network = Network::builder()
            .host("server", ["10.9.0.1/16", "fd00:9::1/64"])
            .host("client", ["10.9.0.2/16", "fd00:9::2/64"])
            .build()?;
        Ok(Pair(network))
    }

    /// The server.
    pub fn server(&self) -> &Host {
        self.0.host("server")
    }

    /// The client.
    pub fn client(&self) -> &Host {
        self.0.host("client")
    }

    /// Starts a daemon on the server with [`Pair::lockdown`], and this in `flows` of its configuration.
    ///
    /// # Errors
    /// As [`Daemon::start`].
    pub fn daemon(&self, flows: &str) -> anyhow::Result<Daemon> {
        let setup = Setup::new("server").resource("staged.yaml", LOCKDOWN);
        Daemon::start_with_flows(self.server(), &setup, flows)
    }

    /// The staged policy that denies everything but TCP 7, and the server's endpoint.
    pub fn lockdown() -> &'static str {
        LOCKDOWN
    }

    /// Makes the server's conntrack forget connections a second after their last packet.
    ///
    /// # Errors
    /// If the kernel has no such settings.
    pub fn forget_quickly(&self) -> anyhow::Result<()> {
        let timeouts = [
            "udp_timeout",
            "udp_timeout_stream",
            "tcp_timeout_time_wait",
            "tcp_timeout_close",
        ];
        self.server().namespace().run(|| {
            timeouts.into_iter().try_for_each(|timeout| {
                std::fs::write(format!("/proc/sys/net/netfilter/nf_conntrack_{timeout}"), "1")
            })
        })??;
        Ok(())
    }
}
