//! The daemon's configuration: read with the same care, and the same messages, as resources.

use std::path::{Path, PathBuf};
use std::time::Duration;

use palisade_rules::compile::DenyAction;
use palisade_rules::decode;
use palisade_rules::decode::fields::{Context, Field, Fields};
use palisade_rules::diagnostic::{Diagnostic, Diagnostics, quoted};
use palisade_rules::failsafe::{Failsafe, Failsafes};
use palisade_rules::resource::Labels;
use palisade_rules::source::{FileId, Files};
use palisade_rules::yaml::{self, Documents, Node};

use crate::source::SourceFile;

mod flows;
mod rollout;
mod safety_net;

pub use flows::{FlowsConfig, OtlpConfig, RotateConfig, SinksConfig, Taken};
pub use rollout::{Check, Probe, RolloutConfig};
pub use safety_net::with_safety_net;

/// The configuration file's place if none is given.
pub const DEFAULT_PATH: &str = "/etc/palisade/palisade.yaml";

/// The socket's place if none is given.
pub const DEFAULT_SOCKET: &str = "/run/palisade/palisade.sock";

/// The state directory if none is given.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/palisade";

/// The longest path of a unix socket (`sun_path` of Linux, without its NUL).
const MAX_SOCKET: usize = 107;

/// Everything that can be configured; every value has a default.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `node`: the name of this host in `HostEndpoint.spec.node`.
    pub node: String,
    /// `host.labels`: labels of the endpoint made where no HostEndpoint names this node.
    pub host_labels: Labels,
    /// `policyDir`.
    pub policy_dir: PathBuf,
    /// `stateDir`.
    pub state_dir: PathBuf,
    /// `socket`.
    pub socket: PathBuf,
    /// `safetyNet`: whether the allow-all net is added where no resource of its name exists.
    pub safety_net: bool,
    /// `filterLoopback`.
    pub filter_loopback: bool,
    /// `protectTable`: whether nobody else can change our table.
    pub protect_table: bool,
    /// `denyAction`.
    pub deny_action: DenyAction,
    /// `failsafes`.
    pub failsafes: Failsafes,
    /// `flows`.
    pub flows: FlowsConfig,
    /// `rollout`.
    pub rollout: RolloutConfig,
}

/// Why a configuration could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {source}; an empty file is a valid one")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not valid; the text shows where.
    #[error("{0}")]
    Invalid(String),
}

impl Config {
    /// Reads the configuration; all problems are in the error.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let mut files = Files::default();
        let (config, diagnostics) = Config::read(&mut files, path)?;
        config.ok_or_else(|| ConfigError::Invalid(diagnostics.render(&files, false).trim_end().to_owned()))
    }

    /// Decodes the configuration of a file that has been read; all problems are in the error.
    pub fn of(file: &SourceFile) -> Result<Self, ConfigError> {
        let mut files = Files::default();
        let (config, diagnostics) = match yaml::add(&mut files, file.name(), file.bytes()) {
            Ok(id) => Config::parse(&files, id),
            Err(problem) => {
                let mut diagnostics = Diagnostics::default();
                diagnostics.push(*problem);
                (None, diagnostics)
            }
        };
        config.ok_or_else(|| ConfigError::Invalid(diagnostics.render(&files, false).trim_end().to_owned()))
    }

    /// Reads the configuration; there is one exactly when no diagnostic is an error.
    pub fn read(files: &mut Files, path: &Path) -> Result<(Option<Self>, Diagnostics), ConfigError> {
        let bytes = std::fs::read(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        Ok(match yaml::add(files, path.display().to_string(), &bytes) {
            Ok(file) => Config::parse(files, file),
            Err(problem) => {
                let mut diagnostics = Diagnostics::default();
                diagnostics.push(*problem);
                (None, diagnostics)
            }
        })
    }

    /// Decodes the configuration; there is one exactly when no diagnostic is an error.
    pub fn parse(files: &Files, file: FileId) -> (Option<Self>, Diagnostics) {
        let mut context = Context::new(files);
        let mut documents = Documents::new(files, file);
        let root = documents.next(&mut context.diagnostics);
        while let Some(second) = documents.next(&mut context.diagnostics) {
            if !second.is_null() {
                context.invalid(
                    "extra-document",
                    &second,
                    "the configuration is one document",
                    "remove the `---` above, or what follows it",
                );
            }
        }
        let mut config = Config::default();
        if let Some(root) = root.as_ref().filter(|root| !root.is_null()) {
            config.decode(&mut context, root);
        }
        config.check_node(&mut context);
        let diagnostics = context.finish(root.as_ref());
        ((!diagnostics.has_errors()).then_some(config), diagnostics)
    }

    fn decode(&mut self, context: &mut Context<'_>, root: &Node) {
        let Some(mut fields) = Fields::of(context, root, "the configuration", root.span) else {
            return;
        };
        let node = fields.optional("node");
        let host = fields.optional("host");
        let policy_dir = fields.optional("policyDir");
        let state_dir = fields.optional("stateDir");
        let socket = fields.optional("socket");
        let safety_net = fields.optional("safetyNet");
        let filter_loopback = fields.optional("filterLoopback");
        let protect_table = fields.optional("protectTable");
        let deny_action = fields.optional("denyAction");
        let failsafes = fields.optional("failsafes");
        let flows = fields.optional("flows");
        let rollout = fields.optional("rollout");
        fields.finish(context);

        set(&mut self.node, node, |node| decode::node(context, node));
        if let Some(host) = host {
            self.read_host(context, host);
        }
        set(&mut self.policy_dir, policy_dir, |node| path(context, node));
        set(&mut self.state_dir, state_dir, |node| path(context, node));
        set(&mut self.socket, socket, |node| socket_path(context, node));
        set(&mut self.safety_net, safety_net, |node| context.boolean(node));
        set(&mut self.filter_loopback, filter_loopback, |node| {
            context.boolean(node)
        });
        set(&mut self.protect_table, protect_table, |node| {
            context.boolean(node)
        });
        set(&mut self.deny_action, deny_action, |node| {
            let actions = [("drop", DenyAction::Drop), ("reject", DenyAction::Reject)];
            context.choice(node, "a deny action", &actions)
        });
        if let Some(failsafes) = failsafes {
            self.read_failsafes(context, failsafes);
        }
        if let Some(flows) = flows {
            self.flows.read(context, flows);
        }
        if let Some(rollout) = rollout {
            self.rollout.read(context, rollout);
        }
    }

    fn read_host(&mut self, context: &mut Context<'_>, field: Field<'_>) {
        if let Some(mut fields) = Fields::of(context, field.value, "`host`", field.key.span) {
            if let Some(labels) = fields.optional("labels") {
                self.host_labels = decode::endpoint_labels(context, labels.value, "this host");
            }
            fields.finish(context);
        }
    }

    fn read_failsafes(&mut self, context: &mut Context<'_>, field: Field<'_>) {
        let Some(mut fields) = Fields::of(context, field.value, "`failsafes`", field.key.span) else {
            return;
        };
        if let Some(preset) = fields.optional("preset") {
            let presets: [(_, fn() -> Failsafes); 3] = [
                ("default", Failsafes::default),
                ("calico", Failsafes::calico),
                ("none", Failsafes::none),
            ];
            if let Some(preset) = context.choice(preset.value, "a preset", &presets) {
                self.failsafes = preset();
            }
        }
        if let Some(inbound) = fields.optional("inbound") {
            self.failsafes.inbound = failsafe_list(context, inbound.value);
        }
        if let Some(outbound) = fields.optional("outbound") {
            self.failsafes.outbound = failsafe_list(context, outbound.value);
        }
        fields.finish(context);
    }

    /// The host's own name may be unknown.
    fn check_node(&self, context: &mut Context<'_>) {
        if self.node.is_empty() && !context.diagnostics.has_errors() {
            context.report(
                Diagnostic::error("missing-field", "the host name is not known")
                    .help("write `node:` and the name that HostEndpoints have for this host"),
            );
        }
    }
}

/// What holds where nothing is written; `node` is empty if the host has no name.
impl Default for Config {
    fn default() -> Self {
        let hostname = nix::unistd::gethostname();
        Config {
            node: hostname
                .ok()
                .and_then(|name| name.into_string().ok())
                .unwrap_or_default(),
            host_labels: Labels::new(),
            policy_dir: "/etc/palisade/policy.d".into(),
            state_dir: DEFAULT_STATE_DIR.into(),
            socket: DEFAULT_SOCKET.into(),
            safety_net: true,
            filter_loopback: false,
            protect_table: false,
            deny_action: DenyAction::Drop,
            failsafes: Failsafes::default(),
            flows: FlowsConfig::default(),
            rollout: RolloutConfig::default(),
        }
    }
}

/// Replaces a default where the field is there and can be read.
fn set<T>(target: &mut T, field: Option<Field<'_>>, read: impl FnOnce(&Node) -> Option<T>) {
    if let Some(value) = field.and_then(|field| read(field.value)) {
        *target = value;
    }
}

/// A path that means the same wherever the daemon is started.
fn path(context: &mut Context<'_>, node: &Node) -> Option<PathBuf> {
    let text = context.text(node, "a path")?;
    if !text.starts_with('/') {
        context.invalid(
            "invalid-path",
            node,
            format!("{} is not an absolute path", quoted(text)),
            "write the path from `/` on",
        );
        return None;
    }
    Some(PathBuf::from(text))
}

fn socket_path(context: &mut Context<'_>, node: &Node) -> Option<PathBuf> {
    let path = path(context, node)?;
    let length = path.as_os_str().len();
    if length > MAX_SOCKET {
        context.invalid(
            "invalid-path",
            node,
            format!("the path of the socket has {length} bytes, and Linux allows {MAX_SOCKET}"),
            "use a shorter one",
        );
        return None;
    }
    Some(path)
}

fn failsafe_list(context: &mut Context<'_>, node: &Node) -> Vec<Failsafe> {
    let mut failsafes = Vec::new();
    for node in context.list(node, "a list of failsafes") {
        let Some(text) = context.text(node, "a failsafe such as tcp:22") else {
            continue;
        };
        match text.parse() {
            Ok(failsafe) => failsafes.push(failsafe),
            Err(error) => context.report(
                Diagnostic::error("invalid-failsafe", format!("{} is not a failsafe", quoted(text)))
                    .at(node.span, "not a failsafe")
                    .help(format!("{error}")),
            ),
        }
    }
    failsafes
}

/// A duration with its unit: `500ms`, `10s`, `5m`, `1h`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(milliseconds).map(Duration::from_millis)
}

#[cfg(test)]
mod tests;
