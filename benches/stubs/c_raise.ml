(* C raises every other time. *)
external raise_ : int -> int = "bench_raise"

let () =
  let n = int_of_string Sys.argv.(1) in
  let sum = ref 0 in
  for i = 1 to n do
    sum := !sum + (try raise_ i with Not_found -> 1)
  done;
  Printf.printf "%d\n" !sum
