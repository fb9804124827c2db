(* Counters of allocated words are each domain's own. *)
let rec allocate n = if n > 0 then (ignore (Sys.opaque_identity (ref n)); allocate (n - 1))
let p fmt = Printf.printf (fmt ^^ "\n%!")
let thousands words = int_of_float (words /. 1000.)

let () =
  allocate 50_000;
  let before = Gc.minor_words () in
  let own, (minor, promoted, major) =
    Domain.join (Domain.spawn (fun () ->
      let start = Gc.minor_words () in
      p "a new domain has none: %b" (start < 1000.);
      allocate 100_000;
      let own = Gc.minor_words () in
      let kept = Sys.opaque_identity (Array.init 100 (fun i -> ref i)) in
      Gc.minor ();
      let counters = Gc.counters () in
      ignore (Sys.opaque_identity kept);
      (own, counters)))
  in
  p "it allocated %d thousand" (thousands own);
  p "counters: minor %d thousand, promoted %b, major %b" (thousands minor)
    (promoted >= 300. && promoted < 10_000.) (major >= promoted && major < 20_000.);
  p "here: %b" (Gc.minor_words () -. before < 2000.)
