(* Where the backtrace of a stack overflow begins. *)
let rec sum n = if n < 0 then 0 else n + sum (n + 1)
let () =
  Printexc.record_backtrace true;
  Gc.set { (Gc.get ()) with Gc.stack_limit = 100_000 };
  match sum 0 with
  | n -> print_int n
  | exception Stack_overflow ->
    let lines = String.split_on_char '\n' (Printexc.get_backtrace ()) in
    List.iteri (fun i line -> if i < 3 then print_endline line) lines
