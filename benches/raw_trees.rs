//! Binary trees on the heap's raw interface, as a language runtime would build them: values that must survive an
//! allocation are on a stack, which holds the roots.

use spelter_heap::raw::{Roots, Value, Visitor};
use spelter_heap::{Config, Heap};

/// A heap and its roots.
pub struct Trees {
    /// The heap.
    pub heap: Heap,
    stack: Stack,
}

#[derive(Default)]
struct Stack(Vec<Value>);

impl Roots for Stack {
    fn scan(&mut self, visitor: &mut Visitor<'_>) {
        visitor.slice(&mut self.0);
    }
}

impl Trees {
    /// An empty heap.
    pub fn new(config: Config) -> Trees {
        Trees { heap: Heap::new(config), stack: Stack::default() }
    }

    /// A tree; a leaf is an integer.
    pub fn make(&mut self, depth: usize) -> Value {
        if depth == 0 {
            return Value::UNIT;
        }
        let left = self.make(depth - 1);
        self.stack.0.push(left);
        let right = self.make(depth - 1);
        self.node(right)
    }

    /// A node of the tree on the stack, which it pops, and another.
    #[inline]
    fn node(&mut self, mut right: Value) -> Value {
        // SAFETY: values that must survive a collection are on the stack; both fields are filled at once.
        unsafe {
            let node = match self.heap.alloc_small(2, 0) {
                Some(node) => node,
                None => {
                    self.stack.0.push(right);
                    self.heap.make_room(&mut self.stack, 2);
                    right = self.stack.0.pop().expect("just pushed");
                    self.heap.alloc_small(2, 0).expect("there is room")
                }
            };
            *node.field_ptr(0) = self.stack.0.pop().expect("the left tree");
            *node.field_ptr(1) = right;
            node
        }
    }

    /// Keeps a value alive.
    pub fn push(&mut self, v: Value) {
        self.stack.0.push(v);
    }

    /// Pops and returns the last pushed value.
    pub fn pop(&mut self) -> Value {
        self.stack.0.pop().expect("something was pushed")
    }

    /// Empties the nursery.
    pub fn minor(&mut self) {
        // SAFETY: all values that are still needed are on the stack.
        unsafe { self.heap.minor(&mut self.stack) }
    }

    /// A full major collection.
    pub fn full_major(&mut self) {
        // SAFETY: all values that are still needed are on the stack.
        unsafe { self.heap.full_major(&mut self.stack) }
    }

    /// Does about `words` words of major collection.
    pub fn slice(&mut self, words: usize) {
        // SAFETY: all values that are still needed are on the stack.
        unsafe { self.heap.major_slice(&mut self.stack, words) }
    }
}

/// The nodes and leaves of a tree.
pub fn check(tree: Value) -> u64 {
    if tree.is_int() {
        return 1;
    }
    // SAFETY: nothing is allocated while the tree is traversed.
    let (left, right) = unsafe { (tree.field(0), tree.field(1)) };
    check(left) + check(right) + 1
}
