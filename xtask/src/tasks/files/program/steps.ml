(* What raises, in each way that a backtrace tells apart. *)
exception Bad of int * string

let table : (int, string) Hashtbl.t = Hashtbl.create 7

let never () =
  print_endline "never" (* not covered *)

let check n =
  if n > 3 then raise (Bad (n, "too large"));
  Hashtbl.replace table n (string_of_int n) (* covered *)

let rec deep n =
  if n = 0 then check 9
  else begin
    deep (n - 1);
    print_endline "not reached" (* not covered *)
  end

let reraise f = try f () with Bad (n, _) as e -> if n > 8 then raise e

let failing k =
  let constant = Bad (k, "k") in
  raise (if k > 1 then constant else Not_found)

let traced name f =
  try f ()
  with e ->
    print_endline (name ^ ": " ^ Printexc.to_string e); (* covered *)
    Printexc.print_backtrace stdout

let divide x y =
  let quotient = x / y in
  string_of_int quotient

let remainder x y = print_int (x mod y)

let floats = [| 1.5; 2.5; 3.5 |]

let () =
  traced "deep" (fun () -> deep 3);
  traced "again" (fun () -> reraise (fun () -> deep 2));
  traced "find" (fun () -> ignore (List.find (fun x -> x > 5) [ 1; 2; 3 ]));
  traced "bounds" (fun () -> ignore floats.(7));
  traced "sub" (fun () -> ignore (String.sub "text" 3 90));
  traced "number" (fun () -> ignore (int_of_string "zz"));
  traced "divide" (fun () -> ignore (divide 1 0));
  traced "mod" (fun () -> remainder 1 0);
  traced "argument" (fun () -> failing 2);
  traced "partial" (fun () -> ignore (List.map (fun f -> f 1) (List.map (fun x y -> check (x + y + 3)) [ 1; 2 ])));
  List.iter check [ 1; 2; 3 ];
  at_exit (fun () -> print_endline "at exit");
  if Array.length Sys.argv > 5 then never ();
  Printf.printf "%d %S %f\n%!" (Hashtbl.length table) (Hashtbl.find table 2) floats.(1)
