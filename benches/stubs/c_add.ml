(* Calls of C that do nothing else. *)
external add : int -> int -> int = "bench_add" [@@noalloc]
external six : int -> int -> int -> int -> int -> int -> int = "bench_six" "bench_six"

let () =
  let n = int_of_string Sys.argv.(1) in
  let sum = ref 0 in
  for i = 1 to n do
    sum := add !sum i
  done;
  for i = 1 to n / 4 do
    sum := six !sum 1 2 3 4 i
  done;
  Printf.printf "%d\n" !sum
