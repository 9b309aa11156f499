//! Who may ask the daemon, and who may change what is in force. Needs root.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;
use palisade_integration::{Daemon, Output, Setup, ThreeHosts, examples, palisade};

/// A user and a group who own nothing here.
const USER: u32 = 64_001;
const GROUP: u32 = 64_002;
const OTHER_GROUP: u32 = 64_003;

/// A daemon whose socket belongs to [`GROUP`], as it belongs to the group palisade where that exists.
struct Scene {
    backend: Daemon,
    program: PathBuf,
    _hosts: ThreeHosts,
}

impl Scene {
    fn new() -> anyhow::Result<Self> {
        let hosts = ThreeHosts::new()?;
        let setup = Setup::new("backend").resource("hosts.yaml", examples::HOSTS);
        let backend = Daemon::start(hosts.host("backend"), &setup)?;
        let socket = backend.socket();
        chown(&socket, None, Some(GROUP))?;
        assert_eq!(fs::metadata(&socket)?.permissions().mode() & 0o777, 0o660);
        // The directory is for root alone, and so may be the one that the program was built in.
        let directory = socket.parent().context("the socket has no directory")?;
        fs::set_permissions(directory, Permissions::from_mode(0o755))?;
        let program = directory.join("palisade");
        fs::copy(palisade()?, &program)?;
        Ok(Scene {
            backend,
            program,
            _hosts: hosts,
        })
    }

    /// Runs `palisade` as this user, in this group alone.
    fn palisade_as(&self, user: u32, group: u32, arguments: &[&str]) -> anyhow::Result<Output> {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", &user.to_string(), "--regid", &group.to_string()])
            .args(["--clear-groups", "--"])
            .arg(&self.program)
            .arg("--socket")
            .arg(self.backend.socket())
            .args(arguments);
        let output = self.backend.namespace().output(&command, "")?;
        Ok(Output {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    fn generation(&self) -> anyhow::Result<u64> {
        let status = self.backend.status()?;
        status["generation"].as_u64().context("no generation")
    }
}

#[test]
fn the_group_may_ask_and_not_change() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    for question in [
        &["status"][..],
        &["policies"],
        &["counters"],
        &["endpoints"],
        &["staged"],
        &["plan"],
        &[
            "explain",
            "--from",
            "frontend-eth0",
            "--to",
            "backend-eth0",
            "--proto",
            "tcp",
            "--port",
            "8080",
        ],
    ] {
        let output = scene.palisade_as(USER, GROUP, question)?;
        assert_eq!(output.code, Some(0), "{question:?}: {output:?}");
    }

    scene
        .backend
        .write("20-lockdown.yaml", &examples::lockdown_promoted())?;
    let before = scene.generation()?;
    let output = scene.palisade_as(USER, GROUP, &["reload"])?;
    assert_eq!(output.code, Some(77), "{output:?}");
    assert!(output.stderr.contains(&format!("user {USER}")), "{output:?}");
    assert!(output.stderr.contains("sudo"), "{output:?}");
    assert_eq!(scene.generation()?, before);
    let log = scene.backend.log();
    assert!(
        log.contains("/v1/reload") && log.contains(&format!("uid={USER}")),
        "{log}"
    );

    let output = scene.palisade_as(0, OTHER_GROUP, &["reload"])?;
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(scene.generation()? > before);
    Ok(())
}

#[test]
fn others_may_not_even_ask() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    let output = scene.palisade_as(USER, OTHER_GROUP, &["status"])?;
    assert_eq!(output.code, Some(77), "{output:?}");
    assert!(output.stderr.contains("join the group palisade"), "{output:?}");
    Ok(())
}

#[test]
fn a_socket_open_to_all_is_not_a_way_to_change_anything() -> anyhow::Result<()> {
    let scene = Scene::new()?;
    fs::set_permissions(scene.backend.socket(), Permissions::from_mode(0o666))?;
    let output = scene.palisade_as(USER, OTHER_GROUP, &["reload"])?;
    assert_eq!(output.code, Some(77), "{output:?}");
    Ok(())
}
