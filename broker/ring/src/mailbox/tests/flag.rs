//! A flag whose stores are exchanges: loom may order a store before an exchange that had read what the same
//! thread stored earlier (no real memory does: nothing comes between an exchange and what it read), and then
//! shows wake-ups lost that cannot get lost. Loads may see old values all the same.

use loom::sync::atomic::Ordering;

#[derive(Default)]
pub(in super::super) struct AtomicBool(loom::sync::atomic::AtomicBool);

impl AtomicBool {
    pub fn load(&self, order: Ordering) -> bool {
        self.0.load(order)
    }

    pub fn store(&self, value: bool, order: Ordering) {
        self.0.swap(value, order);
    }

    pub fn swap(&self, value: bool, order: Ordering) -> bool {
        self.0.swap(value, order)
    }
}
