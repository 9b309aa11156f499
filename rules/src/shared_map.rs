//! A sorted map whose clones share what they have in common.
//!
//! A ruleset has a hundred thousand counters, and one made from another has most of them again. So a clone costs nothing,
//! an edit copies one chunk, and two maps are compared chunk by chunk: what they share is not looked at.

#[cfg(test)]
mod tests;

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::iter::FlatMap;
use std::ops::Index;
use std::slice;
use std::sync::Arc;

/// The most entries of a chunk. An edit copies one, and the list of all of them.
const MAX_CHUNK: usize = 256;

/// Entries by key, each key once.
#[derive(Clone)]
pub struct SharedMap<K, V> {
    /// In order, and none of them empty.
    chunks: Arc<Vec<Chunk<K, V>>>,
    len: usize,
}

type Chunk<K, V> = Arc<Vec<(K, V)>>;

/// What differs at one key: the value that was, and the one that is.
pub type Difference<'a, K, V> = (&'a K, Option<&'a V>, Option<&'a V>);

/// The entries in order of their keys.
pub type Iter<'a, K, V> =
    FlatMap<slice::Iter<'a, Chunk<K, V>>, Entries<'a, K, V>, fn(&'a Chunk<K, V>) -> Entries<'a, K, V>>;

/// The entries of one chunk.
pub type Entries<'a, K, V> = std::iter::Map<slice::Iter<'a, (K, V)>, fn(&'a (K, V)) -> (&'a K, &'a V)>;

impl<K, V> SharedMap<K, V> {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The entries in order of their keys.
    pub fn iter(&self) -> Iter<'_, K, V> {
        self.chunks
            .iter()
            .flat_map(|chunk| chunk.iter().map(|(key, value)| (key, value)))
    }

    /// The keys in order.
    pub fn keys(&self) -> impl Iterator<Item = &K> + Clone {
        self.chunks
            .iter()
            .flat_map(|chunk| chunk.iter())
            .map(|(key, _)| key)
    }

    /// The values in order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> + Clone {
        self.chunks
            .iter()
            .flat_map(|chunk| chunk.iter())
            .map(|(_, value)| value)
    }
}

impl<K: Ord, V> SharedMap<K, V> {
    /// The value of a key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let (_, value) = self.get_key_value(key)?;
        Some(value)
    }

    /// The key as it stands here, and its value.
    pub fn get_key_value<Q: Ord + ?Sized>(&self, key: &Q) -> Option<(&K, &V)>
    where
        K: Borrow<Q>,
    {
        let chunk = self.chunks.get(self.chunk_of(key))?;
        let (key, value) = &chunk[place_in(chunk, key).ok()?];
        Some((key, value))
    }

    /// Whether a key is there.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get(key).is_some()
    }

    /// The chunk that a key is in, if it is there at all: the last that does not begin behind it, or else the first.
    fn chunk_of<Q: Ord + ?Sized>(&self, key: &Q) -> usize
    where
        K: Borrow<Q>,
    {
        let behind = self.chunks.partition_point(|chunk| chunk[0].0.borrow() <= key);
        behind.saturating_sub(1)
    }
}

impl<K: Ord, V: PartialEq> SharedMap<K, V> {
    /// What differs from an earlier map, in order of the keys. It costs as much as was edited since, if this one was made
    /// from the other.
    pub fn differences<'a>(&'a self, earlier: &'a Self) -> Vec<Difference<'a, K, V>> {
        let mut differences = Vec::new();
        let (mut had, mut has) = (Cursor::new(earlier), Cursor::new(self));
        loop {
            had.skip_shared(&mut has);
            let (was, is) = (had.entry(), has.entry());
            let order = match (was, is) {
                (None, None) => return differences,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((was, _)), Some((is, _))) => was.cmp(is),
            };
            let was = was.filter(|_| order != Ordering::Greater);
            let is = is.filter(|_| order != Ordering::Less);
            let (old, new) = (was.map(|(_, value)| value), is.map(|(_, value)| value));
            if let Some((key, _)) = is.or(was).filter(|_| old != new) {
                differences.push((key, old, new));
            }
            if was.is_some() {
                had.advance();
            }
            if is.is_some() {
                has.advance();
            }
        }
    }
}

impl<K: Ord + Clone, V: Clone> SharedMap<K, V> {
    /// Sets the value of a key, and gives the one that it had.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let index = self.chunk_of(&key);
        let chunks = Arc::make_mut(&mut self.chunks);
        let Some(chunk) = chunks.get_mut(index) else {
            chunks.push(Arc::new(vec![(key, value)]));
            self.len = 1;
            return None;
        };
        let entries = Arc::make_mut(chunk);
        match place_in(entries, &key) {
            Ok(place) => Some(std::mem::replace(&mut entries[place].1, value)),
            Err(place) => {
                entries.insert(place, (key, value));
                self.len += 1;
                if entries.len() > MAX_CHUNK {
                    let half = entries.split_off(MAX_CHUNK / 2);
                    chunks.insert(index + 1, Arc::new(half));
                }
                None
            }
        }
    }

    /// Takes a key out, and gives its value.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let index = self.chunk_of(key);
        let place = place_in(self.chunks.get(index)?, key).ok()?;
        let chunks = Arc::make_mut(&mut self.chunks);
        let entries = Arc::make_mut(&mut chunks[index]);
        let (_, value) = entries.remove(place);
        self.len -= 1;
        if entries.is_empty() {
            chunks.remove(index);
        }
        Some(value)
    }
}

impl<K: Ord + Clone, V: Clone + PartialEq> SharedMap<K, V> {
    /// Both maps in one; where both have a key, the value is the other's.
    #[must_use]
    pub fn with(&self, other: &Self) -> Self {
        let mut both = self.clone();
        for (key, _, value) in other.differences(self) {
            if let Some(value) = value {
                both.insert(key.clone(), value.clone());
            }
        }
        both
    }
}

/// A place in a map.
struct Cursor<'a, K, V> {
    chunks: &'a [Chunk<K, V>],
    place: usize,
}

impl<'a, K, V> Cursor<'a, K, V> {
    fn new(map: &'a SharedMap<K, V>) -> Self {
        Cursor {
            chunks: &map.chunks,
            place: 0,
        }
    }

    fn entry(&self) -> Option<(&'a K, &'a V)> {
        let (key, value) = &self.chunks.first()?[self.place];
        Some((key, value))
    }

    fn advance(&mut self) {
        self.place += 1;
        if self.chunks.first().is_some_and(|chunk| chunk.len() == self.place) {
            self.chunks = &self.chunks[1..];
            self.place = 0;
        }
    }

    /// Goes past the chunks that both have, if both stand before them.
    fn skip_shared(&mut self, other: &mut Self) {
        if self.place == 0 && other.place == 0 {
            let mut both = self.chunks.iter().zip(other.chunks);
            let differs = both.position(|(chunk, other)| !Arc::ptr_eq(chunk, other));
            let shared = differs.unwrap_or(self.chunks.len().min(other.chunks.len()));
            self.chunks = &self.chunks[shared..];
            other.chunks = &other.chunks[shared..];
        }
    }
}

fn place_in<K: Ord + Borrow<Q>, V, Q: Ord + ?Sized>(entries: &[(K, V)], key: &Q) -> Result<usize, usize> {
    entries.binary_search_by(|(other, _)| other.borrow().cmp(key))
}

impl<K, V> Default for SharedMap<K, V> {
    fn default() -> Self {
        SharedMap {
            chunks: Arc::default(),
            len: 0,
        }
    }
}

/// What both share is not compared.
impl<K: Ord, V: PartialEq> PartialEq for SharedMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.differences(other).is_empty()
    }
}

impl<K: Ord, V: Eq> Eq for SharedMap<K, V> {}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for SharedMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

impl<K: Ord + Borrow<Q>, V, Q: Ord + ?Sized> Index<&Q> for SharedMap<K, V> {
    type Output = V;

    /// Panics if the key is not there.
    fn index(&self, key: &Q) -> &V {
        match self.get(key) {
            Some(value) => value,
            None => panic!("the map has no such key"),
        }
    }
}

impl<'a, K, V> IntoIterator for &'a SharedMap<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = Iter<'a, K, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Of several values for one key the last one stays.
impl<K: Ord, V> FromIterator<(K, V)> for SharedMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut entries: Vec<(K, V)> = entries.into_iter().collect();
        entries.sort_by(|(key, _), (other, _)| key.cmp(other));
        let mut chunks: Vec<Vec<(K, V)>> = Vec::new();
        let mut len = 0;
        for entry in entries {
            match chunks.last_mut() {
                Some(chunk) if chunk.last().is_some_and(|(key, _)| *key == entry.0) => {
                    chunk.pop();
                    chunk.push(entry);
                }
                // Half full, so that what comes later finds room.
                Some(chunk) if chunk.len() < MAX_CHUNK / 2 => {
                    chunk.push(entry);
                    len += 1;
                }
                _ => {
                    let mut chunk = Vec::with_capacity(MAX_CHUNK / 2);
                    chunk.push(entry);
                    chunks.push(chunk);
                    len += 1;
                }
            }
        }
        SharedMap {
            chunks: Arc::new(chunks.into_iter().map(Arc::new).collect()),
            len,
        }
    }
}

impl<K: Ord, V, const N: usize> From<[(K, V); N]> for SharedMap<K, V> {
    fn from(entries: [(K, V); N]) -> Self {
        entries.into_iter().collect()
    }
}
