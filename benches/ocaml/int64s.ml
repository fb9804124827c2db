(* Boxed integers: xorshift, a checksum, and a multiplicative hash. *)
let xorshift x =
  let x = Int64.logxor x (Int64.shift_left x 13) in
  let x = Int64.logxor x (Int64.shift_right_logical x 7) in
  Int64.logxor x (Int64.shift_left x 17)

let () =
  let n = int_of_string Sys.argv.(1) in
  let x = ref 88172645463325252L and sum = ref 0l and h = ref 1469598103934665603n in
  for i = 1 to n do
    x := xorshift !x;
    sum := Int32.add !sum (Int64.to_int32 !x);
    h := Nativeint.mul (Nativeint.logxor !h (Nativeint.of_int (i land 255))) 1099511628211n
  done;
  Printf.printf "%Ld %ld %nd\n" !x !sum !h
