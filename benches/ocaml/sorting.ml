(* Sorting lists and arrays, with monomorphic and polymorphic comparison. *)
let state = ref 42
let random () =
  state := ((!state * 1103515245) + 12345) land 0x3FFFFFFF;
  !state lsr 7

let () =
  let n = int_of_string Sys.argv.(1) in
  let sum = ref 0 in
  for _ = 1 to n do
    let l = List.init 3000 (fun _ -> random ()) in
    let sorted = List.sort (fun (a : int) b -> compare a b) l in
    let a = Array.of_list l in
    Array.sort (fun (a : int) b -> if a < b then -1 else if a > b then 1 else 0) a;
    let pairs = List.stable_sort compare (List.map (fun x -> (x land 255, x)) l) in
    sum := (!sum + List.nth sorted 100 + a.(200) + snd (List.nth pairs 300)) land 0xFFFFFFF
  done;
  Printf.printf "%d\n" !sum
