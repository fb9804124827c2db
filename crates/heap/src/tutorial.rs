//! A tutorial: from an empty file to a garbage-collected Lisp.
//!
//! We write an interpreter for a small Lisp: numbers, lists, symbols, functions with local variables, and no limit on
//! what it allocates, because the heap collects. It takes no unsafe code, and no thought about memory beyond one: *what
//! do I still need after this?*
//!
//! All of it is needed for an interpreter of any language. The result, which also handles what programmers get wrong, is
//! the example `lisp`; its source is [at the end](#the-whole-program).
//!
//! # An empty file
//!
//! ```sh
//! cargo new lisp && cd lisp && cargo add spelter-heap --features derive
//! ```
//!
//! A program makes a [`Heap`] and opens a [scope](crate::scope), in which it can allocate. What it allocates, it names by
//! [`Handle`]s:
//!
//! ```
//! use spelter_heap::{Heap, OutOfMemory};
//!
//! fn main() -> Result<(), OutOfMemory> {
//!     let mut heap = Heap::default();
//!     heap.scope(|s| {
//!         let name = s.string(b"zinc")?;
//!         let pair = s.block(0, [name, 30.into()])?;
//!         s.collect(); // The blocks may have moved; the handles have followed.
//!         assert_eq!(s.peek(pair).field(1).and_then(|it| it.int()), Ok(30));
//!         Ok(())
//!     }) // Here the handles end, and the next collection frees the blocks.
//! }
//! ```
//!
//! # Data
//!
//! A value is an integer, or a *block*: a row of values with a small number in front, its *tag*. Let numbers of our
//! language be integers, and everything else blocks. `#[derive(View)]` describes a kind of block as a Rust type:
//!
//! ```
//! use spelter_heap::{Handle, Heap, Peek, ScopeError, View};
//!
//! #[derive(View)]
//! #[view(tag = 0)]
//! struct Nil; // the empty list, and false
//!
//! #[derive(View)]
//! #[view(tag = 0)]
//! struct Pair<V> {
//!     head: V,
//!     tail: V,
//! }
//!
//! # fn main() {
//! let mut heap = Heap::default();
//! heap.scope(|s| {
//!     // The list (1 2).
//!     let nil = s.make(Nil)?;
//!     let tail = s.make(Pair { head: 2.into(), tail: nil })?;
//!     let list = s.make(Pair { head: 1.into(), tail })?;
//!
//!     let Pair { head, tail }: Pair<Handle<'_>> = s.view(list)?; // fields to keep
//!     assert_eq!(head.as_int(), Some(1));
//!     let Pair { head, .. }: Pair<Peek<'_, '_>> = s.view(tail)?; // fields to look at
//!     assert_eq!(head.int(), Ok(2));
//!     assert!(s.view::<Pair<Handle<'_>>>(nil).is_err()); // a block, but another one
//!     Ok::<_, ScopeError>(())
//! })
//! # .unwrap();
//! # }
//! ```
//!
//! Why has `Pair` a parameter? Because there are two ways to read. A [`Handle`] stays valid while the program goes on, so
//! the heap must know of it: it takes a slot on a stack. A [`Peek`] takes nothing, but lives only until the next
//! allocation, as the compiler checks. The rule is: *peek to decide, keep to go on*.
//!
//! # Printing
//!
//! Printing only looks. It needs no handles, however long the list is:
//!
//! ```
//! use spelter_heap::{Peek, WrongType};
//! # use spelter_heap::{Heap, View};
//! # #[derive(View)]
//! # #[view(tag = 0)]
//! # struct Nil;
//! # #[derive(View)]
//! # #[view(tag = 0)]
//! # struct Pair<V> { head: V, tail: V }
//! # #[derive(View)]
//! # #[view(tag = 1)]
//! # struct Symbol<V> { name: V, value: V }
//!
//! fn print(value: Peek<'_, '_>, text: &mut String) -> Result<(), WrongType> {
//!     if let Ok(n) = value.int() {
//!         *text += &n.to_string();
//!     } else if let Ok(Symbol { name, .. }) = value.view::<Symbol<Peek<'_, '_>>>() {
//!         *text += name.view()?; // as a `&str`, which borrows the heap
//!     } else {
//!         let (mut before, mut rest) = ("(", value);
//!         while let Ok(Pair { head, tail }) = rest.view::<Pair<Peek<'_, '_>>>() {
//!             *text += before;
//!             print(head, text)?;
//!             (before, rest) = (" ", tail);
//!         }
//!         *text += if before == "(" { "()" } else { ")" };
//!     }
//!     Ok(())
//! }
//! # fn main() {
//! # let mut heap = Heap::default();
//! # heap.scope(|s| {
//! #     let nil = s.make(Nil)?;
//! #     let (name, value) = (s.make("zinc")?, nil);
//! #     let head = s.make(Symbol { name, value })?;
//! #     let tail = s.make(Pair { head, tail: nil })?;
//! #     let list = s.make(Pair { head: 7.into(), tail })?;
//! #     let mut text = String::new();
//! #     print(s.peek(list), &mut text)?;
//! #     assert_eq!(text, "(7 zinc)");
//! #     Ok::<_, spelter_heap::ScopeError>(())
//! # }).unwrap();
//! # }
//! ```
//!
//! # Symbols, and other things that stay
//!
//! A symbol is a name, and the global variable of that name. Two symbols of the same name must be the same block, so we
//! need a table of them that outlives scopes. Handles cannot be in it; [`Root`]s can: each keeps a value alive until it
//! is dropped.
//!
//! ```
//! use spelter_heap::{Handle, OutOfMemory, Root, Scope};
//! use std::collections::HashMap;
//! # use spelter_heap::{Heap, View};
//! # #[derive(View)]
//! # #[view(tag = 1)]
//! # struct Symbol<V> { name: V, value: V }
//! # #[derive(View)]
//! # #[view(tag = 1)]
//! # struct Undefined;
//!
//! fn intern<'s>(
//!     s: &mut Scope<'s>,
//!     symbols: &mut HashMap<String, Root>,
//!     name: &str,
//! ) -> Result<Handle<'s>, OutOfMemory> {
//!     if let Some(root) = symbols.get(name) {
//!         return Ok(s.handle(root));
//!     }
//!     let (text, value) = (s.make(name)?, s.make(Undefined)?);
//!     let symbol = s.make(Symbol { name: text, value })?;
//!     symbols.insert(name.to_owned(), s.root(symbol));
//!     Ok(symbol)
//! }
//! # fn main() {
//! # let (mut heap, mut symbols) = (Heap::default(), HashMap::new());
//! # heap.scope(|s| intern(s, &mut symbols, "zinc").map(|_| ()).unwrap());
//! # heap.collect();
//! # heap.scope(|s| {
//! #     let again = intern(s, &mut symbols, "zinc").unwrap();
//! #     assert_eq!(symbols.len(), 1);
//! #     assert!(s.field(again, 0).is_ok());
//! # });
//! # }
//! ```
//!
//! The signature says it all: a function that allocates takes a `&mut Scope<'s>`, and its arguments and its result are
//! `Handle<'s>`, values in that scope. Reading a program is no more than this: a token that is a number is
//! [`Handle::int`], any other is a symbol, and a list is made from its last item on.
//!
//! # Evaluation
//!
//! Most of an interpreter is one recursive function. Each of its calls makes handles: for parts of the expression, for
//! arguments, for what they evaluate to. When it returns, all of them should end, except for the result. This is
//! [`Scope::escape`]:
//!
//! ```
//! # use spelter_heap::{Handle, Heap, Scope, ScopeError, View};
//! # #[derive(View)]
//! # #[view(tag = 0)]
//! # struct Pair<V> { head: V, tail: V }
//! # #[derive(View)]
//! # #[view(tag = 0)]
//! # struct Nil;
//! /// Evaluates sums: `(1 (2 3) 4)` is 10.
//! fn sum<'s>(s: &mut Scope<'s>, expression: Handle<'s>) -> Result<Handle<'s>, ScopeError> {
//!     s.escape(|s| {
//!         let mut result = 0;
//!         let mut rest = expression;
//!         while let Ok(Pair { head, tail }) = s.view::<Pair<Handle<'_>>>(rest) {
//!             let value = if head.is_int() { head } else { sum(s, head)? };
//!             result += s.int(value)?;
//!             rest = tail;
//!         }
//!         Ok(Handle::int(result))
//!     })
//! }
//! # fn main() {
//! # let mut heap = Heap::default();
//! # heap.scope(|s| {
//! #     let nil = s.make(Nil)?;
//! #     let inner = s.make(Pair { head: 3.into(), tail: nil })?;
//! #     let inner = s.make(Pair { head: 2.into(), tail: inner })?;
//! #     let outer = s.make(Pair { head: 4.into(), tail: nil })?;
//! #     let outer = s.make(Pair { head: inner, tail: outer })?;
//! #     let outer = s.make(Pair { head: 1.into(), tail: outer })?;
//! #     assert_eq!(sum(s, outer)?.as_int(), Some(9 + 1));
//! #     Ok::<_, ScopeError>(())
//! # }).unwrap();
//! # }
//! ```
//!
//! In the closure, `s` is the inner scope. `expression` belongs to the outer one and can be used all the same: an outer
//! handle is an inner handle, but not the reverse.
//!
//! # Loops
//!
//! A Lisp has no loops, but tail calls, which must run in constant space. Evaluating the body of a function is not a
//! recursion, then, but another turn with another expression, in another environment. [`Scope::repeat`] gives each turn
//! a scope of its own, and carries over what the next one starts with:
//!
//! ```
//! # use spelter_heap::{Config, Handle, Heap, Scope, ScopeError, View};
//! # use std::ops::ControlFlow::{Break, Continue};
//! # #[derive(View)]
//! # #[view(tag = 0)]
//! # struct Pair<V> { head: V, tail: V }
//! /// Counts down, and makes garbage.
//! fn count<'s>(s: &mut Scope<'s>, n: Handle<'s>) -> Result<Handle<'s>, ScopeError> {
//!     s.repeat([n, Handle::ZERO], |s, [n, garbage]| match s.int(n)? {
//!         0 => Ok(Break(garbage)),
//!         left => Ok(Continue([Handle::int(left - 1), s.make(Pair { head: n, tail: n })?])),
//!     })
//! }
//!
//! # fn main() {
//! let mut heap = Heap::new(Config { max_words: Some(1 << 16), ..Config::default() });
//! heap.scope(|s| count(s, 1_000_000.into()).map(|_| ())).unwrap();
//! assert_eq!(heap.quick_stats().minor_words, 3_000_000); // They do not fit, but they need not.
//! # }
//! ```
//!
//! # Finding mistakes
//!
//! The compiler finds handles that would outlive their scope or get to another heap, and views that would outlive an
//! allocation. What it cannot find are handles that are kept for too long: a loop that opens no scope needs more and more
//! slots, which count towards [`Config::max_words`]. [`Heap::charged_bytes`] tells.
//!
//! [`Mode::Torture`] collects at every allocation. There is nothing that it could find in safe code except for mistakes
//! of this crate, but a test that also runs in this mode is a good test of an interpreter's weak tables and finalisers.
//!
//! # The whole program
//!
//! The example puts this together. An environment is a list of bindings, a closure a block of parameters, body and
//! environment, and `step` is one turn of evaluation.
//!
//! ```no_run
#![doc = include_str!("../examples/lisp.rs")]
//! ```

#[cfg(doc)]
use crate::{Config, Handle, Heap, Mode, Peek, Root, Scope};
