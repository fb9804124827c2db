//! Fuel: a bound on what code does that is the same on every engine, on every heap and on every machine.
//!
//! In a metered machine ([`Engine::metered`](crate::Engine::metered)) each safe point burns one unit: the entry of each
//! function that is called, by code or by Rust, each backward jump, each `try`. Between two of them code runs straight
//! on, so it does a bounded amount of work: as much as the text of a function. What primitives do burns nothing.
//!
//! A machine that is not metered runs other instances of the same handlers, and pays nothing.

use crate::Machine;
use crate::exec::regs::Trust;
use crate::threads::interrupt::Limit;

impl Machine {
    /// Sets the fuel that is left. Without any, the running call, or else the next, ends at its next safe point: see
    /// [`Limit::Fuel`]. Only metered machines burn it.
    pub fn set_fuel(&mut self, units: u64) {
        self.fuel = units;
    }

    /// The fuel that is left.
    pub fn fuel(&self) -> u64 {
        self.fuel.saturating_add(self.pausing.reserve)
    }

    /// Whether there is something to do at this safe point.
    #[inline(always)]
    pub(crate) fn is_due<T: Trust>(&self) -> bool {
        self.action_due() || T::METERED && self.fuel == 0
    }

    /// Burns the fuel of a safe point. Called once for each, before its actions run. The quick form of a handler has given
    /// up if there was none, and must not call anything.
    #[inline(always)]
    pub(crate) fn burn<T: Trust>(&mut self) {
        if T::METERED {
            if !T::QUICK && self.fuel == 0 {
                // It was due, so its actions run now.
                self.stop_without_fuel();
            }
            self.fuel = self.fuel.saturating_sub(1);
        }
    }

    /// Burns the fuel of an entry by Rust, whose frames cannot pause.
    pub(crate) fn burn_entry(&mut self) {
        if self.fuel == 0 && !self.borrow_fuel() {
            self.exceed(Limit::Fuel);
        }
        self.fuel = self.fuel.saturating_sub(1);
    }

    #[cold]
    #[inline(never)]
    fn stop_without_fuel(&mut self) {
        if !self.pause_without_fuel() {
            self.exceed(Limit::Fuel);
        }
    }
}
