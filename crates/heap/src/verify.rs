//! A check of the heap against its own rules, by means that share nothing with the collector's.
use crate::heap::Heap;
use crate::roots::Roots;
impl Heap {
    pub(crate) unsafe fn torture(&mut self, roots: &mut dyn Roots) {
        unsafe {
            self.minor(roots);
            self.tortures += 1;
            if self.tortures % self.config.torture_period == 0 {
                self.full_major(roots)
            } else {
                self.major_slice(roots, 64)
            }
        }
    }
}
