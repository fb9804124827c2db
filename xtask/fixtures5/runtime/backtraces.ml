(* Backtraces as Printexc tells them: uncaught, re-raised, as slots, call stacks; lines of expressions that span several.
   (*toml
   flags = ["-g"]
   run = [
     { name = "uncaught", args = ["uncaught"], env = { OCAMLRUNPARAM = "b" } }, { name = "off", args = ["uncaught"] },
     { name = "reraise", args = ["reraise"], env = { OCAMLRUNPARAM = "b" } }, { name = "slots", args = ["slots"] },
     { name = "raw", args = ["raw"], env = { OCAMLRUNPARAM = "b" } }, { name = "primitive", args = ["primitive"], env = { OCAMLRUNPARAM = "b" } },
   ]
   *) *)
exception E of int

let rec down n = if n = 0 then raise (E 42) else 1 + down (n - 1)
let wide n =
  1 + down
        (n
         + 1)
let other () = try wide 1 with E _ -> raise Not_found
let rec deeper n = if n = 0 then Printexc.get_callstack 10 else let s = deeper (n - 1) in s

let show b =
  let slot i s =
    let open Printexc.Slot in
    Printf.printf "%b %b %s" (is_raise s) (is_inline s) (Option.value (name s) ~default:"no name");
    Option.iter (fun (l : Printexc.location) -> Printf.printf " %s %d %d-%d" l.filename l.line_number l.start_char l.end_char) (location s);
    Printf.printf " | %s\n" (Option.value (format i s) ~default:"nothing")
  in
  Printf.printf "%d\n" (Printexc.raw_backtrace_length b);
  Option.iter (Array.iteri slot) (Printexc.backtrace_slots b)

let () =
  match Sys.argv.(1) with
  | "uncaught" -> print_int (wide 3)
  | "reraise" -> print_int (try wide 2 with E n as e -> print_int n; print_newline (); raise e)
  | "slots" ->
    show (deeper 3);
    Printexc.record_backtrace true;
    (try print_int (wide 2) with E _ -> show (Printexc.get_raw_backtrace ()));
    (try print_int (other ()) with Not_found -> print_string (Printexc.get_backtrace ()));
    (try raise_notrace (E 1) with E _ -> show (Printexc.get_raw_backtrace ()));
    Printexc.record_backtrace false;
    (try print_int (wide 1) with E _ -> show (Printexc.get_raw_backtrace ()))
  | "raw" ->
    (try print_int (wide 1) with e ->
       let b = Printexc.get_raw_backtrace () in
       (try raise Exit with Exit -> ());
       Printexc.raise_with_backtrace e b)
  | _ ->
    (try print_int (int_of_string "x") with Failure _ -> show (Printexc.get_raw_backtrace ()));
    print_int [| 1 |].(Array.length Sys.argv)
