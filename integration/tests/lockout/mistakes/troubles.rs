//! Forced, and then more goes wrong.

use super::policy;
use crate::mistake::Edit::{Append, Replace, Write};
use crate::mistake::Expect::Refused;
use crate::mistake::{Mistake, mistake};
use crate::trouble::Trouble::{
    self, ClockAhead, ClockBack, DiskFull, Hung, Killed, KilledForGood, Rebooted, Stopped,
};

pub(crate) fn all() -> Vec<Mistake> {
    [
        Killed,
        KilledForGood,
        Stopped,
        Hung,
        Rebooted,
        DiskFull,
        ClockAhead,
        ClockBack,
    ]
    .into_iter()
    .flat_map(with)
    .collect()
}

fn with(trouble: Trouble) -> Vec<Mistake> {
    let untracked = "order: 1, selector: all(), doNotTrack: true, applyOnForward: true, types: [Ingress], ingress: [{action: Deny}]";
    let all = [
        mistake(
            "the port of SSH mistyped",
            [Replace("ssh.yaml", "2222", "222")],
            Refused,
        ),
        mistake(
            "an untracked deny of everything, which cuts what is established",
            [Write("raw.yaml", policy("raw", untracked))],
            Refused,
        ),
        mistake(
            "the failsafe of SSH left out of a list",
            [Append("failsafes: {inbound: ['udp:68', 'udp:546']}\n")],
            Refused,
        )
        .at_port_22(),
    ];
    all.into_iter().map(|mistake| mistake.with(trouble)).collect()
}
