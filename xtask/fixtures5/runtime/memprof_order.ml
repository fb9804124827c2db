(* Gc.Memprof: starting and stopping in the wrong order. *)
let t = { Gc.Memprof.null_tracker with Gc.Memprof.alloc_minor = (fun _ -> None) }
let try_ name f = match f () with _ -> Printf.printf "%s: ok\n" name | exception e -> Printf.printf "%s: %s\n" name (Printexc.to_string e)
let () =
  try_ "stop" Gc.Memprof.stop;
  try_ "start" (fun () -> ignore (Gc.Memprof.start ~sampling_rate:0.5 t));
  try_ "start" (fun () -> ignore (Gc.Memprof.start ~sampling_rate:0.5 t));
  try_ "bad" (fun () -> ignore (Gc.Memprof.start ~sampling_rate:1.5 t));
  try_ "stop" Gc.Memprof.stop;
  try_ "stop" Gc.Memprof.stop
