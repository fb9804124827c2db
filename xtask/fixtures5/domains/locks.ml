(* Mutexes and conditions between domains: errors of use, and a mutex that stays locked. *)
let p fmt = Printf.printf (fmt ^^ "\n%!")
let attempt what f = match f () with () -> p "%s" what | exception Sys_error why -> p "%s: %s" what why
let () =
  let lock = Mutex.create () and changed = Condition.create () in
  let in_domain f = Domain.join (Domain.spawn f) in
  attempt "unlocked" (fun () -> Mutex.unlock lock);
  attempt "not owned" (fun () -> Condition.wait changed lock);
  Mutex.lock lock;
  attempt "locked" (fun () -> Mutex.lock lock);
  p "%b" (Mutex.try_lock lock);
  in_domain (fun () -> attempt "another's" (fun () -> Mutex.unlock lock); p "%b" (Mutex.try_lock lock));
  (match Marshal.to_string lock [] with _ -> p "?" | exception Invalid_argument why -> p "%s" why);
  Mutex.unlock lock;
  let held = Mutex.create () in
  in_domain (fun () -> Mutex.lock held);
  p "%b %b" (Mutex.try_lock held) (Mutex.try_lock lock)
