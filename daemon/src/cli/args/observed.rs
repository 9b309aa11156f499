//! What can be typed to see what was counted and observed.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::RangedU64ValueParser;
use clap::{Args, ValueEnum};
use palisade_rules::analysis::learn::Limits;

use super::{FromFiles, seconds};
use crate::config::duration;

#[derive(Debug, Args)]
pub(in crate::cli) struct CountersArgs {
    /// Only counters that have counted something
    #[arg(long)]
    pub(in crate::cli) hit: bool,
    /// Go on showing what moves, with packets a second, every so many seconds (1 if not said) until Ctrl-C; what moves
    /// comes first. As JSON, a line for each sample: when, how long it took, and the counters that have moved in it
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1", value_parser = pause)]
    pub(in crate::cli) watch: Option<Duration>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct StagedArgs {
    /// Only this policy
    pub(in crate::cli) name: Option<String>,
    /// How long a policy must have been observed to be called ready
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = seconds)]
    pub(in crate::cli) evidence: Duration,
}

#[derive(Debug, Default, Args)]
pub(in crate::cli) struct FlowsArgs {
    /// Go on with records as they come
    #[arg(short, long)]
    pub(in crate::cli) follow: bool,
    /// Read these files instead of asking the daemon: JSON Lines, .gz too; a directory stands for those in it
    #[arg(long = "file", value_name = "PATH", conflicts_with = "follow")]
    pub(in crate::cli) files: Vec<PathBuf>,
    /// At most so many records: the latest, or with -f the first to come
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    pub(in crate::cli) limit: Option<usize>,
    /// Not before: 10m or 2h or 3d ago, today, 2026-11-23, or an RFC 3339 time
    #[arg(long, value_name = "TIME")]
    pub(in crate::cli) since: Option<String>,
    /// Not after; written as --since
    #[arg(long, value_name = "TIME")]
    pub(in crate::cli) until: Option<String>,
    /// Only records of this endpoint or network, at either end
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) endpoint: Option<String>,
    /// Only records from this endpoint or network
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) source: Option<String>,
    /// Only records to this endpoint or network
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) dest: Option<String>,
    /// Only records from this namespace
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) source_namespace: Option<String>,
    /// Only records to this namespace
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) dest_namespace: Option<String>,
    /// Only records from this kind of thing: HostEndpoint, NetworkSet and the like
    #[arg(long, value_name = "KIND")]
    pub(in crate::cli) source_type: Option<String>,
    /// Only records to this kind of thing
    #[arg(long, value_name = "KIND")]
    pub(in crate::cli) dest_type: Option<String>,
    /// Only records whose source has this label; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub(in crate::cli) source_label: Vec<String>,
    /// Only records whose destination has this label; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub(in crate::cli) dest_label: Vec<String>,
    /// Only records of this destination port
    #[arg(long)]
    pub(in crate::cli) port: Option<u16>,
    /// Only records of this protocol, as tcp
    #[arg(long, value_name = "PROTOCOL")]
    pub(in crate::cli) proto: Option<String>,
    /// Only records with this verdict
    #[arg(long, visible_alias = "verdict", value_parser = ["allow", "deny"])]
    pub(in crate::cli) action: Option<String>,
    /// Only records with this pending verdict
    #[arg(long, visible_alias = "pending", value_parser = ["allow", "deny"])]
    pub(in crate::cli) pending_action: Option<String>,
    /// Only what is allowed and would be denied: by promotion, or by removing the safety net after it
    #[arg(long)]
    pub(in crate::cli) would_deny: bool,
    /// Only records that a safety net has allowed, or not
    #[arg(long, value_enum)]
    pub(in crate::cli) safety_net: Option<SafetyNetFilter>,
    /// Only records that this policy speaks in
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) policy: Option<String>,
    /// Only records that this rule speaks in, by name or by its index as written
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) rule: Option<String>,
    /// Only records that this tier speaks in
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) tier: Option<String>,
    /// Only what was seen at its source, at its destination, or on its way through this host
    #[arg(long, value_parser = ["src", "dst", "fwd"])]
    pub(in crate::cli) reporter: Option<String>,
    /// Only this direction, seen from the endpoint
    #[arg(long, value_parser = ["ingress", "egress"])]
    pub(in crate::cli) direction: Option<String>,
    /// Only records of sockets of this systemd unit, as nginx.service or nginx
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) unit: Option<String>,
    /// Only records of sockets of this process, by name or id
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) process: Option<String>,
    /// Only remainders: flows that were not kept apart, for want of room
    #[arg(long)]
    pub(in crate::cli) remainders: bool,
    /// Only records of which this holds: field=value, or field!=value, fields named as in -o json; may be repeated
    #[arg(long = "where", value_name = "CONDITION")]
    pub(in crate::cli) conditions: Vec<String>,
}

/// Whether a safety net has allowed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum SafetyNetFilter {
    /// In either world.
    Caught,
    /// In no world.
    NotCaught,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct LearnArgs {
    /// The name of the policy; one that is staged by this name is completed
    pub(in crate::cli) name: String,
    /// The local endpoint it is for; the only host endpoint if not given
    #[arg(long, value_name = "NAME", conflicts_with = "selector")]
    pub(in crate::cli) endpoint: Option<String>,
    /// The selector of the endpoints it is for
    #[arg(long, value_name = "EXPRESSION")]
    pub(in crate::cli) selector: Option<String>,
    /// The directions it is to govern; those that were observed if not given
    #[arg(long, value_parser = ["ingress", "egress", "both"])]
    pub(in crate::cli) direction: Option<String>,
    /// Only connections that were seen since then: 10m, 2h, 3d (so long ago), today, 2026-11-23, 2026-11-23T04:05:06Z
    #[arg(long, value_name = "TIME")]
    pub(in crate::cli) since: Option<String>,
    /// Its tier
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) tier: Option<String>,
    /// Its order [default: 1000]
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub(in crate::cli) order: Option<f64>,
    /// Also what goes through the host (applyOnForward: true)
    #[arg(long)]
    pub(in crate::cli) forward: bool,
    /// Also what is denied now
    #[arg(long)]
    pub(in crate::cli) include_denied: bool,
    /// Learn nothing from this far end, an address or a network; may be repeated
    #[arg(long, value_name = "NET")]
    pub(in crate::cli) exclude: Vec<String>,
    /// The most rules, before they are merged to rules that allow more
    #[arg(long, value_name = "NUMBER", default_value_t = Limits::default().rules,
          value_parser = RangedU64ValueParser::<usize>::new().range(1..=Limits::MOST_RULES as u64))]
    pub(in crate::cli) max_rules: usize,
    /// The most networks in a rule, before they are merged to wider ones
    #[arg(long, value_name = "NUMBER", default_value_t = Limits::default().nets,
          value_parser = RangedU64ValueParser::<usize>::new().range(1..=Limits::MOST_NETS as u64))]
    pub(in crate::cli) max_nets: usize,
    /// With -f: the flow records to learn from, a file or a directory of them, compressed ones (.gz) among them
    #[arg(long, value_name = "PATH", requires = "files")]
    pub(in crate::cli) from: Option<PathBuf>,
    /// Write the policy into this file, which must not exist
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) write: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) from_files: FromFiles,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct TopArgs {
    /// How long a policy must have been observed to be called ready
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = seconds)]
    pub(in crate::cli) evidence: Duration,
}

/// A number of seconds, or a time with its unit.
fn pause(text: &str) -> Result<Duration, String> {
    let seconds = text
        .parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let pause = seconds.or_else(|| duration(text));
    let sensible = Duration::from_millis(100)..=Duration::from_hours(1);
    pause
        .filter(|pause| sensible.contains(pause))
        .ok_or_else(|| "it is written as 2, 0.5, 500ms or 1m: from a tenth of a second to an hour".to_owned())
}
