//! Taking the safety net away, and bringing it back: changes that palisade itself makes to files.

use std::sync::Arc;

use palisade_rules::rewrite;
use palisade_rules::world::is_safety_net;

use super::super::way_back::Changed;
use super::super::{Applied, Engine, PlanError, ReloadError, Sources};
use super::Terms;
use crate::config::{Config, with_safety_net};
use crate::source::SourceFile;

impl Engine {
    /// Takes every safety net away: the one of the configuration by `safetyNet: false`, those that are written by removing
    /// them from their files, byte for byte otherwise.
    pub fn remove_safety_net(&mut self, terms: &Terms<'_>) -> Result<Applied, PlanError> {
        let (on_disk, config) = self.as_in_force()?;
        let reading = self.decoder.read(&on_disk.files);
        let Some(snapshot) = &reading.snapshot else {
            let problems = reading.diagnostics.render(&reading.files, false);
            return Err(ReloadError::Resources(problems).into());
        };
        let is_net =
            |policy: &palisade_rules::resource::Policy| policy.staged.is_none() && is_safety_net(policy);
        let rewritten = rewrite::remove(&reading.files, &reading.ids, snapshot, is_net)?;
        if rewritten.is_empty() && !config.safety_net {
            return Err(PlanError::NoSafetyNet);
        }
        let rewritten = rewritten.into_iter().map(|new| {
            let name = Arc::clone(reading.files.name(new.file));
            SourceFile::new(name, new.text.as_bytes())
        });
        let sources = on_disk.with(rewritten);
        let sources = with(sources, &config, false)?;
        self.bring_sources(&on_disk, sources, terms, "safety-net remove")
    }

    /// Brings the safety net of the configuration back.
    pub fn restore_safety_net(&mut self, terms: &Terms<'_>) -> Result<Applied, PlanError> {
        let (on_disk, config) = self.as_in_force()?;
        if config.safety_net {
            return Err(PlanError::SafetyNetIsThere);
        }
        let sources = with(on_disk.clone(), &config, true)?;
        self.bring_sources(&on_disk, sources, terms, "safety-net restore")
    }

    /// The files, which must be what is in force: a change must not bring an edit into force that nobody has asked for.
    fn as_in_force(&mut self) -> Result<(Sources, Config), PlanError> {
        self.rollout.refuse()?;
        let before = self.rollout.sources.clone();
        let before = before.filter(|_| !self.panicked()).ok_or(ReloadError::Panic)?;
        let (on_disk, config) = self.read()?;
        let edited = before.differing(&on_disk);
        if edited.is_empty() {
            return Ok((on_disk, config));
        }
        let edited: Vec<String> = edited.iter().map(|path| path.display().to_string()).collect();
        Err(PlanError::Edited {
            files: edited.join(", "),
        })
    }

    fn bring_sources(
        &mut self,
        on_disk: &Sources,
        sources: Sources,
        terms: &Terms<'_>,
        why: &str,
    ) -> Result<Applied, PlanError> {
        let config = Config::of(&sources.config).map_err(ReloadError::from)?;
        let config = self.fixed_at_start(config);
        let mut next = self.next(config, sources)?;
        next.writes = Changed::between(on_disk, &next.sources);
        Ok(self.bring_into_force(next, terms, why.to_owned())?)
    }
}

/// The same sources with `safetyNet` as it is to be in the configuration.
fn with(sources: Sources, config: &Config, safety_net: bool) -> Result<Sources, PlanError> {
    if config.safety_net == safety_net {
        return Ok(sources);
    }
    let by_hand = || PlanError::SafetyNetByHand {
        path: sources.config.name().to_owned(),
        value: safety_net,
    };
    let text = std::str::from_utf8(sources.config.bytes()).map_err(|_| by_hand())?;
    let changed = SourceFile::new(
        Arc::clone(sources.config.file().name()),
        with_safety_net(text, safety_net).as_bytes(),
    );
    // What is given out means exactly what it is to mean.
    let means = Config::of(&changed).ok();
    let written = Config::of(&sources.config)
        .ok()
        .map(|config| Config { safety_net, ..config });
    if means.is_none() || means != written {
        return Err(by_hand());
    }
    Ok(sources.with([changed]))
}
