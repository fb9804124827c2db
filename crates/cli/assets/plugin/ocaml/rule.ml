(* The plug-in. Edit it, and `cargo run` again. *)

type order = { item : string; count : int; price : float }
type verdict = Accept | Refuse of string

external log : string -> unit = "host_log"

let decide { item; count; price } =
  let total = float_of_int count *. price in
  log (Printf.sprintf "%d %s for %.2f" count item total);
  if count <= 0 then Refuse "nothing is ordered"
  else if total > 1000. then Refuse (Printf.sprintf "%s is too much" item)
  else Accept
