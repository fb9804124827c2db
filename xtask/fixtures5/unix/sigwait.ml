(* Unix.sigwait (since 5.4) takes a blocked signal.
   (*toml
   flags = ["-I", "+unix", "unix.cma"]
   since = "5.4"
   *) *)
let () =
  let old = Unix.sigprocmask Unix.SIG_BLOCK [ Sys.sigusr1; Sys.sigusr2 ] in
  Unix.kill (Unix.getpid ()) Sys.sigusr2;
  Printf.printf "pending: %b\n" (List.mem Sys.sigusr2 (Unix.sigpending ()));
  let s = Unix.sigwait [ Sys.sigusr1; Sys.sigusr2 ] in
  Printf.printf "%b %d %d\n" (s = Sys.sigusr2) (List.length (Unix.sigpending ())) (List.length old)
