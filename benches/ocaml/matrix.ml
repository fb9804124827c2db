(* Arrays of arrays: products of integer and of float matrices. *)
let n = 60

let mul_int a b =
  Array.init n (fun i ->
      Array.init n (fun j ->
          let sum = ref 0 in
          for k = 0 to n - 1 do
            sum := !sum + (a.(i).(k) * b.(k).(j))
          done;
          !sum land 0xFFFF))

let mul_float (a : float array array) (b : float array array) =
  Array.init n (fun i ->
      Array.init n (fun j ->
          let sum = ref 0. in
          for k = 0 to n - 1 do
            sum := !sum +. (a.(i).(k) *. b.(k).(j))
          done;
          !sum /. 240.))

let () =
  let a = ref (Array.init n (fun i -> Array.init n (fun j -> (i * j) land 7))) in
  let f = ref (Array.init n (fun i -> Array.init n (fun j -> float_of_int ((i + j) land 7)))) in
  for _ = 1 to int_of_string Sys.argv.(1) do
    a := mul_int !a !a;
    f := mul_float !f !f
  done;
  Printf.printf "%d %h\n" !a.(3).(5) !f.(3).(5)
