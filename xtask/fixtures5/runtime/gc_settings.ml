(* Settings and parameters of the collector, and the shape of its statistics. *)
external params : unit -> string = "caml_runtime_parameters"
let () =
  let c = Gc.get () in
  Printf.printf "%d %d %d %d %d\n" c.Gc.minor_heap_size c.Gc.space_overhead c.Gc.custom_major_ratio c.Gc.custom_minor_ratio c.Gc.custom_minor_max_size;
  Printf.printf "%d %d %d %d\n" c.Gc.major_heap_increment c.Gc.max_overhead c.Gc.allocation_policy c.Gc.window_size;
  Printf.printf "%d %d\n" c.Gc.stack_limit (Obj.size (Obj.repr (Gc.quick_stat ())));
  let s = Gc.stat () in
  Printf.printf "%d %d %d %b\n" (min s.Gc.heap_chunks 1) (min s.Gc.free_blocks 1) (min s.Gc.largest_free 1) (s.Gc.live_words > 0);
  let f = (Gc.quick_stat ()).Gc.forced_major_collections in
  Gc.full_major (); Gc.major ();
  Printf.printf "%d\n" ((Gc.quick_stat ()).Gc.forced_major_collections - f);
  let f = (Gc.quick_stat ()).Gc.compactions in
  Gc.compact ();
  Printf.printf "%d\n" ((Gc.quick_stat ()).Gc.compactions - f);
  print_endline (params ())
