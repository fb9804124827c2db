(* A bounded queue under a mutex, filled and emptied by one domain. *)
let () =
  let n = int_of_string Sys.argv.(1) in
  let lock = Mutex.create () and ready = Condition.create () in
  let queue = Queue.create () in
  let put x =
    Mutex.lock lock;
    Queue.add x queue;
    Condition.signal ready;
    Mutex.unlock lock
  in
  let take () = Mutex.protect lock (fun () -> Queue.take queue) in
  let sum = ref 0 in
  for i = 1 to n do
    put i;
    if i land 3 = 0 then for _ = 1 to 4 do sum := !sum + take () done
  done;
  print_int !sum;
  print_newline ()
