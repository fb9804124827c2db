(* Shallow handlers: each continuation gets the next one; two computations hand values to each other. *)
open Effect
open Effect.Shallow
type _ Effect.t += Send : int -> unit Effect.t | Receive : int Effect.t

let say fmt = Printf.printf (fmt ^^ "\n%!")

let rec run_send : type a. (a, unit) continuation -> a -> (int, unit) continuation option -> unit = fun k v waiting ->
  continue_with k v
    { retc = (fun () -> say "the sender ends"); exnc = raise;
      effc = (fun (type b) (eff : b Effect.t) ->
        match eff with
        | Send n -> Some (fun (k : (b, unit) continuation) ->
            say "sent %d" n;
            match waiting with
            | Some receiver -> run_receive receiver n k
            | None -> run_send k () None)
        | _ -> None) }

and run_receive : type a. (a, unit) continuation -> a -> (unit, unit) continuation -> unit = fun k v sender ->
  continue_with k v
    { retc = (fun () -> say "the receiver ends"; run_send sender () None);
      exnc = (fun e -> say "the receiver ends by %s" (Printexc.to_string e); discontinue_with sender e
        { retc = (fun () -> say "not reached"); exnc = (fun e -> say "and the sender by %s" (Printexc.to_string e)); effc = (fun _ -> None) });
      effc = (fun (type b) (eff : b Effect.t) ->
        match eff with
        | Receive -> Some (fun (k : (b, unit) continuation) -> run_send sender () (Some k))
        | _ -> None) }

let send n = for i = 1 to n do perform (Send i) done
let rec receive n = if n > 0 then (say "received %d" (perform Receive); receive (n - 1))

let () =
  run_receive (fiber (fun () -> receive 2)) () (fiber (fun () -> send 3));
  run_receive (fiber (fun () -> receive 1; raise Not_found)) () (fiber (fun () -> send 3));
  match run_send (fiber (fun () -> ignore (perform Receive))) () None with
  | () -> say "?"
  | exception Unhandled Receive -> say "nobody handles it"
