(* Two domains that wait for each other in loops that do nothing else, with and without a shared counter of turns. *)
let ball = Atomic.make 0
let rounds = 3000

let rec play me put =
  let n = Atomic.get ball in
  if n >= rounds then ()
  else if n land 1 = me then begin
    put (n + 1);
    play me put
  end
  else
    let _ = Sys.opaque_identity [ n ] in
    play me put

let game name put =
  Atomic.set ball 0;
  let other = Domain.spawn (fun () -> play 0 put) in
  play 1 put;
  Domain.join other;
  Printf.printf "%s: %d\n%!" name (Atomic.get ball)

let () =
  game "set" (Atomic.set ball);
  let turns = Array.make 2 0 in
  game "count" (fun n ->
      for _ = 1 to 20 do
        turns.(n land 1) <- turns.(n land 1) + 1
      done;
      Atomic.set ball n);
  Printf.printf "%d %d\n" turns.(0) turns.(1);
  game "relax" (fun n -> Domain.cpu_relax (); Atomic.set ball n)
