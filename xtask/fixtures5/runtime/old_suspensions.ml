(* Suspensions that are old when they are forced stay where they are, those that are young then give way in minor collections.
   (*toml
   since = "4.14"
   *) *)
type holder = { suspended : int ref Lazy.t }

(* Read without forcing: a value that was computed has tag 0. *)
let tag h = Obj.tag (Obj.field (Obj.repr h) 0)
let[@inline never] make n = { suspended = lazy (ref n) }
let[@inline never] force h = !(Lazy.force h.suspended)
let show what h = Printf.printf "%s: %d %d\n" what (tag h) (Obj.reachable_words (Obj.repr h))

let () =
  let old = make 1 in
  Gc.full_major ();
  show "old" old;
  print_int (force old); print_newline ();
  show "forced" old;
  Gc.minor (); show "after a minor collection" old;
  Gc.full_major (); Gc.full_major (); show "after full ones" old;
  Gc.compact (); show "compacted" old;
  let w = Weak.create 1 in
  Weak.set w 0 (Some (Obj.repr old.suspended));
  Gc.full_major ();
  let key = Option.get (Weak.get w 0) in
  Printf.printf "as a key: %d %d\n" (Obj.tag key) (force old)
