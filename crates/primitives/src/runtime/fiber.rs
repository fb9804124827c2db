//! Fibers and continuations (`fiber.c`).

use spelter_interp::{Machine, Res, Slot, prims};

use crate::UNIT;

fn alloc_stack(m: &mut Machine, handlers: [Slot; 3]) -> Res<'_> {
    m.new_fiber(handlers)
}

fn continuation_use_noexc(m: &mut Machine, [cont]: [Slot; 1]) -> Res<'_> {
    Ok(m.take_continuation(cont)?.unwrap_or(UNIT))
}

fn continuation_use(m: &mut Machine, [cont]: [Slot; 1]) -> Res<'_> {
    let fiber = m.push(|m| continuation_use_noexc(m, [cont]))?;
    match m.val(fiber).is_block() {
        true => Ok(m.val(fiber)),
        false => Err(m.continuation_already_resumed()),
    }
}

fn continuation_use_and_update_handler_noexc(
    m: &mut Machine,
    [cont, value, exception, effect]: [Slot; 4],
) -> Res<'_> {
    let fiber = m.push(|m| continuation_use_noexc(m, [cont]))?;
    if m.val(fiber).is_block() {
        m.set_handlers(fiber, [value, exception, effect])?;
    }
    Ok(m.val(fiber))
}

fn drop_continuation(m: &mut Machine, [cont]: [Slot; 1]) -> Res<'_> {
    let fiber = m.push(|m| continuation_use(m, [cont]))?;
    m.drop_fiber(fiber);
    Ok(UNIT)
}

fn get_continuation_callstack(m: &mut Machine, [cont, max]: [Slot; 2]) -> Res<'_> {
    let max = usize::try_from(m.int(max)?).unwrap_or(0);
    match m.continuation_callstack(cont, max)? {
        Some(points) => m.new_raw_backtrace(&points),
        None => Err(m.continuation_already_resumed()),
    }
}

prims! {
    "caml_alloc_stack" P3 alloc_stack => since(V5_0),
    "caml_continuation_use" P1 continuation_use => since(V5_0),
    "caml_continuation_use_noexc" P1 continuation_use_noexc => since(V5_0),
    "caml_continuation_use_and_update_handler_noexc" P4 continuation_use_and_update_handler_noexc => since(V5_0),
    "caml_drop_continuation" P1 drop_continuation => between(V5_0, V5_3),
    "caml_get_continuation_callstack" P2 get_continuation_callstack => since(V5_0),
}
