(* Functorial maps and sets. *)
module Int_map = Map.Make (Int)
module String_set = Set.Make (String)

let () =
  let n = int_of_string Sys.argv.(1) in
  let map = ref Int_map.empty and set = ref String_set.empty in
  for i = 1 to n do
    let key = (i * 7919) land 4095 in
    map := Int_map.add key i !map;
    if i land 7 = 0 then map := Int_map.remove (key lxor 5) !map;
    if i land 3 = 0 then set := String_set.add (string_of_int key) !set
  done;
  let found = ref 0 in
  for i = 1 to n do
    if Int_map.mem (i land 8191) !map then incr found
  done;
  let sum = Int_map.fold (fun k v acc -> acc + (k * v)) !map 0 in
  let half = String_set.filter (fun s -> String.length s land 1 = 0) !set in
  Printf.printf "%d %d %d %d %d\n" (Int_map.cardinal !map) (String_set.cardinal !set) !found (sum land 0xFFFFFF)
    (String_set.cardinal (String_set.inter half !set))
