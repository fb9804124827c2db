//! What arrays, their views and their memory do, and what C may do with them.

use std::cell::Cell;
use std::rc::Rc;

use super::memory::OVERHEAD;
use super::*;
use crate::Settings;
use crate::prim::custom::Behaviour;

static KIND: CustomOps = operations(c"_bigarr02", &Behaviour::OPAQUE);

fn machine() -> Machine {
    let mut m = Machine::new(Settings::default());
    // SAFETY: the kind has no behaviour.
    unsafe { m.add_custom(&KIND) };
    m
}

/// An array of integers, in C's layout.
fn ints(m: &mut Machine, dims: &[usize]) -> Slot {
    let bytes: Vec<u8> = (0..count(dims).unwrap() as i64).flat_map(i64::to_le_bytes).collect();
    let memory = Memory::owned_by(bytes);
    m.push(|m| m.new_numbers(&KIND, Kind::CamlInt, Layout::C, dims, memory)).unwrap()
}

fn view(m: &mut Machine, s: Slot, layout: Layout, dims: &[usize], skipped: usize) -> Result<Slot, Raise> {
    m.push(|m| m.new_view(s, layout, dims, skipped))
}

fn get(m: &Machine, s: Slot, indices: &[i64]) -> Result<i64, NoElement> {
    m.numbers(s).unwrap().get(indices).map(|e| match e {
        Element::Int(n) => n,
        _ => panic!("an integer"),
    })
}

#[test]
fn shapes_fit_their_memory() {
    let mut m = machine();
    let mut new = |dims: &[usize]| {
        let memory = Memory::owned_by(vec![0; 24]);
        m.push(|m| m.new_numbers(&KIND, Kind::Int32, Layout::C, dims, memory))
    };
    for dims in [&[6][..], &[], &[2, 3], &[0], &[usize::MAX, 0], &[1; MAX_DIMS]] {
        assert!(new(dims).is_ok(), "{dims:?}");
    }
    for dims in [&[7][..], &[4, 2], &[usize::MAX], &[1 << 62], &[1 << 32, 1 << 32], &[1; MAX_DIMS + 1]] {
        assert!(new(dims).is_err(), "{dims:?}");
    }
    let m = &mut m;
    let b = ints(m, &[10]);
    let end = view(m, b, Layout::C, &[3], 7).unwrap();
    assert_eq!(get(m, end, &[2]), Ok(9));
    for (skipped, len) in [(8, 3), (usize::MAX, 1), (usize::MAX / 8, 1), (0, usize::MAX), (11, 0)] {
        assert!(view(m, b, Layout::C, &[len], skipped).is_err(), "{len} from {skipped}");
    }
    assert!(view(m, b, Layout::C, &[1; MAX_DIMS + 1], 0).is_err());
    let part = view(m, b, Layout::C, &[2], 7).unwrap();
    assert!(view(m, part, Layout::C, &[2], 2).is_err());
}

#[test]
fn indices_lead_to_elements_or_nowhere() {
    let m = &mut machine();
    let c = ints(m, &[2, 3]);
    assert_eq!(get(m, c, &[1, 2]), Ok(5));
    let fortran = view(m, c, Layout::Fortran, &[3, 2], 0).unwrap();
    assert_eq!(get(m, fortran, &[3, 2]), Ok(5));
    assert_eq!(get(m, fortran, &[1, 2]), Ok(3));
    for (b, indices) in [(c, [2, 0]), (c, [0, 3]), (c, [-1, 0]), (fortran, [0, 1]), (fortran, [4, 1])] {
        assert_eq!(get(m, b, &indices), Err(NoElement::Bounds));
    }
    assert_eq!(get(m, fortran, &[i64::MIN, 1]), Err(NoElement::Bounds));
    assert_eq!(get(m, c, &[1]), Err(NoElement::Rank));
}

#[test]
fn copies_may_overlap() {
    let m = &mut machine();
    let b = ints(m, &[5]);
    let (from, to) = (view(m, b, Layout::C, &[4], 0).unwrap(), view(m, b, Layout::C, &[4], 1).unwrap());
    m.copy_elements(from, to, 0..32).unwrap();
    let all: Vec<_> = (0..5).map(|i| get(m, b, &[i]).unwrap()).collect();
    assert_eq!(all, [0, 0, 1, 2, 3]);
    assert_eq!(m.copy_elements(from, to, 0..33), Err(Raise::bounds()));
    let seven = m.push_int(7);
    m.fill_elements(b, 100, seven).unwrap();
    assert!((0..5).all(|i| get(m, b, &[i]) == Ok(7)));
    let eight = m.push_int(8);
    m.fill_elements(to, 2, eight).unwrap();
    assert_eq!(get(m, b, &[2]), Ok(8));
    assert_eq!(get(m, b, &[3]), Ok(7));
}

/// Bytes that count how often they are dropped.
struct Noisy(Vec<u8>, Rc<Cell<usize>>);

impl AsMut<[u8]> for Noisy {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}
impl Drop for Noisy {
    fn drop(&mut self) {
        self.1.set(self.1.get() + 1);
    }
}

#[test]
fn memory_lives_as_long_as_its_views() {
    for mapped in [false, true] {
        let m = &mut machine();
        let drops = Rc::new(Cell::new(0));
        let noisy = Noisy(vec![7; 64], drops.clone());
        let memory = if mapped { Memory::mapped(noisy) } else { Memory::owned_by(noisy) };
        let mark = m.mark();
        let b = m.push(|m| m.new_numbers(&KIND, Kind::Char, Layout::C, &[64], memory)).unwrap();
        let part = view(m, b, Layout::C, &[8], 56).unwrap();
        let part_of_it = view(m, part, Layout::C, &[2, 2], 4).unwrap();
        m.assign(b, |m| Ok(m.val(part_of_it))).unwrap();
        m.assign(part, |_| Ok(Val::from_int(0))).unwrap();
        m.assign(part_of_it, |_| Ok(Val::from_int(0))).unwrap();
        m.full_major().unwrap();
        assert_eq!((drops.get(), get(m, b, &[1, 1])), (0, Ok(7)));
        m.release(mark);
        m.full_major().unwrap();
        assert_eq!(drops.get(), 1);
        let kept = m.push(|m| {
            m.new_numbers(&KIND, Kind::Char, Layout::C, &[1], Memory::owned_by(Noisy(vec![0], drops.clone())))
        });
        assert!(kept.is_ok());
        drop(std::mem::replace(m, machine()));
        assert_eq!(drops.get(), 2);
    }
}

#[test]
fn memory_counts_towards_the_limit_until_its_last_view_dies() {
    let m = &mut machine();
    let before = m.heap().charged_bytes();
    let mark = m.mark();
    let memory = Memory::zeroed(m, 1 << 20).unwrap();
    let b = m.push(|m| m.new_numbers(&KIND, Kind::Char, Layout::C, &[1 << 20], memory)).unwrap();
    view(m, b, Layout::C, &[1], 5).unwrap();
    m.assign(b, |_| Ok(Val::from_int(0))).unwrap();
    m.full_major().unwrap();
    assert_eq!(m.heap().charged_bytes() - before, (1 << 20) + OVERHEAD);
    m.release(mark);
    m.full_major().unwrap();
    assert_eq!(m.heap().charged_bytes(), before);
    drop(Memory::zeroed(m, 100).unwrap());
    assert_eq!(m.heap().charged_bytes(), before);
}

/// The words of an array, as C sees and changes them.
fn words(m: &Machine, s: Slot) -> &'static mut Words {
    // SAFETY: an array, which does not move until the caller has used it.
    unsafe { &mut *m.numbers(s).unwrap().words.cast_mut() }
}

#[test]
fn views_have_a_proxy_in_common() {
    let m = &mut machine();
    let memory = Memory::zeroed(m, 16).unwrap();
    let b = m.push(|m| m.new_numbers(&KIND, Kind::Char, Layout::C, &[16], memory)).unwrap();
    assert_eq!(words(m, b).flags, Kind::Char as usize | flag::MANAGED);
    assert!(words(m, b).proxy.is_null());
    let first = view(m, b, Layout::Fortran, &[8], 8).unwrap();
    let second = view(m, first, Layout::C, &[4], 0).unwrap();
    let proxy = words(m, b).proxy;
    assert!([first, second].into_iter().all(|s| words(m, s).proxy == proxy));
    // SAFETY: the arrays have it.
    let [count, data] = unsafe { [(*proxy).count, (*proxy).data as usize] };
    assert_eq!([count, data], [3, words(m, b).data as usize]);
    assert_eq!(words(m, second).data as usize, data + 8);
    m.assign(b, |_| Ok(Val::from_int(0))).unwrap();
    m.full_major().unwrap();
    // SAFETY: as above.
    assert_eq!(unsafe { (*proxy).count }, 2);
    // Memory that is not OCaml's is not counted.
    let host = ints(m, &[2]);
    let part = view(m, host, Layout::C, &[1], 1).unwrap();
    assert!(words(m, host).proxy.is_null() && words(m, part).proxy.is_null());
}

#[test]
fn c_may_destroy_an_array() {
    let m = &mut machine();
    let drops = Rc::new(Cell::new(0));
    let memory = Memory::zeroed(m, 16).unwrap();
    let b = m.push(|m| m.new_numbers(&KIND, Kind::Char, Layout::C, &[16], memory)).unwrap();
    let mapped = Memory::mapped(Noisy(vec![7; 16], drops.clone()));
    let mapped = m.push(|m| m.new_numbers(&KIND, Kind::Char, Layout::C, &[16], mapped)).unwrap();
    // SAFETY: as C's libraries do it.
    unsafe { libc::free(words(m, b).data.cast()) };
    for s in [b, mapped] {
        let (words, dims) = (words(m, s), words(m, s) as *mut Words);
        words.data = std::ptr::null_mut();
        words.flags = flag::EXTERNAL;
        // SAFETY: the first dimension.
        unsafe { *dims.add(1).cast::<usize>() = 0 };
    }
    for s in [b, mapped] {
        assert_eq!(m.numbers(s).unwrap().bytes(), &[] as &[u8]);
        assert_eq!(m.numbers(s).unwrap().get(&[0]).err(), Some(NoElement::Bounds));
        assert!(view(m, s, Layout::C, &[0], 0).is_ok());
    }
    drop(std::mem::replace(m, machine()));
    assert_eq!(drops.get(), 0, "C has unmapped it");
}

#[test]
fn an_array_may_be_finalised_early() {
    let m = &mut machine();
    let drops = Rc::new(Cell::new(0));
    let mapped = Memory::mapped(Noisy(vec![7; 16], drops.clone()));
    let b = m.push(|m| m.new_numbers(&KIND, Kind::Char, Layout::C, &[16], mapped)).unwrap();
    // SAFETY: its elements are not used any more.
    unsafe { finalise(m.raw(b)) };
    assert_eq!(drops.get(), 1);
    drop(std::mem::replace(m, machine()));
    assert_eq!(drops.get(), 1);
}

#[test]
fn only_sealed_kinds_are_arrays() {
    let m = &mut machine();
    static OTHER: CustomOps = CustomOps::new(c"_bigarr02", &Behaviour::OPAQUE);
    let b = m.push(|m| m.new_custom(&OTHER, &[0; 8], 0)).unwrap();
    assert!(m.numbers(b).is_err());
    assert!(
        m.push(|m| m.new_numbers(&OTHER, Kind::Char, Layout::C, &[0], Memory::owned_by(vec![]))).is_err()
    );
    let made =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| m.new_custom(&KIND, &[0; 8], 0).is_ok()));
    assert!(made.is_err(), "the words of an array were made up");
}
