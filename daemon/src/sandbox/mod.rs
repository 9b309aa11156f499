//! What the daemon may do, once it has started: little more than a firewall must.
//!
//! Everything that needs no privilege afterwards (the configuration read, the socket bound) comes first; then [`apply`]
//! gives away, for good, whatever [`Needs`] does not name: capabilities, new privileges through programs, writing
//! anywhere else, and system calls. Three of the four are the kernel's to have or not: what it lacks is said, in the log
//! and in `palisade status`, and the daemon goes on without.
//!
//! All of it holds for the calling thread and those it starts later: it must be the only one.

mod capabilities;
mod files;
mod needs;
mod system_calls;

use serde::{Deserialize, Serialize};
use tracing::{info, warn};

pub use needs::Needs;

/// `sandbox` of `GET /v1/status`: what the daemon gave away when it started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// The capabilities that it kept: `CAP_NET_ADMIN`.
    pub capabilities: Vec<String>,
    /// Whether no program that it starts can have more privileges than it has itself.
    pub no_new_privileges: bool,
    /// Whether system calls that it does not need are refused (seccomp).
    pub system_calls: Part,
    /// Whether it can write only where it has to (landlock).
    pub files: Part,
    /// What it can do within that.
    pub allowed: Needs,
}

/// A part of the sandbox that may be missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Whether it is in force.
    pub in_force: bool,
    /// Why it is not.
    pub why_not: Option<String>,
}

impl Part {
    fn in_force() -> Self {
        Part {
            in_force: true,
            why_not: None,
        }
    }

    fn missing(why: impl Into<String>) -> Self {
        Part {
            in_force: false,
            why_not: Some(why.into()),
        }
    }

    fn say(&self, name: &str) -> String {
        match &self.why_not {
            None => name.to_owned(),
            Some(why) => format!("no {name} ({why})"),
        }
    }
}

/// Gives away, for good, what is not needed; says in the log what that left.
///
/// Nothing here keeps a firewall from starting: what cannot be given away is a warning.
pub fn apply(needs: Needs) -> Sandbox {
    needs.warn_of_what_others_refuse();
    let no_new_privileges = nix::sys::prctl::set_no_new_privs();
    if let Err(error) = no_new_privileges {
        warn!(%error, "programs with more privileges cannot be ruled out");
    }
    let kept = capabilities::keep(&needs);
    // Paths are opened for it, and threads restricted: before system calls are.
    let files = files::confine(&needs, &kept);
    let system_calls = system_calls::confine(&needs);
    let sandbox = Sandbox {
        capabilities: kept.iter().map(ToString::to_string).collect(),
        no_new_privileges: no_new_privileges.is_ok(),
        system_calls,
        files,
        allowed: needs,
    };
    // What was left out for the configuration's sake is nothing to be warned of.
    let complete = sandbox.system_calls.in_force && (sandbox.files.in_force || files::is_left_out(&kept));
    if complete {
        info!("sandbox: {sandbox}");
    } else {
        warn!("the sandbox is incomplete: {sandbox}");
    }
    sandbox
}

impl Sandbox {
    /// What a configuration needs that was given away, and what to do: a restart with that configuration.
    pub fn lacks(&self, needs: &Needs) -> Option<String> {
        let mut lacking = Vec::new();
        if self.files.in_force {
            let new = needs.written.difference(&self.allowed.written);
            lacking.extend(new.map(|path| format!("write below {}", path.display())));
        }
        if self.system_calls.in_force {
            if needs.internet && !self.allowed.internet {
                lacking.push("open network connections".to_owned());
            }
            if needs.programs && !self.allowed.programs {
                lacking.push("run programs".to_owned());
            }
        }
        (!lacking.is_empty()).then(|| {
            format!(
                "the sandbox of the running daemon does not let it {}: restart it (systemctl restart palisade)",
                lacking.join(", ")
            )
        })
    }
}

/// One line, for people.
impl std::fmt::Display for Sandbox {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let capabilities = match self.capabilities.as_slice() {
            [] => "no capabilities".to_owned(),
            some => some.join(" "),
        };
        let privileges = if self.no_new_privileges {
            "no new privileges"
        } else {
            "NEW PRIVILEGES POSSIBLE"
        };
        write!(
            out,
            "{capabilities}, {privileges}, {}, {}",
            self.system_calls.say("seccomp"),
            self.files.say("landlock")
        )
    }
}

#[cfg(test)]
mod tests;
