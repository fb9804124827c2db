(* Exceptions raised and handled, near and far, with and without arguments. *)
exception Found of int
exception Stop

let find p a =
  try
    Array.iteri (fun i x -> if p x then raise (Found i)) a;
    -1
  with Found i -> i

let rec dive n = if n = 0 then raise_notrace Stop else 1 + dive (n - 1)

let () =
  let n = int_of_string Sys.argv.(1) in
  let a = Array.init 20 (fun i -> i * i) in
  let sum = ref 0 in
  for i = 1 to n do
    sum := !sum + find (fun x -> x >= i land 255) a;
    (try ignore (dive 10) with Stop -> incr sum);
    (try if i land 1 = 0 then failwith "even" else sum := !sum + 2 with Failure s -> sum := !sum + String.length s);
    sum := !sum + (try List.assoc i [ (1, 2); (3, 4) ] with Not_found -> 1)
  done;
  Printf.printf "%d\n" !sum
