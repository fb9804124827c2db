(* Which domains record backtraces, and that of an exception that ends one. Run with and without OCAMLRUNPARAM=b. *)
let rec deep n = if n = 0 then failwith "deep" else 1 + deep (n - 1)
let status () = Printf.printf "%b\n%!" (Printexc.backtrace_status ())
let () =
  status ();
  Printexc.record_backtrace true;
  Domain.join (Domain.spawn (fun () -> status (); Printexc.record_backtrace false));
  status ();
  print_int (Domain.join (Domain.spawn (fun () -> Printexc.record_backtrace true; deep 3)))
