//! Random programs, run on the heap and on a model that keeps everything.
//!
//! Each program works on a few slots, with all kinds of blocks, and collects at random points. The model keeps every
//! object ever made and knows what is reachable. After each step the heap must agree with the model: strong references
//! exactly, weak references up to collections that may have run, and after a full collection exactly.

use crate::client::{Stack, config};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use spelter_heap::raw::{CustomOps, FIRST_KEY, Header, Value, WeakId, tag};
use spelter_heap::{Config, Heap, Mode};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

const SLOTS: usize = 8;
/// Where the inner closure of a closure block begins.
const INNER: usize = 4;

thread_local! {
    static BURIED: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}
static CUSTOM: CustomOps = CustomOps::new(c"numbered", &())
    .finalized_by(|payload| BURIED.with_borrow_mut(|b| b.push(payload[0] as usize)))
    .counting();

/// A value in the model.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Ref {
    Int(i64),
    Object(usize),
    /// The inner closure of a closure object.
    Inner(usize),
}

impl Ref {
    fn object(self) -> Option<usize> {
        match self {
            Ref::Int(_) => None,
            Ref::Object(id) | Ref::Inner(id) => Some(id),
        }
    }
}

#[derive(Clone, PartialEq, Debug)]
enum Object {
    /// Field 0 is the number; these are the others.
    Block(Vec<Ref>),
    /// Number, an odd word, 0, infix header, two odd words, one field.
    Closure(Ref),
    /// The number, repeated.
    String(usize),
    /// The number in the payload.
    Custom,
    Ephemeron {
        keys: Vec<Option<Ref>>,
        data: Option<Ref>,
    },
}

/// One step: its kind decides what the numbers mean.
type Step = (u8, u8, u8, u8);

struct World {
    heap: Heap,
    /// The slots, then the values of finalisers that have run.
    stack: Stack,
    objects: Vec<Object>,
    slots: Vec<Ref>,
    weaks: Vec<(WeakId, Option<Ref>)>,
    /// Finalisers not yet due: function number, value.
    first: Vec<(i64, Ref)>,
    last: Vec<(i64, Ref)>,
    functions: i64,
    buried: BTreeSet<usize>,
}

impl World {
    fn new(mode: Mode, mark_stack_limit: usize) -> World {
        BURIED.take();
        World {
            heap: Heap::new(Config { mark_stack_limit, torture_period: 5, ..config(mode) }),
            stack: Stack(vec![Value::UNIT; SLOTS]),
            objects: Vec::new(),
            slots: vec![Ref::Int(0); SLOTS],
            weaks: Vec::new(),
            first: Vec::new(),
            last: Vec::new(),
            functions: 0,
            buried: BTreeSet::new(),
        }
    }

    fn put(&mut self, slot: u8, v: Value, object: Object) {
        let slot = slot as usize % SLOTS;
        self.objects.push(object);
        self.stack.0[slot] = v;
        self.slots[slot] = Ref::Object(self.objects.len() - 1);
    }
    fn get(&self, slot: u8) -> (Value, Ref) {
        let slot = slot as usize % SLOTS;
        (self.stack.0[slot], self.slots[slot])
    }
    fn object_in(&self, slot: u8) -> Option<(Value, usize, Ref)> {
        let (v, r) = self.get(slot);
        // SAFETY: slots hold valid values.
        r.object().map(|id| (unsafe { v.enclosing() }, id, r))
    }

    /// The first ephemeron from this slot on.
    fn ephemeron_near(&self, slot: u8) -> Option<(Value, usize)> {
        let mut found = (0..SLOTS as u8).filter_map(|i| self.object_in(slot % SLOTS as u8 + i));
        found.find(|o| matches!(self.objects[o.1], Object::Ephemeron { .. })).map(|(v, id, _)| (v, id))
    }

    /// Writes the number and, if they are given, the other fields of a new block.
    fn fill(&mut self, v: Value, from: Option<(u8, u8)>, size: usize) -> Object {
        let mut fields = vec![Ref::Int(0); size];
        // SAFETY: a new block of size + 1 fields, possibly old.
        unsafe {
            self.heap.initialize(v, 0, Value::int(self.objects.len() as i64));
            if let Some((a, b)) = from
                && size > 0
            {
                for (i, slot) in [(0, a), (size - 1, b)] {
                    let (value, r) = self.get(slot);
                    self.heap.modify(v, i + 1, value);
                    fields[i] = r;
                }
            }
        }
        Object::Block(fields)
    }

    fn step(&mut self, (kind, a, b, c): Step) {
        let number = self.objects.len();
        // SAFETY: all values are in slots; those read before an allocation are not used after it.
        unsafe {
            match kind % 33 {
                0..=3 => {
                    let size = 1 + b as usize % 5;
                    let v = self.heap.alloc(&mut self.stack, size + 1, c % 200).unwrap();
                    let object = self.fill(v, Some((b, c)), size);
                    self.put(a, v, object);
                }
                4 => {
                    let size = 200 + b as usize * 3;
                    let v = self.heap.alloc(&mut self.stack, size + 1, 0).unwrap();
                    let object = self.fill(v, Some((b, c)), size);
                    self.put(a, v, object);
                }
                5 => {
                    let size = b as usize % 40;
                    let v = match c % 2 {
                        0 => self.heap.alloc_major(size + 1, 1).unwrap(),
                        _ => self.heap.alloc_pinned(size + 1, 1).unwrap(),
                    };
                    let object = self.fill(v, Some((b, c)), size);
                    self.put(a, v, object);
                }
                6 => {
                    let words = 1 + b as usize % 9;
                    let v = self.heap.alloc_string(&mut self.stack, words * 8).unwrap();
                    for chunk in v.bytes_mut().chunks_mut(8) {
                        chunk.copy_from_slice(&number.to_le_bytes());
                    }
                    self.put(a, v, Object::String(words));
                }
                7 => {
                    let v = self.heap.alloc(&mut self.stack, 7, tag::CLOSURE).unwrap();
                    let (value, r) = self.get(b);
                    self.heap.modify(v, 0, Value::int(number as i64));
                    self.heap.modify(v, 3, Value::from_bits(Header::new(4, tag::INFIX).bits()));
                    self.heap.modify(v, 6, value);
                    self.put(a, v, Object::Closure(r));
                    if c % 2 == 0 {
                        self.stack.0[a as usize % SLOTS] = Value::from_bits(v.bits() + 8 * INNER as u64);
                        self.slots[a as usize % SLOTS] = Ref::Inner(number);
                    }
                }
                8 => {
                    let outside = c as usize * 100;
                    let v =
                        self.heap.alloc_custom(&mut self.stack, &CUSTOM, 1 + b as usize, outside).unwrap();
                    v.custom_payload()[0] = number as u64;
                    self.put(a, v, Object::Custom);
                }
                9 | 31 => {
                    let keys = 1 + b as usize % 3;
                    let v = self.heap.ephe_create(&mut self.stack, keys).unwrap();
                    self.put(a, v, Object::Ephemeron { keys: vec![None; keys], data: None });
                }
                10..=12 => {
                    // Write a field, or an ephemeron's key or data.
                    let Some((v, id, _)) = self.object_in(a) else { return };
                    let (value, r) = self.get(b);
                    match &mut self.objects[id] {
                        Object::Block(fields) if !fields.is_empty() => {
                            let i = c as usize % fields.len();
                            fields[i] = r;
                            self.heap.modify(v, i + 1, value);
                        }
                        Object::Closure(field) => {
                            *field = r;
                            self.heap.modify(v, 6, value);
                        }
                        Object::Ephemeron { keys, data } => {
                            let i = c as usize % (keys.len() + 1);
                            if i == keys.len() {
                                *data = Some(r);
                                self.heap.ephe_set_data(v, value);
                            } else {
                                keys[i] = Some(r);
                                self.heap.ephe_set_key(v, i, value);
                            }
                        }
                        _ => {}
                    }
                }
                13 | 14 => {
                    // Load a field, or an ephemeron's key or data.
                    let Some((v, id, _)) = self.object_in(b) else { return };
                    let (value, r) = match &mut self.objects[id] {
                        Object::Block(fields) if !fields.is_empty() => {
                            let i = c as usize % fields.len();
                            (v.field(i + 1), fields[i])
                        }
                        Object::Closure(field) => (v.field(6), *field),
                        Object::Ephemeron { keys, data } => {
                            let i = c as usize % (keys.len() + 1);
                            let (got, known) = if i == keys.len() {
                                (self.heap.ephe_get_data(v), *data)
                            } else {
                                (self.heap.ephe_get_key(v, i), keys[i])
                            };
                            let Some(value) = got else { return };
                            (value, known.expect("the heap returned a value that the model has"))
                        }
                        _ => return,
                    };
                    self.stack.0[a as usize % SLOTS] = value;
                    self.slots[a as usize % SLOTS] = r;
                }
                15 => {
                    self.stack.0[a as usize % SLOTS] = Value::int(i64::from(b));
                    self.slots[a as usize % SLOTS] = Ref::Int(i64::from(b));
                }
                16 | 17 => {
                    // Copy keys, or data, between ephemerons.
                    let (Some((v, from)), Some((w, to))) = (self.ephemeron_near(a), self.ephemeron_near(b))
                    else {
                        return;
                    };
                    let (Object::Ephemeron { keys, data }, Object::Ephemeron { keys: to_keys, .. }) =
                        (self.objects[from].clone(), self.objects[to].clone())
                    else {
                        return;
                    };
                    if c % 2 == 0 {
                        self.heap.ephe_blit_data(v, w);
                        if let Object::Ephemeron { data: to_data, .. } = &mut self.objects[to] {
                            *to_data = data;
                        }
                    } else {
                        let len = keys.len().min(to_keys.len());
                        self.heap.ephe_blit_key(v, 0, w, to_keys.len() - len, len);
                        if let Object::Ephemeron { keys: to_keys, .. } = &mut self.objects[to] {
                            let at = to_keys.len() - len;
                            to_keys[at..].copy_from_slice(&keys[..len]);
                        }
                    }
                }
                30 => {
                    let (v, r) = self.get(a);
                    if r.object().is_some() {
                        let id = self.heap.weak_new(v).unwrap();
                        self.weaks.push((id, Some(r)));
                    }
                }
                18 => {
                    if let Some(&(id, Some(r))) = self.weaks.get(b as usize % self.weaks.len().max(1))
                        && let Some(v) = self.heap.weak_get(id)
                    {
                        self.stack.0[a as usize % SLOTS] = v;
                        self.slots[a as usize % SLOTS] = r;
                    }
                }
                19 => {
                    let (v, r) = self.get(a);
                    if r.object().is_some() {
                        let function = Value::int(self.functions);
                        if b % 2 == 0 {
                            self.heap.final_register(function, v).unwrap();
                            self.first.push((self.functions, r));
                        } else {
                            self.heap.final_register_last(function, v).unwrap();
                            self.last.push((self.functions, r));
                        }
                        self.functions += 1;
                    }
                }
                20 | 28 | 29 => {
                    // Make a block smaller, after taking out the first value that is cut off.
                    let Some((v, id, _)) = self.object_in(a) else { return };
                    if let Object::Block(fields) = &mut self.objects[id]
                        && !fields.is_empty()
                    {
                        let len = b as usize % fields.len();
                        let (value, r) = (v.field(len + 1), fields[len]);
                        fields.truncate(len);
                        self.heap.truncate(v, len + 1);
                        self.stack.0[c as usize % SLOTS] = value;
                        self.slots[c as usize % SLOTS] = r;
                    }
                }
                21 => self.heap.minor(&mut self.stack),
                22 | 23 => self.heap.major_slice(&mut self.stack, b as usize % 8),
                24..=26 => {
                    // Move a field's value to a slot, so that only the slot holds it.
                    let Some((v, id, _)) = self.object_in(b) else { return };
                    if let Object::Block(fields) = &mut self.objects[id]
                        && !fields.is_empty()
                    {
                        let i = c as usize % fields.len();
                        let (value, r) = (v.field(i + 1), std::mem::replace(&mut fields[i], Ref::Int(0)));
                        self.heap.modify(v, i + 1, Value::int(0));
                        self.stack.0[a as usize % SLOTS] = value;
                        self.slots[a as usize % SLOTS] = r;
                    }
                }
                27 => self.heap.poll(&mut self.stack),
                _ => {
                    match b % 4 {
                        0 => self.heap.compact(&mut self.stack),
                        1 => self.heap.set_nursery_words(&mut self.stack, 2100 + 100 * c as usize),
                        2 => self.heap.finish_major(&mut self.stack),
                        _ => self.heap.full_major(&mut self.stack),
                    };
                }
            }
        }
    }

    /// The objects reachable from these.
    fn reachable(&self, from: impl IntoIterator<Item = Ref>) -> BTreeSet<usize> {
        let mut reached = BTreeSet::new();
        let mut todo: Vec<usize> = from.into_iter().filter_map(Ref::object).collect();
        loop {
            while let Some(id) = todo.pop() {
                if reached.insert(id) {
                    match &self.objects[id] {
                        Object::Block(fields) => todo.extend(fields.iter().filter_map(|f| f.object())),
                        Object::Closure(field) => todo.extend(field.object()),
                        Object::String(_) | Object::Custom | Object::Ephemeron { .. } => {}
                    }
                }
            }
            for &e in &reached {
                if let Object::Ephemeron { keys, data: Some(data) } = &self.objects[e]
                    && let Some(data) = data.object()
                    && !reached.contains(&data)
                    && keys.iter().flatten().all(|k| k.object().is_none_or(|k| reached.contains(&k)))
                {
                    todo.push(data);
                }
            }
            if todo.is_empty() {
                return reached;
            }
        }
    }

    /// Takes the finalisers that are due, checks that they should be, and runs them: if `keep`, values of the first
    /// kind go to slots.
    fn run_finalisers(&mut self, keep: bool) {
        let strong = self.reachable(self.slots.clone());
        let queue: Vec<(Value, Value)> = std::iter::from_fn(|| self.heap.next_finaliser()).collect();
        let with_first = self.slots.iter().copied().chain(self.first.iter().map(|f| f.1));
        let with_first = self.reachable(with_first);
        let mut firsts = Vec::new();
        for &(function, value) in &queue {
            let n = function.as_int();
            if let Some(at) = self.first.iter().position(|f| f.0 == n) {
                let (_, r) = self.first.remove(at);
                assert!(!strong.contains(&r.object().unwrap()), "finaliser {n} is due for a live value");
                firsts.push((n, value, r));
            } else {
                let at = self.last.iter().position(|f| f.0 == n).expect("each finaliser is due once");
                let (_, r) = self.last.remove(at);
                assert!(
                    !with_first.contains(&r.object().unwrap()),
                    "finaliser {n} is due before its value is dead"
                );
                assert_eq!(value, Value::UNIT);
            }
        }
        // Each value is checked where the finaliser found it.
        for (i, (_, value, r)) in firsts.into_iter().enumerate() {
            self.check_graph(&[(value, r)]);
            if keep {
                self.stack.0[i % SLOTS] = value;
                self.slots[i % SLOTS] = r;
            }
        }
    }

    /// Compares everything that is reachable.
    fn check_graph(&mut self, from: &[(Value, Ref)]) {
        let mut places: HashMap<Value, usize> = HashMap::new();
        let mut ids: BTreeMap<usize, Value> = BTreeMap::new();
        let mut todo = from.to_vec();
        while let Some((v, r)) = todo.pop() {
            let Some(id) = r.object() else {
                assert_eq!(Ref::Int(v.as_int()), r);
                assert!(v.is_int());
                continue;
            };
            assert!(v.is_block(), "{r:?} is {v:?}");
            // SAFETY: reachable, and a block if the heap is correct; otherwise the test may crash.
            unsafe {
                let outer = v.enclosing();
                assert_eq!(matches!(r, Ref::Inner(_)), outer != v);
                match (places.insert(outer, id), ids.insert(id, outer)) {
                    (None, None) => {}
                    (Some(other), Some(place)) => {
                        assert_eq!((other, place), (id, outer));
                        continue;
                    }
                    _ => panic!("object {id} has the identity of another"),
                }
                match &self.objects[id] {
                    Object::Block(fields) => {
                        assert_eq!(outer.wosize(), fields.len() + 1);
                        assert_eq!(outer.field(0), Value::int(id as i64));
                        todo.extend(fields.iter().enumerate().map(|(i, &f)| (outer.field(i + 1), f)));
                    }
                    Object::Closure(field) => {
                        assert_eq!((outer.tag(), outer.wosize()), (tag::CLOSURE, 7));
                        assert_eq!(outer.field(0), Value::int(id as i64));
                        todo.push((outer.field(6), *field));
                    }
                    Object::String(words) => {
                        assert_eq!(outer.string_len(), words * 8);
                        let mut chunks = outer.bytes().chunks(8);
                        assert!(chunks.all(|c| c == id.to_le_bytes()));
                    }
                    Object::Custom => assert_eq!(outer.custom_payload()[0], id as u64),
                    Object::Ephemeron { keys, .. } => {
                        assert_eq!((outer.tag(), outer.wosize()), (tag::ABSTRACT, FIRST_KEY + keys.len()));
                    }
                }
            }
        }
    }

    /// Compares weak references: those that the heap has cleared must be dead, and if `exact`, all dead ones must be
    /// cleared.
    fn check_weak(&mut self, exact: bool) {
        let kept = self.slots.iter().copied().chain(self.first.iter().map(|f| f.1));
        let live = self.reachable(kept);
        let dead = |r: Ref| r.object().is_some_and(|id| !live.contains(&id));
        let mut found = Vec::new();
        for i in 0..self.weaks.len() {
            let (id, known) = self.weaks[i];
            let Some(r) = known else { continue };
            // Reading a weak reference while marking keeps the target, so do it rarely.
            if exact || self.objects.len() % 8 == i % 8 {
                match self.heap.weak_get(id) {
                    Some(v) => {
                        assert!(!exact || !dead(r), "the weak reference to {r:?} survived");
                        found.push((v, r));
                    }
                    None => {
                        assert!(dead(r), "the weak reference to {r:?} was cleared");
                        self.weaks[i].1 = None;
                    }
                }
            }
        }
        for slot in 0..SLOTS {
            let Some((v, id, _)) = self.object_in(slot as u8) else { continue };
            let Object::Ephemeron { keys, data } = &mut self.objects[id] else { continue };
            // SAFETY: an ephemeron in a slot.
            unsafe {
                let mut lost = false;
                for (i, key) in keys.iter_mut().enumerate() {
                    let set = self.heap.ephe_check_key(v, i);
                    match *key {
                        None => assert!(!set, "key {i} came from nowhere"),
                        Some(r) => {
                            assert!(set || dead(r), "key {r:?} was lost");
                            assert!(!set || !exact || !dead(r), "key {r:?} survived");
                            lost |= !set;
                            *key = key.filter(|_| set);
                        }
                    }
                }
                let set = self.heap.ephe_check_data(v);
                match *data {
                    None => assert!(!set, "data came from nowhere"),
                    // Keys may have been overwritten since they died and took the data with them.
                    Some(r) if !set => {
                        assert!(lost || dead(r) || !exact, "data {r:?} was lost");
                        *data = None;
                    }
                    Some(r) => {
                        assert!(!lost, "data {r:?} survived a key");
                        assert!(!exact || !dead(r), "data {r:?} survived");
                    }
                }
            }
        }
        self.check_graph(&found);
    }

    fn check_buried(&mut self, exact: bool) {
        let kept = self.slots.iter().copied().chain(self.first.iter().map(|f| f.1));
        let live = self.reachable(kept);
        for id in BURIED.take() {
            assert!(!live.contains(&id), "object {id} was finalised alive");
            assert!(self.buried.insert(id), "object {id} was finalised twice");
        }
        if exact {
            for (id, object) in self.objects.iter().enumerate() {
                if *object == Object::Custom {
                    assert!(live.contains(&id) || self.buried.contains(&id), "object {id} was not finalised");
                }
            }
        }
    }

    fn check(&mut self, keep: bool) {
        self.check_buried(false);
        self.run_finalisers(keep);
        let from: Vec<_> = self.stack.0.iter().copied().zip(self.slots.iter().copied()).collect();
        self.check_graph(&from);
        self.check_weak(false);
        // SAFETY: all values are in slots.
        unsafe { self.heap.verify(&mut self.stack).unwrap() };
    }

    /// After full collections without finalisers in between, the heap and the model agree exactly.
    fn check_exactly(&mut self) {
        // The first collection makes finalisers of the first kind due; they keep nothing; the next may make more due.
        for _ in 0..2 + self.first.len() {
            // SAFETY: all values are in slots.
            unsafe { self.heap.full_major(&mut self.stack) };
            self.run_finalisers(false);
        }
        let live = self.reachable(self.slots.clone());
        for (n, r) in self.first.iter().chain(&self.last) {
            assert!(live.contains(&r.object().unwrap()), "finaliser {n} did not become due");
        }
        self.check_weak(true);
        self.check_buried(true);
        assert_eq!(self.heap.stats().live_blocks, live.len());
    }
}

fn run(mode: Mode, program: &[Step]) {
    let mut world = World::new(mode, 1 + program.len() % 8);
    for (i, &step) in program.iter().enumerate() {
        world.step(step);
        world.check(i % 3 == 0);
    }
    world.check_exactly();
    let customs = world.objects.iter().filter(|o| **o == Object::Custom).count();
    let buried = world.buried.len();
    drop(world);
    assert_eq!(buried + BURIED.take().len(), customs, "dropping the heap finalises the rest");
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 150,
        max_shrink_iters: 20_000,
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_random_program_runs_as_the_model_does(program in vec(any::<Step>(), 1..300)) {
        run(Mode::Plain, &program);
    }

    #[test]
    fn under_torture_too(program in vec(any::<Step>(), 1..120)) {
        run(Mode::Torture, &program);
    }
}
