//! What can be typed.

mod observed;
mod rollout;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use palisade_rules::schema::Kind;

pub(super) use observed::{CountersArgs, FlowsArgs, LearnArgs, SafetyNetFilter, StagedArgs, TopArgs};

pub(super) use rollout::{PromoteArgs, RollbackArgs, SafetyNetCommand, SafetyNetRemoveArgs, WaitArgs};

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
                  configuration or resources; 4 daemon unreachable; 5 apply failed, previous generation kept; 6 not \
                  confirmed, rolled back; 7 refused by the lockout guard; 77 missing privilege."
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
    Reload(ReloadArgs),
    /// Enforce staged policies, in their files and in the kernel, and go back unless it is confirmed
    Promote(PromoteArgs),
    /// Keep what is not confirmed yet
    Confirm,
    /// Go back from what is not confirmed yet, or to a stored generation
    Rollback(RollbackArgs),
    /// The generations that can be gone back to: what made them, who, and what became of them
    History,
    /// The allow-all net under every policy: what it holds, taking it away, bringing it back
    SafetyNet {
        /// What to do
        #[command(subcommand)]
        command: SafetyNetCommand,
    },
    /// Remove all of palisade's rules, now, without the daemon
    Panic(PanicArgs),
    /// Take back a panic and bring the policies into force again
    Resume(PanicArgs),
    /// What else filters here and in which order, which published ports no policy reaches, and what the host lacks
    Doctor(DoctorArgs),
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

#[derive(Debug, Default, Args)]
pub(super) struct ReloadArgs {
    /// Go back unless `palisade confirm` is typed within this time: 60s, 5m
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub(super) confirm_within: Option<Duration>,
    /// Go on though the lockout guard refuses
    #[arg(long)]
    pub(super) force: bool,
    #[command(flatten)]
    pub(super) waiting: WaitArgs,
}

#[derive(Debug, Args)]
pub(super) struct PanicArgs {
    /// The configuration, for its stateDir
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
    pub(super) config: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// The configuration, for its stateDir
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
    pub(super) config: PathBuf,
    /// Look for files below this directory
    #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
    pub(super) root: PathBuf,
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
    /// Of flow records, a line of flows.jsonl, instead of resources
    #[arg(long, conflicts_with = "kind")]
    pub(super) records: bool,
}

/// `palisade demo`.
#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// Stop before the end and keep the hosts until Enter, to look around with nft
    #[arg(long)]
    pub(super) pause: bool,
}
