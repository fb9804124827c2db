(* Calls with three arguments. *)
let rec tak x y z = if x <= y then z else tak (tak (x - 1) y z) (tak (y - 1) z x) (tak (z - 1) x y)

let () =
  let sum = ref 0 in
  for i = 1 to int_of_string Sys.argv.(1) do
    sum := !sum + tak (15 + (i land 1)) 9 3
  done;
  Printf.printf "%d\n" !sum
