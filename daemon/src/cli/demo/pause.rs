//! `palisade demo --pause`: the hosts stay, to look around in.

use super::BACKEND;
use super::screen::{Screen, Tone};
use super::stage::Stage;
use crate::cli::Failure;

/// Says what can be done with the hosts, and keeps them until Enter.
pub(super) fn look_around(stage: &Stage, screen: &Screen) -> Result<(), Failure> {
    let heading = "The hosts stay until you press Enter here. In another terminal, as root:";
    screen.say(&format!("\n{}\n", screen.paint(Tone::Strong, heading)))?;
    let palisade = stage.palisade().display();
    for host in stage.hosts() {
        let socket = host.socket().display();
        remark(screen, host.name())?;
        screen.say(&format!(
            "   nsenter --net={} nft list table inet palisade\n   {palisade} --socket {socket} staged\n   \
             {palisade} --socket {socket} policies\n",
            host.namespace().path().display()
        ))?;
    }
    let (from, to) = (stage.host("frontend")?, stage.host(BACKEND)?);
    remark(screen, &format!("{} to {}:9090, by hand", from.name(), to.name()))?;
    for ip in to.ips() {
        screen.say(&format!(
            "   nsenter --net={} timeout 1 bash -c '</dev/tcp/{ip}/9090' && echo open || echo closed\n",
            from.namespace().path().display(),
        ))?;
    }
    remark(
        screen,
        "the policies of all three hosts: change them, then `palisade --socket ... reload`",
    )?;
    screen.say(&format!("   ls {}\n", stage.policies().display()))?;
    stage.wait_for_enter()
}

fn remark(screen: &Screen, text: &str) -> Result<(), Failure> {
    screen.say(&format!(
        "\n   {}\n",
        screen.paint(Tone::Faint, &format!("# {text}"))
    ))
}
