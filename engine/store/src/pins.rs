//! Which plans that read or write home blocks are still under way.
//!
//! Owner: one store. Every such plan takes a number and gives it back when its last I/O has
//! *completed* (S4, S5). A change that makes a block or a home sector somebody else's remembers
//! [`Pins::next`] at that moment; it has *passed* once [`Pins::oldest`] is at least that number: no
//! plan that may have seen the state before is left. Plans made later see the state after.
//!
//! The window between the oldest plan under way and the next one is kept as bits, so a plan costs
//! one bit for as long as an older one lasts.
//!
//! Invariants
//!   E180  a number is out at most once, and given back exactly once
//!   E181  the plans under way and the window have limits: whoever makes plans asks for
//!         [`Pins::room_for`] first
//!
//! Crash: nothing remains, and nothing needs to; recovery starts without plans.

use alloc::collections::VecDeque;

#[cfg(test)]
mod tests;

/// Plans under way at once. A shard serves some thousand requests of some pieces each; 65,536 is
/// beyond what its windows and buffer pools admit, so that this limit shows a leak, not load.
pub const PLANS_MAX: usize = 1 << 16;
/// Numbers between the oldest plan under way and the next one. At a million plans a second a device
/// that does not complete an access for a minute fills it; the bits take 8 MiB then.
pub const PLAN_AGE_MAX: u64 = 1 << 26;

/// Reads under way at once: the rest is for those who end what is under way.
pub const READS_MAX: usize = PLANS_MAX / 4 * 3;

/// Who begins a plan. Reads leave a quarter of the room, updates an eighth: an update that was
/// admitted reads what it merges with another plan; applies and moves leave a sixteenth for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// A read of a caller.
    Read,
    /// An update of a caller.
    Update,
    /// The store itself.
    Store,
}

/// Numbers per word of the window.
const WORD: u64 = 64;

/// Permission to use home blocks as they were when it was taken.
///
/// It has no `Drop`: only the completion of the plan's last I/O may give it back (S5).
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a pin that is not given back keeps blocks from being used again, for ever"]
pub struct Pin(u64);

/// The window of numbers; see the module.
#[derive(Clone, Debug, Default)]
pub struct Pins {
    /// A bit per number that is out, from `base` on. The first word has one, or nothing is out.
    window: VecDeque<u64>,
    /// Number of the first bit.
    base: u64,
    next: u64,
    out: usize,
}

impl Pin {
    /// Its number.
    pub const fn number(&self) -> u64 {
        self.0
    }
}

impl Pins {
    /// No plans.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether another plan may begin (E181). When not, something does not complete: a device, or
    /// a path that has lost its pin.
    pub fn room(&self) -> bool {
        self.out < PLANS_MAX && self.age() < PLAN_AGE_MAX
    }

    /// Whether another plan of `user` may begin.
    pub fn room_for(&self, user: User) -> bool {
        let part = match user {
            User::Read => 4,
            User::Update => 8,
            User::Store => 16,
        };
        let age_max = PLAN_AGE_MAX - PLAN_AGE_MAX / part;
        (self.out as u64) < PLANS_MAX as u64 - PLANS_MAX as u64 / part && self.age() < age_max
    }

    /// The number of a new plan.
    ///
    /// # Panics
    /// E181: without [`Self::room`].
    pub fn take(&mut self) -> Pin {
        assert!(self.room(), "E181: {} plans are out, the oldest is {} old", self.out, self.age());
        let number = self.next;
        let (word, bit) = self.place(number);
        if word == self.window.len() {
            self.window.push_back(0);
        }
        self.window[word] |= bit;
        self.next += 1;
        self.out += 1;
        self.trim();
        Pin(number)
    }

    /// The last I/O of its plan has completed.
    ///
    /// # Panics
    /// E180: the pin is of another window.
    pub fn give(&mut self, pin: Pin) {
        let Pin(number) = pin;
        let known = self.base <= number && number < self.next;
        assert!(known, "E180: {number} is outside {}..{}", self.base, self.next);
        let (word, bit) = self.place(number);
        assert!(self.window[word] & bit != 0, "E180: {number} is not out");
        self.window[word] &= !bit;
        self.out -= 1;
        self.trim();
    }

    /// The number that the next plan will get: what a change remembers.
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// The smallest number that is out; the next one when none is.
    pub fn oldest(&self) -> u64 {
        match self.window.front() {
            Some(&word) if word != 0 => self.base + u64::from(word.trailing_zeros()),
            _ => self.next,
        }
    }

    /// Whether every plan made before [`Self::next`] was `number` has ended.
    pub fn passed(&self, number: u64) -> bool {
        number <= self.oldest()
    }

    /// How many numbers were taken since the oldest plan under way, itself included. A figure that
    /// only grows names a plan that never ends: its number is [`Self::oldest`].
    pub fn age(&self) -> u64 {
        self.next - self.oldest()
    }

    /// Plans under way.
    pub const fn in_flight(&self) -> usize {
        self.out
    }

    /// Word and bit of a number from `base` on.
    fn place(&self, number: u64) -> (usize, u64) {
        let offset = number - self.base;
        let word = usize::try_from(offset / WORD).expect("E181: the window is limited");
        (word, 1 << (offset % WORD))
    }

    /// Drops words that nothing in them is out of, all but the one that the next number is in.
    fn trim(&mut self) {
        while 1 < self.window.len() && self.window[0] == 0 {
            self.window.pop_front();
            self.base += WORD;
        }
    }
}
