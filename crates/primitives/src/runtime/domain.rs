//! `Domain` (`domain.c`).

use spelter_interp::{Machine, Res, Slot, Val, prims};

use crate::UNIT;
use crate::boolean;

fn ml_domain_id(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    Ok(Val::from_int(m.domain_id() as i64))
}

fn ml_domain_index(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    Ok(Val::from_int(m.domain_index() as i64))
}

fn ml_domain_cpu_relax(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    m.relax();
    Ok(UNIT)
}

fn domain_dls_get(m: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    Ok(m.domain_storage())
}

fn domain_dls_set(m: &mut Machine, [storage]: [Slot; 1]) -> Res<'_> {
    m.set_domain_storage(storage);
    Ok(UNIT)
}

fn domain_dls_compare_and_set(m: &mut Machine, [old, new]: [Slot; 2]) -> Res<'_> {
    Ok(boolean(m.replace_domain_storage(old, new)))
}

/// The processors on which the process may run.
fn recommended_domain_count(_: &mut Machine, _: [Slot; 1]) -> Res<'_> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(Val::from_int(processors as i64))
}

prims! {
    "caml_domain_dls_compare_and_set" P2 domain_dls_compare_and_set => since(V5_2),
    "caml_domain_dls_get" P1 domain_dls_get => since(V5_0),
    "caml_domain_dls_set" P1 domain_dls_set => since(V5_0),
    "caml_ml_domain_cpu_relax" P1 ml_domain_cpu_relax => since(V5_0),
    "caml_ml_domain_id" P1 ml_domain_id => since(V5_0),
    "caml_ml_domain_index" P1 ml_domain_index => since(V5_3),
    "caml_recommended_domain_count" P1 recommended_domain_count => since(V5_0),
}
