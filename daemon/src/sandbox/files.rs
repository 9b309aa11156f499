//! Landlock: where the daemon can write.

use caps::Capability;
use landlock::{
    ABI, AccessFs, CompatLevel, Compatible, LandlockStatus, PathBeneath, PathFd, RestrictionStatus, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, path_beneath_rules,
};

use super::{Needs, Part};

/// The newest kernel interface whose rights to write are known here; older kernels know fewer.
const KNOWN: ABI = ABI::V5;

/// Written to beside the directories that are needed: the settings of conntrack that flow records ask for, and what a
/// program's output may be thrown into.
const ALWAYS: [&str; 2] = ["/proc/sys/net/netfilter", "/dev/null"];

/// Makes sure that files can be written, made and removed below certain directories only, and that no program can be
/// started where none is needed. Reading stays as it is.
pub(super) fn confine(needs: &Needs, capabilities: &[Capability]) -> Part {
    if is_left_out(capabilities) {
        return Part::missing("it would hide the processes that flows.owners names");
    }
    match restrict(needs) {
        Ok(status) if status.ruleset != RulesetStatus::NotEnforced => Part::in_force(),
        Ok(status) => Part::missing(match status.landlock {
            LandlockStatus::NotEnabled => "it is switched off: the kernel command line has lsm= without it",
            LandlockStatus::NotImplemented => {
                "this kernel does not have it, or what palisaded runs in forbids it"
            }
            LandlockStatus::Available { .. } => "this kernel's is too old: Linux 5.19 has what is needed",
        }),
        Err(error) => Part::missing(error.to_string()),
    }
}

/// Whether landlock would take away what these capabilities are there for: in its domain, no process can be looked into
/// that is outside.
pub(super) fn is_left_out(capabilities: &[Capability]) -> bool {
    capabilities.contains(&Capability::CAP_SYS_PTRACE)
}

fn restrict(needs: &Needs) -> Result<RestrictionStatus, RulesetError> {
    let write = AccessFs::from_write(KNOWN);
    let mut ruleset = Ruleset::default()
        // The first version of it forbids all links and renames between directories.
        .set_compatibility(CompatLevel::SoftRequirement)
        .handle_access(AccessFs::Refer)?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(write)?;
    if !needs.programs {
        ruleset = ruleset.handle_access(AccessFs::Execute)?;
    }
    let mut created = ruleset.create()?;
    // A directory that is not there cannot be written to either.
    for directory in needs.written.iter().filter_map(|path| PathFd::new(path).ok()) {
        created = created.add_rule(PathBeneath::new(directory, write))?;
    }
    created
        .add_rules(path_beneath_rules(
            ALWAYS,
            AccessFs::WriteFile | AccessFs::Truncate,
        ))?
        .restrict_self()
}
