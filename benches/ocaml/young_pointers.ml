(* A large old array whose fields are overwritten by young blocks all the time. *)
let () =
  let n = int_of_string Sys.argv.(1) in
  let a = Array.make 200_000 [] in
  let state = ref 7 in
  for i = 1 to n do
    state := ((!state * 1103515245) + 12345) land 0x3FFFFFFF;
    let at = (!state lsr 7) mod Array.length a in
    a.(at) <- (match a.(at) with _ :: _ :: _ :: _ -> [] | l -> i :: l)
  done;
  Printf.printf "%d\n" (Array.fold_left (fun acc l -> acc + List.length l) 0 a)
