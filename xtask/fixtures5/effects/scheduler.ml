(* Many fibers that take turns, deep ones among them, with garbage in between: stacks grow, wait, go on and are dropped. *)
open Effect
open Effect.Deep
type _ Effect.t += Yield : unit Effect.t | Fork : (unit -> unit) -> unit Effect.t

let ready : (unit -> unit) Queue.t = Queue.create ()
let yields = ref 0 and dropped = ref 0
let next () = match Queue.take_opt ready with Some resume -> resume () | None -> ()

let rec spawn f =
  match_with f ()
    { retc = next; exnc = raise;
      effc = (fun (type a) (eff : a Effect.t) ->
        match eff with
        | Yield -> Some (fun (k : (a, unit) continuation) ->
            (* One in eight is never resumed. *)
            incr yields;
            if !yields land 7 = 7 then (incr dropped; next ())
            else (Queue.add (fun () -> continue k ()) ready; next ()))
        | Fork f -> Some (fun (k : (a, unit) continuation) -> Queue.add (fun () -> continue k ()) ready; spawn f)
        | _ -> None) }

let total = ref 0
let rec deep n = if n = 0 then (perform Yield; 0) else 1 + deep (n - 1)
let worker i () =
  let text = String.make (i mod 50) 'x' in
  total := !total + deep (i * 7 mod 300) + String.length text;
  perform Yield;
  total := !total + 1

let () =
  spawn (fun () -> for i = 1 to 300 do perform (Fork (worker i)) done);
  next ();
  Printf.printf "%d, %d dropped, %d left\n" !total !dropped (Queue.length ready);
  Gc.full_major ();
  spawn (fun () -> perform Yield; print_endline "and on")
