(* Local floats in a loop: how many points of a grid stay bounded. *)
let rec escapes cr ci zr zi k =
  if k = 0 then false
  else
    let zr2 = zr *. zr and zi2 = zi *. zi in
    zr2 +. zi2 > 4. || escapes cr ci (zr2 -. zi2 +. cr) ((2. *. zr *. zi) +. ci) (k - 1)

let () =
  let n = int_of_string Sys.argv.(1) in
  let inside = ref 0 in
  for y = 0 to n - 1 do
    for x = 0 to n - 1 do
      let cr = (2. *. float_of_int x /. float_of_int n) -. 1.5 in
      let ci = (2. *. float_of_int y /. float_of_int n) -. 1. in
      if not (escapes cr ci 0. 0. 50) then incr inside
    done
  done;
  Printf.printf "%d\n" !inside
