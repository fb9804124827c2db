(* How computations under handlers end: values, exceptions, nobody handles, resumed twice, discontinued, left to outer handlers. *)
open Effect
open Effect.Deep
type _ Effect.t += Ask : string -> int Effect.t | Other : int Effect.t

let say fmt = Printf.printf (fmt ^^ "\n%!")
let told what f = match f () with n -> say "%s: %d" what n | exception e -> say "%s: %s" what (Printexc.to_string e)

(* Answers [Ask] in the given way, and leaves the rest to outer handlers. *)
let under (answer : (int, int) continuation -> int) f =
  match_with f ()
    { retc = (fun n -> n + 1000);
      exnc = (fun e -> say "  ends by %s" (Printexc.to_string e); raise e);
      effc = (fun (type a) (eff : a Effect.t) ->
        match eff with Ask _ -> Some (fun (k : (a, int) continuation) -> answer k) | _ -> None) }

let ask () = perform (Ask "x") + 1
let guarded () = try ask () with Not_found -> -1

let () =
  told "continued" (fun () -> under (fun k -> continue k 3) ask);
  told "twice" (fun () -> under (fun k -> continue k 3 + continue k 4) ask);
  told "dropped" (fun () -> under (fun _ -> 7) ask);
  told "discontinued" (fun () -> under (fun k -> discontinue k Not_found) ask);
  told "discontinued, caught" (fun () -> under (fun k -> discontinue k Not_found) guarded);
  told "nobody" ask;
  told "not this one" (fun () -> under (fun k -> continue k 3) (fun () -> perform Other));
  told "not this one, caught" (fun () ->
    under (fun k -> continue k 3) (fun () -> match perform Other with n -> n | exception Unhandled Other -> 5));
  told "by the outer one" (fun () ->
    under (fun k -> continue k 3) (fun () ->
      try_with (fun () -> ask () * 2) ()
        { effc = (fun (type a) (eff : a Effect.t) ->
            match eff with Other -> Some (fun (k : (a, int) continuation) -> continue k 0) | _ -> None) }));
  told "in the handler" (fun () -> under (fun k -> continue k (ask ())) ask);
  told "raised by the handler" (fun () -> under (fun _ -> raise Exit) guarded);
  told "in a callback" (fun () -> under (fun k -> continue k 3) (fun () -> List.fold_left (fun n _ -> n + ask ()) 0 [ 1; 2; 3 ]));
  told "in a finaliser's place" (fun () -> under (fun k -> continue k 3) (fun () -> Fun.protect ~finally:(fun () -> say "  finally") ask));
  ignore (ask ())
