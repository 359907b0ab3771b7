//! A value whose newest changes may or may not survive a crash.

/// What a value may be found to be after a crash: the last one known to be durable, or any later.
#[derive(Clone, Debug)]
pub struct Doubt<T> {
    /// The durable one, then the later ones in order.
    values: Vec<T>,
}

impl<T: Clone + PartialEq + core::fmt::Debug> Doubt<T> {
    /// Durable from the start.
    pub fn new(value: T) -> Self {
        Self { values: vec![value] }
    }

    /// A change was asked for.
    pub fn begin(&mut self, value: T) {
        self.values.push(value);
    }

    /// The newest change was refused: it never was.
    pub fn refused(&mut self) {
        self.values.pop();
        assert!(!self.values.is_empty(), "a change was begun");
    }

    /// The newest change is durable.
    pub fn durable(&mut self) {
        self.values.drain(..self.values.len() - 1);
    }

    /// The newest value asked for.
    pub fn newest(&self) -> &T {
        self.values.last().expect("never empty")
    }

    /// Whether nothing is in doubt.
    pub fn is_settled(&self) -> bool {
        self.values.len() == 1
    }

    /// Whether a crash may have left this.
    pub fn allows(&self, found: &T) -> bool {
        self.values.contains(found)
    }

    /// Found after a crash: from here on it is durable.
    ///
    /// # Errors
    /// What would have been allowed.
    pub fn found(&mut self, found: &T) -> Result<(), String> {
        if !self.allows(found) {
            return Err(format!("{found:?}, allowed is any of {:?}", self.values));
        }
        self.values = vec![found.clone()];
        Ok(())
    }
}
