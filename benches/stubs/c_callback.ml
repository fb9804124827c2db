(* C calls closures. *)
external call : (int -> int) -> int -> int = "bench_call"
external fold : (int -> int -> int) -> int -> int -> int = "bench_fold"

let () =
  let n = int_of_string Sys.argv.(1) in
  let sum = ref 0 in
  for i = 1 to n do
    sum := (!sum + call (fun k -> k + i) i) land 0xffffff
  done;
  sum := !sum + fold (fun a b -> (a + b) land 0xffff) 0 (n * 2);
  Printf.printf "%d\n" !sum
