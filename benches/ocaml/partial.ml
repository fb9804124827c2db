(* Partial application and functions that get too many arguments. *)
let add3 a b c = a + b + c
let choose b = if b then fun x y -> x - y else fun x y -> y - x
let apply f x = f x

let () =
  let n = int_of_string Sys.argv.(1) in
  let sum = ref 0 in
  for i = 1 to n do
    let add1 = add3 i in
    let add2 = add1 !sum in
    sum := apply add2 i land 0xFFFFF;
    sum := !sum + choose (i land 1 = 0) i 7;
    sum := List.fold_left (add3 1) !sum [ 1; 2; 3 ]
  done;
  Printf.printf "%d\n" !sum
