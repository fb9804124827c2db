(* Uses a shared library, constants of all kinds, and ends with an exception. *)
type shape = Dot | Line of int * float | Text of string

let shapes = [ Dot; Line (3, 0.5); Text "one"; Text "one" ]
let large = (0x3fff_ffff_ffff, 5l, 1_000_000_007L, -3n, [| 1.; 2.; 3.; 4.; 5. |])

let show = function
  | Dot -> "dot"
  | Line (n, x) -> Printf.sprintf "%d:%g" n x
  | Text s -> s

let rec even n = n = 0 || odd (n - 1)
and odd n = n > 0 && even (n - 1)

let () =
  print_endline (String.concat " " (List.map show shapes));
  let words = Str.split (Str.regexp ", *") "a, b,c" in
  Printf.printf "%d %b %d\n" (List.length words) (even 10) (let n, _, _, _, _ = large in n);
  assert (odd 3);
  match List.nth shapes 2 with
  | Text s -> Steps.reraise (fun () -> if s = "one" then Steps.deep 1)
  | _ -> ()
