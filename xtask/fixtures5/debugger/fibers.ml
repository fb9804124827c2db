(* Sessions of ocamldebug in fibers: frames of their parents; stepping over, and back over, effects; ending functions that
   end in another fiber.
   (*toml
   flags = ["-g"]
   products = ["fibers.ml", "fibers.cmi"]

   [[run]]
   name = "frames"
   debugger = true
   stdin = "set loadingmode runtime\nbreak @ Fibers 33\nbreak @ Fibers 38\nrun\nbt\nprint x\nprint n\nup\nframe\nprint n\nup\nup\nup\ndown\nbacktrace 3\nframe 0\nfinish\nprint a\nnext\nnext\nbt\nfinish\nfinish\nfinish\nrun\nrun\nquit\n"

   [[run]]
   name = "over"
   debugger = true
   stdin = "set loadingmode runtime\nbreak @ Fibers 32\nrun\nstep\nbt\nstep 4\nbt\nprint k\nprint n\nup\nbackstep\nbackstep 3\nbt\nstart\nprevious\nlast\nnext\nnext\ndelete 1\nfinish\nfinish\nfinish\nquit\n"

   [[run]]
   name = "across"
   debugger = true
   stdin = "set loadingmode runtime\nbreak @ Fibers 68\nrun\nnext\nnext 2\nbt\nbreak @ Fibers 33\nrun\ndelete 1\nfinish\nfinish\nbreak @ Fibers 67\nrun\nfinish\nbt\nfinish\nnext\nrun\nrun\nrun\nbackstep\nbt\nprint three\nprevious\nprevious\nbackstep 20\nbt\nfinish\nquit\n"
   *) *)

open Effect
open Effect.Deep

type _ Effect.t += Ask : int -> int Effect.t
type _ Effect.t += Tell : string -> unit Effect.t

exception Gone of int

let inner n =
  let x = perform (Ask n) in
  let y = x + 1 in
  y * 2

let outer n =
  let a = inner n in
  perform (Tell "between");
  let b = inner (a + 1) in
  a + b

let asking f x =
  match_with f x
    { retc = (fun v -> v + 1000);
      exnc = (fun e -> raise e);
      effc = (fun (type c) (eff : c Effect.t) ->
        match eff with
        | Ask n ->
          Some (fun (k : (c, _) continuation) ->
            let r = continue k (n * 10) in
            r + 1)
        | _ -> None) }

let telling f x =
  match_with f x
    { retc = (fun v -> string_of_int v);
      exnc = (fun e -> "exn " ^ Printexc.to_string e);
      effc = (fun (type c) (eff : c Effect.t) ->
        match eff with
        | Tell s ->
          Some (fun (k : (c, _) continuation) ->
            let rest = continue k () in
            s ^ rest)
        | _ -> None) }

let failing n =
  let got = inner n in
  raise (Gone got)

let () =
  let one = telling (asking outer) 1 in
  print_endline one;
  let two = telling (asking failing) 2 in
  print_endline two;
  let three = try asking (fun () -> perform (Tell "nobody"); 3) () with Unhandled _ -> 4 in
  print_endline (string_of_int three);
  ignore (inner three)
