//! A lock key as the state keeps it: ten million of them must fit beside each other.
//!
//! Table and index are shared by all keys of an index, the rest of a key is one allocation, which the table of locks and
//! the branches that need the key share.

use atone_protocol::LockKey;
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::SerializeSeq};
use std::{borrow::Borrow, cmp::Ordering, fmt, ops::Deref, sync::Arc};

/// A table and one of its indexes.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Space {
    table: String,
    index: String,
}

/// What two keys are compared by.
pub(super) trait Identity {
    /// Table, index, value.
    fn identity(&self) -> (&str, &str, &[u8]);
}

/// A key.
#[derive(Clone)]
pub struct Key {
    space: Arc<Space>,
    /// The length of the value in four bytes, the value, and how people write it.
    body: Arc<[u8]>,
}

impl Key {
    fn new(space: Arc<Space>, value: &[u8], shown: &str) -> Self {
        let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
        let body = [&length.to_le_bytes()[..], &value[..length as usize], shown.as_bytes()].concat();
        Self { space, body: body.into() }
    }

    /// `schema.table`.
    pub fn table(&self) -> &str {
        &self.space.table
    }

    /// `PRIMARY`, or the name of a unique index.
    pub fn index(&self) -> &str {
        &self.space.index
    }

    fn halves(&self) -> (&[u8], &[u8]) {
        let Some((length, rest)) = self.body.split_first_chunk::<4>() else { return (&[], &[]) };
        rest.split_at_checked(u32::from_le_bytes(*length) as usize).unwrap_or((rest, &[]))
    }

    /// As people write it.
    pub fn shown(&self) -> &str {
        std::str::from_utf8(self.halves().1).unwrap_or_default()
    }

    /// As everybody else knows it.
    pub fn to_lock_key(&self) -> LockKey {
        LockKey {
            table: self.table().to_owned(),
            index: self.index().to_owned(),
            key: self.halves().0.to_vec(),
            shown: self.shown().to_owned(),
        }
    }

    pub(super) fn space(&self) -> &Arc<Space> {
        &self.space
    }

    pub(super) fn move_to(&mut self, space: Arc<Space>) {
        self.space = space;
    }
}

impl From<LockKey> for Key {
    fn from(key: LockKey) -> Self {
        let space = Arc::new(Space { table: key.table, index: key.index });
        Self::new(space, &key.key, &key.shown)
    }
}

impl Identity for Key {
    fn identity(&self) -> (&str, &str, &[u8]) {
        (self.table(), self.index(), self.halves().0)
    }
}

impl Identity for LockKey {
    fn identity(&self) -> (&str, &str, &[u8]) {
        (&self.table, &self.index, &self.key)
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        let spaces = if Arc::ptr_eq(&self.space, &other.space) {
            Ordering::Equal
        } else {
            self.space.cmp(&other.space)
        };
        spaces.then_with(|| self.halves().0.cmp(other.halves().0))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{} ({})", self.table(), self.index(), self.shown())
    }
}

impl PartialEq for dyn Identity + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for dyn Identity + '_ {}

impl PartialOrd for dyn Identity + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for dyn Identity + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        self.identity().cmp(&other.identity())
    }
}

impl<'a> Borrow<dyn Identity + 'a> for Key {
    fn borrow(&self) -> &(dyn Identity + 'a) {
        self
    }
}

/// Keys of a branch: sorted, each once. They are stored by index, whose name is written once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Keys(Vec<Key>);

impl Keys {
    /// In order.
    pub fn new(mut keys: Vec<Key>) -> Self {
        keys.sort_unstable();
        keys.dedup();
        keys.shrink_to_fit();
        Self(keys)
    }

    /// Is it one of them?
    pub fn has(&self, key: &Key) -> bool {
        self.0.binary_search(key).is_ok()
    }

    /// The first of a table.
    pub fn first_of(&self, table: &str) -> Option<&Key> {
        let at = self.0.partition_point(|key| key.table() < table);
        self.0.get(at).filter(|key| key.table() == table)
    }

    pub(super) fn each_mut(&mut self) -> impl Iterator<Item = &mut Key> {
        self.0.iter_mut()
    }
}

impl Deref for Keys {
    type Target = [Key];

    fn deref(&self) -> &[Key] {
        &self.0
    }
}

impl IntoIterator for Keys {
    type Item = Key;
    type IntoIter = std::vec::IntoIter<Key>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// The keys of one index, on their way out.
struct Values<'a>(&'a [Key]);

impl Serialize for Values<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut values = serializer.serialize_seq(Some(self.0.len()))?;
        for key in self.0 {
            values.serialize_element(&(key.halves().0, key.shown()))?;
        }
        values.end()
    }
}

impl Serialize for Keys {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let same = |a: &Key, b: &Key| a.space == b.space;
        let mut groups = serializer.serialize_seq(Some(self.0.chunk_by(same).count()))?;
        for group in self.0.chunk_by(same) {
            groups.serialize_element(&(group[0].table(), group[0].index(), Values(group)))?;
        }
        groups.end()
    }
}

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        type Stored = Vec<(String, String, Vec<(Vec<u8>, String)>)>;
        let mut keys = Vec::new();
        for (table, index, values) in Stored::deserialize(deserializer)? {
            let space = Arc::new(Space { table, index });
            keys.extend(values.iter().map(|(value, shown)| Key::new(Arc::clone(&space), value, shown)));
        }
        Ok(Self::new(keys))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key() -> impl Strategy<Value = LockKey> {
        ("[a-c]{0,2}", "[a-c]{0,2}", prop::collection::vec(any::<u8>(), 0..4), ".{0,3}")
            .prop_map(|(table, index, key, shown)| LockKey { table, index, key, shown })
    }

    proptest! {
        #[test]
        fn a_key_is_kept_as_it_came_and_ordered_as_before(one in key(), other in key()) {
            let (a, b) = (Key::from(one.clone()), Key::from(other.clone()));
            prop_assert_eq!(a.to_lock_key(), one.clone());
            prop_assert_eq!(a.shown(), &one.shown);
            prop_assert_eq!(a.cmp(&b), one.cmp(&other));
            let (a, b): (&dyn Identity, &dyn Identity) = (&a, &other);
            prop_assert_eq!(a.cmp(b), one.cmp(&other));
        }

        #[test]
        fn keys_are_stored_and_read(keys in prop::collection::vec(key(), 0..20)) {
            let keys = Keys::new(keys.into_iter().map(Key::from).collect());
            let stored = postcard::to_stdvec(&keys).unwrap();
            let read: Keys = postcard::from_bytes(&stored).unwrap();
            prop_assert!(read.iter().map(Key::shown).eq(keys.iter().map(Key::shown)));
            prop_assert_eq!(read, keys);
        }
    }
}
