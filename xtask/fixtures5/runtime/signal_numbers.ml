(* Numbers of signals. *)
let try_ n = match Sys.signal n Sys.Signal_ignore with _ -> Printf.printf "%d: ok\n" n | exception e -> Printf.printf "%d: %s\n" n (Printexc.to_string e)
let () = List.iter try_ [ 0; -1; -28; -29; -30; -31; 65; 64 ]
