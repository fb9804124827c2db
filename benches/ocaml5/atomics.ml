(* Atomic counters and a lock-free stack, in one domain. *)
let () =
  let n = int_of_string Sys.argv.(1) in
  let counter = Atomic.make 0 and stack = Atomic.make [] in
  let rec push x =
    let old = Atomic.get stack in
    if not (Atomic.compare_and_set stack old (x :: old)) then push x
  in
  let rec pop () =
    match Atomic.get stack with
    | [] -> 0
    | x :: rest as old -> if Atomic.compare_and_set stack old rest then x else pop ()
  in
  let sum = ref 0 in
  for i = 1 to n do
    Atomic.incr counter;
    push i;
    sum := !sum + pop () + Atomic.fetch_and_add counter 2
  done;
  print_int (!sum + Atomic.exchange counter 0);
  print_newline ()
