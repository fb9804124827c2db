(* Allocation: complete binary trees, of which one lives long. *)
type tree = Leaf | Node of tree * tree

let rec make depth = if depth = 0 then Leaf else Node (make (depth - 1), make (depth - 1))
let rec check = function Leaf -> 1 | Node (l, r) -> check l + check r + 1

let () =
  let n = int_of_string Sys.argv.(1) in
  let long_lived = make n in
  let depth = ref 4 in
  while !depth <= n do
    let iterations = 1 lsl (n - !depth + 2) in
    let sum = ref 0 in
    for _ = 1 to iterations do
      sum := !sum + check (make !depth)
    done;
    Printf.printf "%d trees of depth %d: %d\n" iterations !depth !sum;
    depth := !depth + 4
  done;
  Printf.printf "%d\n" (check long_lived)
