(* Domain-local storage: initial values, values split from the parent's, and the states of Random. *)
let p fmt = Printf.printf (fmt ^^ "\n%!")
let counted = Domain.DLS.new_key ~split_from_parent:succ (fun () -> 20)
let own = Domain.DLS.new_key (fun () -> ref 0)
let show who = incr (Domain.DLS.get own); p "%s: %d %d" who (Domain.DLS.get counted) !(Domain.DLS.get own)
let () =
  show "main";
  show "main";
  Domain.join (Domain.spawn (fun () ->
    show "child";
    Domain.join (Domain.spawn (fun () -> show "grandchild"));
    Domain.DLS.set counted 5;
    show "child"));
  show "main";
  let d = Domain.spawn Random.bits in
  let bits = Domain.join d in
  p "%d %d" bits (Random.bits ())
