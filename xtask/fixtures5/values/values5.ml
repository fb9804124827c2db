(* Values of OCaml 5: atomics, suspensions in each state, random numbers, hashes, marshalled headers. *)
let () =
  let a = Atomic.make 1 in
  Printf.printf "%d %b %b %d %d\n" (Atomic.exchange a 5) (Atomic.compare_and_set a 1 2)
    (Atomic.compare_and_set a 5 max_int) (Atomic.fetch_and_add a 1) (Atomic.get a)

let () =
  let l = lazy (Random.bits ()) in
  let tag v = Obj.tag (Obj.repr v) in
  let before = tag l in
  let v = Lazy.force l in
  Printf.printf "%d %d %d %b\n" before v (tag l) (Lazy.force l = v);
  let rec bad = lazy (tag bad + Lazy.force bad) in
  (match Lazy.force bad with _ -> () | exception e -> print_endline (Printexc.to_string e));
  let fails = lazy (failwith "again") in
  for _ = 1 to 2 do
    match Lazy.force fails with () -> () | exception Failure s -> Printf.printf "%s %d\n" s (tag fails)
  done

let rec ones = lazy (1 :: tail)
and tail = []
let () = Printf.printf "%d %d\n" (List.length (Lazy.force ones)) (Hashtbl.hash (1, "a", 2.5, [| 1 |]))

let hex s = String.concat "" (List.map (fun c -> Printf.sprintf "%02x" (Char.code c)) (List.of_seq (String.to_seq s)))
let () =
  print_endline (hex (Marshal.to_string (Array.make 10 "x") []));
  print_endline (hex (Marshal.to_string (Obj.with_tag 200 (Obj.repr [||])) [ Marshal.No_sharing ]));
  Printf.printf "%d %d %d\n" Marshal.header_size (Obj.reachable_words (Obj.repr [| [||]; [||] |])) (Obj.tag (Obj.repr 5));
  let show f = match f () with _ -> print_endline "fine" | exception e -> print_endline (Printexc.to_string e) in
  show (fun () -> Gc.finalise ignore [||]);
  show (fun () -> Gc.finalise ignore (lazy (Random.bits ())));
  show (fun () -> (Marshal.from_string "nothing that was marshalled" 0 : int));
  show (fun () -> (Marshal.from_string (Marshal.to_string 5L []) 0 : int64));
  let s = Bytes.of_string (Marshal.to_string 5L []) in
  Bytes.set s 23 'z';
  show (fun () -> (Marshal.from_bytes s 0 : int64));
  Bytes.set s 20 '\x12';
  show (fun () -> (Marshal.from_bytes s 0 : int64))

let () =
  Random.init 42;
  Printf.printf "%d %d %Ld %f\n" (Random.bits ()) (Random.int 1000) (Random.int64 Int64.max_int) (Random.float 1.);
  print_endline (Digest.to_hex (Digest.string "abc"));
  let a = Array.append [| 1.5 |] [| 2.5 |] and f = Float.Array.make 3 1.25 in
  Float.Array.fill f 1 2 0.5;
  Printf.printf "%g %g %d\n" a.(1) (Float.Array.get (Float.Array.append f f) 5) (Obj.tag (Obj.repr (Float.Array.sub f 0 0)))
