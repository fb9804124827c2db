//! AArch64 with the procedure call standard of Linux (AAPCS64).
//!
//! This has never run: the authors have no such machine, and [`AVAILABLE`](crate::AVAILABLE) is false on it. Whoever has
//! one: set that, run this crate's tests and `cargo xtask stubs`, and look first at raises (the `own` library raises
//! from every exported function that may), at floats kept in d8 to d15 across a raise, and at variadic functions with
//! more than eight arguments.

use core::arch::{global_asm, naked_asm};

use spelter_heap::raw::Value;
use spelter_interp::Machine;
use spelter_interp::prim::foreign::Outcome;

use crate::activation::{MACHINE, RUNNING, SAVED, add};
use crate::call::has_left;
use crate::guests::end;
use crate::state::LOCAL_ROOTS;

// The state of OCaml 5 is a thread-local variable, which Rust cannot define under a name of C.
global_asm!(
    ".section .tbss,\"awT\",%nobits",
    ".globl caml_state",
    ".type caml_state, %tls_object",
    ".size caml_state, 8",
    ".balign 8",
    "caml_state:",
    ".zero 8",
    ".text",
);

/// Sets the thread's `caml_state`.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn set_thread_state(state: *mut u64) {
    naked_asm!(
        "mrs x9, tpidr_el0",
        "adrp x10, :gottprel:caml_state",
        "ldr x10, [x10, #:gottprel_lo12:caml_state]",
        "str x0, [x9, x10]",
        "ret",
    )
}

/// Saves the registers that a callee keeps. Their place on the stack is all that [`leave`] needs.
macro_rules! save {
    () => {
        "stp x29, x30, [sp, #-160]!
         stp x19, x20, [sp, #16]
         stp x21, x22, [sp, #32]
         stp x23, x24, [sp, #48]
         stp x25, x26, [sp, #64]
         stp x27, x28, [sp, #80]
         stp d8, d9, [sp, #96]
         stp d10, d11, [sp, #112]
         stp d12, d13, [sp, #128]
         stp d14, d15, [sp, #144]"
    };
}

/// Restores them.
macro_rules! restore {
    () => {
        "ldp x19, x20, [sp, #16]
         ldp x21, x22, [sp, #32]
         ldp x23, x24, [sp, #48]
         ldp x25, x26, [sp, #64]
         ldp x27, x28, [sp, #80]
         ldp d8, d9, [sp, #96]
         ldp d10, d11, [sp, #112]
         ldp d12, d13, [sp, #128]
         ldp d14, d15, [sp, #144]
         ldp x29, x30, [sp], #160"
    };
}

/// C does not run any more, and has no local roots.
macro_rules! end_running {
    () => {
        "adrp x9, {running}
         str xzr, [x9, #:lo12:{running}]
         adrp x9, {local_roots}
         ldr x9, [x9, #:lo12:{local_roots}]
         str xzr, [x9]"
    };
}

/// Defines the functions of [`CALLS`](crate::call::CALLS). `args` is in x10, `count` in x3.
macro_rules! calls_of_c {
    ($($name:ident: $($load:literal)*;)*) => { $(
        #[doc = "See [`CALLS`](crate::call::CALLS)."]
        #[unsafe(naked)]
        pub(crate) unsafe extern "C" fn $name(
            m: *mut Machine,
            entry: usize,
            args: *const Value,
            count: usize,
        ) -> Outcome {
            naked_asm!(
                save!(),
                "mov x11, #{next}",
                "ldr x9, [x0, x11]",
                "cbz x9, 3f",
                "2:",
                "mov x11, sp",
                "str x11, [x9, #{saved}]",
                "str x0, [x9, #{machine}]",
                "adrp x11, {running}",
                "str x9, [x11, #:lo12:{running}]",
                "mov x9, x1",
                "mov x10, x2",
                $($load,)*
                "blr x9",
                "mov x1, #0",
                end_running!(),
                restore!(),
                "ret",
                // The thread's first call at this depth.
                "3:",
                "stp x0, x1, [sp, #-32]!",
                "stp x2, x3, [sp, #16]",
                "bl {add}",
                "mov x9, x0",
                "ldp x2, x3, [sp, #16]",
                "ldp x0, x1, [sp], #32",
                "b 2b",
                next = const Machine::NEXT_CALL,
                saved = const SAVED,
                machine = const MACHINE,
                running = sym RUNNING,
                local_roots = sym LOCAL_ROOTS,
                add = sym add,
            )
        }
    )* };
}

calls_of_c! {
    call_c1: "ldr x0, [x10]";
    call_c2: "ldp x0, x1, [x10]";
    call_c3: "ldp x0, x1, [x10]" "ldr x2, [x10, #16]";
    call_c4: "ldp x0, x1, [x10]" "ldp x2, x3, [x10, #16]";
    call_c5: "ldp x0, x1, [x10]" "ldp x2, x3, [x10, #16]" "ldr x4, [x10, #32]";
    call_c_with_array: "mov x0, x10" "mov x1, x3";
}

/// Leaves C: returns from the call of the running activation, which reports that C did not return. If there is no such
/// call, the program ends.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn leave() -> ! {
    naked_asm!(
        "adrp x9, {running}",
        "ldr x0, [x9, #:lo12:{running}]",
        "ldr x9, [x0, #{saved}]",
        "cbnz x9, 1f",
        "bl {end}",
        "1:",
        "mov sp, x9",
        end_running!(),
        "bl {has_left}",
        "mov x1, #1",
        restore!(),
        "ret",
        saved = const SAVED,
        running = sym RUNNING,
        local_roots = sym LOCAL_ROOTS,
        has_left = sym has_left,
        end = sym end,
    )
}

/// Defines exported functions that may raise: each calls its Rust part, and leaves C if that says so.
macro_rules! may_raise {
    ($($(#[$attribute:meta])* $name:ident($($arg:ident: $of:ty),* $(,)?) = $part:path;)*) => { $(
        $(#[$attribute])*
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        pub unsafe extern "C" fn $name($($arg: $of),*) -> spelter_heap::raw::Value {
            core::arch::naked_asm!(
                "stp x29, x30, [sp, #-16]!",
                "bl {part}",
                "cbnz x1, 1f",
                "ldp x29, x30, [sp], #16",
                "ret",
                "1:",
                "b {leave}",
                part = sym $part,
                leave = sym $crate::arch::leave,
            )
        }
    )* };
}
pub(crate) use may_raise;

/// Defines exported functions whose result is a `caml_result`, { whether it is an exception, the value }, in registers.
/// Their Rust parts answer with [`RETURNED`](crate::call::RETURNED) if the value is an exception.
macro_rules! may_return_exception {
    ($($(#[$attribute:meta])* $name:ident($($arg:ident: $of:ty),* $(,)?) = $part:path;)*) => { $(
        $(#[$attribute])*
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        pub unsafe extern "C" fn $name($($arg: $of),*) -> $crate::call::CamlResult {
            core::arch::naked_asm!(
                "stp x29, x30, [sp, #-16]!",
                "bl {part}",
                "tbnz x1, #0, 1f",
                "mov x9, x0",
                "lsr x0, x1, #1",
                "mov x1, x9",
                "ldp x29, x30, [sp], #16",
                "ret",
                "1:",
                "b {leave}",
                part = sym $part,
                leave = sym $crate::arch::leave,
            )
        }
    )* };
}
pub(crate) use may_return_exception;

/// C's `va_list`: where the next of the optional arguments are.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct VaList {
    /// The arguments on the stack.
    stack: *const u64,
    /// The ends of the saved registers.
    general: *const u64,
    floating: *const u64,
    /// The distances of the next ones from these ends, negative.
    general_offset: i32,
    floating_offset: i32,
}

impl VaList {
    /// The next argument, an integer or a pointer.
    ///
    /// # Safety
    /// There is one.
    pub(crate) unsafe fn next(&mut self) -> u64 {
        // SAFETY: by contract, in the registers that may hold such arguments, or else on the stack.
        unsafe {
            if self.general_offset < 0 {
                let at = self.general.byte_offset(self.general_offset as isize);
                self.general_offset += 8;
                return *at;
            }
            let at = self.stack;
            self.stack = at.add(1);
            *at
        }
    }
}

/// Defines an exported function with optional arguments behind one or two fixed ones. Its Rust part gets the fixed
/// arguments and a [`VaList`]; C is left if it says so.
macro_rules! variadic {
    ($(#[$attribute:meta])* $name:ident($first:ident: $of:ty $(, $second:ident: $of_second:ty)?; ...) = $part:path) => {
        $(#[$attribute])*
        #[unsafe(no_mangle)]
        #[unsafe(naked)]
        pub unsafe extern "C" fn $name($first: $of $(, $second: $of_second)?) -> spelter_heap::raw::Value {
            core::arch::naked_asm!(
                // A frame (16 bytes), the registers that may hold arguments (64 and 128), then the list (32).
                "stp x29, x30, [sp, #-240]!",
                "stp x0, x1, [sp, #16]",
                "stp x2, x3, [sp, #32]",
                "stp x4, x5, [sp, #48]",
                "stp x6, x7, [sp, #64]",
                "stp q0, q1, [sp, #80]",
                "stp q2, q3, [sp, #112]",
                "stp q4, q5, [sp, #144]",
                "stp q6, q7, [sp, #176]",
                "add x9, sp, #240",
                "str x9, [sp, #208]",
                "add x9, sp, #80",
                "str x9, [sp, #216]",
                "add x9, sp, #208",
                "str x9, [sp, #224]",
                concat!("mov w9, #-", $crate::arch::variadic!(@bytes $($second)?)),
                "str w9, [sp, #232]",
                "mov w9, #-128",
                "str w9, [sp, #236]",
                concat!("add ", $crate::arch::variadic!(@next $($second)?), ", sp, #208"),
                "bl {part}",
                "cbnz x1, 1f",
                "ldp x29, x30, [sp], #240",
                "ret",
                "1:",
                "b {leave}",
                part = sym $part,
                leave = sym $crate::arch::leave,
            )
        }
    };
    // The bytes of the saved registers behind the fixed arguments, and the register behind these.
    (@bytes) => { "56" };
    (@bytes $second:ident) => { "48" };
    (@next) => { "x1" };
    (@next $second:ident) => { "x2" };
}
pub(crate) use variadic;
