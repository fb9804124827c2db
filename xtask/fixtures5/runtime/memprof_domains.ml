(* Each domain samples for one profile: a new one shares its parent's, and replaces it alone; who stops a profile stops it
   in all domains.
   (*toml
   since = "5.3"
   *) *)
module M = Gc.Memprof

let count = Array.init 3 (fun _ -> Atomic.make 0)
let start i =
  M.start ~sampling_rate:1. { M.null_tracker with alloc_minor = (fun _ -> Atomic.incr count.(i); None) }
let rec allocate n = if n > 0 then (ignore (Sys.opaque_identity (ref n)); allocate (n - 1))

(* Which profiles sample what this domain allocates. *)
let sampled () =
  let before = Array.map Atomic.get count in
  allocate 100;
  String.concat " " (List.filter_map
    (fun i -> if Atomic.get count.(i) >= before.(i) + 100 then Some (string_of_int i) else None) [0; 1; 2])

let p domain what = Printf.printf "%s: %s\n%!" domain what
let in_domain f = Domain.join (Domain.spawn f)
let try_ f = match f () with () -> "ok" | exception Failure e -> e

let () =
  let first = start 0 in
  p "main" (sampled ());
  let second = ref None in
  in_domain (fun () ->
    p "shares" (sampled ());
    M.stop ();
    p "stopped" (sampled ());
    second := Some (start 1);
    p "its own" (sampled ());
    in_domain (fun () -> p "grandchild" (sampled ())));
  p "main" (sampled ());
  p "stop" (try_ M.stop);
  p "discard" (try_ (fun () -> M.discard first));
  p "discard" (try_ (fun () -> M.discard (Option.get !second)));
  let third = start 2 in
  p "main" (sampled ());
  in_domain (fun () -> p "shares" (sampled ()));
  M.stop ();
  p "main" (sampled ());
  M.discard third;
  in_domain (fun () -> p "none" (sampled ()); p "stop" (try_ M.stop))
