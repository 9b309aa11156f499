//! The sandbox from inside: it holds for a thread, so each test has one to lose.

use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;
use std::process::Command;
use std::thread;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};

use super::*;

/// Applies a sandbox on a thread of its own and looks at it from inside.
fn inside(needs: Needs, look: impl FnOnce(&Sandbox) + Send + 'static) {
    let thread = thread::spawn(move || look(&apply(needs)));
    thread.join().unwrap();
}

fn needs(written: &[&Path]) -> Needs {
    Needs {
        written: written.iter().map(|&path| path.to_owned()).collect(),
        ..Needs::default()
    }
}

#[test]
fn files_are_written_below_the_named_directories_only() {
    let (named, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let outside = other.path().join("file");
    fs::write(&outside, "as it was").unwrap();
    inside(needs(&[named.path()]), move |sandbox| {
        assert_eq!(sandbox.files, Part::in_force());
        let directory = named.path().join("generations/1");
        fs::create_dir_all(&directory).unwrap();
        let file = named.path().join("file");
        let mut new = tempfile::NamedTempFile::new_in(named.path()).unwrap();
        std::io::Write::write_all(&mut new, b"new").unwrap();
        new.persist(&file).unwrap();
        fs::hard_link(&file, directory.join("linked")).unwrap();
        fs::rename(&file, directory.join("moved")).unwrap();
        fs::remove_dir_all(directory).unwrap();

        let refused =
            |error: std::io::Error| assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        refused(fs::write(&outside, "changed").unwrap_err());
        refused(fs::write(other.path().join("new"), "").unwrap_err());
        refused(fs::remove_file(&outside).unwrap_err());
        refused(fs::create_dir(other.path().join("directory")).unwrap_err());
        assert_eq!(
            fs::read_to_string(&outside).unwrap(),
            "as it was",
            "reading is free"
        );
    });
}

#[test]
fn no_program_and_no_namespace_can_be_started_and_threads_can() {
    inside(Needs::default(), |sandbox| {
        assert_eq!(sandbox.system_calls, Part::in_force());
        let error = Command::new("true").status().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        for flag in [CloneFlags::CLONE_NEWUSER, CloneFlags::CLONE_NEWNET] {
            assert_eq!(unshare(flag), Err(Errno::EPERM));
        }
        let below = thread::spawn(|| Command::new("true").status().unwrap_err());
        assert_eq!(below.join().unwrap().kind(), ErrorKind::PermissionDenied);
    });
}

#[test]
fn programs_are_started_where_probes_need_them_and_can_write_no_more_than_the_daemon() {
    let (named, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let needs = Needs {
        programs: true,
        ..needs(&[named.path()])
    };
    inside(needs, move |_| {
        let touch = |directory: &Path| {
            let mut command = Command::new("touch");
            command.arg(directory.join("file")).status().unwrap().success()
        };
        assert!(touch(named.path()));
        assert!(!touch(other.path()));
        let status = Command::new("true").stdout(std::process::Stdio::null()).status();
        assert!(status.unwrap().success());
    });
}

#[test]
fn network_sockets_are_for_those_who_asked() {
    let listen = || TcpListener::bind("127.0.0.1:0").map_err(|error| error.raw_os_error());
    inside(Needs::default(), move |_| {
        assert_eq!(listen().unwrap_err(), Some(Errno::EAFNOSUPPORT as i32));
        let directory = tempfile::tempdir();
        // Nothing can be written anywhere: not the directory, and no socket into it either.
        assert!(directory.is_err());
        let name = SocketAddr::from_abstract_name(b"palisade-sandbox-test").unwrap();
        UnixListener::bind_addr(&name).unwrap();
    });
    let needs = Needs {
        internet: true,
        ..Needs::default()
    };
    inside(needs, move |_| drop(listen().unwrap()));
}

#[test]
fn one_capability_is_left() {
    inside(Needs::default(), |sandbox| {
        assert!(sandbox.no_new_privileges);
        if nix::unistd::geteuid().is_root() {
            assert_eq!(sandbox.capabilities, ["CAP_NET_ADMIN"]);
            let status = fs::read_to_string("/proc/thread-self/status").unwrap();
            for set in ["CapPrm", "CapEff", "CapBnd"] {
                assert!(
                    status.contains(&format!("{set}:\t0000000000001000\n")),
                    "{status}"
                );
            }
            assert!(status.contains("NoNewPrivs:\t1\n"), "{status}");
        }
    });
}

#[test]
fn what_a_later_configuration_needs_besides_is_named() {
    let sandbox = Sandbox {
        capabilities: vec!["CAP_NET_ADMIN".to_owned()],
        no_new_privileges: true,
        system_calls: Part::in_force(),
        files: Part::in_force(),
        allowed: needs(&[Path::new("/etc/palisade")]),
    };
    assert_eq!(sandbox.lacks(&needs(&[Path::new("/etc/palisade")])), None);
    let more = Needs {
        programs: true,
        internet: true,
        ..needs(&[Path::new("/srv/policies")])
    };
    let text = sandbox.lacks(&more).unwrap();
    for part in [
        "write below /srv/policies",
        "run programs",
        "network connections",
        "restart",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let open = Sandbox {
        system_calls: Part::missing("no seccomp"),
        files: Part::missing("no landlock"),
        ..sandbox
    };
    assert_eq!(open.lacks(&more), None);
}
