(* Printexc.get_callstack inside several exception handlers, and places of several lines. *)
let f () = print_string (Printexc.raw_backtrace_to_string (Printexc.get_callstack 20))
let g () = try (try (try f (); 1 with Not_found -> 2) + 1 with Exit -> 3) + 1 with End_of_file -> 4
let () = Printf.printf "%d\n" (g ())
let h x =
  failwith
    (String.concat " "
       [ x; "is wrong" ])
let () = Printexc.record_backtrace true
let () = try ignore (h "it" ^ ".") with _ -> Printexc.print_backtrace stdout
let () = ignore (List.map
   h [ "that" ])
