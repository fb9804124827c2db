(* The script with which a toplevel begins: it prepares the toplevel as for interactive use, and registers the function
   that evaluates phrases, which the host puts into a file in memory. *)

exception Ready

let answers = Buffer.create 1024
let warnings = Buffer.create 1024
let answer_ppf = Format.formatter_of_buffer answers
let warning_ppf = Format.formatter_of_buffer warnings

(* Begins the interactive loop, and leaves it before its first phrase: it sets where warnings go. Phrases do not see
   the definitions of this script. *)
let prepare () =
  Toploop.add_hook (function Toploop.After_setup -> raise Ready | _ -> ());
  Topdirs.dir_remove_directory "+compiler-libs";
  (try Toploop.loop warning_ppf with Ready -> ());
  Toploop.initialize_toplevel_env ()

let fresh = ref true

let eval () =
  if !fresh then begin
    fresh := false;
    prepare ()
  end;
  Buffer.clear answers;
  Buffer.clear warnings;
  let good = Toploop.use_file answer_ppf "//spelter/phrases" in
  Format.pp_print_flush answer_ppf ();
  Format.pp_print_flush warning_ppf ();
  Format.pp_print_flush Format.std_formatter ();
  Format.pp_print_flush Format.err_formatter ();
  flush_all ();
  (good, Buffer.contents warnings, Buffer.contents answers)

let () = Callback.register "spelter.eval" eval
