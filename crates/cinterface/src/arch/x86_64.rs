//! x86-64 with the System V calling convention.

use core::arch::{global_asm, naked_asm};

use spelter_heap::raw::Value;

use crate::call::{Activation, Outcome, RUNNING};

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

/// Calls the function of C at `f` with up to five arguments. All five words of `args` are readable. The registers that a
/// callee keeps are saved on the stack, and their place in the activation (its first word), for [`leave`].
///
/// # Safety
/// `f` is a function of as many values as `args` holds. The activation lives until the call has returned.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn call_c(activation: *mut Activation, f: usize, args: *const Value) -> Outcome {
    naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "sub rsp, 8",
        "mov [rdi], rsp",
        "mov rax, rsi",
        "mov r10, rdx",
        "mov rdi, [r10]",
        "mov rsi, [r10 + 8]",
        "mov rdx, [r10 + 16]",
        "mov rcx, [r10 + 24]",
        "mov r8, [r10 + 32]",
        "call rax",
        "xor edx, edx",
        "add rsp, 8",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
    )
}

/// Leaves C: returns from the [`call_c`] of the running activation, which reports that C did not return.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn leave() -> ! {
    naked_asm!(
        "mov rax, [rip + {running}]",
        "mov rsp, [rax]",
        "mov edx, 1",
        "add rsp, 8",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
        running = sym RUNNING,
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

/// The body of `caml_ba_alloc_dims`: like `caml_ba_alloc`, but the fourth argument and those after it, as many as the
/// second one says and at most 16, are elements of the array that the Rust part takes.
macro_rules! ba_alloc_dims {
    ($part:path) => {
        core::arch::naked_asm!(
            "sub rsp, 136",
            "mov [rsp], rcx",
            "mov [rsp + 8], r8",
            "mov [rsp + 16], r9",
            // The others lie behind the return address.
            "mov eax, 3",
            "2:",
            "cmp eax, esi",
            "jge 3f",
            "cmp eax, 16",
            "jge 3f",
            "mov r10, [rsp + 8*rax + 120]",
            "mov [rsp + 8*rax], r10",
            "inc eax",
            "jmp 2b",
            "3:",
            "mov rcx, rsp",
            "call {part}",
            "test edx, edx",
            "jne {leave}",
            "add rsp, 136",
            "ret",
            part = sym $part,
            leave = sym $crate::arch::leave,
        )
    };
}
pub(crate) use ba_alloc_dims;
