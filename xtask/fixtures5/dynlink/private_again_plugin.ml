(* Loaded by private_again.ml. *)
let counter = ref 0
let texts = [ "a literal"; "another" ]
let bump () = incr counter; List.length texts + !counter
let () = if bump () <> 3 then print_endline "state is shared"
let big = Array.make 1000 1.5
