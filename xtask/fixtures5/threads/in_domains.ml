(* Threads in domains: their ids are global, and a domain ends when they have ended.
   (*toml
   flags = ["-I", "+unix", "-I", "+threads", "unix.cma", "threads.cma"]
   *) *)
let p fmt = Printf.printf (fmt ^^ "\n%!")
let me () = Thread.id (Thread.self ())
let () =
  p "main %d" (me ());
  let d = Domain.spawn (fun () ->
    let t = Thread.create (fun () -> p "thread %d of domain %d" (me ()) (Domain.self () :> int); Thread.delay 0.05; p "ends") () in
    p "first %d, another %d" (me ()) (Thread.id t)) in
  Domain.join d;
  p "joined";
  Thread.join (Thread.create (fun () -> p "thread %d of domain %d" (me ()) (Domain.self () :> int)) ());
  let key = Domain.DLS.new_key (fun () -> "initial") in
  Domain.DLS.set key "set";
  Thread.join (Thread.create (fun () -> p "threads share it: %s" (Domain.DLS.get key)) ());
  (match Unix.fork () with _ -> p "?" | exception Failure why -> p "%s" why)
