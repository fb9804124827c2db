(* Two domains that exchange values through bounded channels. *)
type 'a channel = { lock : Mutex.t; changed : Condition.t; items : 'a Queue.t; room : int }

let make room = { lock = Mutex.create (); changed = Condition.create (); items = Queue.create (); room }

let send c x =
  Mutex.lock c.lock;
  while Queue.length c.items >= c.room do Condition.wait c.changed c.lock done;
  Queue.add x c.items;
  Condition.broadcast c.changed;
  Mutex.unlock c.lock

let receive c =
  Mutex.lock c.lock;
  while Queue.is_empty c.items do Condition.wait c.changed c.lock done;
  let x = Queue.take c.items in
  Condition.broadcast c.changed;
  Mutex.unlock c.lock;
  x

let () =
  let n = int_of_string Sys.argv.(1) in
  let there = make 64 and back = make 64 in
  let worker = Domain.spawn (fun () -> for _ = 1 to n do send back (receive there + 1) done) in
  let feeder = Domain.spawn (fun () -> for i = 1 to n do send there i done) in
  let sum = ref 0 in
  for _ = 1 to n do sum := !sum + receive back done;
  Domain.join worker;
  Domain.join feeder;
  print_int !sum;
  print_newline ()
