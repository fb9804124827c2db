(* Effects in finalisers, signal handlers and alarms of the collector do not reach the handler of what is interrupted.
   (*toml
   flags = ["-I", "+unix", "unix.cma"]
   *) *)
open Effect
open Effect.Deep

type _ Effect.t += Ask : string -> int Effect.t

let handled f =
  match_with f ()
    { retc = (fun n -> Printf.printf "  returned %d\n%!" n);
      exnc = (fun e -> Printf.printf "  raised %s\n%!" (Printexc.to_string e));
      effc =
        (fun (type a) (e : a Effect.t) ->
          match e with
          | Ask who -> Some (fun (k : (a, _) continuation) -> Printf.printf "  %s asks\n%!" who; continue k 40)
          | _ -> None) }

let attempt who =
  match perform (Ask who) with
  | n -> Printf.printf "  %s gets %d\n%!" who n
  | exception Unhandled (Ask who) -> Printf.printf "  %s has no handler\n%!" who

let section name f =
  print_endline name;
  handled (fun () -> f (); 2 + perform (Ask name))

let finalisers () =
  Gc.finalise (fun _ -> attempt "a finaliser") (ref 1);
  Gc.full_major ();
  Gc.full_major ();
  Gc.finalise_last (fun () -> attempt "a last finaliser") (ref 2);
  Gc.full_major ();
  Gc.full_major ()

let signals () =
  let old = Sys.signal Sys.sigusr1 (Sys.Signal_handle (fun _ -> attempt "a signal handler")) in
  Unix.kill (Unix.getpid ()) Sys.sigusr1;
  ignore (Sys.opaque_identity (ref 0));
  Sys.set_signal Sys.sigusr1 old

let alarms () =
  let rang = ref false in
  let alarm = Gc.create_alarm (fun () -> if not !rang then (rang := true; attempt "an alarm")) in
  Gc.full_major ();
  Gc.delete_alarm alarm

let callbacks () =
  List.iter attempt [ "a callback from OCaml" ];
  (* What a finaliser raises goes to what was interrupted. *)
  Gc.finalise (fun _ -> ignore (perform (Ask "an unhandled finaliser"))) (ref 3);
  match Gc.full_major (); Gc.full_major () with
  | () -> print_endline "  not raised"
  | exception Unhandled (Ask who) -> Printf.printf "  %s raised\n%!" who

(* A handler installed inside of a finaliser handles. *)
let inside () =
  Gc.finalise (fun _ -> handled (fun () -> perform (Ask "a handled finaliser"))) (ref 4);
  Gc.full_major ();
  Gc.full_major ()

let () =
  section "finalisers" finalisers;
  section "signals" signals;
  section "alarms" alarms;
  section "callbacks" callbacks;
  section "inside" inside;
  at_exit (fun () -> attempt "at_exit");
  handled (fun () -> at_exit (fun () -> attempt "at_exit from a handler"); exit (perform (Ask "exit") - 37))
