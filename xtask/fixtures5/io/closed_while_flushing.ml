(* A signal handler closes the channel that is being flushed: an error until 5.3.
   (*toml
   flags = ["-I", "+unix", "unix.cma"]
   *) *)
let () =
  let rd, wr = Unix.pipe () in
  Unix.set_nonblock wr;
  let some = Bytes.make 1000 '!' in
  (try while true do ignore (Unix.write wr some 0 1000) done with Unix.Unix_error ((EAGAIN | EWOULDBLOCK), _, _) -> ());
  Unix.clear_nonblock wr;
  let oc = Unix.out_channel_of_descr wr in
  output oc some 0 1000;
  let handler _ = ignore (Unix.read rd (Bytes.create 100_000) 0 100_000); close_out oc in
  Sys.set_signal Sys.sigalrm (Signal_handle handler);
  ignore (Unix.setitimer Unix.ITIMER_REAL { Unix.it_interval = 0.; it_value = 0.05 });
  match flush oc with () -> print_endline "ok" | exception Sys_error e -> print_endline e
