(* Effects that pass through several handlers before one handles them. *)
open Effect
open Effect.Deep

type _ Effect.t += Ask : int -> int Effect.t | Other : unit Effect.t

let within f =
  match_with f ()
    { retc = Fun.id;
      exnc = raise;
      effc =
        (fun (type a) (e : a Effect.t) ->
          match e with Other -> Some (fun (k : (a, _) continuation) -> continue k ()) | _ -> None) }

let rec nest depth f = if depth = 0 then f () else within (fun () -> nest (depth - 1) f)

let () =
  let n = int_of_string Sys.argv.(1) in
  let result =
    match_with
      (fun () ->
        nest 5 (fun () ->
            let sum = ref 0 in
            for i = 1 to n do
              sum := !sum + perform (Ask i)
            done;
            !sum))
      ()
      { retc = Fun.id;
        exnc = raise;
        effc =
          (fun (type a) (e : a Effect.t) ->
            match e with Ask x -> Some (fun (k : (a, _) continuation) -> continue k (x + 1)) | _ -> None) }
  in
  print_int result;
  print_newline ()
