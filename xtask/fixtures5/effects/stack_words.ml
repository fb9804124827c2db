(* What the statistics say about stacks: the words in use on the running fiber, and what all stacks occupy.
   (*toml
   since = "5.5"
   *) *)
open Effect
open Effect.Deep

type _ Effect.t += Wait : unit Effect.t

let show what =
  let s = Gc.quick_stat () in
  Printf.printf "%s: %d in use, %d in all\n%!" what s.Gc.stack_size s.Gc.live_stacks_words

let rec deep n = if n = 0 then show "deep" else (deep (n - 1); ignore (Sys.opaque_identity n))

let waiting = Queue.create ()

(* Runs a function until it waits. *)
let suspend f =
  match_with f ()
    { retc = ignore;
      exnc = raise;
      effc = (fun (type c) (eff : c Effect.t) ->
        match eff with
        | Wait -> Some (fun (k : (c, _) continuation) -> Queue.add (fun () -> continue k ()) waiting)
        | _ -> None) }

let several n = for _ = 1 to n do suspend (fun () -> perform Wait) done
let resume n = for _ = 1 to n do Queue.take waiting () done

let () =
  show "start";
  deep 100;
  suspend (fun () -> show "in a fiber"; perform Wait; show "again");
  show "suspended";
  several 10;
  show "eleven";
  resume 1;
  show "ten";
  resume 10;
  show "none";
  several 2;
  show "two of those that are kept";
  resume 2;
  several 140;
  resume 140;
  show "at most 128 are kept"
