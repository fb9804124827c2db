(* Exceptions by effects: continuations are dropped, one after ten frames. *)
open Effect
open Effect.Deep

type _ Effect.t += Abort : int -> 'a Effect.t

let rec search depth x =
  if depth = 0 then if x land 1 = 0 then perform (Abort x) else x else 1 + search (depth - 1) (x + 1)

let attempt x =
  match_with (search 10) x
    { retc = (fun x -> x);
      exnc = raise;
      effc = (fun (type a) (e : a Effect.t) -> match e with Abort n -> Some (fun (_ : (a, _) continuation) -> -n) | _ -> None) }

let () =
  let n = int_of_string Sys.argv.(1) in
  let sum = ref 0 in
  for i = 1 to n do
    sum := !sum + attempt i
  done;
  print_int !sum;
  print_newline ()
