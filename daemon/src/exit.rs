//! Exit codes: part of the contract, stable, and listed in the README.

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Fine, allowed, no findings.
    Fine = 0,
    /// Findings: denied, would be denied.
    Findings = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The configuration or the resources are invalid.
    Invalid = 3,
    /// The daemon cannot be reached.
    Unreachable = 4,
    /// The kernel refused; the previous generation is in force.
    ApplyFailed = 5,
    /// A change was not confirmed: the previous generation is in force again.
    RolledBack = 6,
    /// The lockout guard refused; `--force` overrides it.
    Refused = 7,
    /// Root, CAP_NET_ADMIN or, for the socket, the group palisade is missing; changing takes root.
    NoPrivilege = 77,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        std::process::ExitCode::from(exit as u8)
    }
}
