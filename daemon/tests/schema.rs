//! `palisade schema`: what an editor is given.

use std::process::{Command, Output};

use serde_json::Value;

fn schema(arguments: &[&str]) -> anyhow::Result<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_palisade"));
    Ok(command.arg("schema").args(arguments).output()?)
}

#[test]
fn one_schema_for_everything_and_one_for_each_kind() -> anyhow::Result<()> {
    let whole: Value = serde_json::from_slice(&schema(&[])?.stdout)?;
    assert_eq!(whole["$schema"], "http://json-schema.org/draft-07/schema#");
    assert!(whole["definitions"]["rule"]["properties"]["action"]["enum"].is_array());
    for kind in ["HostEndpoint", "hostendpoint", "HEP"] {
        let one: Value = serde_json::from_slice(&schema(&[kind])?.stdout)?;
        assert_eq!(one["title"], "HostEndpoint of projectcalico.org/v3", "{kind}");
        assert_eq!(
            one["definitions"]["HostEndpoint"],
            whole["definitions"]["HostEndpoint"]
        );
    }
    let kubernetes: Value = serde_json::from_slice(&schema(&["knp", "-o", "json"])?.stdout)?;
    assert_eq!(kubernetes["title"], "NetworkPolicy of networking.k8s.io/v1");
    Ok(())
}

#[test]
fn what_is_no_kind_is_said() -> anyhow::Result<()> {
    let output = schema(&["HostEndpont"])?;
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8(output.stderr)?;
    assert!(message.contains("HostEndpoint"), "{message}");
    let output = schema(&["-o", "csv"])?;
    assert_eq!(output.status.code(), Some(2));
    Ok(())
}
