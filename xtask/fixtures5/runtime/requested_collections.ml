(* When finalisers and alarms run, and weak pointers are emptied, as the program requests collections.
   (*toml
   since = "4.14"
   run = [{ no-torture = "the program says when to collect, and prints what has run" }]
   *) *)
let p fmt = Printf.printf (fmt ^^ "\n%!")
let mk n =
  let v = ref n in
  Gc.finalise (fun _ -> p "first %d" n) v;
  Gc.finalise_last (fun () -> p "last %d" n) v
let () =
  let w = Weak.create 1 in
  Weak.set w 0 (Some (ref 1));
  Gc.minor ();
  p "weak: %b" (Weak.check w 0);
  mk 1; Gc.full_major (); p "one"; Gc.full_major (); p "two";
  mk 2; Gc.minor ();
  for i = 1 to 4 do Gc.major (); p "major %d" i done;
  Gc.full_major (); Gc.full_major ();
  mk 3; Gc.minor (); Gc.full_major (); p "one"; Gc.full_major (); p "two";
  let n = ref 0 in
  let alarm = Gc.create_alarm (fun () -> incr n) in
  let show s = p "%s: %d" s !n; n := 0 in
  Gc.full_major (); show "full_major";
  Gc.full_major (); show "full_major";
  Gc.major (); show "major";
  Gc.compact (); show "compact";
  Gc.delete_alarm alarm
