//! Regions by key.

use super::Item;

/// Regions by key, keys and regions sorted. All are in one list, for there may be as many keys as regions.
#[derive(Clone, Debug)]
pub(in crate::compile::index) struct Groups<K> {
    /// Each key, and where its regions end.
    keys: Vec<(K, usize)>,
    items: Vec<Item>,
}

impl<K> Default for Groups<K> {
    fn default() -> Self {
        Groups {
            keys: Vec::new(),
            items: Vec::new(),
        }
    }
}

impl<K: Copy + PartialEq> Groups<K> {
    /// The groups of regions that are sorted by key.
    pub(super) fn of(entries: &[(K, Item)]) -> Self {
        let mut keys: Vec<(K, usize)> = Vec::with_capacity(entries.len());
        let mut end = 0;
        for group in entries.chunk_by(|(key, _), (next, _)| key == next) {
            end += group.len();
            keys.push((group[0].0, end));
        }
        Groups {
            keys,
            items: entries.iter().map(|(_, item)| *item).collect(),
        }
    }

    /// The same, with more regions in some groups, which are told by their places, in order.
    pub(super) fn with(self, more: Vec<(usize, Vec<Item>)>) -> Self {
        if more.is_empty() {
            return self;
        }
        let mut more = more.into_iter().peekable();
        let groups = self.iter().enumerate().map(|(place, (key, items))| {
            let mut items = items.to_vec();
            if let Some((_, more)) = more.next_if(|(of, _)| *of == place) {
                items.extend(more);
                super::tidy(&mut items);
            }
            (key, items)
        });
        groups.collect()
    }
}

impl<K: Copy> Groups<K> {
    /// How many keys there are.
    pub(in crate::compile::index) fn len(&self) -> usize {
        self.keys.len()
    }

    /// How many regions there are, those of several keys several times.
    pub(in crate::compile::index) fn entries(&self) -> usize {
        self.items.len()
    }

    /// The key of a group, by its place.
    pub(super) fn key(&self, place: usize) -> K {
        self.keys[place].0
    }

    /// The first place of which this is not true, where it is so of all before and none behind.
    pub(super) fn partition_point(&self, is_before: impl Fn(&K) -> bool) -> usize {
        self.keys.partition_point(|(key, _)| is_before(key))
    }

    /// Each key with its regions.
    pub(in crate::compile::index) fn iter(&self) -> impl Iterator<Item = (K, &[Item])> {
        let mut begin = 0;
        self.keys.iter().map(move |&(key, end)| {
            let items = &self.items[begin..end];
            begin = end;
            (key, items)
        })
    }
}

impl<K> FromIterator<(K, Vec<Item>)> for Groups<K> {
    fn from_iter<I: IntoIterator<Item = (K, Vec<Item>)>>(groups: I) -> Self {
        let mut all = Groups::default();
        for (key, items) in groups {
            all.items.extend(items);
            all.keys.push((key, all.items.len()));
        }
        all
    }
}
