//! What the policies' own selectors select, and which of them select one endpoint.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::changes::Changes;
use super::interner::Interner;
use super::objects::Objects;
use super::{Endpoint, EndpointKind};
use crate::resource::PolicyStage;
use crate::selector::Selector;

/// Policies with one selector, that are asked at the same kinds of endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Group(u32);

impl Group {
    /// Its number, below [`Selections::groups`].
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// What each distinct selector of a policy selects.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Selections(Interner<Selector, Selection>);

#[derive(Clone, Debug, PartialEq)]
struct Selection {
    selector: Arc<Selector>,
    endpoints: Arc<[u32]>,
}

impl Selections {
    /// The group of policies with this selector and of this stage.
    pub(super) fn intern(&mut self, selector: &Selector, stage: PolicyStage, objects: &Objects<'_>) -> Group {
        let id = self.0.find(selector).unwrap_or_else(|| {
            let selector = Arc::new(selector.clone());
            let selection = Selection {
                endpoints: objects.endpoints_of(&selector),
                selector: Arc::clone(&selector),
            };
            self.0.add(selector, selection)
        });
        // Only host endpoints have the early stages.
        Group(2 * id + u32::from(!matches!(stage, PolicyStage::Normal { .. })))
    }

    /// Selects anew what these changes can be seen in.
    pub(super) fn follow(&mut self, changes: &Changes<'_>) {
        let others = self.0.iter().filter_map(|(id, known)| {
            let endpoints = changes.members(&known.endpoints, &known.selector)?;
            let selector = Arc::clone(&known.selector);
            Some((id, Selection { selector, endpoints }))
        });
        let others = others.collect();
        self.0.replace(others);
    }

    /// How many groups there can be.
    pub(super) fn groups(&self) -> usize {
        2 * self.0.len()
    }

    /// How many selectors there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Endpoints by what selects them.
#[derive(Debug, PartialEq)]
pub(super) struct Classes {
    /// The class of each endpoint.
    pub(super) of_endpoint: Vec<u32>,
    /// For each class the groups of policies that select its endpoints, in order.
    pub(super) groups: Vec<Vec<Group>>,
}

impl Classes {
    pub(super) fn new(endpoints: &[Arc<Endpoint>], selections: &Selections) -> Self {
        let mut groups = vec![Vec::new(); endpoints.len()];
        for (id, selection) in selections.0.iter() {
            for &endpoint in selection.endpoints.iter() {
                let groups = &mut groups[endpoint as usize];
                groups.push(Group(2 * id));
                if endpoints[endpoint as usize].kind == EndpointKind::Host {
                    groups.push(Group(2 * id + 1));
                }
            }
        }
        let mut known: BTreeMap<Vec<Group>, u32> = BTreeMap::new();
        let mut of_endpoint = Vec::with_capacity(endpoints.len());
        for groups in groups {
            let next = u32::try_from(known.len()).unwrap_or(u32::MAX);
            of_endpoint.push(*known.entry(groups).or_insert(next));
        }
        let mut groups = vec![Vec::new(); known.len()];
        for (of_class, class) in known {
            groups[class as usize] = of_class;
        }
        Classes { of_endpoint, groups }
    }
}
