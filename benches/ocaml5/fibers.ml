(* A scheduler of 10,000 fibers that yield in turn. *)
open Effect
open Effect.Deep

type _ Effect.t += Yield : unit Effect.t | Fork : (unit -> unit) -> unit Effect.t

let run main =
  let ready = Queue.create () in
  let next () = match Queue.take_opt ready with Some f -> f () | None -> () in
  let rec spawn f =
    match_with f ()
      { retc = next;
        exnc = raise;
        effc =
          (fun (type a) (e : a Effect.t) ->
            match e with
            | Yield ->
              Some
                (fun (k : (a, unit) continuation) ->
                  Queue.add (fun () -> continue k ()) ready;
                  next ())
            | Fork g ->
              Some
                (fun (k : (a, unit) continuation) ->
                  Queue.add (fun () -> continue k ()) ready;
                  spawn g)
            | _ -> None) }
  in
  spawn main

let () =
  let turns = int_of_string Sys.argv.(1) in
  let count = ref 0 in
  run (fun () ->
      for i = 1 to 10_000 do
        perform
          (Fork
             (fun () ->
               for _ = 1 to turns do
                 count := !count + i;
                 perform Yield
               done))
      done);
  print_int !count;
  print_newline ()
