//! Things that are known by what they are about, each once, under numbers that stay from one generation to the next.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Items by key and by number. A copy costs nothing until it is changed; most changes need no other items.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Interner<K: Ord, T: Clone> {
    items: Arc<Vec<T>>,
    by_key: Arc<BTreeMap<Arc<K>, u32>>,
}

impl<K: Ord, T: Clone> Default for Interner<K, T> {
    fn default() -> Self {
        Interner {
            items: Arc::default(),
            by_key: Arc::default(),
        }
    }
}

impl<K: Ord, T: Clone> Interner<K, T> {
    /// The number of a key.
    pub(super) fn find(&self, key: &K) -> Option<u32> {
        self.by_key.get(key).copied()
    }

    /// Adds an item under a key that is not there yet.
    pub(super) fn add(&mut self, key: Arc<K>, item: T) -> u32 {
        // There are never so many: each stands in some policy's text.
        let id = u32::try_from(self.items.len()).unwrap_or(u32::MAX);
        Arc::make_mut(&mut self.items).push(item);
        Arc::make_mut(&mut self.by_key).insert(key, id);
        id
    }

    /// The item with this number.
    pub(super) fn get(&self, id: u32) -> &T {
        &self.items[id as usize]
    }

    /// Puts other items in the place of some, by number.
    pub(super) fn replace(&mut self, others: Vec<(u32, T)>) {
        if others.is_empty() {
            return;
        }
        let items = Arc::make_mut(&mut self.items);
        for (id, item) in others {
            items[id as usize] = item;
        }
    }

    /// Every item with its number, in the order of the numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..).zip(self.items.iter())
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }
}
