(* Stack_overflow in fibers: caught inside, outside, and in a chain of handlers; the fiber's parent is unharmed. *)
open Effect
open Effect.Deep

type _ Effect.t += Step : int -> int Effect.t

let rec deep n = if n = max_int then 0 else 1 + deep (n + 1)

let handler =
  { effc =
      (fun (type a) (e : a Effect.t) ->
        match e with Step n -> Some (fun (k : (a, _) continuation) -> continue k (n + 1)) | _ -> None) }

let rec nested n f = if n = 0 then f () else try_with (fun () -> nested (n - 1) f) () handler

(* Effects below deep frames. *)
let rec climb n = if n = 0 then perform (Step 1) else 1 + climb (n - 1)

let () =
  Gc.set { (Gc.get ()) with Gc.stack_limit = 100_000 };
  let show name f = match f () with
    | n -> Printf.printf "%s: %d\n%!" name n
    | exception Stack_overflow -> Printf.printf "%s: overflow\n%!" name
  in
  for _ = 1 to 3 do
    show "inside" (fun () -> nested 1 (fun () -> try deep 0 with Stack_overflow -> 1 + perform (Step 5)));
    show "outside" (fun () -> nested 1 (fun () -> deep 0));
    show "chain" (fun () -> nested 20 (fun () -> deep 0));
    show "in a handler" (fun () ->
        match_with (fun () -> perform (Step 0)) ()
          { retc = Fun.id; exnc = raise;
            effc = (fun (type a) (e : a Effect.t) ->
              match e with Step _ -> Some (fun (_ : (a, _) continuation) -> deep 0) | _ -> None) });
    show "discontinued" (fun () ->
        match_with (fun () -> try perform (Step 0) with Stack_overflow -> 9) ()
          { retc = Fun.id; exnc = raise;
            effc = (fun (type a) (e : a Effect.t) ->
              match e with
              | Step _ ->
                Some (fun (k : (a, _) continuation) -> match deep 0 with n -> n | exception e -> discontinue k e)
              | _ -> None) });
    show "deep effects" (fun () -> nested 3 (fun () -> climb 1000 + climb 10))
  done
