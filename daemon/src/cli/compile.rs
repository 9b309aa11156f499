//! `palisade compile`: the ruleset as nft text.

use palisade_rules::compile::{FlowLog, Options, compile};

use super::args::CompileArgs;
use super::{Failure, Outcome, offline, output};
use crate::api::client::Client;
use crate::exit::Exit;

/// The NFLOG group that offline text names where no configuration does: the default one.
const DEFAULT_GROUP: u16 = 7;

pub(super) async fn run(client: &Client, args: &CompileArgs) -> Outcome {
    if args.from_files.files.is_empty() {
        let text: String = client.get("/v1/ruleset").await?;
        output::say(&text)?;
        return Ok(Exit::Fine);
    }
    let (worlds, config) = offline::worlds(&args.from_files)?;
    if worlds.local().next().is_none() {
        let nodes: std::collections::BTreeSet<&str> = worlds
            .endpoints
            .iter()
            .map(|endpoint| endpoint.node.as_str())
            .collect();
        let nodes = nodes.into_iter().collect::<Vec<_>>().join(", ");
        return Err(Failure::new(
            Exit::Usage,
            format!(
                "which host is it for? No endpoint is on this host: say --node NAME (there are: {nodes}), or --config FILE"
            ),
        ));
    }
    let group = config
        .as_ref()
        .map_or(DEFAULT_GROUP, |config| config.flows.nflog_group);
    let options = Options {
        deny: config.map(|config| config.deny_action).unwrap_or_default(),
        flow_log: Some(FlowLog { group, generation: 0 }),
        ..Options::default()
    };
    output::say(&compile(&worlds, &options).ruleset.to_string())?;
    Ok(Exit::Fine)
}
