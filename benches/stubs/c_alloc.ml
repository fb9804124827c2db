(* C allocates pairs, floats, strings and custom blocks. *)
type number

external pair : 'a -> 'b -> 'a * 'b = "bench_pair"
external float : float -> float = "bench_float"
external string : int -> string = "bench_string"
external custom : int -> number = "bench_custom"
external number : number -> int = "bench_number"
external fill : 'a array -> 'a -> unit = "bench_fill"

let () =
  let n = int_of_string Sys.argv.(1) in
  let sum = ref 0 and f = ref 0. in
  let array = Array.make 8 "" in
  for i = 1 to n do
    let a, b = pair i !sum in
    f := float !f;
    let s = string (i land 31) in
    if i land 7 = 0 then fill array s;
    sum := (a + b + String.length s + number (custom i)) land 0xffffff
  done;
  Printf.printf "%d %g\n" !sum !f
