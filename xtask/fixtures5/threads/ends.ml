(* How threads end: Thread.exit as an exception, uncaught exceptions and their handler, and a thread that only spins.
   (*toml
   flags = ["-I", "+unix", "-I", "+threads", "unix.cma", "threads.cma"]
   *) *)
let p fmt = Printf.printf (fmt ^^ "\n%!")
let run f = Thread.join (Thread.create f ())
let () =
  run (fun () -> Fun.protect ~finally:(fun () -> p "finally") Thread.exit);
  (match Thread.exit () with () -> p "?" | exception Thread.Exit -> p "Thread.Exit in the main thread");
  run (fun () -> failwith "default handler");
  Thread.set_uncaught_exception_handler (fun e -> p "handler: %s" (Printexc.to_string e));
  run (fun () -> failwith "own handler");
  Thread.set_uncaught_exception_handler (fun _ -> failwith "raised by the handler");
  run (fun () -> failwith "bad handler");
  let stop = ref false in
  let t = Thread.create (fun () -> while not !stop do () done) () in
  Thread.delay 0.1; stop := true; Thread.join t;
  p "%d" (Thread.id (Thread.self ()))
