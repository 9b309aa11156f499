//! What is different about the objects of one generation and those of the one before, so that only they are looked at.

use std::cmp::Ordering;
use std::sync::Arc;

use super::{Endpoint, Network};
use crate::resource::Labels;
use crate::selector::{LabelIndex, Selector};

/// How a sorted list of objects came from another.
pub(super) struct Changes<'a> {
    /// Where each old one is now; `None` if all are where they were, and no other has come.
    moved: Option<Vec<Option<u32>>>,
    /// Those whose labels are not known to be as they were, by their place now; in order.
    pub(super) asked: Vec<u32>,
    /// The labels of those.
    labels: LabelIndex<'a>,
    /// Those that are gone, or whose addresses or ports are others now, by their old place; in order.
    pub(super) left: Vec<u32>,
    /// Those that have come, or whose addresses or ports were others, by their place now; in order.
    pub(super) came: Vec<u32>,
}

impl<'a> Changes<'a> {
    /// Between endpoints.
    pub(super) fn of_endpoints(old: &[Arc<Endpoint>], new: &'a [Arc<Endpoint>]) -> Self {
        Changes::new(
            old,
            new,
            |a, b| (&a.name, &a.namespace, a.kind).cmp(&(&b.name, &b.namespace, b.kind)),
            |endpoint| &endpoint.labels,
            |a, b| a.addresses == b.addresses && a.ports == b.ports,
        )
    }

    /// Between networks.
    pub(super) fn of_networks(old: &[Arc<Network>], new: &'a [Arc<Network>]) -> Self {
        Changes::new(
            old,
            new,
            |a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)),
            |network| &network.labels,
            |a, b| a.nets == b.nets,
        )
    }

    fn new<T>(
        old: &[Arc<T>],
        new: &'a [Arc<T>],
        order: impl Fn(&T, &T) -> Ordering,
        labels: impl Fn(&T) -> &Labels,
        is_alike: impl Fn(&T, &T) -> bool,
    ) -> Self {
        let mut moved = Vec::with_capacity(old.len());
        let (mut asked, mut left, mut came) = (Vec::new(), Vec::new(), Vec::new());
        let (mut olds, mut news) = ((0_u32..).zip(old).peekable(), (0_u32..).zip(new).peekable());
        loop {
            let step = match (olds.peek(), news.peek()) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((_, old)), Some((_, new))) if Arc::ptr_eq(old, new) => Ordering::Equal,
                (Some((_, old)), Some((_, new))) => order(old, new),
            };
            let old = if step.is_le() { olds.next() } else { None };
            let new = if step.is_ge() { news.next() } else { None };
            match (old, new) {
                (Some((was, old)), Some((is, new))) => {
                    moved.push(Some(is));
                    if Arc::ptr_eq(old, new) {
                        continue;
                    }
                    if labels(old) != labels(new) {
                        asked.push(is);
                    }
                    if !is_alike(old, new) {
                        left.push(was);
                        came.push(is);
                    }
                }
                (Some((was, _)), None) => {
                    moved.push(None);
                    left.push(was);
                }
                (None, Some((is, _))) => {
                    asked.push(is);
                    came.push(is);
                }
                (None, None) => break,
            }
        }
        let stayed = old.len() == new.len() && (0..).zip(&moved).all(|(was, is)| *is == Some(was));
        Changes {
            moved: (!stayed).then_some(moved),
            labels: LabelIndex::new(asked.iter().map(|&id| labels(&new[id as usize]))),
            asked,
            left,
            came,
        }
    }

    /// Whether every object is where it was, with the labels that it had: what selectors select is the same.
    pub(super) fn selects_alike(&self) -> bool {
        self.moved.is_none() && self.asked.is_empty()
    }

    /// Whether nothing that a set is made of has changed.
    pub(super) fn is_nothing(&self) -> bool {
        self.selects_alike() && self.left.is_empty() && self.came.is_empty()
    }

    /// What a selector selects now, which selected `members` before; `None` if that is the same. Only the objects with
    /// other labels are asked.
    pub(super) fn members(&self, members: &[u32], selector: &Selector) -> Option<Arc<[u32]>> {
        if self.selects_alike() {
            return None;
        }
        let matching = self.labels.matching(selector);
        let matching: Vec<u32> = matching.into_iter().map(|index| self.asked[index]).collect();
        if self.moved.is_none() {
            let is_in = |id: &u32| members.binary_search(id).is_ok();
            let were = self.asked.iter().filter(|id| is_in(id));
            if were.eq(matching.iter()) {
                return None;
            }
        }
        let is_asked = |id: &u32| self.asked.binary_search(id).is_ok();
        let mut now: Vec<u32> = members
            .iter()
            .filter_map(|&id| self.now(id))
            .filter(|id| !is_asked(id))
            .chain(matching)
            .collect();
        now.sort_unstable();
        (now != members).then(|| now.into())
    }

    /// The old objects, of so many, that are gone or not what they were, by their old place.
    pub(super) fn others(&self, old: usize) -> impl Iterator<Item = u32> {
        let ids = 0..u32::try_from(old).unwrap_or(u32::MAX);
        ids.filter(|&id| {
            let now = self.now(id);
            self.left.binary_search(&id).is_ok()
                || now.is_none_or(|now| self.asked.binary_search(&now).is_ok())
        })
    }

    /// Where an old object is now.
    fn now(&self, id: u32) -> Option<u32> {
        match &self.moved {
            None => Some(id),
            Some(moved) => moved[id as usize],
        }
    }

    /// The old members that are gone from a set, or not what they were; and the ones that are new to it, or not what
    /// they were.
    pub(super) fn exchanged(&self, old: &[u32], new: &[u32]) -> (Vec<u32>, Vec<u32>) {
        if self.selects_alike() {
            let of = |ids: &[u32]| -> Vec<u32> {
                let ids = ids.iter().copied();
                ids.filter(|id| old.binary_search(id).is_ok()).collect()
            };
            return (of(&self.left), of(&self.came));
        }
        let left = old.iter().copied().filter(|id| {
            let now = self.now(*id).filter(|now| new.binary_search(now).is_ok());
            now.is_none() || self.left.binary_search(id).is_ok()
        });
        let stayed: Vec<u32> = old.iter().filter_map(|&id| self.now(id)).collect();
        let came = new
            .iter()
            .copied()
            .filter(|id| stayed.binary_search(id).is_err() || self.came.binary_search(id).is_ok());
        (left.collect(), came.collect())
    }
}
