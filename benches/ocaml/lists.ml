(* List functions of the standard library: map, filter, fold, rev, sort, assoc. *)
let () =
  let n = int_of_string Sys.argv.(1) in
  let total = ref 0 in
  let base = List.init 1000 (fun i -> (i * 7919) mod 1009) in
  for round = 1 to n do
    let l = List.map (fun x -> x + round) base in
    let l = List.filter (fun x -> x land 3 <> 0) l in
    let l = List.rev_append (List.rev l) [ round ] in
    let pairs = List.mapi (fun i x -> (i, x)) l in
    total := !total + List.fold_left ( + ) 0 l + List.length pairs + List.assoc 100 pairs;
    if List.exists (fun (i, x) -> i = x) pairs then incr total
  done;
  Printf.printf "%d\n" !total
