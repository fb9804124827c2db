(* Closures made, passed, composed and called. *)
let compose f g x = f (g x)
let rec power f n = if n = 0 then fun x -> x else compose f (power f (n - 1))
let counter step = let count = ref 0 in fun () -> count := !count + step; !count

let () =
  let n = int_of_string Sys.argv.(1) in
  let tick = counter 3 in
  let sum = ref 0 in
  for i = 1 to n do
    let add = fun x -> x + i in
    sum := (power add 20 !sum + tick ()) land 0xFFFFFF
  done;
  Printf.printf "%d\n" !sum
