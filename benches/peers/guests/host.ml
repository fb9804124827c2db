(* Links nothing but Stdlib. *)
