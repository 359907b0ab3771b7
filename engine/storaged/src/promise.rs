//! A value that one task waits for and another one tells.

use core::cell::RefCell;

use engine_runtime::Notify;

/// See the module. Told once.
pub(crate) struct Promise<T> {
    value: RefCell<Option<T>>,
    told: Notify,
}

impl<T> Default for Promise<T> {
    fn default() -> Self {
        Self { value: RefCell::new(None), told: Notify::default() }
    }
}

impl<T> Promise<T> {
    /// Tells it.
    ///
    /// # Panics
    /// E381: it was told before.
    pub(crate) fn tell(&self, value: T) {
        let former = self.value.borrow_mut().replace(value);
        assert!(former.is_none(), "E381: a request is answered once");
        self.told.notify();
    }

    /// Waits for it. One task waits, once.
    pub(crate) async fn wait(&self) -> T {
        self.told.until(|| self.value.borrow().is_some()).await;
        self.value.borrow_mut().take().expect("waited for above, and nobody else takes it")
    }
}
