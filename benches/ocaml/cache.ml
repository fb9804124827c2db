(* A cache that lives long and whose entries do not: old blocks that point to ever younger ones. *)
let size = 65536

let () =
  let n = int_of_string Sys.argv.(1) in
  let cache = Hashtbl.create size in
  let order = Queue.create () in
  let hits = ref 0 and state = ref 1 in
  for i = 1 to n do
    state := ((!state * 1103515245) + 12345) land 0x3FFFFFFF;
    let key = (!state lsr 8) land 0x1FFFF in
    match Hashtbl.find_opt cache key with
    | Some (n, _) -> hits := !hits + n
    | None ->
      Hashtbl.add cache key (1, [ i; i + 1 ]);
      Queue.add key order;
      if Queue.length order > size then Hashtbl.remove cache (Queue.pop order)
  done;
  Printf.printf "%d %d\n" !hits (Hashtbl.length cache)
