(* A generator: each value is yielded by an effect, and the consumer continues it when it wants the next one. *)
open Effect
open Effect.Deep

type _ Effect.t += Yield : int -> unit Effect.t

type step = Done | Value of int * (unit -> step)

let generate f =
  match_with f ()
    {
      retc = (fun () -> Done);
      exnc = raise;
      effc =
        (fun (type a) (eff : a Effect.t) ->
          match eff with
          | Yield n -> Some (fun (k : (a, step) continuation) -> Value (n, fun () -> continue k ()))
          | _ -> None);
    }

let rec squares n = if n < 5 then (perform (Yield (n * n)); squares (n + 1))

let rec print = function
  | Done -> print_endline "done"
  | Value (n, next) -> print_int n; print_newline (); print (next ())

let () = print (generate (fun () -> squares 0))
