(* Polymorphic hash tables, with integers and strings for keys, and a functorial one. *)
module Table = Hashtbl.Make (struct
  type t = int
  let equal (a : int) b = a = b
  let hash x = x land max_int
end)

let () =
  let n = int_of_string Sys.argv.(1) in
  let ints = Hashtbl.create 16 and strings = Hashtbl.create 16 and own = Table.create 16 in
  for i = 1 to n do
    let k = (i * 7919) land 0x3FFF in
    Hashtbl.replace ints k i;
    Table.replace own k i;
    if i land 3 = 0 then Hashtbl.replace strings ("key" ^ string_of_int k) i
  done;
  let found = ref 0 in
  for i = 1 to n do
    if Hashtbl.mem ints i then incr found;
    match Table.find_opt own i with Some _ -> incr found | None -> ()
  done;
  let sum = Hashtbl.fold (fun k v acc -> (acc + String.length k + v) land 0xFFFFFF) strings 0 in
  Printf.printf "%d %d %d %d\n" (Hashtbl.length ints) (Hashtbl.length strings) !found sum
