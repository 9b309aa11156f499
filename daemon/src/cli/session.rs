//! By which connections somebody sits in front of this command: what the lockout guard must not cut.
//!
//! sshd writes the session into `SSH_CONNECTION`, which sudo strips: so that it is looked for in every ancestor. And one
//! of those ancestors is sshd itself, which holds the connection.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use crate::guard::Session;
use crate::kernel::sockets::{Sockets, held_by};

/// Ancestors that are looked at: a loop in what `/proc` says while processes come and go must end.
const MOST: usize = 64;

/// The connections that this process sits behind; empty at a console. What may not be read is left out.
pub(super) fn own() -> Vec<Session> {
    let family: Vec<u32> = ancestors().take(MOST).collect();
    let mut sessions: BTreeSet<Session> = BTreeSet::new();
    for pid in &family {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        sessions.extend(in_environment(&environment));
    }
    sessions.extend(held(&family));
    sessions.into_iter().collect()
}

/// This process, its parent, and so on.
fn ancestors() -> impl Iterator<Item = u32> {
    std::iter::successors(Some(std::process::id()), |pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        parent(&stat)
    })
}

/// The parent in a `/proc/PID/stat`: number, name in brackets, state, parent. 0 is the kernel.
fn parent(stat: &str) -> Option<u32> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let parent = behind_name.split_whitespace().nth(1)?.parse().ok()?;
    (parent != 0).then_some(parent)
}

/// `SSH_CONNECTION=192.0.2.7 50022 10.0.0.1 22`, among others that end in NUL.
fn in_environment(environment: &[u8]) -> Option<Session> {
    let mut variables = environment.split(|&byte| byte == 0);
    let value = variables.find_map(|variable| variable.strip_prefix(b"SSH_CONNECTION="))?;
    let mut words = std::str::from_utf8(value).ok()?.split_whitespace();
    let mut end = || {
        // A link-local address carries its interface.
        let address: IpAddr = words.next()?.split('%').next()?.parse().ok()?;
        Some(SocketAddr::new(
            address.to_canonical(),
            words.next()?.parse().ok()?,
        ))
    };
    Some(Session {
        remote: end()?,
        local: end()?,
    })
}

/// The TCP connections that these processes hold, and that somebody has opened to a port of this host.
fn held(family: &[u32]) -> Vec<Session> {
    let inodes: BTreeSet<u32> = family.iter().flat_map(|pid| held_by(*pid)).collect();
    let Ok(sockets) = Sockets::read() else {
        return Vec::new();
    };
    let tcp = || sockets.iter().filter(|listed| listed.protocol == 6);
    let listening: BTreeSet<u16> = tcp()
        .filter(|listed| listed.far.is_none())
        .map(|listed| listed.own.port())
        .collect();
    let held = tcp()
        .filter(|listed| inodes.contains(&listed.socket.inode) && listening.contains(&listed.own.port()));
    held.filter_map(|listed| {
        Some(Session {
            remote: listed.far?,
            local: listed.own,
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_is_found_among_the_variables() {
        let environment = b"A=1\0SSH_CONNECTION=192.0.2.7 50022 10.0.0.1 22\0B=2\0";
        let expected = Session {
            remote: "192.0.2.7:50022".parse().unwrap(),
            local: "10.0.0.1:22".parse().unwrap(),
        };
        assert_eq!(in_environment(environment), Some(expected));
        let link_local = in_environment(b"SSH_CONNECTION=fe80::7%eth0 1 fe80::1%eth0 22").unwrap();
        assert_eq!(link_local.remote, "[fe80::7]:1".parse().unwrap());
        for none in [
            &b"A=1\0"[..],
            b"SSH_CONNECTION=",
            b"SSH_CONNECTION=here 1 there 2",
            b"",
        ] {
            assert_eq!(in_environment(none), None);
        }
    }

    #[test]
    fn a_name_with_brackets_does_not_hide_the_parent() {
        assert_eq!(parent("42 (a) b (c) S 7 42 42"), Some(7));
        assert_eq!(parent("1 (init) S 0 1 1"), None);
        assert_eq!(parent("half"), None);
    }

    #[test]
    fn this_process_is_the_first_of_its_family() {
        let family: Vec<u32> = ancestors().take(MOST).collect();
        assert_eq!(family[0], std::process::id());
        assert_eq!(family[1], std::os::unix::process::parent_id());
    }
}
