//! x86-64 with the System V calling convention.

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
    ".section .tbss,\"awT\",@nobits",
    ".globl caml_state",
    ".type caml_state, @tls_object",
    ".size caml_state, 8",
    ".align 8",
    "caml_state:",
    ".zero 8",
    ".text",
);

/// Sets the thread's `caml_state`.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn set_thread_state(state: *mut u64) {
    naked_asm!("mov rax, qword ptr [rip + caml_state@GOTTPOFF]", "mov qword ptr fs:[rax], rdi", "ret")
}

/// Saves the registers that a callee keeps; the stack is aligned afterwards. Their place on the stack is all that
/// [`leave`] needs.
macro_rules! save {
    () => {
        "push rbp
         push rbx
         push r12
         push r13
         push r14
         push r15
         sub rsp, 8"
    };
}

/// Restores them.
macro_rules! restore {
    () => {
        "add rsp, 8
         pop r15
         pop r14
         pop r13
         pop r12
         pop rbx
         pop rbp"
    };
}

/// C does not run any more, and has no local roots.
macro_rules! end_running {
    () => {
        "mov qword ptr [rip + {running}], 0
         mov rcx, [rip + {local_roots}]
         mov qword ptr [rcx], 0"
    };
}

/// Defines the functions of [`CALLS`](crate::call::CALLS). `args` is in r10, `count` in rcx.
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
                "mov rax, [rdi + {next}]",
                "test rax, rax",
                "je 3f",
                "2:",
                "mov [rax + {saved}], rsp",
                "mov [rax + {machine}], rdi",
                "mov [rip + {running}], rax",
                "mov rax, rsi",
                "mov r10, rdx",
                $($load,)*
                "call rax",
                "xor edx, edx",
                end_running!(),
                restore!(),
                "ret",
                // The thread's first call at this depth.
                "3:",
                "push rdi",
                "push rsi",
                "push rdx",
                "push rcx",
                "call {add}",
                "pop rcx",
                "pop rdx",
                "pop rsi",
                "pop rdi",
                "jmp 2b",
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
    call_c1: "mov rdi, [r10]";
    call_c2: "mov rdi, [r10]" "mov rsi, [r10 + 8]";
    call_c3: "mov rdi, [r10]" "mov rsi, [r10 + 8]" "mov rdx, [r10 + 16]";
    call_c4: "mov rdi, [r10]" "mov rsi, [r10 + 8]" "mov rdx, [r10 + 16]" "mov rcx, [r10 + 24]";
    call_c5: "mov rdi, [r10]" "mov rsi, [r10 + 8]" "mov rdx, [r10 + 16]" "mov rcx, [r10 + 24]" "mov r8, [r10 + 32]";
    call_c_with_array: "mov rdi, r10" "mov rsi, rcx";
}

/// Leaves C: returns from the call of the running activation, which reports that C did not return. If there is no such
/// call, the program ends. The last instruction is no `ret`, because the processor would expect another place.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn leave() -> ! {
    naked_asm!(
        "mov rdi, [rip + {running}]",
        "mov rax, [rdi + {saved}]",
        "test rax, rax",
        "je 2f",
        "mov rsp, rax",
        end_running!(),
        "call {has_left}",
        "mov edx, 1",
        restore!(),
        "pop rcx",
        "jmp rcx",
        "2:",
        "call {end}",
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
                "sub rsp, 8",
                "call {part}",
                "test edx, edx",
                "jne {leave}",
                "add rsp, 8",
                "ret",
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
                "sub rsp, 8",
                "call {part}",
                "test edx, 1",
                "jne {leave}",
                "xchg rax, rdx",
                "shr rax, 1",
                "add rsp, 8",
                "ret",
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
    /// Offsets into the saved registers.
    general: u32,
    floating: u32,
    /// The arguments on the stack.
    stack: *const u64,
    registers: *const u64,
}

impl VaList {
    /// The next argument, an integer or a pointer.
    ///
    /// # Safety
    /// There is one.
    pub(crate) unsafe fn next(&mut self) -> u64 {
        // SAFETY: by contract, in the registers that may hold such arguments, or else on the stack.
        unsafe {
            if self.general < 48 {
                let at = self.registers.byte_add(self.general as usize);
                self.general += 8;
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
                // The registers that may hold arguments (176 bytes), then the list (24).
                "sub rsp, 216",
                "mov [rsp], rdi",
                "mov [rsp + 8], rsi",
                "mov [rsp + 16], rdx",
                "mov [rsp + 24], rcx",
                "mov [rsp + 32], r8",
                "mov [rsp + 40], r9",
                "test al, al",
                "je 2f",
                "movaps [rsp + 48], xmm0",
                "movaps [rsp + 64], xmm1",
                "movaps [rsp + 80], xmm2",
                "movaps [rsp + 96], xmm3",
                "movaps [rsp + 112], xmm4",
                "movaps [rsp + 128], xmm5",
                "movaps [rsp + 144], xmm6",
                "movaps [rsp + 160], xmm7",
                "2:",
                concat!("mov dword ptr [rsp + 176], ", $crate::arch::variadic!(@bytes $($second)?)),
                "mov dword ptr [rsp + 180], 48",
                "lea rax, [rsp + 224]",
                "mov [rsp + 184], rax",
                "mov [rsp + 192], rsp",
                concat!("lea ", $crate::arch::variadic!(@next $($second)?), ", [rsp + 176]"),
                "call {part}",
                "test edx, edx",
                "jne {leave}",
                "add rsp, 216",
                "ret",
                part = sym $part,
                leave = sym $crate::arch::leave,
            )
        }
    };
    // The bytes of the fixed arguments, and the register behind them.
    (@bytes) => { "8" };
    (@bytes $second:ident) => { "16" };
    (@next) => { "rsi" };
    (@next $second:ident) => { "rdx" };
}
pub(crate) use variadic;
