//! Promotion, and going back to a stored generation: changes that palisade itself makes to files.

use std::path::PathBuf;
use std::sync::Arc;

use palisade_rules::resource::PolicyId;
use palisade_rules::rewrite;
use palisade_rules::ruleset::unconfirmed::Percent;

use super::super::way_back::Changed;
use super::super::{Applied, Engine, PlanError, Promote, ReloadError, Sources, add_safety_net};
use super::{Next, Terms};
use crate::config::Config;
use crate::source::SourceFile;

impl Engine {
    /// Promotes staged policies: in their files, byte for byte otherwise, and in force. A canary leaves the files alone.
    pub fn promote(
        &mut self,
        promote: &Promote,
        canary: Option<Percent>,
        terms: &Terms<'_>,
    ) -> Result<Applied, PlanError> {
        let of_canary = self.rollout.open.as_ref().filter(|open| open.canary.is_some());
        let of_canary = of_canary.map(|open| open.promoted.clone());
        if of_canary.is_none() {
            self.rollout.refuse()?;
        }
        let (on_disk, config) = self.read()?;
        let before = self.rollout.sources.clone();
        let before = before.filter(|_| !self.panicked()).ok_or(ReloadError::Panic)?;
        let edited = before.differing(&on_disk);
        if !edited.is_empty() {
            return Err(PlanError::Edited { files: list(&edited) });
        }
        let reading = self.decoder.read(&on_disk.files);
        let Some(snapshot) = &reading.snapshot else {
            let problems = reading.diagnostics.render(&reading.files, false);
            return Err(ReloadError::Resources(problems).into());
        };
        let (world, chosen) = promote.apply(snapshot)?;
        let names: Vec<String> = chosen.iter().map(PolicyId::to_string).collect();
        if names.is_empty() {
            return Err(PlanError::NothingStaged);
        }
        if let Some(running) = of_canary.filter(|running| *running != names) {
            return Err(PlanError::Canary {
                running: running.join(" "),
            });
        }
        let named = names.join(" ");
        let (next, why) = if let Some(share) = canary {
            let mut world = world;
            add_safety_net(&config, &mut world);
            let mut next = self.next(config, on_disk)?;
            next.snapshot = Arc::new(world);
            next.canary = Some(share);
            (next, format!("canary {share} {named}"))
        } else {
            let is_promoted = |policy: &palisade_rules::resource::Policy| chosen.contains(&policy.id);
            let rewritten = rewrite::promote(&reading.files, &reading.ids, snapshot, is_promoted)?;
            let rewritten = rewritten.into_iter().map(|new| {
                let name = Arc::clone(reading.files.name(new.file));
                SourceFile::new(name, new.text.as_bytes())
            });
            let sources = on_disk.with(rewritten);
            let mut next = self.next(config, sources)?;
            next.writes = Changed::between(&on_disk, &next.sources);
            (next, format!("promote {named}"))
        };
        let next = Next {
            promoted: names,
            ..next
        };
        Ok(self.bring_into_force(next, terms, why)?)
    }

    /// Goes back to a stored generation, files and all. What the files are now is stored as well; what is not in force of
    /// them is kept beside.
    pub fn go_back_to(&mut self, number: u64, terms: &Terms<'_>) -> Result<Applied, ReloadError> {
        self.rollout.refuse()?;
        self.keep_previous()?;
        let entry = self.store.find(number)?.number;
        let sources = self.store.sources(entry)?;
        let config = self.fixed_at_start(Config::of(&sources.config)?);
        let before = self.rollout.sources.clone().ok_or(ReloadError::Panic)?;
        let writes = self.written_back(&before, &sources);
        let mut next = self.next(config, sources)?;
        next.writes = writes;
        self.bring_into_force(next, terms, format!("rollback to {entry}"))
    }

    /// The files that going back writes: what differs, and what has been edited since.
    fn written_back(&mut self, before: &Sources, sources: &Sources) -> Vec<Changed> {
        let mut writes = Changed::between(before, sources);
        if let Ok((on_disk, _)) = Sources::read(&self.config_path, &mut self.reader) {
            let edited = Changed::between(&on_disk, sources);
            // A file that nobody has brought into force yet is nobody's to remove.
            let known = edited.into_iter().filter(|file| before.at(&file.name).is_some());
            for file in known {
                if writes.iter().all(|other| other.name != file.name) {
                    writes.push(Changed {
                        before: file.after.clone(),
                        ..file
                    });
                }
            }
        }
        writes
    }
}

fn list(paths: &[PathBuf]) -> String {
    let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    paths.join(", ")
}
