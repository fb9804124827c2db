(* Unix.read_bigarray and write_bigarray (since 5.2): parts, bounds, errors.
   (*toml
   flags = ["-I", "+unix", "unix.cma"]
   since = "5.2"
   *) *)
open Bigarray

let chars n = Array1.create char c_layout n
let of_string s = let a = chars (String.length s) in String.iteri (fun i c -> a.{i} <- c) s; a
let to_string a = String.init (Array1.dim a) (fun i -> a.{i})
let attempt what f =
  match f () with
  | n -> Printf.printf "%s: %d\n" what n
  | exception e -> Printf.printf "%s: %s\n" what (Printexc.to_string e)

let () =
  let r, w = Unix.pipe () in
  let text = of_string "0123456789" in
  attempt "write" (fun () -> Unix.write_bigarray w text 2 5);
  attempt "single" (fun () -> Unix.single_write_bigarray w text 0 2);
  attempt "beyond" (fun () -> Unix.write_bigarray w text 8 3);
  let into = chars 20 in
  Array1.fill into '.';
  attempt "read" (fun () -> Unix.read_bigarray r into 3 10);
  print_endline (to_string into);
  attempt "read beyond" (fun () -> Unix.read_bigarray r into 15 6);
  Unix.close w;
  attempt "at the end" (fun () -> Unix.read_bigarray r into 0 20);
  attempt "closed" (fun () -> Unix.write_bigarray w text 0 1)
