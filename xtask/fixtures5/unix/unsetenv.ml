(* Unix.unsetenv (since 5.5).
   (*toml
   flags = ["-I", "+unix", "unix.cma"]
   since = "5.5"
   *) *)
let show () = print_endline (match Sys.getenv_opt "SPELTER_X" with Some v -> v | None -> "none")
let () =
  Unix.putenv "SPELTER_X" "1"; show ();
  Unix.unsetenv "SPELTER_X"; show ();
  List.iter (fun name ->
    match Unix.unsetenv name with
    | () -> print_endline "done"
    | exception Unix.Unix_error (e, call, arg) -> Printf.printf "%s %s %S\n" (Unix.error_message e) call arg)
    [ "A="; ""; "SPELTER_X" ]
