(* Functions of Sys that came with later versions. *)
let () =
  Printf.printf "%b %b\n" (Sys.file_exists "/") (try Sys.is_regular_file "/nonexistent" with Sys_error e -> print_endline e; false);
  Printf.printf "%b %b\n" (Sys.is_regular_file "/") (Sys.is_regular_file "/etc/passwd")
