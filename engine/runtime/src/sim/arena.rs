//! Slots with serial numbers: an event or handle that outlived what it names finds nothing.

/// Names a value in an [`Arena`]; never reused within a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// The slot, which is reused.
    pub(super) index: u32,
    serial: u32,
}

struct Slot<T> {
    serial: u32,
    value: Option<T>,
}

/// Values under keys, in slots that are reused in a fixed order.
pub(super) struct Arena<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    next_serial: u32,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), next_serial: 0 }
    }
}

impl<T> Arena<T> {
    pub(super) fn insert_with(&mut self, value: impl FnOnce(Key) -> T) -> Key {
        let serial = self.next_serial;
        self.next_serial =
            serial.checked_add(1).expect("a world ends long before four billion tasks or I/Os");
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { serial, value: None });
            u32::try_from(self.slots.len() - 1).expect("fewer slots than serials")
        });
        let key = Key { index, serial };
        let value = value(key);
        self.slots[index as usize] = Slot { serial, value: Some(value) };
        key
    }

    pub(super) fn insert(&mut self, value: T) -> Key {
        self.insert_with(|_| value)
    }

    pub(super) fn get(&self, key: Key) -> Option<&T> {
        let slot = self.slots.get(key.index as usize)?;
        if slot.serial == key.serial { slot.value.as_ref() } else { None }
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.serial == key.serial { slot.value.as_mut() } else { None }
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.serial != key.serial {
            return None;
        }
        let value = slot.value.take()?;
        self.free.push(key.index);
        Some(value)
    }

    /// The values, in the order of their slots.
    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().filter_map(|slot| slot.value.as_ref())
    }

    /// Keys of the values for which `wanted` holds, in the order of their slots.
    pub(super) fn keys(&self, mut wanted: impl FnMut(&T) -> bool) -> Vec<Key> {
        let mut keys = Vec::new();
        for (index, slot) in (0u32..).zip(&self.slots) {
            if slot.value.as_ref().is_some_and(&mut wanted) {
                keys.push(Key { index, serial: slot.serial });
            }
        }
        keys
    }
}
