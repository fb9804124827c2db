(* The end of the main domain ends the process, whatever other domains do. *)
let () =
  ignore (Domain.spawn (fun () -> while true do () done));
  at_exit (fun () -> print_endline "at_exit");
  print_endline "the main domain ends"
