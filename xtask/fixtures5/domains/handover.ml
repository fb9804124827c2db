(* Domains hand values on through conditions; one that always wants a lock does not keep it from another. *)

type 'a cell = { lock : Mutex.t; changed : Condition.t; mutable value : 'a option }

let cell () = { lock = Mutex.create (); changed = Condition.create (); value = None }

let rec put c v =
  Mutex.lock c.lock;
  if c.value = None then (c.value <- Some v; Condition.broadcast c.changed; Mutex.unlock c.lock)
  else (Condition.wait c.changed c.lock; Mutex.unlock c.lock; put c v)

let rec take c =
  Mutex.lock c.lock;
  match c.value with
  | Some v -> c.value <- None; Condition.broadcast c.changed; Mutex.unlock c.lock; v
  | None -> Condition.wait c.changed c.lock; Mutex.unlock c.lock; take c

let () =
  let cells = Array.init 5 (fun _ -> cell ()) in
  let link i = Domain.spawn (fun () -> for _ = 1 to 500 do put cells.(i + 1) (take cells.(i) + 1) done) in
  let links = List.init 4 link in
  let feeder = Domain.spawn (fun () -> for i = 1 to 500 do put cells.(0) i done) in
  let sum = ref 0 in
  for _ = 1 to 500 do sum := !sum + take cells.(4) done;
  List.iter Domain.join (feeder :: links);
  Printf.printf "sum %d\n" !sum

let () =
  let lock = Mutex.create () and stop = Atomic.make false in
  let greedy () =
    while not (Atomic.get stop) do
      Mutex.lock lock;
      ignore (Sys.opaque_identity (List.init 100 string_of_int));
      Mutex.unlock lock
    done
  in
  let others = List.init 2 (fun _ -> Domain.spawn greedy) in
  for _ = 1 to 20 do Mutex.protect lock ignore; Domain.cpu_relax () done;
  Atomic.set stop true;
  List.iter Domain.join others;
  print_endline "had the lock 20 times"

(* A loop without calls that waits for another domain lets it run. *)
let () =
  let turn = ref 0 in
  let play me = for i = 0 to 99 do while !turn <> (2 * i) + me do Sys.opaque_identity () done; incr turn done in
  let other = Domain.spawn (fun () -> play 1) in
  play 0;
  Domain.join other;
  Printf.printf "turn %d\n" !turn
