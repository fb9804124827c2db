//! Data for `input_value` in a machine with code: values that were read must be writable and readable again.

use spelter::Value;

use crate::engine::{End, Engine, end_of, machine};
use crate::generate;
use crate::source::Source;
use crate::watchdog::Watch;

/// Bytes with one or two changes.
pub(super) fn damage(source: &mut Source<'_>, bytes: &mut [u8]) {
    for _ in 0..source.below(3) {
        let at = source.below(bytes.len());
        bytes[at] = match source.below(3) {
            0 => source.of(&[0, 4, 5, 8, 0x0E, 0x10, 0x11, 0x12, 0x18, 0x19, 0x20, 0x40, 0x80, 0xA0, 0xF7]),
            1 => bytes[at].wrapping_add(1),
            _ => source.byte(),
        };
    }
}

/// Reads several messages, one after the other, in one machine.
pub(crate) fn run(bytes: &[u8]) {
    let mut source = Source::of_bytes(bytes);
    let engine = Engine::of(&mut source);
    let program = generate::reader(&mut source);
    let (mut vm, notes) = machine(engine);
    let watch = Watch::new(&vm);
    let ran = vm.run_bytes("program", &program.bytes);
    assert!(ran.is_ok() || watch.has_fired(), "{ran:?}");
    for _ in 0..12 {
        let seed = source.word();
        let mut message = generate::message(seed, std::slice::from_ref(&program.info));
        damage(&mut source, &mut message);
        let before = notes.all().len();
        watch.next(&vm);
        let read = vm.call::<Value>("round", (message.as_slice(),));
        let end = end_of(&read.map(drop));
        let has_written = notes.all().len() > before;
        if let (true, End::Told(text), false) = (has_written, &end, watch.has_fired()) {
            assert_eq!(text, "()", "what was written cannot be read: {message:02x?}");
        }
        if source.one_in(4) {
            let _ = vm.collect();
        }
        if source.is_empty() {
            break;
        }
    }
}
