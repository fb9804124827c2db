(* Gc.Memprof since 5.3: what a stopped profile still reports, and discarding it.
   (*toml
   since = "5.3"
   *) *)
let try_ name f = match f () with _ -> Printf.printf "%s: ok\n" name | exception e -> Printf.printf "%s: %s\n" name (Printexc.to_string e)
let alloc = ref 0 and dead = ref 0
let t = { Gc.Memprof.null_tracker with Gc.Memprof.alloc_major = (fun i -> incr alloc; Some i.Gc.Memprof.size);
  dealloc_major = (fun _ -> incr dead) }
let keep = ref []
let () =
  let p = Gc.Memprof.start ~sampling_rate:1. t in
  keep := [ Array.make 1000 0; Array.make 1000 1 ];
  try_ "discard" (fun () -> Gc.Memprof.discard p);
  Gc.Memprof.stop ();
  ignore (Sys.opaque_identity (Array.make 1000 2));
  Printf.printf "%d %d\n" !alloc !dead;
  let q = Gc.Memprof.start ~sampling_rate:0. Gc.Memprof.null_tracker in
  keep := List.tl !keep;
  Gc.full_major (); Gc.full_major ();
  Printf.printf "%d %d\n" !alloc !dead;
  Gc.Memprof.stop ();
  try_ "discard" (fun () -> Gc.Memprof.discard p);
  try_ "discard" (fun () -> Gc.Memprof.discard p);
  keep := [];
  Gc.full_major (); Gc.full_major ();
  Printf.printf "%d %d\n" !alloc !dead;
  try_ "discard" (fun () -> Gc.Memprof.discard q)
