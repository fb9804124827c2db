(* Polymorphic equality, order and hash over structured values. *)
type t = A of int * string | B of t list | C of float * (int * int)

let make i =
  match i mod 3 with
  | 0 -> A (i land 15, "text" ^ string_of_int (i land 7))
  | 1 -> B [ A (i land 7, "x"); C (float_of_int (i land 3), (1, i land 7)) ]
  | _ -> C (float_of_int (i land 7), (i land 3, 4))

let () =
  let n = int_of_string Sys.argv.(1) in
  let values = Array.init 60 make in
  let equal = ref 0 and less = ref 0 and hash = ref 0 in
  for i = 1 to n do
    let v = values.(i mod 60) in
    Array.iter
      (fun w ->
        if v = w then incr equal;
        if compare v w < 0 then incr less;
        if min v w == v then incr less)
      values;
    hash := (!hash + Hashtbl.hash v) land 0xFFFFFF
  done;
  Printf.printf "%d %d %d\n" !equal !less !hash
