//! In how files are handled.

use crate::mistake::Edit::{Remove, Replace, Write};
use crate::mistake::Expect::{Invalid, Refused};
use crate::mistake::{Mistake, mistake};
use crate::stand::GOOD;

pub(crate) fn all() -> Vec<Mistake> {
    let everything = GOOD.map(|(file, _)| file);
    let but_lockdown = everything
        .into_iter()
        .filter(|file| !["lockdown.yaml", "endpoint.yaml"].contains(file));
    vec![
        mistake("the file that lets SSH in deleted", [Remove("ssh.yaml")], Refused),
        mistake("the same, applied by SIGHUP", [Remove("ssh.yaml")], Refused).by_hangup(),
        mistake("the file emptied", [Write("ssh.yaml", String::new())], Refused),
        mistake(
            "the file renamed, so that it is not read",
            [Remove("ssh.yaml"), Write("ssh.yaml.bak", String::new())],
            Refused,
        ),
        mistake(
            "everything deleted but the lockdown",
            but_lockdown.map(Remove).collect::<Vec<_>>(),
            Refused,
        ),
        mistake(
            "a line indented wrongly",
            [Replace("ssh.yaml", "  order: 10", " order: 10")],
            Invalid,
        ),
        mistake(
            "a field mistyped",
            [Replace("ssh.yaml", "destination:", "destinations:")],
            Invalid,
        ),
        mistake(
            "the policy written twice",
            [Write("ssh-copy.yaml", GOOD[4].1.replace("2222", "2200"))],
            Invalid,
        ),
        mistake(
            "half a file, as a full disk leaves it",
            [Write("ssh.yaml", GOOD[4].1[..150].to_owned())],
            Invalid,
        ),
        mistake(
            "the name of a port that no endpoint has",
            [Replace("ssh.yaml", "[2222]", "[ssh]")],
            Invalid,
        ),
    ]
}
