//! Decoding the same files again and again, of which few have changed.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;
use std::sync::Arc;

use super::fields::Context;
use super::found::{Found, gives_names};
use super::known::{Known, MOST_SUGGESTIONS};
use super::resource;
use super::totals::Totals;
use crate::diagnostic::{Diagnostic, Diagnostics, quoted};
use crate::resource::ObjectName;
use crate::snapshot::Snapshot;
use crate::source::{File, FileId, Files, Span};
use crate::yaml::{self, Documents};

/// Reads resources as [`decode`](super::decode) does, with the same answers, and remembers what each file held: a file that
/// has not changed is not read again, and what it holds is shared between the snapshots, pointer for pointer.
///
/// What objects of different files have to do with each other is checked each time, but only against what has changed.
#[derive(Debug, Default)]
pub struct Decoder {
    parts: Vec<Part>,
    totals: Totals,
    /// Whether everything that is named in [`Decoder::parts`] is there.
    is_all_known: bool,
    /// What [`Decoder::parts`] say, if nothing is wrong with them.
    snapshot: Option<Snapshot>,
}

/// A file and what it holds. Cheap to pass by: most are, each time.
#[derive(Clone, Debug)]
struct Part {
    file: Arc<File>,
    decoded: Arc<Decoded>,
    policies: usize,
}

/// What a file holds; every span is in the first file.
#[derive(Debug)]
pub(super) struct Decoded {
    pub(super) found: Found,
    pub(super) diagnostics: Diagnostics,
    /// Whether it was read to its end.
    is_whole: bool,
}

impl Decoder {
    /// Reads the resources in these files, whose ids in the diagnostics are their indices: those that [`Files::of`] gives
    /// the same files.
    pub fn decode<'f>(
        &mut self,
        files: impl ExactSizeIterator<Item = &'f Arc<File>>,
    ) -> (Option<Snapshot>, Diagnostics) {
        self.decode_as(files, FileId::of)
    }

    /// The same, under other ids.
    pub(super) fn decode_as<'f>(
        &mut self,
        files: impl Iterator<Item = &'f Arc<File>>,
        id: impl Fn(usize) -> FileId,
    ) -> (Option<Snapshot>, Diagnostics) {
        let change = self.take(files);
        let is_known = |part: &Part| {
            part.decoded
                .found
                .uses
                .iter()
                .all(|used| self.totals.has(&used.target))
        };
        let is_right = !self.totals.is_wrong()
            && if self.is_all_known && !change.is_name_gone {
                self.parts[change.place.clone()].iter().all(is_known)
            } else {
                self.parts.iter().all(is_known)
            };
        self.is_all_known = is_right;
        if !is_right {
            self.snapshot = None;
            return (None, self.problems(id));
        }
        let snapshot = match self.snapshot.take() {
            Some(snapshot) => self.changed(snapshot, &change),
            None => self.whole(),
        };
        self.snapshot = Some(snapshot.clone());
        let remarks = if self.totals.is_remarked() {
            self.remarks(id).sorted()
        } else {
            Diagnostics::default()
        };
        (Some(snapshot), remarks)
    }

    /// Takes these files in place of the earlier ones.
    fn take<'f>(&mut self, files: impl Iterator<Item = &'f Arc<File>>) -> Change {
        let mut files = files.peekable();
        let mut earlier = self.parts.iter();
        let same = |part: &Part, file: &Arc<File>| Arc::ptr_eq(&part.file, file);
        let mut start = 0;
        while let (Some(part), Some(file)) = (earlier.as_slice().first(), files.peek())
            && same(part, file)
        {
            earlier.next();
            files.next();
            start += 1;
        }
        let files: Vec<&Arc<File>> = files.collect();
        let left = earlier.as_slice();
        let same_at_end = left.iter().rev().zip(files.iter().rev());
        let behind = same_at_end.take_while(|(part, file)| same(part, file)).count();
        let replaced = start..self.parts.len() - behind;
        let files = &files[..files.len() - behind];

        let mut by_name: BTreeMap<&str, usize> = BTreeMap::new();
        by_name.extend(
            replaced
                .clone()
                .map(|index| (&**self.parts[index].file.name(), index)),
        );
        let mut is_kept = vec![false; replaced.len()];
        let mut parts = Vec::with_capacity(files.len());
        let mut added = Vec::new();
        for &file in files {
            let known = by_name.remove(&**file.name());
            let known = known.filter(|&index| {
                let earlier = &self.parts[index].file;
                same(&self.parts[index], file) || earlier.is_same(file)
            });
            let decoded = if let Some(index) = known {
                is_kept[index - start] = true;
                Arc::clone(&self.parts[index].decoded)
            } else {
                added.push(start + parts.len());
                Arc::new(Decoded::of(file))
            };
            parts.push(Part {
                file: Arc::clone(file),
                policies: decoded.found.policies.len(),
                decoded,
            });
        }
        let place = start..start + parts.len();
        let before = self.parts.splice(replaced, parts);
        let gone = before.zip(is_kept).filter(|(_, is_kept)| !is_kept);
        let gone: Vec<Arc<Decoded>> = gone.map(|(part, _)| part.decoded).collect();
        // What comes counts before what goes, so that a name that is in both is never gone.
        for &index in &added {
            self.totals.add(&self.parts[index].decoded);
        }
        let mut is_name_gone = false;
        for decoded in &gone {
            is_name_gone |= self.totals.remove(decoded);
        }
        Change {
            place,
            behind,
            added,
            gone,
            is_name_gone,
        }
    }

    /// The snapshot of all parts, from that of the earlier ones.
    fn changed(&self, mut snapshot: Snapshot, change: &Change) -> Snapshot {
        let added = || change.added.iter().map(|&index| &self.parts[index].decoded.found);
        let gone = || change.gone.iter().map(|decoded| &decoded.found);
        let count = |parts: &[Part]| parts.iter().map(|part| part.policies).sum::<usize>();
        let (before, behind) = (&self.parts[..change.place.start], &self.parts[change.place.end..]);
        debug_assert_eq!(behind.len(), change.behind);
        let replaced = count(before)..snapshot.policies.len() - count(behind);
        let policies = self.parts[change.place.clone()].iter();
        let policies = policies.flat_map(|part| part.decoded.found.policies.iter().cloned());
        snapshot.policies.splice(replaced, policies);

        for found in gone() {
            for set in &found.network_sets {
                snapshot.network_sets.remove(&set.id);
            }
            for endpoint in &found.host_endpoints {
                snapshot.host_endpoints.remove(&endpoint.name);
            }
            for endpoint in &found.workload_endpoints {
                snapshot.workload_endpoints.remove(&endpoint.id);
            }
            for endpoint in &found.service_endpoints {
                snapshot.service_endpoints.remove(&endpoint.name);
            }
        }
        for found in added() {
            add_objects(&mut snapshot, found);
        }
        // What is built in comes back when the written one goes.
        if gone().any(|found| !found.tiers.is_empty() || !found.profiles.is_empty()) {
            let mut empty = Snapshot::empty();
            for part in &self.parts {
                add_surroundings(&mut empty, &part.decoded.found);
            }
            (snapshot.tiers, snapshot.profiles) = (empty.tiers, empty.profiles);
        } else {
            added().for_each(|found| add_surroundings(&mut snapshot, found));
        }
        snapshot
    }

    /// The snapshot of all parts.
    fn whole(&self) -> Snapshot {
        let mut snapshot = Snapshot::empty();
        for part in &self.parts {
            let found = &part.decoded.found;
            snapshot.policies.extend(found.policies.iter().cloned());
            add_objects(&mut snapshot, found);
            add_surroundings(&mut snapshot, found);
        }
        snapshot
    }

    /// What is to be said of each file alone.
    fn remarks(&self, id: impl Fn(usize) -> FileId) -> Diagnostics {
        let mut diagnostics = Diagnostics::default();
        for (index, part) in self.parts.iter().enumerate() {
            if !part.decoded.diagnostics.is_empty() {
                diagnostics.append(part.decoded.diagnostics.clone().in_file(id(index)));
            }
        }
        diagnostics
    }

    /// Everything that is wrong, and what is worth knowing.
    fn problems(&self, id: impl Fn(usize) -> FileId) -> Diagnostics {
        let mut diagnostics = self.remarks(&id);
        let mut first: BTreeMap<(&str, &ObjectName), Span> = BTreeMap::new();
        let mut is_partial = false;
        for (index, part) in self.parts.iter().enumerate() {
            let found = &part.decoded.found;
            is_partial |= found.is_partial;
            for object in &found.objects {
                let span = in_file(object.span, id(index));
                let before = match first.entry((object.kind.word, &object.id)) {
                    Entry::Vacant(free) => {
                        free.insert(span);
                        continue;
                    }
                    Entry::Occupied(taken) => *taken.get(),
                };
                is_partial |= gives_names(object.kind);
                let twice = format!(
                    "{} {} is there twice",
                    object.kind.word,
                    quoted(&object.id.to_string())
                );
                diagnostics.push(Diagnostic {
                    kind: Some(object.kind.name.to_owned()),
                    name: Some(object.id.name.clone()),
                    path: Some(object.path.to_string()),
                    ..Diagnostic::error("duplicate-object", twice)
                        .at(span, "again here")
                        .related(before, "first written here")
                        .help("remove one of the two, or give it another name")
                });
            }
        }
        // What a broken file would have held is not known, and must not be called missing.
        if self.parts.iter().all(|part| part.decoded.is_whole) {
            self.check_uses(is_partial, id, &mut diagnostics);
        }
        diagnostics.sorted()
    }

    /// Reports everything that is named and not there.
    fn check_uses(&self, is_partial: bool, id: impl Fn(usize) -> FileId, diagnostics: &mut Diagnostics) {
        let known = Known::of(self.parts.iter().map(|part| &part.decoded.found));
        let mut problems = 0;
        for (index, part) in self.parts.iter().enumerate() {
            for used in &part.decoded.found.uses {
                if is_partial && !used.target.is_named_only() {
                    continue;
                }
                let suggest = problems < MOST_SUGGESTIONS;
                if let Some(problem) = known.problem(&used.target, in_file(used.span, id(index)), suggest) {
                    problems += 1;
                    diagnostics.push(Diagnostic {
                        kind: used.kind.map(str::to_owned),
                        name: used.name.as_deref().map(str::to_owned),
                        path: used.path.as_deref().map(str::to_owned),
                        ..problem
                    });
                }
            }
        }
    }
}

/// How the parts differ from the earlier ones.
struct Change {
    /// Where something may be other than it was.
    place: Range<usize>,
    /// How many parts behind that are as they were.
    behind: usize,
    /// The parts that were read.
    added: Vec<usize>,
    /// What is not there any more.
    gone: Vec<Arc<Decoded>>,
    /// Whether a name is gone that other files may use.
    is_name_gone: bool,
}

impl Decoded {
    fn of(file: &Arc<File>) -> Self {
        let mut files = Files::default();
        let id = files.push(Arc::clone(file));
        let mut context = Context::new(&files);
        let mut found = Found::default();
        if let Some(problem) = yaml::problem(&files, id) {
            context.report(problem);
            return Decoded {
                found,
                diagnostics: context.diagnostics,
                is_whole: false,
            };
        }
        let mut documents = Documents::new(&files, id);
        loop {
            let before = context.diagnostics.len();
            let Some(document) = documents.next(&mut context.diagnostics) else {
                break;
            };
            resource::document(&mut context, &document, before, &mut found);
        }
        Decoded {
            found,
            is_whole: !documents.is_broken(),
            diagnostics: context.diagnostics,
        }
    }

    /// Whether no snapshot can be made with it.
    pub(super) fn is_wrong(&self) -> bool {
        self.diagnostics.has_errors() || !self.is_whole
    }
}

fn add_objects(snapshot: &mut Snapshot, found: &Found) {
    let sets = found.network_sets.iter();
    snapshot
        .network_sets
        .extend(sets.map(|set| (set.id.clone(), Arc::clone(set))));
    let hosts = found.host_endpoints.iter();
    let hosts = hosts.map(|endpoint| (endpoint.name.clone(), Arc::clone(endpoint)));
    snapshot.host_endpoints.extend(hosts);
    let workloads = found.workload_endpoints.iter();
    let workloads = workloads.map(|endpoint| (endpoint.id.clone(), Arc::clone(endpoint)));
    snapshot.workload_endpoints.extend(workloads);
    let services = found.service_endpoints.iter();
    let services = services.map(|endpoint| (endpoint.name.clone(), endpoint.clone()));
    snapshot.service_endpoints.extend(services);
}

/// Adds what policies stand in and endpoints have, of which some is there without being written.
fn add_surroundings(snapshot: &mut Snapshot, found: &Found) {
    let tiers = found.tiers.iter();
    snapshot
        .tiers
        .extend(tiers.map(|tier| (tier.name.clone(), tier.clone())));
    let profiles = found.profiles.iter();
    let profiles = profiles.map(|profile| (profile.name.clone(), profile.clone()));
    snapshot.profiles.extend(profiles);
}

fn in_file(span: Span, file: FileId) -> Span {
    Span { file, ..span }
}

#[cfg(test)]
mod tests;
