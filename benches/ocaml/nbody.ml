(* Floats in records: five bodies under gravity. *)
type body = {
  mutable x : float; mutable y : float; mutable z : float;
  mutable vx : float; mutable vy : float; mutable vz : float;
  mass : float;
}

let bodies =
  Array.init 5 (fun i ->
      let f = float_of_int (i + 1) in
      { x = f *. 1.7; y = f *. f /. 3.; z = sin f; vx = cos f /. 10.; vy = f /. 50.; vz = 0.01 *. f; mass = 1. /. f })

let advance dt =
  let n = Array.length bodies in
  for i = 0 to n - 1 do
    let b = bodies.(i) in
    for j = i + 1 to n - 1 do
      let c = bodies.(j) in
      let dx = b.x -. c.x and dy = b.y -. c.y and dz = b.z -. c.z in
      let d2 = (dx *. dx) +. (dy *. dy) +. (dz *. dz) in
      let mag = dt /. (d2 *. sqrt d2) in
      b.vx <- b.vx -. (dx *. c.mass *. mag);
      b.vy <- b.vy -. (dy *. c.mass *. mag);
      b.vz <- b.vz -. (dz *. c.mass *. mag);
      c.vx <- c.vx +. (dx *. b.mass *. mag);
      c.vy <- c.vy +. (dy *. b.mass *. mag);
      c.vz <- c.vz +. (dz *. b.mass *. mag)
    done
  done;
  Array.iter
    (fun b ->
      b.x <- b.x +. (dt *. b.vx);
      b.y <- b.y +. (dt *. b.vy);
      b.z <- b.z +. (dt *. b.vz))
    bodies

let energy () =
  Array.fold_left (fun e b -> e +. (0.5 *. b.mass *. ((b.vx *. b.vx) +. (b.vy *. b.vy) +. (b.vz *. b.vz)))) 0. bodies

let () =
  for _ = 1 to int_of_string Sys.argv.(1) do
    advance 0.001
  done;
  Printf.printf "%.9f\n" (energy ())
