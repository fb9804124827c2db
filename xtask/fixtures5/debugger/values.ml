(* Sessions of ocamldebug: breakpoints, frames and values; steps in both directions, to an uncaught exception.
   (*toml
   since = "4.14"
   flags = ["-g"]
   products = ["values.ml", "values.cmi"]

   [[run]]
   name = "frames"
   debugger = true
   stdin = "set loadingmode runtime\nbreak @ Values 28\nbreak @ Values 47\ninfo breakpoints\nrun\nbt\nprint x\nrun\nup\nframe\ndown\nfinish\nfinish\ndelete 1\nrun\nprint shapes\nprint later\nprint add\nprint caught\nprint cell\nprint cell.name\nprint floats.(1)\ndisplay shapes\nstep\nbt\nfinish\nrun\nrun\nbackstep\nbt\nprint n\nreverse\nquit\n"

   [[run]]
   name = "steps"
   debugger = true
   stdin = "set loadingmode runtime\nbreak @ Values 38\nbreak @ Values 39 24\nrun\nstep\nbt\nrun\nbt\nup\nfinish\nnext\nnext 2\nbt\nstep 3\nbt\nstep\nstart\nprevious\nprevious\nbackstep 4\nbt\nlast\nnext\nnext\nfinish\ngoto 0\ngoto 56\nbt\nnext\nprevious\nquit\n"
   *) *)

exception Odd of int * string
type cell = { mutable seen : int; name : string }
type shape = Circle of float | Square of { side : int } | Point

let floats = [| 1.5; 2.5 |]
let cell = { seen = 0; name = "cell" }

let rec sum = function
  | [] -> 0
  | x :: rest ->
    let of_rest = sum rest in
    x + of_rest

let check n = if n = 3 then raise (Odd (n, "three")) else n

let adder n =
  let m = n + n in
  fun x -> x + m

let () =
  let total = sum [1; 2] in
  Gc.finalise (fun c -> cell.seen <- c.seen + total) { seen = 4; name = "dead" };
  Gc.full_major ();
  let add = adder total in
  let caught = match check (add 2 + cell.seen) with n -> n in
  let second = match int_of_string "x" with n -> n | exception Failure _ -> caught in
  let third = match check total with n -> n | exception Odd (n, _) -> n + second in
  let shapes = [Circle 1.5; Square { side = 3 }; Point] in
  let later = lazy (sum [third]) in
  Printf.printf "%d %d\n%!" (List.length shapes) (Lazy.force later);
  cell.seen <- check 3
