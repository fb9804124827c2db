(* State by effects: the handler passes it on, and resumes at once. *)
open Effect
open Effect.Deep

type _ Effect.t += Get : int Effect.t | Put : int -> unit Effect.t

let run f =
  match f () with
  | () -> fun (s : int) -> s
  | effect Get, k -> fun s -> continue k s s
  | effect (Put now), k -> fun _ -> continue k () now

let () =
  let n = int_of_string Sys.argv.(1) in
  let rec count i = if i > 0 then (perform (Put (perform Get + i)); count (i - 1)) in
  print_int (run (fun () -> count n) 0);
  print_newline ()
