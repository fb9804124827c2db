(* Variants, records and pattern matching: an expression simplifier and evaluator. *)
type expr =
  | Num of int
  | Var of string
  | Add of expr * expr
  | Mul of expr * expr
  | Neg of expr
  | Let of { name : string; value : expr; body : expr }

let rec simplify = function
  | Add (Num 0, e) | Add (e, Num 0) -> simplify e
  | Mul (Num 1, e) | Mul (e, Num 1) -> simplify e
  | Mul (Num 0, _) | Mul (_, Num 0) -> Num 0
  | Add (Num a, Num b) -> Num (a + b)
  | Neg (Neg e) -> simplify e
  | Add (a, b) -> Add (simplify a, simplify b)
  | Mul (a, b) -> Mul (simplify a, simplify b)
  | Neg e -> Neg (simplify e)
  | Let { name; value; body } -> Let { name; value = simplify value; body = simplify body }
  | (Num _ | Var _) as e -> e

let rec eval env = function
  | Num n -> n
  | Var x -> List.assoc x env
  | Add (a, b) -> (eval env a + eval env b) land 0xFFFF
  | Mul (a, b) -> eval env a * eval env b land 0xFFFF
  | Neg e -> -eval env e
  | Let { name; value; body } -> eval ((name, eval env value) :: env) body

let rec build n =
  if n = 0 then Var "x"
  else
    match n mod 5 with
    | 0 -> Add (Num 0, build (n - 1))
    | 1 -> Mul (build (n - 1), Num (n land 3))
    | 2 -> Neg (Neg (build (n - 1)))
    | 3 -> Let { name = "y"; value = build (n / 2); body = Add (Var "y", build (n - 2)) }
    | _ -> Add (build (n - 1), build (n / 3))

let () =
  let n = int_of_string Sys.argv.(1) in
  let e = build 20 in
  let sum = ref 0 in
  for i = 1 to n do
    sum := !sum + eval [ ("x", i) ] e + eval [ ("x", i) ] (simplify e)
  done;
  Printf.printf "%d\n" !sum
