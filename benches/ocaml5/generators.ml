(* Generators: one effect and one resumption for each element of a tree. *)
open Effect
open Effect.Deep

type tree = Leaf | Node of tree * int * tree

let rec build depth from =
  if depth = 0 then Leaf
  else Node (build (depth - 1) (2 * from), from, build (depth - 1) ((2 * from) + 1))

type _ Effect.t += Yield : int -> unit Effect.t

let rec iter = function
  | Leaf -> ()
  | Node (l, x, r) ->
    iter l;
    perform (Yield x);
    iter r

type next = Done | Value of int * (unit -> next)

let generate t () =
  match_with iter t
    { retc = (fun () -> Done);
      exnc = raise;
      effc =
        (fun (type a) (e : a Effect.t) ->
          match e with
          | Yield x -> Some (fun (k : (a, _) continuation) -> Value (x, fun () -> continue k ()))
          | _ -> None) }

let () =
  let n = int_of_string Sys.argv.(1) in
  let t = build 12 1 in
  let sum = ref 0 in
  for _ = 1 to n do
    let rec drain = function
      | Done -> ()
      | Value (x, more) ->
        sum := !sum + x;
        drain (more ())
    in
    drain (generate t ())
  done;
  print_int !sum;
  print_newline ()
