(* Values to bytes and back. *)
type item = { name : string; weight : float; tags : string list; next : item option }

let rec make n =
  { name = "item" ^ string_of_int n; weight = float_of_int n /. 7.; tags = [ "a"; "b"; string_of_int (n land 7) ];
    next = (if n = 0 then None else Some (make (n - 1))) }

let () =
  let n = int_of_string Sys.argv.(1) in
  let v = (make 1000, Array.init 1000 (fun i -> i * i), Array.init 500 float_of_int) in
  let bytes = ref 0 in
  for _ = 1 to n do
    let s = Marshal.to_string v [] in
    bytes := !bytes + String.length s;
    let item, ints, floats = (Marshal.from_string s 0 : item * int array * float array) in
    bytes := !bytes + String.length item.name + ints.(10) + int_of_float floats.(20)
  done;
  Printf.printf "%d\n" !bytes
