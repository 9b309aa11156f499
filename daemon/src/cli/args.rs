//! What can be typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::RangedU64ValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use palisade_rules::analysis::learn::Limits;
use palisade_rules::schema::Kind;

use super::{Failure, lint, schema};
use crate::config::{DEFAULT_PATH, DEFAULT_SOCKET, duration};
use crate::exit::Exit;
use crate::matrix::OneWorld;

/// Put a default-deny firewall on a live Linux host: stage, observe, promote.
#[derive(Debug, Parser)]
#[command(
    name = "palisade",
    version,
    after_help = "Exit codes: 0 fine, allowed, no findings; 1 findings (denied, would be denied); 2 usage; 3 invalid \
                  configuration or resources; 4 daemon unreachable; 5 apply failed, previous generation kept; 77 missing \
                  privilege."
)]
pub(super) struct Cli {
    /// The daemon's socket.
    #[arg(long, global = true, env = "PALISADE_SOCKET", default_value = DEFAULT_SOCKET, value_name = "PATH")]
    pub(super) socket: PathBuf,
    /// How to print.
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Table)]
    pub(super) output: Output,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// How to print, as it is asked for; not every command can print in every way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For reading.
    Table,
    /// For programs.
    Json,
    /// For programs that read YAML.
    Yaml,
    /// For spreadsheets.
    Csv,
    /// Of `matrix`: a page for the browser.
    Html,
    /// Of `matrix`: an image.
    Svg,
    /// Of `matrix`: a graph for Graphviz.
    Dot,
    /// Of `diff`: for a pull request.
    Markdown,
    /// Of `test`: the Test Anything Protocol.
    Tap,
    /// Of `test`: the XML that build servers read.
    Junit,
}

/// How commands print that have no form of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// For reading.
    Table,
    /// For programs.
    Json,
    /// For programs that read YAML.
    Yaml,
    /// For spreadsheets.
    Csv,
}

impl Output {
    /// For a command that has no form of its own.
    pub(super) fn usual(self) -> Result<Format, Failure> {
        match self {
            Output::Table => Ok(Format::Table),
            Output::Json => Ok(Format::Json),
            Output::Yaml => Ok(Format::Yaml),
            Output::Csv => Ok(Format::Csv),
            other => Err(other.refused("table, json, yaml or csv")),
        }
    }

    /// For a command that has one form only.
    pub(super) fn none(self) -> Result<(), Failure> {
        match self {
            Output::Table => Ok(()),
            other => Err(Failure::new(
                Exit::Usage,
                format!(
                    "this command prints in one form only, and not as {}: leave -o out",
                    other.word()
                ),
            )),
        }
    }

    /// What to say where this form is not among those that a command has.
    pub(super) fn refused(self, forms: &str) -> Failure {
        let word = self.word();
        Failure::new(
            Exit::Usage,
            format!("this command does not print as {word}: use -o {forms}"),
        )
    }

    fn word(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Validate resources: offline, without root
    Check(CheckArgs),
    /// What is in force, and how the daemon fares
    Status,
    /// Every policy in order of evaluation, with its hits
    Policies(FromFiles),
    /// Every counter with what it counts, in both worlds
    Counters(CountersArgs),
    /// Every endpoint with its addresses and labels
    Endpoints(FromFiles),
    /// What each staged policy would have done
    Staged(StagedArgs),
    /// Flow records: who connected to whom, and both verdicts
    Flows(Box<FlowsArgs>),
    /// A live view: rules, staged policies and flows
    Top(TopArgs),
    /// Would this connection be allowed, in both worlds, and why
    Explain(ExplainArgs),
    /// Who reaches whom, in both worlds
    Matrix(MatrixArgs),
    /// What changes between two directories, or by promotion, with a packet that shows it
    Diff(DiffArgs),
    /// What is valid and probably not meant: rules never reached, selectors of nothing, and more
    Lint(LintArgs),
    /// Propose a policy that allows what was observed, with the proof that it denies none of it
    Learn(LearnArgs),
    /// Check written expectations: who must, and who must never, reach whom
    Test(TestArgs),
    /// Live connections that would be denied if they were opened again
    Connections,
    /// What a reload would do, to the kernel, to who reaches whom and to live connections; nothing is applied
    Plan(PlanArgs),
    /// Read everything anew and bring it into force, or change nothing and say why
    Reload,
    /// Remove all of palisade's rules, now, without the daemon
    Panic(PanicArgs),
    /// Take back a panic and bring the policies into force again
    Resume(PanicArgs),
    /// The ruleset as nft text
    Compile(CompileArgs),
    /// Work with selectors
    Selector(SelectorArgs),
    /// JSON Schema of everything that can be written, for editors
    Schema(SchemaArgs),
    /// A completion script for a shell
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a directory
    #[command(hide = true)]
    Man {
        /// The directory
        directory: PathBuf,
    },
    /// Three throwaway hosts, real traffic: stage, observe, promote
    Demo(DemoArgs),
}

/// Resources from files instead of the daemon's.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct FromFiles {
    /// Resources to work on instead of the daemon's: a file, a directory, or - for standard input; may be repeated
    #[arg(short, long = "file", value_name = "PATH")]
    pub(super) files: Vec<PathBuf>,
    /// With -f: a configuration to take host.labels and failsafes from
    #[arg(long, value_name = "FILE", requires = "files")]
    pub(super) config: Option<PathBuf>,
    /// With -f: the node that is this host
    #[arg(long, value_name = "NAME", requires = "files")]
    pub(super) node: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Files, directories, or - for standard input
    #[arg(required = true, value_name = "PATH")]
    pub(super) paths: Vec<PathBuf>,
    /// Check this configuration file as well
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct CountersArgs {
    /// Only counters that have counted something
    #[arg(long)]
    pub(super) hit: bool,
    /// Go on showing what moves, with packets a second, every so many seconds (1 if not said) until Ctrl-C; what moves
    /// comes first. As JSON, a line for each sample: when, how long it took, and the counters that have moved in it
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1", value_parser = pause)]
    pub(super) watch: Option<Duration>,
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

#[derive(Debug, Args)]
pub(super) struct StagedArgs {
    /// Only this policy
    pub(super) name: Option<String>,
    /// How long a policy must have been observed to be called ready
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = seconds)]
    pub(super) evidence: Duration,
}

#[derive(Debug, Default, Args)]
pub(super) struct FlowsArgs {
    /// Go on with records as they come
    #[arg(short, long)]
    pub(super) follow: bool,
    /// Read these files instead of asking the daemon: JSON Lines, .gz too; a directory stands for those in it
    #[arg(long = "file", value_name = "PATH", conflicts_with = "follow")]
    pub(super) files: Vec<PathBuf>,
    /// At most so many records: the latest, or with -f the first to come
    #[arg(long, value_name = "N")]
    pub(super) limit: Option<usize>,
    /// Not before: 10m or 2h or 3d ago, today, 2026-11-23, or an RFC 3339 time
    #[arg(long, value_name = "TIME")]
    pub(super) since: Option<String>,
    /// Not after; written as --since
    #[arg(long, value_name = "TIME")]
    pub(super) until: Option<String>,
    /// Only records of this endpoint or network, at either end
    #[arg(long, value_name = "NAME")]
    pub(super) endpoint: Option<String>,
    /// Only records from this endpoint or network
    #[arg(long, value_name = "NAME")]
    pub(super) source: Option<String>,
    /// Only records to this endpoint or network
    #[arg(long, value_name = "NAME")]
    pub(super) dest: Option<String>,
    /// Only records from this namespace
    #[arg(long, value_name = "NAME")]
    pub(super) source_namespace: Option<String>,
    /// Only records to this namespace
    #[arg(long, value_name = "NAME")]
    pub(super) dest_namespace: Option<String>,
    /// Only records from this kind of thing: HostEndpoint, NetworkSet and the like
    #[arg(long, value_name = "KIND")]
    pub(super) source_type: Option<String>,
    /// Only records to this kind of thing
    #[arg(long, value_name = "KIND")]
    pub(super) dest_type: Option<String>,
    /// Only records whose source has this label; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) source_label: Vec<String>,
    /// Only records whose destination has this label; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) dest_label: Vec<String>,
    /// Only records of this destination port
    #[arg(long)]
    pub(super) port: Option<u16>,
    /// Only records of this protocol, as tcp
    #[arg(long, value_name = "PROTOCOL")]
    pub(super) proto: Option<String>,
    /// Only records with this verdict
    #[arg(long, visible_alias = "verdict", value_parser = ["allow", "deny"])]
    pub(super) action: Option<String>,
    /// Only records with this pending verdict
    #[arg(long, visible_alias = "pending", value_parser = ["allow", "deny"])]
    pub(super) pending_action: Option<String>,
    /// Only what is allowed and would be denied: by promotion, or by removing the safety net after it
    #[arg(long)]
    pub(super) would_deny: bool,
    /// Only records that a safety net has allowed, or not
    #[arg(long, value_enum)]
    pub(super) safety_net: Option<SafetyNetFilter>,
    /// Only records that this policy speaks in
    #[arg(long, value_name = "NAME")]
    pub(super) policy: Option<String>,
    /// Only records that this rule speaks in, by name or by its index as written
    #[arg(long, value_name = "NAME")]
    pub(super) rule: Option<String>,
    /// Only records that this tier speaks in
    #[arg(long, value_name = "NAME")]
    pub(super) tier: Option<String>,
    /// Only what was seen at its source, at its destination, or on its way through this host
    #[arg(long, value_parser = ["src", "dst", "fwd"])]
    pub(super) reporter: Option<String>,
    /// Only this direction, seen from the endpoint
    #[arg(long, value_parser = ["ingress", "egress"])]
    pub(super) direction: Option<String>,
    /// Only records of sockets of this systemd unit, as nginx.service or nginx
    #[arg(long, value_name = "NAME")]
    pub(super) unit: Option<String>,
    /// Only records of sockets of this process, by name or id
    #[arg(long, value_name = "NAME")]
    pub(super) process: Option<String>,
    /// Only remainders: flows that were not kept apart, for want of room
    #[arg(long)]
    pub(super) remainders: bool,
    /// Only records of which this holds: field=value, or field!=value, fields named as in -o json; may be repeated
    #[arg(long = "where", value_name = "CONDITION")]
    pub(super) conditions: Vec<String>,
}

/// Whether a safety net has allowed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum SafetyNetFilter {
    /// In either world.
    Caught,
    /// In no world.
    NotCaught,
}

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// Where from: an endpoint's name, or an address
    #[arg(long, required_unless_present_any = ["queries", "live"])]
    pub(super) from: Option<String>,
    /// Where to: an endpoint's name, or an address
    #[arg(long, required_unless_present_any = ["queries", "live"])]
    pub(super) to: Option<String>,
    /// The protocol, by name or number: tcp if not given, but for --live any
    #[arg(long, value_name = "PROTOCOL")]
    pub(super) proto: Option<String>,
    /// The destination port
    #[arg(long)]
    pub(super) port: Option<u16>,
    /// The source port
    #[arg(long)]
    pub(super) source_port: Option<u16>,
    /// The ICMP type
    #[arg(long)]
    pub(super) icmp_type: Option<u8>,
    /// The ICMP code
    #[arg(long, requires = "icmp_type")]
    pub(super) icmp_code: Option<u8>,
    /// Many queries, one JSON object a line; - for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["from", "to"])]
    pub(super) queries: Option<PathBuf>,
    /// Trace real packets through the kernel, and compare with what policies say; needs root
    #[arg(long, conflicts_with_all = ["queries", "files", "source_port", "icmp_type"])]
    pub(super) live: bool,
    /// With --live, end after so many packets
    #[arg(long, requires = "live", value_name = "N")]
    pub(super) count: Option<usize>,
    /// With --live, end after this time
    #[arg(long = "for", requires = "live", value_name = "TIME", default_value = "10s", value_parser = seconds)]
    pub(super) duration: Duration,
    #[command(flatten)]
    pub(super) from_files: FromFiles,
}

fn seconds(text: &str) -> Result<Duration, String> {
    duration(text).ok_or_else(|| "a time is written as 500ms, 10s, 5m or 1h".to_owned())
}

#[derive(Debug, Args)]
pub(super) struct MatrixArgs {
    /// Only connections from this endpoint or address; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(super) from: Vec<String>,
    /// Only connections to this endpoint or address; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(super) to: Vec<String>,
    /// Only in this world
    #[arg(long, value_enum)]
    pub(super) world: Option<OneWorld>,
    #[command(flatten)]
    pub(super) from_files: FromFiles,
}

#[derive(Debug, Args)]
pub(super) struct DiffArgs {
    /// Two files or directories, OLD and NEW
    #[arg(num_args = 2, value_names = ["OLD", "NEW"], conflicts_with = "pending")]
    pub(super) paths: Vec<PathBuf>,
    /// Two generations of the daemon, by number, instead of two paths
    #[arg(long, num_args = 2, value_names = ["OLD", "NEW"], conflicts_with_all = ["paths", "pending"])]
    pub(super) generations: Vec<u64>,
    /// What promoting everything staged changes, instead of two paths
    #[arg(long)]
    pub(super) pending: bool,
    /// Of two paths or generations, which world of each is compared; the enforced one unless said
    #[arg(long, value_enum, conflicts_with = "pending")]
    pub(super) world: Option<OneWorld>,
    /// With --pending: resources to work on instead of the daemon's; may be repeated
    #[arg(short, long = "file", value_name = "PATH", requires = "pending")]
    pub(super) files: Vec<PathBuf>,
    /// A configuration to take host.labels and failsafes from
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// The node that is this host
    #[arg(long, value_name = "NAME")]
    pub(super) node: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct LintArgs {
    /// Leave this kind of finding out; may be repeated
    #[arg(long, value_name = "CODE", value_parser = lint::codes())]
    pub(super) allow: Vec<String>,
    /// The days that a policy may stay staged; 0 is for ever
    #[arg(long, value_name = "DAYS", default_value_t = lint::STALE_AFTER_DAYS)]
    pub(super) stale_after: u16,
    #[command(flatten)]
    pub(super) from_files: FromFiles,
}

#[derive(Debug, Args)]
pub(super) struct LearnArgs {
    /// The name of the policy; one that is staged by this name is completed
    pub(super) name: String,
    /// The local endpoint it is for; the only host endpoint if not given
    #[arg(long, value_name = "NAME", conflicts_with = "selector")]
    pub(super) endpoint: Option<String>,
    /// The selector of the endpoints it is for
    #[arg(long, value_name = "EXPRESSION")]
    pub(super) selector: Option<String>,
    /// The directions it is to govern; those that were observed if not given
    #[arg(long, value_parser = ["ingress", "egress", "both"])]
    pub(super) direction: Option<String>,
    /// Only connections that were seen in this time, such as 24h
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub(super) since: Option<Duration>,
    /// Its tier
    #[arg(long, value_name = "NAME")]
    pub(super) tier: Option<String>,
    /// Its order [default: 1000]
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub(super) order: Option<f64>,
    /// Also what goes through the host (applyOnForward: true)
    #[arg(long)]
    pub(super) forward: bool,
    /// Also what is denied now
    #[arg(long)]
    pub(super) include_denied: bool,
    /// Learn nothing from this far end, an address or a network; may be repeated
    #[arg(long, value_name = "NET")]
    pub(super) exclude: Vec<String>,
    /// The most rules, before they are merged to rules that allow more
    #[arg(long, value_name = "NUMBER", default_value_t = Limits::default().rules,
          value_parser = RangedU64ValueParser::<usize>::new().range(1..=Limits::MOST_RULES as u64))]
    pub(super) max_rules: usize,
    /// The most networks in a rule, before they are merged to wider ones
    #[arg(long, value_name = "NUMBER", default_value_t = Limits::default().nets,
          value_parser = RangedU64ValueParser::<usize>::new().range(1..=Limits::MOST_NETS as u64))]
    pub(super) max_nets: usize,
    /// With -f: the flow records to learn from
    #[arg(long, value_name = "FILE", requires = "files")]
    pub(super) from: Option<PathBuf>,
    /// Write the policy into this file, which must not exist
    #[arg(long, value_name = "FILE")]
    pub(super) write: Option<PathBuf>,
    #[command(flatten)]
    pub(super) from_files: FromFiles,
}

#[derive(Debug, Args)]
pub(super) struct TestArgs {
    /// Files of expectations, directories of them, or - for standard input
    #[arg(required = true, value_name = "FILE")]
    pub(super) paths: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) from_files: FromFiles,
}

#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    /// Resources instead of those in the policy directory: files, directories, or - for standard input
    #[arg(value_name = "PATH")]
    pub(super) paths: Vec<PathBuf>,
    /// As if this staged policy were promoted; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(super) promote: Vec<String>,
    /// As if every staged policy were promoted
    #[arg(long, conflicts_with = "promote")]
    pub(super) promote_all: bool,
    /// Leave out who reaches whom: with thousands of endpoints that takes its time
    #[arg(long)]
    pub(super) without_connectivity: bool,
}

#[derive(Debug, Args)]
pub(super) struct PanicArgs {
    /// The configuration, for its stateDir
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
    pub(super) config: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct CompileArgs {
    #[command(flatten)]
    pub(super) from_files: FromFiles,
}

#[derive(Debug, Args)]
pub(super) struct SelectorArgs {
    #[command(subcommand)]
    pub(super) command: SelectorCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum SelectorCommand {
    /// Whether an object with these labels is selected
    Eval {
        /// The selector
        expression: String,
        /// A label of the object; may be repeated
        #[arg(long = "label", value_name = "KEY=VALUE")]
        labels: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub(super) struct SchemaArgs {
    /// Only this kind
    #[arg(value_parser = schema::kinds(), ignore_case = true, hide_possible_values = true)]
    pub(super) kind: Option<&'static Kind>,
}

#[derive(Debug, Args)]
pub(super) struct TopArgs {
    /// How long a policy must have been observed to be called ready
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = seconds)]
    pub(super) evidence: Duration,
}

/// `palisade demo`.
#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// Stop before the end and keep the hosts until Enter, to look around with nft
    #[arg(long)]
    pub(super) pause: bool,
}
