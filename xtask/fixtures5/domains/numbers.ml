(* Ids of domains, which are never used again, the limit of 128, and how many processors are recommended. *)
let p fmt = Printf.printf (fmt ^^ "\n%!")
let me () = (Domain.self () :> int)
let () =
  p "%d %b" (me ()) (Domain.is_main_domain ());
  for _ = 1 to 3 do
    let d = Domain.spawn (fun () -> (me (), Domain.is_main_domain ())) in
    let id, main = Domain.join d in
    p "%d %b %b" id main (id = (Domain.get_id d :> int))
  done;
  let stop = ref false and lock = Mutex.create () and changed = Condition.create () in
  let wait () = Mutex.protect lock (fun () -> while not !stop do Condition.wait changed lock done) in
  let rec spawn_all domains =
    match Domain.spawn wait with
    | domain -> spawn_all (domain :: domains)
    | exception Failure why -> p "%d: %s" (List.length domains) why; domains in
  let domains = spawn_all [] in
  Mutex.protect lock (fun () -> stop := true; Condition.broadcast changed);
  List.iter Domain.join domains;
  p "%d" (Domain.join (Domain.spawn me));
  let n = Domain.recommended_domain_count () in
  p "%b" (n >= 1 && n <= 128)
