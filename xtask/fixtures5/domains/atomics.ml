(* Atomic references that have become old hold young values: exchanges and comparisons remember them. *)

let cells = Array.init 100 (fun i -> Atomic.make [ i ])
let total () = Array.fold_left (fun sum cell -> List.fold_left ( + ) sum (Atomic.get cell)) 0 cells

let rec push cell x =
  let old = Atomic.get cell in
  if not (Atomic.compare_and_set cell old (x :: old)) then push cell x

let () =
  Gc.full_major ();
  for round = 1 to 50 do
    Array.iter (fun cell -> push cell round) cells;
    if round mod 7 = 0 then Gc.minor ()
  done;
  Printf.printf "pushed %d\n" (total ());
  let taken = Array.map (fun cell -> Atomic.exchange cell [ Random.bits () land 0 ]) cells in
  Gc.full_major ();
  Printf.printf "taken %d, left %d\n" (List.fold_left ( + ) 0 (List.concat (Array.to_list taken))) (total ());
  let same = [ 1 ] in
  let cell = Atomic.make same in
  Printf.printf "equal is not the same: %b %b\n"
    (Atomic.compare_and_set cell [ Sys.opaque_identity 1 ] [])
    (Atomic.compare_and_set cell same []);
  let number = Atomic.make max_int in
  let before = Atomic.fetch_and_add number 1 in
  Printf.printf "wraps: %b %b\n" (before = max_int) (Atomic.get number = min_int)

let () =
  let count = Atomic.make 0 in
  let add () = for _ = 1 to 10_000 do Atomic.incr count done in
  let others = List.init 3 (fun _ -> Domain.spawn add) in
  add ();
  List.iter Domain.join others;
  Printf.printf "four domains count to %d\n" (Atomic.get count)
