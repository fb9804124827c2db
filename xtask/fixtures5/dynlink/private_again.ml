(* Dynlink.loadfile_private, many times: each load has its own state, and no name stays.
   (*toml
   sources = ["private_again_plugin.ml"]
   build = [
       "ocamlc -c private_again_plugin.ml",
       "ocamlc -I +dynlink dynlink.cma -o private_again.byte private_again.ml",
   ]
   products = ["private_again_plugin.cmo"]
   *) *)
let loads = ref 0

let () =
  for _ = 1 to 20 do
    Dynlink.loadfile_private "private_again_plugin.cmo";
    incr loads
  done;
  Gc.full_major ();
  Printf.printf "%d loads\n" !loads;
  (match Dynlink.loadfile "private_again_plugin.cmo" with
   | () -> print_endline "public"
   | exception Dynlink.Error e -> print_endline (Dynlink.error_message e));
  match Dynlink.loadfile "private_again_plugin.cmo" with
  | () -> print_endline "loaded twice"
  | exception Dynlink.Error e -> print_endline (Dynlink.error_message e)
