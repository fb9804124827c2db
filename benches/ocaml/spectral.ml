(* Floats in arrays: the spectral norm of an infinite matrix's corner. *)
let eval_a i j = 1. /. float_of_int (((i + j) * (i + j + 1) / 2) + i + 1)

let times_u a v =
  let n = Array.length a in
  for i = 0 to n - 1 do
    let sum = ref 0. in
    for j = 0 to n - 1 do
      sum := !sum +. (eval_a i j *. v.(j))
    done;
    a.(i) <- !sum
  done

let times_ut a v =
  let n = Array.length a in
  for i = 0 to n - 1 do
    let sum = ref 0. in
    for j = 0 to n - 1 do
      sum := !sum +. (eval_a j i *. v.(j))
    done;
    a.(i) <- !sum
  done

let () =
  let n = int_of_string Sys.argv.(1) in
  let u = Array.make n 1. and v = Array.make n 0. and w = Array.make n 0. in
  for _ = 1 to 5 do
    times_u w u; times_ut v w;
    times_u w v; times_ut u w
  done;
  let vbv = ref 0. and vv = ref 0. in
  for i = 0 to n - 1 do
    vbv := !vbv +. (u.(i) *. v.(i));
    vv := !vv +. (v.(i) *. v.(i))
  done;
  Printf.printf "%.9f\n" (sqrt (!vbv /. !vv))
